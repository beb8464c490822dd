// Opens the viewer in headless Chromium, waits until it is drawn, does what it is told, takes pictures.
//
//   node viewer_shot.mjs URL OUT_FOLDER CHROMIUM FOLDER_OF_IMAGES
//
// Prints one JSON object: what the page said and what a click on a building showed.

import puppeteer from "puppeteer-core";

const [url, out, executablePath, images] = process.argv.slice(2);
const WAIT_MS = 120_000;
const browser = await puppeteer.launch({
  executablePath,
  args: [
    "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist", "--disable-dev-shm-usage",
  ],
});
const said = [];
const failed = [];
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 800 });
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && said.push(message.text()));
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("response", (response) => response.status() >= 400 && failed.push(fault(response)));
  await page.goto(url, { timeout: WAIT_MS });
  await page.waitForFunction("document.body.dataset.ready === 'true'", { timeout: WAIT_MS });
  await page.evaluate(lighten);
  await drawn(page);
  await page.screenshot({ path: `${out}/map.png` });
  const seen = {
    maps: await page.$$eval("#list button b", (names) => names.map((name) => name.textContent)),
    assets: await page.$$eval("#assets a", (links) => links.map((link) => [link.dataset.asset, link.href])),
    fault: await page.$eval("#fault", (p) => (p.hidden ? null : p.textContent)),
    building: await clickedBuilding(page),
  };
  await page.screenshot({ path: `${out}/building.png` });
  await page.click("#close");
  await page.click("[name=drape][value=mesh]");
  await page.waitForFunction("window.orograph.mesh", { timeout: WAIT_MS });
  await drawn(page);
  await page.screenshot({ path: `${out}/mesh.png` });
  await page.click("#show-buildings");
  await page.click("[name=drape][value=point_tileset]");
  await page.waitForFunction("window.orograph.point_tileset", { timeout: WAIT_MS });
  await drawn(page);
  await page.screenshot({ path: `${out}/points.png` });
  seen.points = await page.evaluate("window.orograph.point_tileset.statistics.numberOfPointsSelected");
  await page.click("#show-buildings");
  await page.click("[name=drape][value=dsm]");
  await page.click("#show-buildings");
  await drawn(page);
  await page.screenshot({ path: `${out}/surface.png` });
  seen.legends = { dsm: await legend(page), ndsm: await legend(page, "ndsm", out) };
  await page.click("#tab-order");
  await page.screenshot({ path: `${out}/order.png` });
  await page.click("#form [type=submit]");
  await page.waitForSelector("#fault:not([hidden])", { timeout: WAIT_MS });
  seen.empty = await page.$eval("#fault", ({ textContent }) => textContent);
  seen.files = await fromFiles(page, out);
  seen.job = await ordered(page, out);
  seen.after = await page.$eval("#fault", ({ hidden }) => hidden);
  seen.refused = await refused(page, out);
  seen.legends.classes = await classified(page, new Map(seen.assets), out);
  seen.keyboard = await byKeyboard(page);
  seen.processes = await page.$$eval("#process option", (options) => options.map(({ value }) => value));
  seen.request = await page.$eval("#request", ({ value }) => value);
  await page.evaluateOnNewDocument(lightenSoon, String(lighten));
  await page.setViewport({ width: 390, height: 800, isMobile: true, hasTouch: true });
  // which loads the page anew
  await page.waitForSelector("#list button", { timeout: WAIT_MS });
  await page.waitForFunction("document.body.dataset.ready === 'true'", { timeout: WAIT_MS });
  await page.click("#tab-products");
  await page.click("#list button");
  await drawn(page);
  await page.screenshot({ path: `${out}/phone.png` });
  seen.phone = await page.evaluate(() => {
    const { left, top, width, height } = document.getElementById("map").getBoundingClientRect();
    const middle = document.elementFromPoint(left + width / 2, top + height / 2);
    return { middle: middle.tagName, wide: document.documentElement.scrollWidth };
  });
  console.log(JSON.stringify({ ...seen, said, failed: await Promise.all(failed) }));
} finally {
  await browser.close();
}

/** In the page: draw a quarter of the pixels, and seldom: all that a machine without a GPU does is shade them. */
function lighten() {
  const { viewer } = window.orograph;
  viewer.scene.msaaSamples = 1;
  viewer.scene.postProcessStages.fxaa.enabled = false;
  viewer.resolutionScale = 0.5;
  viewer.targetFrameRate = 4;
}

/** In the page: the same as soon as there is a map, before its first frame. */
function lightenSoon(lightenIt) {
  const timer = setInterval(() => {
    if (!window.orograph) return;
    clearInterval(timer);
    new Function(`(${lightenIt})()`)();
  }, 5);
}

/** Say which answer was a fault, and what the server said of it. */
async function fault(response) {
  return `${response.status()} ${response.url()} ${await response.text().catch(() => "")}`;
}

/** Order the shortest job there is through the form; return what was said of it until it ended. */
async function ordered(page, out) {
  await page.select("#process", "echo");
  await page.waitForFunction("document.getElementById('about').textContent.startsWith('Echo')");
  await page.$eval("details", (details) => (details.open = true));
  await page.$eval("#request", (area) => (area.value = '{"inputs": {"message": "hello", "pause": 2}}'));
  await page.click("#form [type=submit]");
  await page.waitForSelector("#job:not([hidden])", { timeout: WAIT_MS });
  const during = await page.$eval("#state", (p) => p.textContent);
  await page.screenshot({ path: `${out}/job.png` });
  await page.waitForSelector("#job[data-status=successful]", { timeout: WAIT_MS });
  return { during, bar: await page.$eval("#bar", ({ value }) => value) };
}

