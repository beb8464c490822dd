"""Heights that the sun contradicts: what should lie in the light but is as black as shade.

In a narrow street in the shadow of high blocks images have little to compare, and a roof is carried
on over it, or islands of mismatches stand there at roof height, from which all around them is then
filled. Up there the sun would shine, and the images show that it does not; on the ground beneath,
shade is what is expected. Such a height is no measurement: the cell is void, and filled from the
ground side as any other. Crowns shade themselves: what is green, or beside it, is left alone.
Without that 15,000 cells of trees that were right became void on a town of .3 m pixels, not 1,500.

Black is what is nearly as dark as the darkest that both images show of the scene; that is known
before any block is made, hence no seams. On twelve towns one limit a scene, sought over all of its
cells, was best at .05 to .14 of the way from dark to bright; here it is that of `outliers`. Of what
should lie in the light and is darker, with shade beneath, 6 to 9.9 cells in 10 were wrong. Limits
learnt from coarse samples of the scene (a quarter of the resolution) were not to be had: in them
half of what should lie in shade is bright where houses are small, and one in twenty of what stands
in the light is black. Limits learnt block by block told least where most was wrong, and differed
from block to block.

On eighteen scenes, within 1 m of all cells +.07 points, ground +.15, at building edges +.48
(suburbs .4 to 1.2), buildings −.07 (at worst −.24: beside their eaves lies a lower cell now), trees
−.21 (at worst −.83, on pixels of .3 m), RMSE 1.415 → 1.385 m (suburb3 1.81 → 1.72, suburb 1.12 →
1.03; flat2 .837 → .845). MAE of roofs .724 → .701 m: suburb3 1.28 → 1.16, suburb2 .92 → .85, better
by .01 to .05 on twelve more, worse on dense2 and suburb4 by .006 and on village by .03, where one
house, of whose cells none changed, is outlined no longer; F1 .950 → .952, suburb3 and suburb4 −.01.
With the lowest sought 20 m around, further than blocks see beside them, suburb3's RMSE was 1.705.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.raster import Grid
from processes.stereo.canopy import Green
from processes.stereo.epipolar import Pixels
from processes.stereo.orthorectify import sunlit
from processes.stereo.outliers import BLACK, Brightness

Mask = NDArray[np.bool_]
Sun = tuple[float, float]
"""Azimuth and elevation, degrees."""

HIGH_M = 3.0
"""So far above the lowest around stands what may be a mismatch."""
AROUND_M, COARSE_M = 15.0, 2.0
"""How far the lowest is sought, and how wide the cells are among which it is."""
GRAZING_DEG = 5.0
"""Roofs that light only grazes are dark: a lower sun, by so much, must reach a cell as well."""
LOWEST_DEG = 15.0
"""Under a lower sun nearly all lies in shade, or it is night."""
EVERY = 2
"""Of so many rows and columns one is looked at first, and what is beside the dark ones next."""


def contradicted(
    dsm: Pixels, grid: Grid, brightness: Brightness, suns: Sequence[Sun], green: Green
) -> Mask:
    """Return which measured cells (row, col; NaN where void) the suns say are not so high.

    *brightness*: in the image that shows cells brighter; *suns*: those of both images, or none,
    which tell nothing; *green* says which of some cells are, at their heights.
    """
    if not suns:
        return np.zeros(dsm.shape, bool)
    floor = _lowest(dsm, grid)
    raised = np.isfinite(dsm) & (dsm - floor > HIGH_M)
    first = np.zeros(dsm.shape, bool)
    top, left = grid.first(EVERY)
    first[top::EVERY, left::EVERY] = raised[top::EVERY, left::EVERY]
    dark = _dark(first, dsm, brightness)
    dark |= _dark(raised & _around(dark, EVERY) & ~first, dsm, brightness)
    for azimuth, elevation in suns:
        dark &= sunlit(dsm, grid.cell_m, azimuth, elevation - GRAZING_DEG, asked=dark)
    beneath, out = np.where(dark, floor, dsm), dark
    for azimuth, elevation in suns:
        out = out & ~sunlit(beneath, grid.cell_m, azimuth, elevation, asked=out)
    return out & ~_around(green(_around(out, 1), dsm), 1)


def suns_of(suns: Sequence[Sun | None]) -> list[Sun]:
    """Return the suns of some images, the same ones once; none if one is unknown or low."""
    known = [sun for sun in suns if sun is not None and sun[1] >= LOWEST_DEG]
    return list(dict.fromkeys(known)) if len(known) == len(suns) else []


def _around(mask: Mask, cells: int) -> Mask:
    """Return a mask with so many cells around it."""
    box = np.ones((2 * cells + 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate(mask.view(np.uint8), box) > 0)


def _dark(where: Mask, dsm: Pixels, brightness: Brightness) -> Mask:
    """Return which cells are as dark as shade."""
    row, col = np.nonzero(where)
    out = np.zeros(dsm.shape, bool)
    if row.size:
        out[row, col] = brightness(row, col, dsm[row, col]) < BLACK
    return out


def _lowest(dsm: Pixels, grid: Grid) -> Pixels:
    """Return the lowest measured height around each cell, along slopes too."""
    wide = max(1, round(COARSE_M / grid.cell_m))
    before = [-first % wide for first in grid.first(wide)]
    down, across = (-(-(n + k) // wide) for n, k in zip(dsm.shape, before, strict=True))
    whole = np.full((down * wide, across * wide), np.float32(np.nan))
    inside = tuple(slice(k, k + n) for n, k in zip(dsm.shape, before, strict=True))
    whole[inside] = dsm
    least = np.full((down, across), np.float32(np.inf))
    for row in range(wide):
        for col in range(wide):
            np.fmin(least, whole[row::wide, col::wide], out=least)
    side = 2 * max(1, round(AROUND_M / (wide * grid.cell_m))) + 1
    box = np.ones((side, side), np.uint8)
    least = cv2.erode(least, box)
    least = cv2.dilate(np.where(np.isfinite(least), least, np.float32(-1e6)), box)
    fine = cv2.resize(least, whole.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine[inside], np.float32)
