// Prints what Cesium's own 3D Tiles tools make of a tileset: every tile, implicit ones expanded, and
// what a b3dm holds. One JSON array.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { ResourceResolvers, TileFormats, TilesetTraverser } from "3d-tiles-tools";

const file = process.argv[2];
const folder = path.dirname(file);
const tileset = JSON.parse(await readFile(file));
const traverser = new TilesetTraverser(folder, ResourceResolvers.createFileResourceResolver(folder), {
  depthFirst: false,
  traverseExternalTilesets: false,
});
const found = [];
await traverser.traverse(tileset, async (traversed) => {
  if (traversed.isImplicitTilesetRoot()) return true; // comes again as the first tile of the first subtree
  const { boundingVolume, geometricError, refine } = traversed.asFinalTile();
  const uris = traversed.getFinalContents().map(({ uri }) => uri);
  found.push({
    path: traversed.path,
    parent: traversed.getParent()?.path ?? null,
    region: boundingVolume.region,
    geometricError,
    refine,
    uris,
    batches: await Promise.all(uris.filter((uri) => uri.endsWith(".b3dm")).map(batch)),
  });
  return true;
});
console.log(JSON.stringify(found));

async function batch(uri) {
  const { header, featureTable, batchTable, payload } = TileFormats.readTileData(await readFile(path.join(folder, uri)));
  return {
    magic: header.magic,
    version: header.version,
    features: featureTable.json,
    batch: batchTable.json,
    glb: Buffer.from(payload).toString("base64"),
  };
}
