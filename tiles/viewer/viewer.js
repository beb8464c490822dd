// The page: a list of maps from the catalogue, one of them on the globe, and orders for new ones.

import { json } from "./api.js";
import { explain } from "./legend.js";
import { createOrder } from "./order.js";
import { createScene, drape, setBuildings, setRelief, showItem } from "./scene.js";

const PAGE = 25;
const WIDE = matchMedia("(min-width: 801px)");
/** Assets in the order in which people look for them; any others follow. */
const ORDER = ["ortho", "dsm", "dtm", "ndsm", "classes", "footprints", "geopackage", "cityjson", "tileset", "mesh",
  "points", "point_tileset", "page", "report"];
const byId = (id) => document.getElementById(id);
const scene = createScene(byId("map"), (attributes) => (attributes ? showBuilding(attributes) : showProduct()));
window.orograph = scene; // for tests and curious people

function fault(error) {
  byId("fault").textContent = error.message ?? String(error);
  byId("fault").hidden = false;
}

const guarded = (action) => (...given) => {
  byId("fault").hidden = true;
  return Promise.resolve(action(...given)).catch(fault);
};

async function list(path = `stac/search?limit=${PAGE}&sortby=-properties.created`) {
  const { features, links } = await json(path);
  byId("list").append(...features.map(entry));
  byId("none").hidden = byId("list").children.length > 0;
  const next = links.find(({ rel }) => rel === "next");
  byId("more").hidden = !next;
  byId("more").onclick = guarded(() => list(next.href));
  return features;
}

async function relist() {
  byId("list").replaceChildren();
  return list();
}

function entry(item) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.id = item.id;
  const picture = document.createElement("img");
  picture.alt = "";
  picture.loading = "lazy";
  if (item.assets.thumbnail) picture.src = item.assets.thumbnail.href;
  const text = document.createElement("span");
  const name = document.createElement("b");
  name.textContent = item.properties.title ?? item.id;
  const when = document.createElement("small");
  const cell = item.properties.gsd ? `${item.properties.gsd} m` : "";
  when.textContent = [`made ${made(item)}`, cell, item.collection].filter(Boolean).join(" · ");
  text.append(name, when);
  button.append(picture, text);
  button.addEventListener("click", guarded(() => open(item)));
  const row = document.createElement("li");
  row.append(button);
  return row;
}

const made = (item) => (item.properties.created ?? "").slice(0, 16).replace("T", " ");

async function open(item) {
  for (const button of document.querySelectorAll("#list button")) {
    button.setAttribute("aria-current", String(button.dataset.id === item.id));
  }
  for (const radio of document.querySelectorAll("[name=drape]")) {
    radio.disabled = !item.assets[radio.value];
  }
  const wanted = document.querySelector("[name=drape]:checked");
  if (wanted.disabled) (document.querySelector("[name=drape]:enabled") ?? wanted).checked = true;
  byId("show-buildings").disabled = !item.assets.tileset;
  byId("show-relief").disabled = !item.assets.dtm;
  byId("layers").hidden = false;
  history.replaceState(null, "", `#${item.collection}/${item.id}`);
  const layer = document.querySelector("[name=drape]:checked").value;
  explain(byId("legend"), item, layer);
  const shown = showItem(scene, item, {
    layer,
    relief: byId("show-relief").checked,
    buildings: byId("show-buildings").checked,
  });
  showProduct();
  if (!WIDE.matches) byId("details").hidden = true; // there it would hide the map
  await shown;
}

function facts(values) {
  const known = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  byId("facts").replaceChildren(...known.flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = name.replace(/_m2$/, " (m²)").replace(/_m3$/, " (m³)").replace(/_m$/, " (m)").replace(/_deg$/, " (°)").replaceAll("_", " ");
    description.textContent = typeof value === "number" ? String(Math.round(value * 100) / 100) : String(value);
    return [term, description];
  }));
}

function showProduct() {
  const { item } = scene;
  byId("details").hidden = !item;
  if (!item) return;
  byId("details-title").textContent = item.properties.title ?? item.id;
  const { properties } = item;
  facts({
    made: made(item),
    system: properties["proj:code"],
    cell_m: properties.gsd,
    buildings: properties["orograph:buildings_count"],
    "expected error_m": properties["orograph:predicted_le90_m"],
  });
  const rank = ([name]) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  const assets = Object.entries(item.assets).sort((one, other) => rank(one) - rank(other));
  byId("assets").replaceChildren(...assets.map(([name, asset]) => {
    const link = document.createElement("a");
    link.href = asset.href;
    link.textContent = asset.title ?? name;
    link.dataset.asset = name;
    const row = document.createElement("li");
    row.append(link);
    return row;
  }));
}

/** Take away what lies over the map: a message, else the details. */
function putAside() {
  if (byId("fault").hidden) closeDetails();
  else byId("fault").hidden = true;
}

/** Who was among the details by keyboard goes on at what opens them. */
function closeDetails() {
  const within = byId("details").contains(document.activeElement);
  byId("details").hidden = true;
  if (within) byId("tell").focus();
}

function showBuilding(attributes) {
  byId("details").hidden = false;
  byId("details-title").textContent = `Building ${attributes.id ?? ""}`;
  // one that shares no wall is part of itself alone
  facts(Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== attributes.id)));
  byId("assets").replaceChildren();
}

function select(name) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const chosen = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", String(chosen));
    byId(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
}

const tabs = [...document.querySelectorAll("[role=tab]")];
for (const [number, tab] of tabs.entries()) {
  tab.addEventListener("click", () => select(tab.getAttribute("aria-controls")));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = tabs.at((number + step) % tabs.length);
    next.focus();
    next.click();
  });
}
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") putAside();
});
for (const radio of document.querySelectorAll("[name=drape]")) {
  radio.addEventListener("change", guarded(() => {
    explain(byId("legend"), scene.item, radio.value);
    return drape(scene, radio.value);
  }));
}
byId("show-buildings").addEventListener("change", (event) => setBuildings(scene, event.target.checked));
byId("show-relief").addEventListener("change", (event) => setRelief(scene, event.target.checked));
byId("tell").addEventListener("click", showProduct);
byId("close").addEventListener("click", closeDetails);

async function arrived(id) {
  const items = await relist();
  select("products");
  const item = items.find((candidate) => candidate.id === id) ?? (await json(`products/${id}`));
  if (item.assets) await open(item); // a report alone lies nowhere
}

await guarded(async () => {
  const items = await list();
  const [collection, id] = location.hash.slice(1).split("/");
  const first = id ? await json(`stac/collections/${collection}/items/${id}`) : items[0];
  if (first) await open(first);
})();
await guarded(() => createOrder(guarded(arrived), guarded))();
document.body.dataset.ready = "true";
