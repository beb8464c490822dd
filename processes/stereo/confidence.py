"""How far each height may be off: the error, in metres, below which nine cells in ten stay.

It is read from small tables. A measured height is the better the surer its match is (the likelihood
that `match` and `fuse` give it), and the worse the rougher the surface beside it is: at a wall, a
match is right or wrong by the whole wall. Both go by pixels of parallax, so one table holds for any
ground sampling and base-to-height ratio. What was filled has no match: its error goes with the step
beside it and with the distance to what is measured, in metres.

The tables are fitted by tests/benchmarks/calibrate.py to eighteen built scenes whose truth is
exact, twelve towns and six small odd ones. Each judged by tables that never saw it, they hold 88.2
to 91.8 % of the cells of the twelve, and 87.6 (across track) to 93.3 % (a base-to-height ratio of
0.14) of the odd ones. Of what a scene could tell about its errors two things helped: how sharp the
images are (`sharpness`) and how large their pixels: without it, 86.8 % at 1 m and 92.4 % at 0.3 m.
No help were the noise of images and of level heights, roughness and likelihoods around, residuals
of tie points. The error is that of a cell beside the others: how far the level of the whole model
may be off, which hangs on the pointing of the images, is one number more.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.origin import Origin
from processes.stereo.sharpness import TYPICAL

Pixels = NDArray[np.float32]

CLAIM = 0.9
"""The share of cells that the error claims to hold."""
READ_PX = 1024
STEEP, LESS = 0.25, -0.25
"""Base-to-height ratio above which errors are less than pixels of parallax say, and by what power.
"""
FINE_M, COARSE = 0.5, 0.2
"""Ground sampling at which errors are as the tables say, and by what power they grow with it: what
stands on the ground is the fewer pixels wide."""
SHARP, EXACT = (0.675, 0.745), -1.5
"""Between these, the sharper images are, the less are errors, and by what power."""
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
    [0.293, 0.363, 0.541, 0.802, 1.05, 1.4, 2.19, 3.96, 7.03, 8.13, 8.31],
    [0.293, 0.363, 0.541, 0.802, 1.05, 1.37, 2.19, 3.96, 7.03, 8.13, 8.31],
    [0.293, 0.363, 0.541, 0.802, 1.05, 1.35, 2.05, 3.96, 7.03, 8.13, 8.31],
    [0.293, 0.363, 0.541, 0.802, 1.05, 1.35, 2.03, 3.96, 6.9, 8.13, 8.31],
    [0.293, 0.363, 0.541, 0.802, 0.961, 1.13, 1.87, 3.89, 6.87, 7.94, 8.03],
    [0.293, 0.363, 0.518, 0.709, 0.783, 0.963, 1.74, 3.65, 6.33, 7.23, 7.24],
    [0.269, 0.333, 0.461, 0.589, 0.634, 0.84, 1.56, 3.1, 5.25, 6.05, 6.03],
    [0.233, 0.3, 0.408, 0.461, 0.478, 0.674, 1.26, 2.42, 4.01, 4.66, 4.64],
    [0.191, 0.24, 0.31, 0.347, 0.367, 0.526, 0.948, 1.69, 2.68, 3.23, 3.33],
    [0.149, 0.181, 0.222, 0.216, 0.243, 0.396, 0.705, 1.18, 1.76, 2.18, 2.36],
    [0.11, 0.132, 0.129, 0.129, 0.186, 0.322, 0.557, 0.888, 1.27, 1.59, 1.75],
    [0.0946, 0.0811, 0.0783, 0.107, 0.17, 0.29, 0.479, 0.737, 1.03, 1.28, 1.42],
    [0.0946, 0.0747, 0.0783, 0.107, 0.17, 0.279, 0.447, 0.672, 0.925, 1.15, 1.28],
])
"""Errors in units of `unit_m`, by how sure a match is (rows) and how rough its place."""
OCCLUDED = np.array([
    [0.701, 1.45, 2.3, 2.9, 2.56, 3.45, 7.06, 15.4, 27.5],
    [2.38, 3.7, 4.37, 4.63, 4.55, 4.14, 6.47, 13.6, 18.6],
    [3.58, 5.17, 5.83, 6.13, 6.33, 6.46, 8.3, 12.5, 15.1],
    [5.15, 6.33, 6.95, 7.32, 7.72, 8.19, 9.6, 12.1, 13.7],
    [6.64, 7.39, 7.9, 8.33, 8.82, 9.43, 10.5, 12, 13],
    [7.61, 8.14, 8.55, 8.99, 9.5, 10.1, 11, 11.9, 12.6],
    [8.06, 8.52, 8.91, 9.32, 9.83, 10.4, 11.1, 11.9, 12.4],
])
"""Errors of filled cells, metres, by distance (rows) and step: behind walls …"""
BRIDGED = np.array([
    [2.82, 1.62, 1.12, 1.22, 1.62, 4.33, 6.72, 9.71, 10.9],
    [5.67, 4.95, 3.9, 3.62, 3.53, 4.76, 6.27, 7.89, 8.83],
    [5.53, 5.16, 4.72, 4.54, 4.57, 5.22, 6.03, 6.9, 7.43],
    [5.27, 5.13, 4.98, 4.91, 5.04, 5.36, 5.83, 6.3, 6.6],
    [5.11, 5.06, 5.01, 5.02, 5.14, 5.36, 5.65, 5.93, 6.1],
    [5.02, 5.01, 5.01, 5.05, 5.16, 5.32, 5.52, 5.7, 5.81],
    [4.99, 4.99, 5.01, 5.06, 5.15, 5.29, 5.45, 5.59, 5.68],
])
"""… in narrow gaps …"""
SPANNED = np.array([
    [4.01, 4.17, 3.61, 3.53, 4.73, 6.16, 8.81, 14.5, 18.3],
    [6.21, 6.28, 6.08, 5.53, 6.15, 7.34, 9.87, 14.6, 18.1],
    [7.56, 7.78, 7.72, 7.28, 7.77, 8.74, 11.1, 15, 17.7],
    [8.94, 9.91, 9.03, 8.89, 9.31, 10.2, 12.2, 15.1, 17],
    [10.5, 12.1, 11.2, 10.8, 11, 11.8, 13.2, 15, 16.2],
    [12.1, 13.1, 12.7, 12.7, 13.2, 13.8, 14.3, 15.1, 15.7],
    [12.9, 13.4, 13.7, 14.3, 15.3, 15.4, 15.3, 15.4, 15.6],
])
"""… across wide voids …"""
CROWNED = np.array([
    [5.12, 4.78, 3.98, 2.62, 1.71, 3.28, 5.92, 8.53, 8.26],
    [5.47, 5.31, 5.04, 4.67, 4.05, 3.65, 6, 7.52, 7.82],
    [5.93, 5.9, 5.86, 5.81, 5.29, 4.54, 5.86, 7.34, 7.53],
    [6.46, 6.39, 6.39, 6.41, 6.15, 5.59, 5.96, 6.98, 7.27],
    [6.95, 6.83, 6.77, 6.78, 6.7, 6.51, 6.64, 7.02, 7.2],
    [7.23, 7.1, 6.99, 6.98, 6.95, 6.89, 6.95, 7.11, 7.2],
    [7.3, 7.18, 7.1, 7.06, 7.04, 7.01, 7.05, 7.15, 7.21],
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
    sharp: float,
) -> Pixels:
    """Return the error that a cell's height stays below nine times in ten; NaN where it has none.

    *likelihood*: that a measured height is right, 0 to 1. *px_m*: how much height a pixel of
    parallax is, the ground sampling *gsd_m* over the base-to-height ratio. *sharp*: as `sharpness`
    finds it. The tables are of cells as large as pixels; between larger ones heights differ more,
    by the root of their size.
    """
    rough = relief_m(dsm)
    alike = np.float32(min(1.0, gsd_m / cell_m) ** 0.5)
    places = seen_place(likelihood, rough * alike, px_m)
    error = np.float32(unit_m(gsd_m, px_m, sharp)) * read(MEASURED, *places)
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


def unit_m(gsd_m: float, px_m: float, sharp: float) -> float:
    """Return what errors are counted in, metres: a pixel of parallax, less where better seen."""
    wide = max(gsd_m / px_m / STEEP, 1.0)
    sharper = float(np.clip(sharp, *SHARP)) / TYPICAL
    return float(px_m * wide**LESS * sharper**EXACT * (gsd_m / FINE_M) ** COARSE)


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
    far = cv2.distanceTransform(bare, cv2.DIST_L2, cv2.DIST_MASK_5)
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
