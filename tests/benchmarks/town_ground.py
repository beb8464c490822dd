"""The lattice that a made-up town stands on: heights, classes, paints, and what is drawn on it.

Cells are a third of the truth's; rows run south, x east and y north in metres from the lower left
corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import from_origin
from shapely import Polygon

from processes.semantics.place import smooth_noise

Floats = NDArray[np.floating[Any]]
CELL_M = 0.5 / 3
GROUND, BUILDING, TREE, WATER, ROAD, BRIDGE, CAR = 1, 2, 3, 4, 5, 6, 7

PAINTS = (
    # red, green, blue, nir reflectance; deviation of its logarithm at 0.25, 1 and 8 m
    ("grass", 0.080, 0.110, 0.068, 0.36, 0.06, 0.050, 0.12),
    ("dry", 0.190, 0.185, 0.125, 0.33, 0.06, 0.050, 0.12),
    ("soil", 0.210, 0.165, 0.120, 0.28, 0.06, 0.050, 0.10),
    ("crop", 0.100, 0.135, 0.070, 0.42, 0.07, 0.060, 0.08),
    ("asphalt", 0.105, 0.108, 0.108, 0.13, 0.035, 0.030, 0.07),
    ("pavement", 0.220, 0.215, 0.205, 0.26, 0.04, 0.030, 0.05),
    ("gravel", 0.240, 0.230, 0.205, 0.29, 0.06, 0.040, 0.05),
    ("marking", 0.480, 0.480, 0.470, 0.50, 0.03, 0.010, 0.01),
    ("water", 0.030, 0.048, 0.055, 0.020, 0.03, 0.040, 0.05),
    ("tile", 0.310, 0.155, 0.100, 0.34, 0.06, 0.030, 0.04),
    ("brown tile", 0.215, 0.135, 0.100, 0.29, 0.06, 0.030, 0.04),
    ("slate", 0.105, 0.112, 0.125, 0.14, 0.05, 0.030, 0.03),
    ("bitumen", 0.085, 0.085, 0.088, 0.10, 0.04, 0.040, 0.08),
    ("roof gravel", 0.270, 0.262, 0.240, 0.31, 0.06, 0.040, 0.05),
    ("metal", 0.400, 0.415, 0.420, 0.44, 0.03, 0.015, 0.04),
    ("white", 0.580, 0.585, 0.570, 0.60, 0.025, 0.015, 0.03),
    ("copper", 0.190, 0.270, 0.235, 0.26, 0.03, 0.020, 0.04),
    ("leaf", 0.036, 0.060, 0.034, 0.36, 0.22, 0.200, 0.06),
    ("needle", 0.027, 0.042, 0.028, 0.25, 0.20, 0.160, 0.05),
    ("light wall", 0.360, 0.340, 0.290, 0.38, 0.03, 0.020, 0.02),
    ("brick wall", 0.250, 0.165, 0.125, 0.28, 0.04, 0.020, 0.02),
    ("grey wall", 0.240, 0.235, 0.225, 0.26, 0.03, 0.020, 0.02),
    ("glass", 0.060, 0.068, 0.080, 0.07, 0.02, 0.010, 0.01),
    ("white car", 0.550, 0.550, 0.550, 0.50, 0.02, 0.01, 0.01),
    ("dark car", 0.070, 0.070, 0.075, 0.08, 0.02, 0.01, 0.01),
    ("red car", 0.330, 0.070, 0.065, 0.35, 0.02, 0.01, 0.01),
    ("blue car", 0.070, 0.110, 0.330, 0.20, 0.02, 0.01, 0.01),
    ("pool", 0.120, 0.330, 0.380, 0.06, 0.03, 0.02, 0.01),
)
PAINT = {row[0]: number for number, row in enumerate(PAINTS)}
REFLECTANCE = np.array([row[1:5] for row in PAINTS], np.float32)
GRAIN = np.array([row[5:8] for row in PAINTS], np.float32)


@dataclass
class Lattice:
    """A town's cells; arrays are (row, col), heights in metres above the ellipsoid."""

    size_m: float
    ground: NDArray[np.float32]
    surface: NDArray[np.float32]
    roof: NDArray[np.float32]
    """Without chimneys and trees; NaN where no building is."""
    classes: NDArray[np.uint8]
    building: NDArray[np.int32]
    paint: NDArray[np.uint8]
    tint: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        return self.ground.shape[0], self.ground.shape[1]

    def window(self, bounds: tuple[float, float, float, float]) -> tuple[slice, slice] | None:
        """Return the cells that bounds touch, or None off the lattice."""
        rows, cols = self.shape
        r0, r1 = int((self.size_m - bounds[3]) / CELL_M), int((self.size_m - bounds[1]) / CELL_M)
        c0, c1 = int(bounds[0] / CELL_M), int(bounds[2] / CELL_M)
        r0, c0, r1, c1 = max(r0, 0), max(c0, 0), min(r1 + 1, rows), min(c1 + 1, cols)
        return (slice(r0, r1), slice(c0, c1)) if r0 < r1 and c0 < c1 else None

    def centres(self, window: tuple[slice, slice]) -> tuple[Floats, Floats]:
        """Return x and y of a window's cell centres."""
        row, col = np.mgrid[window]
        return (col + 0.5) * CELL_M, self.size_m - (row + 0.5) * CELL_M

    def inside(self, shape: Polygon) -> tuple[tuple[slice, slice], NDArray[np.bool_]] | None:
        """Return a window and which of its cells' centres lie in a polygon."""
        window = None if shape.is_empty else self.window(shape.bounds)
        if window is None:
            return None
        rows, cols = window
        where = from_origin(cols.start * CELL_M, self.size_m - rows.start * CELL_M, CELL_M, CELL_M)
        size = rows.stop - rows.start, cols.stop - cols.start
        return window, rasterize([(shape, 1)], size, transform=where, dtype=np.uint8) > 0

    def cover(self, shape: Polygon, paint: str, kind: int, tint: float = 1.0) -> None:
        """Paint the ground inside a polygon."""
        found = self.inside(shape)
        if found is not None:
            window, mask = found
            self.paint[window][mask] = PAINT[paint]
            self.classes[window][mask] = kind
            self.tint[window][mask] = tint


