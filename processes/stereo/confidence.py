"""How far each height may be off: the error, in metres, below which nine cells in ten stay.

It is read from small tables. A measured height is the better the surer its match is (the likelihood
that `match` and `fuse` give it), and the worse the rougher the surface beside it is: at a wall, a
match is right or wrong by the whole wall. Both go by pixels of parallax, so one table holds for any
ground sampling and base-to-height ratio. What was filled has no match: its error goes with the step
beside it and with the distance to what is measured, in metres.

The tables are fitted by tests/benchmarks/calibrate.py to eleven built scenes whose truth is exact.
They hold 89.3 to 92.4 % of the cells of each; two more towns, of other noise, ground sampling and
base-to-height ratio, 87.8 and 91.4 %. Of what a scene could tell about its errors one thing helped:
how sharp the images are (`sharpness`), without which it was up to 94 %. It was chosen with all
thirteen in view. No help were the noise of images and of level heights, roughness and likelihoods
around, residuals of tie points, ground sampling. The error is that of a cell beside the others: how
far the level of the whole model may be off, which hangs on the pointing of the images, is one
number more.
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
    [0.227, 0.288, 0.425, 0.663, 1.03, 1.61, 2.48, 3.78, 5.37, 6.69, 7.37],
    [0.179, 0.248, 0.403, 0.656, 1.03, 1.59, 2.47, 4, 6.02, 7.37, 7.94],
    [0.111, 0.192, 0.387, 0.661, 0.986, 1.46, 2.3, 4.19, 7.48, 8.72, 8.82],
    [0.224, 0.319, 0.538, 0.885, 1.23, 1.49, 2.24, 4.19, 7.25, 8.69, 9.05],
    [0.307, 0.406, 0.611, 0.883, 1.05, 1.22, 2.03, 4.02, 7.08, 8.47, 8.72],
    [0.319, 0.404, 0.547, 0.706, 0.791, 1.04, 1.92, 3.83, 6.76, 7.85, 7.94],
    [0.281, 0.361, 0.49, 0.609, 0.666, 0.93, 1.77, 3.48, 6.03, 6.98, 6.91],
    [0.234, 0.312, 0.402, 0.46, 0.516, 0.745, 1.43, 2.82, 4.83, 5.7, 5.62],
    [0.202, 0.245, 0.306, 0.338, 0.339, 0.54, 1.05, 1.96, 3.24, 4.03, 4.13],
    [0.157, 0.185, 0.222, 0.216, 0.232, 0.4, 0.762, 1.33, 2.05, 2.62, 2.87],
    [0.118, 0.139, 0.138, 0.127, 0.19, 0.332, 0.601, 0.994, 1.47, 1.88, 2.1],
    [0.0961, 0.0893, 0.0783, 0.0913, 0.173, 0.304, 0.52, 0.827, 1.18, 1.5, 1.69],
    [0.0951, 0.0802, 0.0833, 0.109, 0.176, 0.296, 0.487, 0.754, 1.07, 1.35, 1.51],
])
"""Errors in units of `unit_m`, by how sure a match is (rows) and how rough its place."""
OCCLUDED = np.array([
    [0.764, 1.5, 2.55, 3.23, 2.76, 3.46, 7.34, 16, 29.9],
    [2.14, 3.32, 4.5, 5.08, 5.16, 4.9, 7.17, 14.3, 19.9],
    [2.73, 4.32, 5.73, 6.52, 7.03, 7.26, 8.94, 13.5, 16.2],
    [4.29, 5.6, 6.9, 7.86, 8.56, 9.02, 10.2, 12.8, 14.4],
    [6.56, 7.41, 8.39, 9.26, 9.93, 10.4, 11.1, 12.6, 13.5],
    [8.34, 8.91, 9.64, 10.4, 10.9, 11.2, 11.6, 12.4, 13],
    [9.12, 9.76, 10.5, 11, 11.4, 11.6, 11.8, 12.4, 12.7],
])
"""Errors of filled cells, metres, by distance (rows) and step: behind walls …"""
BRIDGED = np.array([
    [3.36, 2.07, 1.33, 1.48, 1.68, 3.68, 4.13, 3.8, 3.59],
    [3.92, 3.22, 2.41, 2.05, 2.24, 3.03, 3.42, 3.46, 3.41],
    [3.28, 2.99, 2.63, 2.45, 2.54, 2.86, 3.1, 3.19, 3.21],
    [2.99, 2.87, 2.71, 2.62, 2.66, 2.8, 2.93, 3.01, 3.04],
    [2.85, 2.79, 2.72, 2.68, 2.7, 2.76, 2.83, 2.89, 2.91],
    [2.77, 2.74, 2.71, 2.69, 2.7, 2.74, 2.78, 2.81, 2.83],
    [2.74, 2.72, 2.7, 2.69, 2.7, 2.72, 2.75, 2.78, 2.79],
])
"""… in narrow gaps …"""
SPANNED = np.array([
    [4.66, 4.77, 3.96, 3.69, 4.58, 6.07, 8.87, 13.4, 15.6],
    [6.5, 6.57, 6.55, 5.92, 6.36, 7.65, 10.1, 13.9, 16.1],
    [8.46, 8.48, 7.97, 7.69, 8.15, 9.54, 11.8, 14.9, 16.9],
    [12.1, 11.3, 9.85, 9.65, 9.84, 10.9, 13, 15.6, 17.1],
    [14.6, 15.2, 14.1, 12.5, 11.7, 12.3, 13.7, 15.5, 16.6],
    [17.3, 18.4, 16.6, 14.2, 13.1, 13.3, 14.1, 15.1, 15.8],
    [17.2, 17.4, 16.3, 14.7, 13.8, 13.8, 14.3, 14.9, 15.4],
])
"""… across wide voids …"""
CROWNED = np.array([
    [5.62, 5.24, 4.36, 2.94, 1.88, 3.43, 6.64, 10.5, 10.3],
    [6.01, 5.85, 5.57, 5.29, 4.55, 3.75, 6.74, 10.4, 9.98],
    [6.54, 6.55, 6.59, 6.61, 6.02, 4.82, 6.19, 8.88, 9.11],
    [7, 7.08, 7.24, 7.4, 7.08, 6.04, 6.34, 7.82, 8.3],
    [7.34, 7.4, 7.56, 7.68, 7.48, 6.91, 6.94, 7.54, 7.86],
    [7.56, 7.6, 7.67, 7.74, 7.59, 7.32, 7.28, 7.51, 7.67],
    [7.67, 7.69, 7.72, 7.73, 7.64, 7.46, 7.42, 7.52, 7.61],
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
    return float(px_m * wide**LESS * sharper**EXACT)


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
