// The form that submits a job, and what is seen of it until it ends.

import { json } from "./api.js";
import { sendImages } from "./files.js";

const POLL_MS = 1000;
const SAID = {
  accepted: "Waiting", running: "Working", successful: "Done", failed: "Failed", dismissed: "Cancelled",
};
const byId = (id) => document.getElementById(id);

/** Fill the form from /processes; *onMap* hears the product's id when a job has made a map.
 *
 * What *guarded* wraps shows its faults to the user, and takes those shown before away.
 */
export async function createOrder(onMap, guarded) {
  const { processes } = await json("processes?limit=100");
  const select = byId("process");
  const known = new Map(processes.map((process) => [process.id, process]));
  for (const { id, title } of processes) select.add(new Option(`${title} (${id})`, id));
  if (known.has("city")) select.value = "city";

  const choose = async () => {
    const { description, inputs } = await json(`processes/${select.value}`);
    byId("about").textContent = description ?? "";
    byId("images-label").hidden = byId("files-label").hidden = !inputs.images;
    const others = required(inputs);
    byId("whole").open ||= others.length > 0 || !inputs.images;
    writeRequest(inputs.images, others);
    byId("images").oninput = () => writeRequest(true, others);
  };
  select.addEventListener("change", guarded(choose));
  const order = guarded(() => run(select.value, onMap));
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    order();
  });
  await choose();
}

/** Return the inputs besides images that must be given: files, to be named by whoever orders. */
function required(inputs) {
  const needed = Object.entries(inputs).filter(([name, { minOccurs }]) => name !== "images" && minOccurs !== 0);
  return needed.map(([name, { schema }]) => [name, schema.type === "object" ? { href: "https://…" } : (schema.enum?.[0] ?? "")]);
}

/** Write the request from the plain fields; whoever wants more edits it. */
function writeRequest(images, others) {
  const lines = byId("images").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const values = images ? { images: lines.map((href) => ({ href })) } : {};
  byId("request").value = JSON.stringify({ inputs: { ...values, ...Object.fromEntries(others) } }, null, 2);
}

/** Return the request as it was written, and the images that were chosen as files, which are sent now. */
async function request(headers) {
  let body;
  try {
    body = JSON.parse(byId("request").value);
  } catch (error) {
    throw new Error(`The request is not valid JSON: ${error.message}`);
  }
  if (!Array.isArray(body.inputs?.images) || byId("files-label").hidden) return body;
  const sent = await sendImages(byId("files").files, headers, (text) => show({ status: "sending", message: text }));
  body.inputs.images.push(...sent);
  if (body.inputs.images.length === 0) {
    throw new Error("Name the images: addresses of two or more, one a line, or files.");
  }
  return body;
}

async function run(process, onMap) {
  byId("job").hidden = true; // that was another
  const key = byId("key").value;
  const headers = key ? { "X-API-Key": key } : {};
  const submit = document.querySelector("#form [type=submit]");
  submit.disabled = true;
  try {
    const job = await ordered(process, headers);
    byId("dismiss").onclick = () => json(`jobs/${job.jobID}`, { method: "DELETE", headers }).catch(() => {});
    const ended = await followed(job);
    const map = ended.status === "successful" && (await productOf(ended));
    if (map) await onMap(map); // a message echoed is none
  } finally {
    submit.disabled = false;
  }
}

/** Return the job that was ordered; what of it was said until then is taken away should that fail. */
async function ordered(process, headers) {
  try {
    return await json(`processes/${process}/execution`, {
      method: "POST",
      body: JSON.stringify(await request(headers)),
      headers: { ...headers, "Content-Type": "application/json", Prefer: "respond-async" },
    });
  } catch (error) {
    byId("job").hidden = true;
    throw error;
  }
}

/** Say how far a job is. */
function show({ status, message, progress }) {
  byId("job").hidden = false;
  byId("job").dataset.status = status;
  byId("bar").value = progress ?? 0;
  byId("bar").hidden = status === "failed";
  byId("state").textContent = SAID[status] ? `${SAID[status]}: ${message ?? ""}` : message;
  byId("dismiss").hidden = !["accepted", "running"].includes(status);
}

async function followed(job) {
  show(job);
  byId("job").scrollIntoView({ block: "nearest" });
  while (["accepted", "running"].includes(job.status)) {
    await new Promise((wake) => setTimeout(wake, POLL_MS));
    job = await json(`jobs/${job.jobID}`);
    show(job);
  }
  byId("job").scrollIntoView({ block: "nearest" }); // what it says may be longer than before
  return job;
}

async function productOf(job) {
  const results = await json(`jobs/${job.jobID}/results`);
  const links = Object.values(results).map((value) => value?.href ?? "");
  return links.map((href) => /\/products\/([^/]+)\//.exec(href)?.[1]).find(Boolean);
}
