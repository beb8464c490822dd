// Prints the Khronos validator's report of each GLB named on the command line, as one JSON array.
import { readFile } from "node:fs/promises";
import validator from "gltf-validator";

const reports = await Promise.all(
  process.argv.slice(2).map(async (path) =>
    validator.validateBytes(new Uint8Array(await readFile(path)), { uri: path, format: "glb", maxIssues: 0 }),
  ),
);
console.log(JSON.stringify(reports));
