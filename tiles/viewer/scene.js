// The globe: one product at a time, its relief, what is draped on it, and its buildings. Or, instead of
// the relief and what is draped, its textured mesh or its points.

import { rasterTiles } from "./api.js";
import { HEIGHTS_M } from "./legend.js";

const SAMPLES = 65; // heights along the side of a terrain tile
const TILE_PX = 256;
const FINEST_TERRAIN_LEVEL = 17; // a sample each 1.6 m at mid latitudes
const INSTEAD = { mesh: () => ({}), point_tileset: pointStyle };
const GAPS = 16; // tiles of points give the gaps between their points so many times as their error
const CHOSEN = Cesium.Color.fromCssColorString("#ffd54a");
const STYLES = {
  ortho: "",
  dsm: "?algorithm=hillshade&buffer=3",
  dtm: "?algorithm=hillshade&buffer=3",
  ndsm: `?rescale=${HEIGHTS_M}&colormap_name=viridis`,
  classes: "",
};

/** Start the map in *element*; *onPick* hears a building's attributes, or null for a click beside. */
export function createScene(element, onPick) {
  const viewer = new Cesium.Viewer(element, {
    animation: false, baseLayer: false, baseLayerPicker: false, fullscreenButton: false, geocoder: false,
    homeButton: false, infoBox: false, navigationHelpButton: false, sceneModePicker: false,
    selectionIndicator: false, timeline: false, skyBox: false, skyAtmosphere: false,
    requestRenderMode: true, maximumRenderTimeChange: Infinity,
    terrainProvider: new Cesium.EllipsoidTerrainProvider(),
  });
  const { scene } = viewer;
  scene.backgroundColor = Cesium.Color.fromCssColorString("#dfe7ee");
  scene.globe.baseColor = Cesium.Color.fromCssColorString("#dfe7ee");
  scene.globe.showGroundAtmosphere = false;
  scene.globe.depthTestAgainstTerrain = true;
  scene.fog.enabled = false;
  const shown = { viewer, item: null, drape: null, tileset: null, mesh: null, point_tileset: null, chosen: null };
  viewer.screenSpaceEventHandler.removeInputAction(Cesium.ScreenSpaceEventType.LEFT_DOUBLE_CLICK);
  viewer.screenSpaceEventHandler.setInputAction(
    ({ position }) => onPick(choose(shown, scene.pick(position))),
    Cesium.ScreenSpaceEventType.LEFT_CLICK,
  );
  return shown;
}

/** Show a STAC Item: fly there, drape *layer*, raise the relief, stand the buildings on it. */
export async function showItem(shown, item, { layer, relief, buildings }) {
  const { viewer } = shown;
  clear(shown);
  shown.item = item;
  const box = Cesium.Rectangle.fromDegrees(...bounds(item.bbox));
  viewer.scene.globe.cartographicLimitRectangle = box;
  viewer.scene.light = lightOver(box);
  setRelief(shown, relief);
  const draped = drape(shown, layer);
  fly(viewer, box, groundHeight(item));
  if (item.assets.tileset) await addTileset(shown, "tileset", item.assets.tileset.href, buildings);
  await draped;
}

/** Load a tileset and show it, unless another product was chosen meanwhile. */
async function addTileset(shown, name, href, visible, options = {}) {
  const { viewer, item } = shown;
  const tileset = await Cesium.Cesium3DTileset.fromUrl(href, { maximumScreenSpaceError: 8, ...options });
  if (shown.item !== item || shown[name]) return;
  tileset.show = visible;
  shown[name] = viewer.scene.primitives.add(tileset);
  viewer.scene.requestRender();
}

/** Drape one raster of the product: ortho, or a shaded or coloured height model; or show mesh or points. */
export function drape(shown, layer) {
  const { viewer, item } = shown;
  const stood = showInstead(shown, layer in INSTEAD ? layer : null);
  if (shown.drape) viewer.imageryLayers.remove(shown.drape);
  shown.drape = null;
  if (item.assets[layer] && !(layer in INSTEAD)) {
    shown.drape = viewer.imageryLayers.addImageryProvider(
      new Cesium.UrlTemplateImageryProvider({
        url: rasterTiles(item, layer, "webp", STYLES[layer]),
        rectangle: Cesium.Rectangle.fromDegrees(...bounds(item.bbox)),
        minimumLevel: coarsestLevel(item),
        maximumLevel: 21,
      }),
    );
  }
  viewer.scene.requestRender();
  return stood;
}

