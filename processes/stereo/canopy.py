"""Crowns: what is filled up to the canopy, not from the ground.

Half of a crown is seen by one image only, as the ground behind a wall is; filled from the ground
side, crowns lose that half, which made three quarters of the squared error on a scene with gardens.
Plants are told by their colour: a void whose ground, as every image looks at it, is green, and
whose nearest measured neighbour stands higher, belongs to that neighbour.

On two built scenes, RMSE and completeness at 1 m of all cells, and of trees:

    filled from the ground side              2.17 m 0.884 0.433     2.81 m 0.923 0.466
    green voids up to the nearest cell       1.70 m 0.892 0.529     2.73 m 0.925 0.516
    the same, lower the further it is        1.66 m 0.891 0.52      2.72 m 0.924 0.51
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.raster import Grid
from processes.stereo.epipolar import Floats, Pixels
from processes.stereo.pointing import View

Plane = Callable[[Floats, Floats], tuple[Floats, Floats]]

GREEN, GREENEST = 0.27, 0.5
"""NDVI that all images must see in a void, and that one of them must."""
BARE = -1.0
"""NDVI of what is not there."""
STEP_M = 0.7
"""A crown stands at least so much above what the void was filled with."""
REACH_M = 4.0
FALL = 0.17
"""Share of the crown's height that is lost for each metre from what was measured of it …"""
LEAST = 0.5
"""… until this is left."""


def raised(
    dsm: Pixels,
    measured: NDArray[np.bool_],
    grid: Grid,
    views: Sequence[View],
    to_degrees: Plane,
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return filled heights (row, col) with crowns completed, and which cells these are."""
    void = np.isfinite(dsm) & ~measured
    crown = np.zeros(dsm.shape, bool)
    views = [view for view in views if view.spectral is not None]
    if not void.any() or not measured.any() or len(views) < 2:
        return dsm, crown
    away, nearest = cv2.distanceTransformWithLabels(
        (~measured).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    height = np.zeros(int(nearest.max()) + 1, np.float32)
    height[nearest[measured]] = dsm[measured]
    step = np.where(void, height[nearest] - dsm, np.float32(0.0))
    candidate = (step > STEP_M) & (away * grid.cell_m <= REACH_M)
    row, col = np.nonzero(candidate)
    if not row.size:
        return dsm, crown
    lon, lat = to_degrees(*grid.xy(row, col))
    seen = np.stack([greenness(view, lon, lat, dsm[row, col]) for view in views])
    known = np.isfinite(seen)
    least = np.where(known, seen, np.inf).min(axis=0)
    most = np.where(known, seen, -np.inf).max(axis=0)
    green = (least > GREEN) & (most > GREENEST) & known.any(axis=0)
    row, col = row[green], col[green]
    crown[row, col] = True
    share = np.maximum(1.0 - FALL * away[row, col] * grid.cell_m, LEAST)
    dsm = dsm.copy()
    dsm[row, col] += (share * step[row, col]).astype(np.float32)
    return dsm, crown


def greenness(view: View, lon: Floats, lat: Floats, height: Pixels) -> Floats:
    """Return the NDVI (mean of 3×3 pixels) that a view sees at points; NaN where it sees none."""
    assert view.spectral is not None
    row, col = view.model.project(lon, lat, height)
    out = np.full(row.shape, np.nan)
    rows, cols = view.shape
    inside = (row >= 0) & (col >= 0) & (row <= rows - 1) & (col <= cols - 1)
    if not inside.any():
        return out
    r, c = np.rint(row[inside]).astype(int), np.rint(col[inside]).astype(int)
    row0, col0 = int(r.min()) - 1, int(c.min()) - 1
    red, nir = view.spectral(row0, col0, int(r.max()) - row0 + 2, int(c.max()) - col0 + 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        index = np.where(red + nir > 0, (nir - red) / (nir + red), BARE).astype(np.float32)
    out[inside] = cv2.blur(index, (3, 3))[r - row0, c - col0]
    return out
