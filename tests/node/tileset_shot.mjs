// Draws tilesets with the viewer's Cesium in headless Chromium over a magenta void and takes a picture.
//
//   node tileset_shot.mjs CHROMIUM ORIGIN
//
// Reads views, one a line, until there are no more: {"out": PICTURE.png, "tilesets": [address …],
// "at": [longitude, latitude, height], "range", "pitch", "error"}. ORIGIN serves Cesium below /cesium/.
// Prints one JSON object a view: what was drawn of each tileset, and what the page complained about.

import { createInterface } from "node:readline";

import puppeteer from "puppeteer-core";

const [executablePath, origin] = process.argv.slice(2);
const WAIT_MS = 120_000;
const PAGE = `<!doctype html><html><head><link rel="icon" href="data:,">
<link rel="stylesheet" href="/cesium/Widgets/widgets.css">
<style>html, body, #map { margin: 0; width: 100%; height: 100% }</style></head>
<body><div id="map"></div><script src="/cesium/Cesium.js"></script></body></html>`;
const browser = await puppeteer.launch({
  executablePath,
  args: [
    "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist", "--disable-dev-shm-usage",
  ],
});
try {
  const said = [];
  const page = await browser.newPage();
  await page.setViewport({ width: 720, height: 480 });
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && said.push(message.text()));
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("response", (response) => response.status() >= 400 && said.push(`${response.status()} ${response.url()}`));
  await page.setRequestInterception(true);
  page.on("request", (request) =>
    request.url() === `${origin}/page` ? request.respond({ contentType: "text/html", body: PAGE }) : request.continue(),
  );
  await page.goto(`${origin}/page`, { timeout: WAIT_MS });
  for await (const line of createInterface({ input: process.stdin })) {
    const drawn = await taken(page, JSON.parse(line));
    console.log(JSON.stringify({ drawn, said: said.splice(0) }));
  }
} finally {
  await browser.close();
}

/** Draw a view and take its picture; return what was drawn of each tileset. */
async function taken(page, { out, ...view }) {
  await page.evaluate(shown, view);
  await page.waitForFunction(
    () => {
      window.map.scene.render();
      // for a moment all is loaded that is known of: a subtree then tells of more, a frame later
      window.calm = window.tilesets.every((tileset) => tileset.tilesLoaded) ? window.calm + 1 : 0;
      return window.calm > 4;
    },
    { timeout: WAIT_MS, polling: 100 },
  );
  await page.evaluate(() => window.map.scene.render());
  await page.screenshot({ path: out });
  return page.evaluate(() =>
    window.tilesets.map(({ statistics }) => ({
      tiles: statistics.selected,
      features: statistics.numberOfFeaturesSelected,
      triangles: statistics.numberOfTrianglesSelected,
      failed: statistics.numberOfTilesWithContentReady === 0,
    })),
  );
}

/** In the page: a map without a globe, the tilesets, the camera. */
async function shown({ tilesets, at, range, pitch, error }) {
  if (window.tilesets) window.map.destroy(); // before, it is the element of that name
  window.calm = 0;
  const map = new Cesium.CesiumWidget("map", {
    baseLayer: false, skyBox: false, skyAtmosphere: false, globe: false, msaaSamples: 1,
    useDefaultRenderLoop: false }); // without a GPU each frame counts: those that are asked for are enough
  map.scene.backgroundColor = Cesium.Color.MAGENTA;
  const target = Cesium.Cartesian3.fromDegrees(...at);
  const down = new Cesium.Cartesian3(0.45, -0.45, -0.77);
  const local = Cesium.Transforms.eastNorthUpToFixedFrame(target);
  map.scene.light = new Cesium.DirectionalLight({
    direction: Cesium.Matrix4.multiplyByPointAsVector(local, down, new Cesium.Cartesian3()),
    intensity: 2.2,
  });
  window.map = map;
  window.tilesets = [];
  for (const address of tilesets) {
    const tileset = await Cesium.Cesium3DTileset.fromUrl(address, { maximumScreenSpaceError: error });
    window.tilesets.push(map.scene.primitives.add(tileset));
  }
  map.camera.lookAt(target, new Cesium.HeadingPitchRange(0.35, pitch, range));
}
