"""How far each height may be off: the error, in metres, below which nine cells in ten stay.

It is read from small tables. A measured height is the better the surer its match is (the likelihood
that `match` and `fuse` give it), and the worse the rougher the surface beside it is: at a wall, a
match is right or wrong by the whole wall. Both go by pixels of parallax, so one table holds for any
ground sampling and base-to-height ratio. What was filled has no match: its error goes with the step
beside it and with the distance to what is measured, in metres.

The tables are fitted by tests/benchmarks/calibrate.py to eighteen built scenes whose truth is
exact, twelve towns and six small odd ones. Each judged by tables that never saw it, they hold 88.1
to 92.0 % of the cells of the twelve, and 86.9 (across track) to 93.4 % (a base-to-height ratio of
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
    [0.288, 0.365, 0.544, 0.796, 1.04, 1.35, 2.14, 3.99, 7.15, 8.38, 8.5],
    [0.288, 0.365, 0.544, 0.796, 1.04, 1.33, 2.14, 3.99, 7.15, 8.38, 8.5],
    [0.288, 0.365, 0.544, 0.796, 1.04, 1.33, 2.02, 3.99, 7.15, 8.38, 8.5],
    [0.288, 0.365, 0.544, 0.796, 1.04, 1.33, 2.02, 3.99, 7.13, 8.38, 8.5],
    [0.288, 0.365, 0.544, 0.796, 0.976, 1.13, 1.86, 3.9, 6.97, 8.17, 8.26],
    [0.288, 0.365, 0.507, 0.665, 0.754, 0.946, 1.76, 3.78, 6.62, 7.55, 7.51],
    [0.259, 0.335, 0.459, 0.571, 0.628, 0.821, 1.58, 3.22, 5.45, 6.35, 6.31],
    [0.227, 0.3, 0.409, 0.465, 0.482, 0.674, 1.29, 2.51, 4.14, 4.89, 4.89],
    [0.186, 0.241, 0.312, 0.346, 0.355, 0.524, 0.979, 1.77, 2.81, 3.41, 3.54],
    [0.149, 0.185, 0.22, 0.223, 0.244, 0.401, 0.725, 1.23, 1.84, 2.3, 2.51],
    [0.11, 0.132, 0.133, 0.13, 0.184, 0.324, 0.569, 0.921, 1.33, 1.68, 1.87],
    [0.094, 0.0803, 0.0709, 0.102, 0.168, 0.292, 0.49, 0.763, 1.08, 1.35, 1.51],
    [0.094, 0.0692, 0.0709, 0.102, 0.168, 0.28, 0.457, 0.696, 0.969, 1.21, 1.36],
])
"""Errors in units of `unit_m`, by how sure a match is (rows) and how rough its place."""
OCCLUDED = np.array([
    [0.539, 1.16, 1.88, 2.46, 2.35, 3.07, 6.43, 14.7, 21.9],
    [0.991, 2.28, 3.34, 4, 4.27, 3.86, 6.09, 13.4, 17.2],
    [1.43, 3.41, 4.86, 5.51, 5.93, 6.12, 7.78, 12.1, 14.2],
    [3.03, 4.95, 6.14, 6.75, 7.26, 7.68, 8.9, 11.3, 12.6],
    [4.96, 6.24, 7.13, 7.76, 8.34, 8.86, 9.72, 11, 11.9],
    [6.26, 7, 7.72, 8.42, 9.07, 9.65, 10.3, 11, 11.5],
    [6.75, 7.33, 8.03, 8.74, 9.47, 10, 10.6, 11, 11.3],
])
"""Errors of filled cells, metres, by distance (rows) and step: behind walls …"""
BRIDGED = np.array([
    [2.76, 1.64, 1.14, 1.15, 1.82, 3.98, 6.81, 16.1, 29.6],
    [5.51, 4.59, 3.38, 2.91, 2.96, 3.79, 5.81, 13.7, 20.6],
    [5.33, 4.88, 4.36, 4.14, 4.26, 4.97, 6.6, 11.2, 15],
    [5.41, 5.25, 5.12, 5.14, 5.39, 6.06, 7.46, 10.2, 12.4],
    [5.64, 5.64, 5.7, 5.89, 6.24, 6.88, 7.95, 9.57, 10.8],
    [5.87, 5.92, 6.08, 6.36, 6.78, 7.39, 8.24, 9.24, 9.98],
    [5.99, 6.07, 6.25, 6.57, 7.03, 7.65, 8.38, 9.12, 9.62],
])
"""… in narrow gaps …"""
SPANNED = np.array([
    [3.95, 4.15, 3.73, 3.4, 4.89, 6.27, 9.23, 16, 21.1],
    [6.17, 6.18, 6.03, 5.56, 6.29, 7.54, 10.3, 15.7, 20],
    [7.65, 7.87, 7.82, 7.31, 7.85, 8.91, 11.4, 15.7, 18.8],
    [9.17, 10.5, 9.48, 9.11, 9.51, 10.3, 12.3, 15.4, 17.4],
    [11.1, 12.9, 11.8, 11.3, 11.5, 12.1, 13.4, 15.2, 16.4],
    [12.4, 13.7, 13.5, 13.5, 13.9, 14.3, 14.7, 15.4, 16],
    [13.2, 13.9, 14.5, 15.4, 16.1, 16.1, 15.9, 15.8, 16],
])
"""… across wide voids …"""
CROWNED = np.array([
    [4.83, 4.47, 3.66, 2.36, 1.72, 3.23, 5.99, 9.05, 8.66],
    [5.21, 5.04, 4.76, 4.49, 4.24, 3.66, 5.99, 7.83, 8.12],
    [5.72, 5.72, 5.72, 5.73, 5.49, 4.51, 5.87, 7.51, 7.72],
    [6.2, 6.27, 6.41, 6.58, 6.34, 5.68, 6.1, 7.04, 7.33],
    [6.58, 6.65, 6.82, 6.93, 6.77, 6.42, 6.51, 6.92, 7.12],
    [6.83, 6.88, 6.97, 7.05, 6.97, 6.82, 6.85, 6.98, 7.07],
    [6.96, 6.99, 7.04, 7.07, 7.03, 6.97, 6.97, 7.03, 7.07],
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