/** Show a tileset instead of the globe, or the globe; it is loaded when it is first asked for. */
async function showInstead(shown, wanted) {
  const { viewer, item } = shown;
  shown.instead = wanted;
  viewer.scene.globe.show = !wanted;
  if (wanted && !shown[wanted]) await addTileset(shown, wanted, item.assets[wanted].href, true, INSTEAD[wanted](item));
  for (const name of Object.keys(INSTEAD)) {
    if (shown[name]) shown[name].show = shown.instead === name; // as it is wanted by now
  }
  viewer.scene.requestRender();
}

/** Points as large as the gaps between them, and a little more; shaded where they stand out. */
function pointStyle(item) {
  const pointCloudShading = {
    attenuation: true,
    geometricErrorScale: 2 / GAPS,
    baseResolution: GAPS * (item.properties.gsd ?? 1),
    maximumAttenuation: 3, // those of coarse tiles stay among the finer ones
    eyeDomeLighting: true,
    eyeDomeLightingStrength: 0.6,
  };
  // nor left coarse beside the middle of the view, where additive tiles show it as gaps
  return { maximumScreenSpaceError: 16, foveatedScreenSpaceError: false, pointCloudShading };
}

/** Raise the terrain model, or lay the ground flat at its mean height. */
export function setRelief(shown, relief) {
  const { viewer, item } = shown;
  viewer.terrainProvider = terrainOf(item, relief && Boolean(item.assets.dtm));
  viewer.scene.requestRender();
}

export function setBuildings(shown, visible) {
  if (shown.tileset) shown.tileset.show = visible;
  shown.viewer.scene.requestRender();
}

function clear(shown) {
  const { viewer } = shown;
  for (const tileset of [shown.tileset, shown.mesh, shown.point_tileset]) {
    if (tileset) viewer.scene.primitives.remove(tileset);
  }
  Object.assign(shown, { item: null, tileset: null, mesh: null, point_tileset: null, chosen: null });
}

function choose(shown, picked) {
  if (shown.chosen) shown.chosen.color = Cesium.Color.WHITE;
  shown.chosen = picked instanceof Cesium.Cesium3DTileFeature ? picked : null;
  if (shown.chosen) shown.chosen.color = CHOSEN;
  shown.viewer.scene.requestRender();
  if (!shown.chosen) return null;
  return Object.fromEntries(shown.chosen.getPropertyIds().map((id) => [id, shown.chosen.getProperty(id)]));
}

function bounds(bbox) {
  return bbox.length === 6 ? [bbox[0], bbox[1], bbox[3], bbox[4]] : bbox;
}

/** The level at which the product is about as wide as a tile: above it, tiles hold next to nothing. */
function coarsestLevel(item) {
  const [west, south, east, north] = bounds(item.bbox);
  return Math.max(0, Math.floor(Math.log2(360 / Math.max(east - west, north - south))) - 1);
}

function groundHeight(item) {
  const model = item.assets.dtm ?? item.assets.dsm;
  const band = (model?.bands ?? model?.["raster:bands"])?.[0];
  return band?.statistics?.mean ?? 0;
}

function terrainOf(item, relief) {
  const tilingScheme = new Cesium.WebMercatorTilingScheme();
  const box = Cesium.Rectangle.fromDegrees(...bounds(item.bbox));
  const base = groundHeight(item);
  const coarsest = coarsestLevel(item);
  const known = new Map();
  const tile = (x, y, level) => {
    const key = `${level}/${x}/${y}`;
    if (!known.has(key)) known.set(key, heights(item, x, y, level, base));
    return known.get(key);
  };
  return new Cesium.CustomHeightmapTerrainProvider({
    width: SAMPLES,
    height: SAMPLES,
    tilingScheme,
    callback(x, y, level) {
      const inside = Cesium.Rectangle.simpleIntersection(tilingScheme.tileXYToRectangle(x, y, level), box);
      if (!relief || !inside || level < coarsest) return new Float32Array(SAMPLES * SAMPLES).fill(base);
      const deeper = Math.max(0, level - FINEST_TERRAIN_LEVEL);
      const parent = tile(x >> deeper, y >> deeper, level - deeper);
      return deeper ? parent.then((values) => part(values, x, y, deeper)) : parent;
    },
  });
}