def bare(rng: Generator, size_m: float, base_m: float, hills: dict[str, float]) -> Lattice:
    """Return rolling ground under asphalt, before anything is laid out."""
    count = round(size_m / CELL_M)
    # made at a metre, for hills are smooth
    coarse = int(np.ceil(size_m)) + 2
    row, col = np.mgrid[:coarse, :coarse].astype(np.float32)
    ground = base_m + hills["east"] * (col - coarse / 2) - hills["north"] * (row - coarse / 2)
    ground += smooth_noise(rng, (coarse, coarse), hills["wave_m"]) * hills["std_m"]
    ground += smooth_noise(rng, (coarse, coarse), 45.0) * min(0.03 * hills["std_m"], 0.25)
    fine = _finer(ground, count)
    shape = (count, count)
    return Lattice(
        size_m,
        fine,
        fine.copy(),
        np.full(shape, np.nan, np.float32),
        np.full(shape, ROAD, np.uint8),
        np.zeros(shape, np.int32),
        np.full(shape, PAINT["asphalt"], np.uint8),
        np.ones(shape, np.float32),
    )


def _finer(coarse: Floats, count: int) -> NDArray[np.float32]:
    """Return a field of metre cells at the lattice's centres."""
    at = ((np.arange(count) + 0.5) * CELL_M).astype(np.float32)
    col, row = np.meshgrid(at, at)
    edge = cv2.BORDER_REPLICATE  # else high towns stand behind a wall
    return np.asarray(
        cv2.remap(coarse.astype(np.float32), col, row, cv2.INTER_CUBIC, borderMode=edge)
    )


def brightness(rng: Generator, place: Lattice) -> NDArray[np.float32]:
    """Return each cell's tint times the grain of its paint."""
    logs = np.log(place.tint)
    for level, wave_m in enumerate((1.0, 4.0, 30.0)):
        logs += GRAIN[:, level][place.paint] * smooth_noise(rng, place.shape, wave_m / CELL_M)
    return np.asarray(np.exp(logs), np.float32)
