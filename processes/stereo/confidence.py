"""How far each height may be off: the error, in metres, below which nine cells in ten stay.

It is read from small tables. A measured height is the better the surer its match is (the likelihood
that `match` and `fuse` give it), and the worse the rougher the surface beside it is: at a wall, a
match is right or wrong by the whole wall. Both go by pixels of parallax, so one table holds for any
ground sampling and base-to-height ratio. What was filled has no match: its error goes with the step
beside it and with the distance to what is measured, in metres.

The tables are fitted by tests/benchmarks/calibrate.py to four built scenes whose truth is exact.
On five that they were not fitted to, with base-to-height ratios of 0.26 to 0.6, they held 88.8 to
91.9 % of the cells; counted in pixels of parallax alone, 87.4 to 94.2 %, too modest where the base
is wide. The error is that of a cell beside the others: how far the level of the whole model may be
off, which hangs on the pointing of the images, is one number more.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.origin import Origin

Pixels = NDArray[np.float32]

CLAIM = 0.9
"""The share of cells that the error claims to hold."""
READ_PX = 1024
STEEP, LESS = 0.25, -0.25
"""Base-to-height ratio above which errors are less than pixels of parallax say, and by what power.
"""
KEPT_BITS = 5
"""Binary digits kept of an error: it is not known better than to 3 %, and packs the better."""


@dataclass(frozen=True)
class Axis:
    """Where the nodes of a table lie: *count* of them, *step* apart, from *first* on."""

    first: float
    step: float
    count: int

    def place(self, values: Pixels) -> Pixels:
        """Return where values lie among the nodes, 0 to *count* − 1; beyond the ends, at them."""
        return np.clip((values - self.first) / self.step, 0, self.count - 1).astype(np.float32)


SURE = Axis(-1.5, 0.75, 13)
"""Log odds that a match is right: 18 % to 99.95 %."""
ROUGH = Axis(-5.0, 1.0, 11)
"""Log2 of the range of heights among a cell and its eight neighbours, in pixels of parallax …"""
STEP = Axis(-3.0, 1.0, 9)
"""… and in metres."""
AWAY = Axis(0.5, 0.5, 7)
"""Distance to the nearest measured cell, metres."""

# fmt: off
MEASURED = np.array([
    [0.239, 0.299, 0.421, 0.625, 0.944, 1.43, 2.18, 3.31, 4.6, 5.54, 6.01],
    [0.192, 0.266, 0.399, 0.611, 0.93, 1.39, 2.17, 3.58, 5.17, 6.03, 6.39],
    [0.12, 0.228, 0.388, 0.605, 0.902, 1.28, 2.05, 3.96, 6.39, 6.92, 6.96],
    [0.23, 0.329, 0.52, 0.776, 1.04, 1.29, 2.05, 3.99, 6.41, 7.06, 7.14],
    [0.303, 0.393, 0.574, 0.779, 0.94, 1.12, 1.96, 3.97, 6.31, 6.75, 6.71],
    [0.308, 0.388, 0.528, 0.673, 0.772, 0.998, 1.81, 3.56, 5.47, 5.8, 5.7],
    [0.275, 0.362, 0.491, 0.598, 0.67, 0.891, 1.5, 2.74, 4.14, 4.53, 4.47],
    [0.246, 0.336, 0.439, 0.48, 0.512, 0.699, 1.13, 1.93, 2.96, 3.32, 3.33],
    [0.208, 0.264, 0.337, 0.356, 0.353, 0.516, 0.822, 1.34, 2.01, 2.33, 2.4],
    [0.165, 0.199, 0.235, 0.209, 0.244, 0.385, 0.615, 0.951, 1.35, 1.62, 1.74],
    [0.126, 0.16, 0.144, 0.109, 0.182, 0.306, 0.487, 0.73, 1, 1.21, 1.32],
    [0.1, 0.106, 0.0761, 0.0756, 0.153, 0.263, 0.416, 0.611, 0.822, 0.998, 1.1],
    [0.0959, 0.0874, 0.0808, 0.0959, 0.153, 0.249, 0.386, 0.559, 0.745, 0.904, 0.994],
])
"""Errors in units of `unit_m`, by how sure a match is (rows) and how rough its place."""
OCCLUDED = np.array([
    [0.744, 1.34, 2.22, 3.02, 2.72, 3.31, 6.97, 14.5, 22.8],
    [2.3, 3.86, 4.44, 4.82, 5.09, 5.14, 6.96, 13.4, 17.3],
    [2.75, 5.13, 5.74, 6.18, 6.9, 7.63, 8.8, 12.8, 14.9],
    [3.36, 5.56, 6.58, 7.23, 8.13, 9.13, 10.2, 12.5, 13.7],
    [4.57, 6.07, 7.03, 7.83, 8.75, 9.78, 10.8, 12.1, 12.9],
    [5.51, 6.24, 7.02, 7.87, 8.86, 9.83, 10.8, 11.7, 12.2],
    [5.85, 6.3, 6.97, 7.81, 8.78, 9.78, 10.7, 11.5, 11.9],
])
"""Errors of filled cells, metres, by distance (rows) and step: behind walls …"""
BRIDGED = np.array([
    [3.3, 1.83, 1.34, 1.45, 1.66, 5.11, 6.76, 8.26, 8.97],
    [2.67, 2.18, 1.93, 2.04, 2.51, 4, 5.29, 6.37, 7.03],
    [2.49, 2.35, 2.29, 2.44, 2.86, 3.65, 4.48, 5.17, 5.58],
    [2.47, 2.45, 2.49, 2.65, 2.98, 3.47, 4, 4.45, 4.71],
    [2.49, 2.51, 2.59, 2.74, 3, 3.34, 3.7, 4, 4.18],
    [2.51, 2.55, 2.63, 2.78, 2.99, 3.25, 3.52, 3.74, 3.87],
    [2.52, 2.56, 2.65, 2.79, 2.98, 3.21, 3.43, 3.62, 3.73],
])
"""… in narrow gaps …"""
SPANNED = np.array([
    [5.06, 4.93, 4.31, 4.77, 5.81, 6.85, 9.85, 15.9, 20],
    [7.26, 6.82, 6.91, 6.6, 7.7, 9.55, 12.9, 17.2, 20.3],
    [12.9, 9.65, 8.82, 9.31, 10.4, 12.3, 15.5, 18.7, 21.1],
    [16.4, 14.8, 12.5, 12.5, 13.1, 14.7, 17.5, 19.7, 21.4],
    [17.1, 16.7, 15.4, 14.9, 14.9, 16.3, 18.4, 19.4, 20.5],
    [17.3, 17.1, 16.7, 16.3, 16.4, 17.6, 18.9, 19.5, 19.9],
    [17.2, 17.1, 17, 16.8, 17, 18, 18.9, 19.4, 19.7],
])
"""… across wide voids …"""
CROWNED = np.array([
    [6.95, 6.4, 5.38, 3.8, 2.18, 3.35, 6.41, 11.7, 11.3],
    [7.32, 7.02, 6.5, 5.98, 5.56, 4.93, 6.59, 11.6, 11],
    [7.78, 7.63, 7.51, 7.47, 7.52, 7.29, 7.26, 9.92, 10.1],
    [8.12, 8.12, 8.16, 8.25, 8.26, 8.12, 8.1, 9.06, 9.43],
    [8.4, 8.43, 8.51, 8.58, 8.62, 8.6, 8.64, 8.95, 9.13],
    [8.59, 8.62, 8.67, 8.74, 8.78, 8.79, 8.84, 8.94, 9.03],
    [8.69, 8.71, 8.74, 8.79, 8.83, 8.87, 8.9, 8.96, 9.01],
])
"""… and in trees."""
# fmt: on

FILLED = {
    Origin.FILLED_OCCLUSION: OCCLUDED,
    Origin.FILLED_GAP: BRIDGED,
    Origin.INTERPOLATED: SPANNED,
    Origin.CROWN: CROWNED,
}


def error_m(
    dsm: Pixels,
    likelihood: Pixels,
    origin: NDArray[np.uint8],
    *,
    cell_m: float,
    gsd_m: float,
    px_m: float,
) -> Pixels:
    """Return the error that a cell's height stays below nine times in ten; NaN where it has none.

    *likelihood*: that a measured height is right, 0 to 1. *px_m*: how much height a pixel of
    parallax is, the ground sampling *gsd_m* over the base-to-height ratio. The tables are of cells
    as large as pixels; between larger ones heights differ more, by the root of their size.
    """
    rough = relief_m(dsm)
    alike = np.float32(min(1.0, gsd_m / cell_m) ** 0.5)
    places = seen_place(likelihood, rough * alike, px_m)
    error = np.float32(unit_m(gsd_m, px_m)) * read(MEASURED, *places)
    filled = np.nonzero(np.isin(origin, list(FILLED)))
    if filled[0].size:
        away = distance_m(origin, cell_m)[filled]
        places = filled_place(away, rough[filled])
        named = origin[filled]
        new = np.zeros(named.size, np.float32)
        for name in np.unique(named):
            new[named == name] = read(FILLED[Origin(name)], *places)[named == name]
        error[filled] = new
    error[~np.isfinite(dsm)] = np.nan
    return _rounded(error)


def unit_m(gsd_m: float, px_m: float) -> float:
    """Return what errors are counted in, metres: a pixel of parallax, a bit less of a wide base."""
    return float(px_m * max(gsd_m / px_m / STEEP, 1.0) ** LESS)


def relief_m(dsm: Pixels) -> Pixels:
    """Return the range of the known heights among each cell and its eight neighbours."""
    known = np.isfinite(dsm)
    box = np.ones((3, 3), np.uint8)
    high = cv2.dilate(np.where(known, dsm, np.float32(-1e6)), box)
    low = cv2.erode(np.where(known, dsm, np.float32(1e6)), box)
    return np.asarray(high - low, np.float32)


def distance_m(origin: NDArray[np.uint8], cell_m: float) -> Pixels:
    """Return how far each cell is from the nearest measured one."""
    bare = (origin != Origin.SEEN).view(np.uint8)
    far = cv2.distanceTransform(bare, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(far * np.float32(cell_m), np.float32)


def seen_place(likelihood: Pixels, rough_m: Pixels, px_m: float) -> tuple[Pixels, Pixels]:
    """Return the row and column in MEASURED of measured cells."""
    sure = np.clip(likelihood, np.float32(0.01), np.float32(0.9999))
    odds = np.log(sure / (1 - sure))
    return SURE.place(odds), ROUGH.place(_log2(rough_m / np.float32(px_m)))


def filled_place(away_m: Pixels, step_m: Pixels) -> tuple[Pixels, Pixels]:
    """Return the row and column of filled cells in their table."""
    return AWAY.place(away_m), STEP.place(_log2(step_m))


def read(table: NDArray[np.float64], row: Pixels, col: Pixels) -> Pixels:
    """Return errors between the nodes of a table, in steps of ¹⁄₃₂ node; their logs are linear."""
    size = row.size
    if size == 0:
        return np.empty(row.shape, np.float32)
    # what is read lies in rows of an image: OpenCV's may not be longer than 32767
    image = np.zeros((2, -(-size // READ_PX), READ_PX), np.float32)
    image[0].ravel()[:size], image[1].ravel()[:size] = row.ravel(), col.ravel()
    logs = np.log(table).astype(np.float32)
    found = cv2.remap(logs, image[1], image[0], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.exp(found).ravel()[:size].reshape(row.shape), np.float32)


def _log2(values: Pixels) -> Pixels:
    return np.asarray(np.log2(np.maximum(values, np.float32(1e-3))), np.float32)


def _rounded(values: Pixels) -> Pixels:
    """Return values to KEPT_BITS binary digits; NaN stays."""
    dropped = 23 - KEPT_BITS
    bits = np.ascontiguousarray(values, np.float32).view(np.int32)
    bits = (bits + (1 << (dropped - 1))) & np.int32(-1 << dropped)
    return np.asarray(np.where(np.isfinite(values), bits.view(np.float32), values), np.float32)
