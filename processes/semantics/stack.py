"""The seven channels that a segmenter looks at: red, green, blue, nir, nDSM, NDVI and C3.

Colours are divided by the brightness of the scene, for counts come in any unit. C3 =
arctan(blue / max(red, green)), the shadow index of Gevers & Smeulders (1999), is high where only
the sky shines. What a sensor does not give is NaN; a panchromatic band stands in for red, green
and blue, whose equality says that there is no colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

CLASSES = ("building", "vegetation", "water", "road", "ground")
BUILDING, VEGETATION, WATER, ROAD, GROUND = range(len(CLASSES))
CHANNELS = ("red", "green", "blue", "nir", "ndsm", "ndvi", "c3")
COLOURS = ("red", "green", "blue")


def brightness(pieces: Sequence[Mapping[str, Floats]]) -> float:
    """Return the median brightness of pieces of a scene, in the image's own unit; 1 without any."""
    seen = []
    for bands in pieces:
        if bands:
            level = np.mean(np.stack(_visible(bands)), axis=0)
            seen.append(level[np.isfinite(level) & (level > 0)])
    values = np.concatenate(seen) if seen else np.zeros(0)
    return float(np.median(values)) if values.size else 1.0


def stack(above_ground: Floats, bands: Mapping[str, Floats], level: float) -> NDArray[np.float32]:
    """Return (7, row, col) in the order of `CHANNELS`; NaN is unknown.

    *level* is the scene's `brightness`: one for all blocks, else they would differ at borders.
    """
    nothing = np.full(above_ground.shape, np.nan, np.float32)
    red, green, blue = _visible(bands) if bands else (nothing, nothing, nothing)
    nir = bands.get("nir", nothing)
    coloured, own_red = set(COLOURS) <= bands.keys(), bands.get("red", nothing)
    with np.errstate(divide="ignore", invalid="ignore"):
        ndvi = (nir - own_red) / (nir + own_red)
        c3 = np.arctan2(blue, np.maximum(red, green)) if coloured else nothing
    values = np.stack([red, green, blue, nir, above_ground, ndvi, c3]).astype(np.float32)
    values[:4] /= np.float32(level)
    values[~np.isfinite(values)] = np.nan
    return np.asarray(values)


def _visible(bands: Mapping[str, Floats]) -> list[Floats]:
    """Return red, green and blue; the mean of what is visible in place of each without them."""
    if set(COLOURS) <= bands.keys():
        return [bands[name] for name in COLOURS]
    visible = [name for name in sorted(bands) if name != "nir"] or ["nir"]
    grey = np.mean(np.stack([bands[name] for name in visible]), axis=0)
    return [grey, grey, grey]
