"""How far each height may be off: the error, in metres, below which nine cells in ten stay.

It is read from three small tables. A measured height is the better the surer its match is (the
likelihood that `match` and `fuse` give it), and the worse the rougher the surface beside it is: at
a wall, a match is right or wrong by the whole wall. Both are counted in pixels of parallax, so one
table holds for any ground sampling and base-to-height ratio. What was filled has no match: its
error goes with the step beside it and with the distance to what is measured, in metres.

The tables are fitted by tests/benchmarks/calibrate.py to built scenes whose truth is exact, and
judged on scenes they were not fitted to. The error is that of a cell beside the others: how far the
level of the whole model may be off, which hangs on the pointing of the images, is one number more.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.stereo.fuse import Origin

Pixels = NDArray[np.float32]

CLAIM = 0.9
"""The share of cells that the error claims to hold."""
READ_PX = 1024
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
    [0.23, 0.28, 0.39, 0.59, 0.88, 1.30, 1.93, 2.85, 3.79, 4.45, 4.76],
    [0.19, 0.24, 0.36, 0.58, 0.89, 1.28, 1.92, 3.11, 4.19, 4.78, 5.01],
    [0.14, 0.20, 0.33, 0.61, 0.90, 1.17, 1.81, 3.49, 5.07, 5.36, 5.36],
    [0.23, 0.30, 0.46, 0.72, 0.98, 1.17, 1.82, 3.50, 4.95, 5.39, 5.47],
    [0.28, 0.36, 0.53, 0.74, 0.90, 1.05, 1.77, 3.51, 4.92, 5.32, 5.39],
    [0.28, 0.35, 0.48, 0.64, 0.77, 0.96, 1.68, 3.19, 4.72, 5.10, 5.09],
    [0.24, 0.31, 0.42, 0.56, 0.67, 0.88, 1.48, 2.75, 4.28, 4.62, 4.53],
    [0.22, 0.27, 0.35, 0.46, 0.55, 0.75, 1.22, 2.20, 3.58, 3.86, 3.74],
    [0.19, 0.22, 0.28, 0.38, 0.40, 0.60, 0.95, 1.59, 2.55, 2.86, 2.86],
    [0.16, 0.18, 0.22, 0.25, 0.31, 0.49, 0.76, 1.17, 1.69, 2.00, 2.11],
    [0.13, 0.15, 0.17, 0.17, 0.27, 0.42, 0.64, 0.94, 1.26, 1.51, 1.64],
    [0.10, 0.12, 0.13, 0.17, 0.26, 0.39, 0.58, 0.81, 1.05, 1.26, 1.37],
    [0.09, 0.11, 0.13, 0.18, 0.26, 0.38, 0.55, 0.75, 0.97, 1.15, 1.25],
])
"""Errors in pixels of parallax, by how sure a match is (rows) and how rough its place."""
OCCLUDED = np.array([
    [0.81, 1.37, 2.65, 3.61, 2.97, 3.14, 6.61, 12.50, 22.03],
    [2.55, 3.47, 4.50, 5.24, 5.56, 5.33, 6.63, 13.07, 16.70],
    [3.90, 5.58, 6.07, 6.67, 7.50, 8.13, 8.57, 12.75, 14.69],
    [5.56, 7.40, 7.78, 8.12, 8.93, 9.88, 10.62, 12.76, 13.91],
    [7.08, 8.38, 8.67, 8.95, 9.63, 10.59, 11.53, 12.69, 13.42],
    [7.49, 8.02, 8.43, 8.96, 9.75, 10.67, 11.56, 12.38, 12.91],
    [7.46, 7.74, 8.18, 8.83, 9.68, 10.62, 11.46, 12.15, 12.61],
])
"""Errors of filled cells, metres, by distance (rows) and step: behind walls …"""
BRIDGED = np.array([
    [4.01, 2.54, 1.98, 1.74, 1.90, 4.52, 6.52, 9.41, 10.63],
    [3.89, 3.34, 2.98, 2.89, 3.26, 4.59, 6.04, 7.75, 8.67],
    [3.79, 3.62, 3.48, 3.54, 3.93, 4.72, 5.68, 6.63, 7.19],
    [3.85, 3.80, 3.80, 3.94, 4.26, 4.79, 5.42, 5.99, 6.33],
    [3.93, 3.94, 4.00, 4.15, 4.42, 4.80, 5.23, 5.60, 5.82],
    [4.00, 4.03, 4.11, 4.26, 4.49, 4.79, 5.10, 5.37, 5.52],
    [4.03, 4.07, 4.16, 4.31, 4.52, 4.77, 5.04, 5.26, 5.39],
])
"""… in narrow gaps …"""
SPANNED = np.array([
    [6.09, 5.61, 5.94, 6.36, 6.32, 8.82, 11.80, 14.62, 16.38],
    [7.77, 7.56, 7.44, 7.15, 7.72, 10.00, 12.98, 16.25, 18.29],
    [11.84, 10.45, 9.05, 8.67, 9.51, 11.68, 14.91, 18.89, 21.56],
    [16.42, 14.81, 11.27, 10.84, 11.54, 13.32, 16.33, 20.25, 22.83],
    [15.77, 15.65, 13.28, 12.64, 13.08, 14.42, 16.51, 19.11, 20.70],
    [14.93, 14.74, 13.91, 13.63, 14.03, 15.02, 16.46, 18.01, 18.98],
    [14.64, 14.47, 14.14, 14.07, 14.45, 15.28, 16.42, 17.56, 18.28],
])
"""… across wide voids …"""
CROWNED = np.array([
    [6.18, 5.84, 5.04, 3.95, 2.89, 3.40, 6.67, 12.14, 11.81],
    [6.54, 6.39, 6.17, 6.02, 6.25, 5.50, 6.97, 12.58, 11.74],
    [7.03, 7.05, 7.15, 7.39, 7.66, 7.60, 7.80, 11.14, 10.95],
    [7.50, 7.59, 7.74, 7.99, 8.13, 8.12, 8.28, 9.61, 10.02],
    [7.86, 7.94, 8.11, 8.26, 8.38, 8.50, 8.78, 9.28, 9.53],
    [8.09, 8.15, 8.26, 8.40, 8.52, 8.68, 8.92, 9.18, 9.34],
    [8.20, 8.25, 8.34, 8.46, 8.59, 8.74, 8.96, 9.15, 9.25],
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
    dsm: Pixels, likelihood: Pixels, origin: NDArray[np.uint8], *, cell_m: float, px_m: float
) -> Pixels:
    """Return the error that a cell's height stays below nine times in ten; NaN where it has none.

    *likelihood*: that a measured height is right, 0 to 1. *px_m*: how much height a pixel of
    parallax is, the ground sampling over the base-to-height ratio.
    """
    rough = relief_m(dsm)
    error = px_m * read(MEASURED, *seen_place(likelihood, rough, px_m))
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