/** Return the heights of a tile *deeper* levels below the one that *values* are of. */
function part(values, x, y, deeper) {
  const share = 1 / 2 ** deeper;
  const [left, top] = [x, y].map((n) => (n & (2 ** deeper - 1)) * share * (SAMPLES - 1));
  const out = new Float32Array(SAMPLES * SAMPLES);
  for (let row = 0; row < SAMPLES; row++) {
    const v = top + row * share;
    const r = Math.min(Math.floor(v), SAMPLES - 2);
    for (let col = 0; col < SAMPLES; col++) {
      const u = left + col * share;
      const c = Math.min(Math.floor(u), SAMPLES - 2);
      const at = r * SAMPLES + c;
      const upper = values[at] + (u - c) * (values[at + 1] - values[at]);
      const lower = values[at + SAMPLES] + (u - c) * (values[at + SAMPLES + 1] - values[at + SAMPLES]);
      out[row * SAMPLES + col] = upper + (v - r) * (lower - upper);
    }
  }
  return out;
}

/** Return a tile's heights, decoded from terrain-RGB; the mean where the model is empty. */
async function heights(item, x, y, level, base) {
  const url = rasterTiles(item, "dtm", "png", "?algorithm=terrainrgb")
    .replace("{z}", level).replace("{x}", x).replace("{y}", y);
  const out = new Float32Array(SAMPLES * SAMPLES).fill(NaN);
  const response = await fetch(url);
  if (!response.ok) return out.fill(base); // beside the model
  const options = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
  const image = await createImageBitmap(await response.blob(), options);
  const context = new OffscreenCanvas(TILE_PX, TILE_PX).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, TILE_PX, TILE_PX);
  const { data } = context.getImageData(0, 0, TILE_PX, TILE_PX);
  for (let row = 0; row < SAMPLES; row++) {
    for (let col = 0; col < SAMPLES; col++) {
      const at = 4 * (pixel(row) * TILE_PX + pixel(col));
      if (data[at + 3] === 0) continue;
      out[row * SAMPLES + col] = -10000 + 0.1 * (65536 * data[at] + 256 * data[at + 1] + data[at + 2]);
    }
  }
  return spread(out, base);
}

/** Carry known heights along rows, then columns, into unknown samples: a rim without cliffs. */
function spread(values, base) {
  for (const [along, across] of [[1, SAMPLES], [SAMPLES, 1]]) {
    for (let line = 0; line < SAMPLES; line++) {
      for (const backward of [false, true]) {
        let last = NaN;
        for (let step = 0; step < SAMPLES; step++) {
          const at = line * across + (backward ? SAMPLES - 1 - step : step) * along;
          if (Number.isNaN(values[at])) values[at] = last;
          last = values[at];
        }
      }
    }
  }
  return values.map((value) => (Number.isNaN(value) ? base : value));
}

const pixel = (sample) => Math.min(TILE_PX - 1, Math.round((sample * TILE_PX) / (SAMPLES - 1)));

/** A light from the north-west, 50° high, as hillshades have it, whatever the time of day. */
function lightOver(box) {
  const centre = Cesium.Cartesian3.fromRadians(...Object.values(Cesium.Rectangle.center(box)).slice(0, 2));
  const local = Cesium.Transforms.eastNorthUpToFixedFrame(centre);
  const toGround = new Cesium.Cartesian3(0.45, -0.45, -0.77);
  const direction = Cesium.Matrix4.multiplyByPointAsVector(local, toGround, new Cesium.Cartesian3());
  return new Cesium.DirectionalLight({ direction: Cesium.Cartesian3.normalize(direction, direction), intensity: 2.2 });
}

function fly(viewer, box, height) {
  const { longitude, latitude } = Cesium.Rectangle.center(box);
  const centre = Cesium.Cartesian3.fromRadians(longitude, latitude, height);
  const corner = Cesium.Cartesian3.fromRadians(box.west, box.south, height);
  const range = 2.0 * Cesium.Cartesian3.distance(centre, corner);
  viewer.camera.lookAt(centre, new Cesium.HeadingPitchRange(0.35, -0.75, range));
  viewer.camera.lookAtTransform(Cesium.Matrix4.IDENTITY);
  if (viewer.canvas.clientWidth > 600) viewer.camera.moveRight(0.1 * range); // the details cover the right of the map
}
