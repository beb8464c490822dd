// The form that submits a job, and what is seen of it until it ends.

import { json } from "./api.js";

const POLL_MS = 1000;
const byId = (id) => document.getElementById(id);

/** Fill the form from /processes; *onMap* hears the product's id when a job has made a map. */
export async function createOrder(onMap, onFault) {
  const { processes } = await json("processes?limit=100");
  const select = byId("process");
  const known = new Map(processes.map((process) => [process.id, process]));
  for (const { id, title } of processes) select.add(new Option(`${title} (${id})`, id));
  if (known.has("city")) select.value = "city";

  const choose = async () => {
    const { description, inputs } = await json(`processes/${select.value}`);
    byId("about").textContent = description ?? "";
    byId("images-label").hidden = !inputs.images;
    writeRequest(inputs);
  };
  select.addEventListener("change", () => choose().catch(onFault));
  byId("images").addEventListener("input", () => writeRequest({ images: true }));
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    run(select.value, onMap).catch(onFault);
  });
  await choose();
}

/** Write the request from the plain fields; whoever wants more edits it. */
function writeRequest(inputs) {
  const lines = byId("images").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const values = inputs.images ? { images: lines.map((href) => ({ href })) } : {};
  byId("request").value = JSON.stringify({ inputs: values }, null, 2);
}

async function run(process, onMap) {
  const key = byId("key").value;
  const headers = key ? { "X-API-Key": key } : {};
  const job = await json(`processes/${process}/execution`, {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json", Prefer: "respond-async" },
    body: JSON.stringify(JSON.parse(byId("request").value)),
  });
  const submit = document.querySelector("#form [type=submit]");
  submit.disabled = true;
  byId("dismiss").onclick = () => json(`jobs/${job.jobID}`, { method: "DELETE", headers });
  try {
    const ended = await followed(job);
    if (ended.status === "successful") await onMap(await productOf(ended));
  } finally {
    submit.disabled = false;
  }
}

async function followed(job) {
  byId("job").hidden = false;
  for (;;) {
    byId("bar").value = job.progress ?? 0;
    byId("state").textContent = `${job.status}: ${job.message ?? ""}`;
    byId("job").dataset.status = job.status;
    byId("dismiss").hidden = !["accepted", "running"].includes(job.status);
    if (byId("dismiss").hidden) return job;
    await new Promise((wake) => setTimeout(wake, POLL_MS));
    job = await json(`jobs/${job.jobID}`);
  }
}

async function productOf(job) {
  const results = await json(`jobs/${job.jobID}/results`);
  const links = Object.values(results).map((value) => value?.href ?? "");
  return links.map((href) => /\/products\/([^/]+)\//.exec(href)?.[1]).find(Boolean);
}
