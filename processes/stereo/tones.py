"""Dark and bright ends of what both images of a pair show, from samples of their common ground.

They are the same for all parts of a scene, so that parts are matched as the whole would be. Ends
taken from each part alone, and from what was matched there at the coarser levels, changed one
height in sixteen by more than 5 cm from one cut of a scene to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from shapely.geometry.base import BaseGeometry

from processes.stereo.coverage import pieces
from processes.stereo.epipolar import EpipolarField, Floats, Pixels
from processes.stereo.greys import Tones
from processes.stereo.light import share
from processes.stereo.match import match
from processes.stereo.pyramid import halve
from processes.stereo.view import View, rectified

SAMPLE_PX = 256
"""Side of a sample; there are up to nine. Five, or nine of 192, put the bright end up to a tenth
elsewhere; matched to whole pixels alone, bright roofs are lost, and .4 points of a village's."""
ENOUGH = 1000


def tones_of(
    left: View,
    right: View,
    field: EpipolarField,
    ground: BaseGeometry,
    *,
    heights_m: tuple[float, float],
    disparities: tuple[float, float],
) -> Tones | None:
    """Return the ends of what both images show of a ground, or None where that is too little.

    Samples are matched at a quarter of the resolution; what matches is looked up at half of it.
    """
    seen: tuple[list[Pixels], list[Pixels]] = ([], [])
    low, high = (0.25 * d for d in disparities)
    for lon, lat in pieces(ground, SAMPLE_PX * field.gsd_m):
        frame = field.frame(lon, lat, heights_m, step_px=4)
        halves = [halve(rectified(v, frame, s)) for v, s in ((left, "left"), (right, "right"))]
        if not all(np.isfinite(image).any() for image in halves):
            continue
        disparity = match(halve(halves[0]), halve(halves[1]), low, high, workers=1).disparity
        row, col = np.nonzero(np.isfinite(disparity))
        at = 2 * col + np.rint(2 * disparity[row, col]).astype(int)
        keep = (at >= 0) & (at < halves[1].shape[1]) & (2 * row < halves[1].shape[0])
        pair = halves[0][2 * row[keep], 2 * col[keep]], halves[1][2 * row[keep], at[keep]]
        known = np.isfinite(pair[0]) & np.isfinite(pair[1])
        for kept, values in zip(seen, pair, strict=True):
            kept.append(values[known])
    together = [_joined(values) for values in seen]
    return Tones.of_pairs(*together) if together[0].size >= ENOUGH else None


@dataclass(frozen=True, eq=False)
class Toned:
    """What a view shows of a piece of ground, between its ends: means of 3×3 pixels, read once."""

    view: View
    ends: tuple[float, float]
    corner: tuple[int, int]
    grey: Pixels
    """Row, col from the corner on; NaN where nothing is shown."""

    @classmethod
    def of(
        cls, view: View, ends: tuple[float, float], lon: Floats, lat: Floats, height: Floats
    ) -> Toned:
        """Return what a view shows of all between some points."""
        row, col = (
            np.clip(np.rint(at).astype(int), 0, side - 1)
            for at, side in zip(view.model.project(lon, lat, height), view.shape, strict=True)
        )
        top, left = int(row.min()) - 1, int(col.min()) - 1
        bands = view.read(top, left, int(row.max()) - top + 2, int(col.max()) - left + 2)
        return cls(view, ends, (top, left), bands.mean(axis=0, dtype=np.float32))

    def at(self, lon: Floats, lat: Floats, height: Pixels) -> Pixels:
        """Return the tones of points; NaN where the view does not show them."""
        seen = np.full(lon.shape, np.nan, np.float32)
        row, col = self.view.model.project(lon, lat, height)
        inside = (row >= 0) & (col >= 0)
        inside &= (row <= self.view.shape[0] - 1) & (col <= self.view.shape[1] - 1)
        r = np.rint(row[inside]).astype(int) - self.corner[0]
        c = np.rint(col[inside]).astype(int) - self.corner[1]
        here = (r >= 0) & (c >= 0) & (r < self.grey.shape[0]) & (c < self.grey.shape[1])
        means = _means(self.grey, r[here], c[here], np.float32(self.ends[1]))
        seen[np.flatnonzero(inside)[here]] = share(means, self.ends)
        return seen


@njit(cache=True, nogil=True, error_model="numpy")
def _means(grey, rows, cols, unknown):  # type: ignore[no-untyped-def]
    """Return means of 3×3 pixels, NaN where the middle one is; beside it NaN counts *unknown*."""
    height, width = grey.shape
    out = np.full(rows.size, np.float32(np.nan))
    for k in range(rows.size):
        if np.isnan(grey[rows[k], cols[k]]):
            continue
        total, count = 0.0, 0
        for r in range(max(rows[k] - 1, 0), min(rows[k] + 2, height)):
            for c in range(max(cols[k] - 1, 0), min(cols[k] + 2, width)):
                total += unknown if np.isnan(grey[r, c]) else grey[r, c]
                count += 1
        out[k] = total / count
    return out


def _joined(values: Sequence[Pixels]) -> Pixels:
    return np.concatenate(values) if values else np.empty(0, np.float32)
