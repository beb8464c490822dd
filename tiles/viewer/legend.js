// What the colours of a layer mean.

/** Heights above ground that the first and the last colour of viridis stand for. */
export const HEIGHTS_M = [0, 25];
const VIRIDIS = "linear-gradient(to right, #440154, #3b528b, #21918c, #5ec962, #fde725)";

/** Put into *list* what the colours of the item's *layer* mean: nothing where they mean nothing. */
export function explain(list, item, layer) {
  const rows = layer === "ndsm" ? [scale()] : classes(item.assets[layer]).map(row);
  list.replaceChildren(...rows);
  list.hidden = rows.length === 0;
}

function classes(asset) {
  return (asset?.bands?.[0]["classification:classes"] ?? []).filter((one) => one.color_hint);
}

function row({ color_hint: colour, description }) {
  return line(description, `#${colour}`, "swatch");
}

function scale() {
  const [low, high] = HEIGHTS_M;
  return line(`${low} to ${high} m and more above ground`, VIRIDIS, "scale");
}

function line(text, background, shape) {
  const sample = document.createElement("span");
  sample.className = shape;
  sample.style.background = background;
  const out = document.createElement("li");
  out.append(sample, text);
  return out;
}