/** Order a map of files of this machine, and cancel it as soon as the images are known to be read. */
async function fromFiles(page, out) {
  const input = await page.$("#files");
  await input.uploadFile(`${images}/left_RPC.TXT`);
  await page.click("#form [type=submit]");
  await page.waitForSelector("#fault:not([hidden])", { timeout: WAIT_MS });
  const none = await page.$eval("#fault", ({ textContent }) => textContent);
  const names = ["left.tif", "left_RPC.TXT", "right.tif", "right_RPC.TXT"];
  await input.uploadFile(...names.map((name) => `${images}/${name}`));
  await page.click("#form [type=submit]");
  await page.waitForFunction(
    "/tie points|surface: block|projecting|^Failed/.test(document.getElementById('state').textContent)",
    { timeout: WAIT_MS, polling: 50 },
  );
  const state = await page.$eval("#state", ({ textContent }) => textContent);
  await page.screenshot({ path: `${out}/files.png` });
  await page.click("#dismiss");
  await page.waitForSelector("#job[data-status=dismissed]", { timeout: WAIT_MS });
  return { none, state };
}

/** Order a job that fails; return what is said of it, and whether all of that is to be seen. */
async function refused(page, out) {
  const href = "http://127.0.0.1:9/no.tif";
  await page.select("#process", "dtm");
  await page.waitForFunction("document.getElementById('about').textContent.startsWith('Terrain')");
  await page.$eval("#request", (area, value) => (area.value = value),
    JSON.stringify({ inputs: { dsm: { href } } }));
  await page.click("#form [type=submit]");
  await page.waitForSelector("#job[data-status=failed]", { timeout: WAIT_MS });
  await page.screenshot({ path: `${out}/failed.png` });
  return page.$eval("#state", (state) => {
    const { top, bottom } = state.getBoundingClientRect();
    const around = state.closest("[role=tabpanel]").getBoundingClientRect();
    return { text: state.textContent, seen: top >= around.top && bottom <= around.bottom + 1 };
  });
}

/** Go to the list, a map and its details, and back, without a mouse. */
async function byKeyboard(page) {
  const focused = () => page.evaluate(() => document.activeElement.id);
  await page.focus("#tab-order");
  await page.keyboard.press("ArrowLeft");
  const tab = [await focused(), await page.$eval("#products", ({ hidden }) => hidden)];
  await page.focus("#tell");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  const within = await focused();
  await page.keyboard.press("Escape");
  return { tab, within, ring, closed: await page.$eval("#details", ({ hidden }) => hidden), back: await focused() };
}

/** Wait until terrain, drape and buildings are all there, and one more frame is drawn. */
async function drawn(page) {
  await frame(page); // only then is it known what has to be loaded
  await page.waitForFunction(
    () => {
      const { viewer, tileset, mesh, point_tileset: points } = window.orograph;
      const { scene } = viewer;
      scene.requestRender();
      const shown = [tileset, mesh, points].filter((tiles) => tiles?.show);
      return (!scene.globe.show || scene.globe.tilesLoaded) && shown.every((tiles) => tiles.tilesLoaded);
    },
    { timeout: WAIT_MS, polling: 250 },
  );
  await frame(page);
}

async function frame(page) {
  await page.evaluate(() => window.orograph.viewer.render());
}

/** Show *layer*, or leave the one that is shown; return what its colours are said to mean, by colour. */
async function legend(page, layer, out) {
  if (layer) {
    await page.click(`[name=drape][value=${layer}]`);
    await drawn(page);
    await page.screenshot({ path: `${out}/${layer}.png` });
  }
  return page.$$eval("#legend:not([hidden]) li", (rows) =>
    rows.map((row) => [row.textContent, getComputedStyle(row.firstChild).backgroundColor]));
}

/** Order the classes of a map that is there; return their legend once they are shown. */
async function classified(page, assets, out) {
  const inputs = Object.fromEntries(["dsm", "dtm", "ortho"].map((name) => [name, { href: assets.get(name) }]));
  await page.select("#process", "segment");
  await page.waitForFunction("document.getElementById('about').textContent.startsWith('Classes')");
  await page.$eval("#request", (area, value) => (area.value = value), JSON.stringify({ inputs }));
  await page.click("#form [type=submit]");
  await page.waitForFunction("window.orograph.item.assets.classes", { timeout: WAIT_MS });
  const shown = await legend(page, "classes", out);
  await page.click("#tab-order");
  return shown;
}

/** Click through the middle of the map until a building answers; return its attributes as shown. */
async function clickedBuilding(page) {
  const map = await page.$eval("#map", (element) => element.getBoundingClientRect().toJSON());
  for (let step = 0; step < 200; step++) {
    const x = map.x + map.width * (0.3 + 0.4 * ((step * 0.618) % 1));
    const y = map.y + map.height * (0.35 + 0.4 * ((step * 0.414) % 1));
    const hit = await page.evaluate(
      ([px, py, left, top]) =>
        document.elementFromPoint(px, py)?.tagName === "CANVAS" &&
        Boolean(window.orograph.viewer.scene.pick({ x: px - left, y: py - top })?.getPropertyIds),
      [x, y, map.x, map.y],
    );
    if (!hit) continue;
    await page.mouse.click(x, y);
    await page.waitForFunction("document.getElementById('details-title').textContent.startsWith('Building')");
    await frame(page); // with its mark
    return page.evaluate(() => ({
      title: document.getElementById("details-title").textContent,
      facts: document.getElementById("facts").innerText,
    }));
  }
  return null;
}
