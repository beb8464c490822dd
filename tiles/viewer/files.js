// Images on the user's own computer: sent to the server first, then named in the request as STAC Items.

import { json } from "./api.js";

const IMAGE = /\.(tiff?|jp2)$/i;
const MODEL = /\.(txt|rpb|geom|xml)$/i;
const FACTS = /^dim_/i; // DIMAP's description of an image: no sensor model

/** Send *files*; return a STAC Item for each image, with its sensor models. *told* hears what is sent. */
export async function sendImages(files, headers, told) {
  const chosen = [...files];
  const images = chosen.filter(({ name }) => IMAGE.test(name));
  const models = chosen.filter(({ name }) => MODEL.test(name) && !FACTS.test(name));
  if (chosen.length > 0 && images.length === 0) {
    throw new Error("None of these files is an image: choose GeoTIFFs, and their RPC files with them.");
  }
  const addresses = new Map();
  for (const file of [...images, ...models]) {
    told(`Sending ${file.name}, ${Math.ceil(file.size / 1e6)} MB`);
    addresses.set(file, (await send(file, headers)).href);
  }
  return images.map((image) => {
    const own = models.filter(({ name }) => stem(name).startsWith(stem(image.name)));
    const sensor = own.map((file, number) => [`rpc-${number}`, { href: addresses.get(file), roles: ["metadata", "rpc"] }]);
    const assets = { image: { href: addresses.get(image), roles: ["data"] }, ...Object.fromEntries(sensor) };
    return { type: "Feature", id: image.name.replace(IMAGE, ""), properties: {}, assets };
  });
}

const send = (file, headers) => json(`uploads/${encodeURIComponent(file.name)}`, {
  method: "PUT",
  headers: { ...headers, "Content-Type": "application/octet-stream" },
  body: file,
});

/** What an image and its sensor model are both called: IMG_A_R1C1.TIF and RPC_A.XML are of A. */
function stem(name) {
  const plain = name.toLowerCase().replace(/\.[^.]*$/, "").replace(/^(img|rpc)_/, "");
  return plain.replace(/_rpc$/, "").replace(/_r\d+c\d+$/, "");
}
