// The server's own addresses, right behind any prefix: the page lies one folder below the root.

export const ROOT = new URL("..", new URL(".", document.baseURI));

/** Return the parsed JSON answer, or throw an Error with the server's own words. */
export async function json(path, options = {}) {
  const response = await fetch(new URL(path, ROOT), {
    ...options,
    headers: { Accept: "application/json", ...options.headers },
  });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(body.detail ?? body.title ?? body.description ?? `the server answered ${response.status}`);
  }
  return body;
}

/** Return an address with {z}, {x} and {y} in it, which a URL object would escape. */
export const rasterTiles = (item, asset, ending, query = "") =>
  `${ROOT.href}raster/${item.id}/${asset}/tiles/WebMercatorQuad/{z}/{x}/{y}.${ending}${query}`;
