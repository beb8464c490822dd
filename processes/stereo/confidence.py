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
    [0.232, 0.28, 0.389, 0.586, 0.884, 1.3, 1.93, 2.85, 3.79, 4.45, 4.76],
    [0.193, 0.244, 0.359, 0.581, 0.888, 1.28, 1.92, 3.11, 4.19, 4.78, 5.01],
    [0.14, 0.2, 0.326, 0.606, 0.896, 1.17, 1.81, 3.49, 5.07, 5.36, 5.36],
    [0.231, 0.302, 0.464, 0.721, 0.977, 1.17, 1.82, 3.5, 4.95, 5.39, 5.47],
    [0.282, 0.361, 0.532, 0.738, 0.895, 1.05, 1.77, 3.51, 4.92, 5.32, 5.39],
    [0.279, 0.35, 0.476, 0.642, 0.767, 0.956, 1.68, 3.19, 4.72, 5.1, 5.09],
    [0.241, 0.306, 0.421, 0.558, 0.671, 0.884, 1.48, 2.75, 4.28, 4.62, 4.53],
    [0.215, 0.267, 0.348, 0.457, 0.552, 0.75, 1.22, 2.2, 3.58, 3.86, 3.74],
    [0.192, 0.215, 0.281, 0.378, 0.404, 0.597, 0.952, 1.59, 2.55, 2.86, 2.86],
    [0.164, 0.184, 0.218, 0.255, 0.312, 0.488, 0.762, 1.17, 1.69, 2, 2.11],
    [0.132, 0.153, 0.166, 0.17, 0.269, 0.423, 0.644, 0.936, 1.26, 1.51, 1.64],
    [0.102, 0.119, 0.129, 0.169, 0.259, 0.392, 0.576, 0.808, 1.05, 1.26, 1.37],
    [0.089, 0.109, 0.135, 0.18, 0.26, 0.38, 0.546, 0.75, 0.966, 1.15, 1.25],
])
"""Errors in pixels of parallax, by how sure a match is (rows) and how rough its place."""
OCCLUDED = np.array([
    [0.806, 1.37, 2.65, 3.61, 2.97, 3.14, 6.61, 12.5, 22],
    [2.55, 3.47, 4.5, 5.24, 5.56, 5.33, 6.63, 13.1, 16.7],
    [3.9, 5.58, 6.07, 6.67, 7.5, 8.13, 8.57, 12.7, 14.7],
    [5.56, 7.4, 7.78, 8.12, 8.93, 9.88, 10.6, 12.8, 13.9],
    [7.08, 8.38, 8.67, 8.95, 9.63, 10.6, 11.5, 12.7, 13.4],
    [7.49, 8.02, 8.43, 8.96, 9.75, 10.7, 11.6, 12.4, 12.9],
    [7.46, 7.74, 8.18, 8.83, 9.68, 10.6, 11.5, 12.1, 12.6],
])
"""Errors of filled cells, metres, by distance (rows) and step: behind walls …"""
BRIDGED = np.array([
    [4.01, 2.54, 1.98, 1.74, 1.9, 4.52, 6.52, 9.41, 10.6],
    [3.89, 3.34, 2.98, 2.89, 3.26, 4.59, 6.04, 7.75, 8.67],
    [3.79, 3.62, 3.48, 3.54, 3.93, 4.72, 5.68, 6.63, 7.19],
    [3.85, 3.8, 3.8, 3.94, 4.26, 4.79, 5.42, 5.99, 6.33],
    [3.93, 3.94, 4, 4.15, 4.42, 4.8, 5.23, 5.6, 5.82],
    [4, 4.03, 4.11, 4.26, 4.49, 4.79, 5.1, 5.37, 5.52],
    [4.03, 4.07, 4.16, 4.31, 4.52, 4.77, 5.04, 5.26, 5.39],
])
"""… in narrow gaps …"""
SPANNED = np.array([
    [6.09, 5.61, 5.94, 6.36, 6.32, 8.82, 11.8, 14.6, 16.4],
    [7.77, 7.56, 7.44, 7.15, 7.72, 10, 13, 16.2, 18.3],
    [11.8, 10.5, 9.05, 8.67, 9.51, 11.7, 14.9, 18.9, 21.6],
    [16.4, 14.8, 11.3, 10.8, 11.5, 13.3, 16.3, 20.3, 22.8],
    [15.8, 15.7, 13.3, 12.6, 13.1, 14.4, 16.5, 19.1, 20.7],
    [14.9, 14.7, 13.9, 13.6, 14, 15, 16.5, 18, 19],
    [14.6, 14.5, 14.1, 14.1, 14.4, 15.3, 16.4, 17.6, 18.3],
])
"""… across wide voids …"""
CROWNED = np.array([
    [6.18, 5.84, 5.04, 3.95, 2.89, 3.4, 6.67, 12.1, 11.8],
    [6.54, 6.39, 6.17, 6.02, 6.25, 5.5, 6.97, 12.6, 11.7],
    [7.03, 7.05, 7.15, 7.39, 7.66, 7.6, 7.8, 11.1, 10.9],
    [7.5, 7.59, 7.74, 7.99, 8.13, 8.12, 8.28, 9.61, 10],
    [7.86, 7.94, 8.11, 8.26, 8.38, 8.5, 8.78, 9.28, 9.53],
    [8.09, 8.15, 8.26, 8.4, 8.52, 8.68, 8.92, 9.18, 9.34],
    [8.2, 8.25, 8.34, 8.46, 8.59, 8.74, 8.96, 9.15, 9.25],
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
    error = px_m * read(MEASURED, *seen_place(likelihood, rough * alike, px_m))
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
