"""A made-up place while it is built: heights, classes and materials, and ways to point into it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Pair = tuple[float, float]
"""x (or along) and y (or across), metres."""


@dataclass
class Town:
    """A built place on a lattice; arrays are (row, col), heights in metres."""

    cell_m: float
    ground: Floats
    surface: Floats
    classes: NDArray[np.uint8]
    material: NDArray[np.uint8]
    tint: Floats
    """Brightness of each thing's own paint, 1 on average."""
    bands: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    """Red, green, blue and nir reflectances as the sensor sees them, (4, row, col)."""
    sun: tuple[float, float] = (150.0, 50.0)

    @property
    def shape(self) -> tuple[int, int]:
        return self.ground.shape[0], self.ground.shape[1]


def smooth_noise(rng: Generator, shape: tuple[int, int], wave_px: float) -> NDArray[np.float32]:
    """Return noise of unit deviation without detail finer than about *wave_px*."""
    step = max(1, int(wave_px / 4))
    small = tuple(int(np.ceil(size / step)) + 8 for size in shape)
    field_ = cv2.GaussianBlur(
        rng.standard_normal(small).astype(np.float32), (0, 0), wave_px / 4 / step
    )
    field_ /= max(float(field_.std()), 1e-6)
    whole = cv2.resize(field_, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    return np.asarray(whole[4 : 4 + shape[0], 4 : 4 + shape[1]])


def local(
    place: Town, centre: Pair, reach_m: float, turn: float
) -> tuple[Any, Floats, Floats] | None:
    """Return a window of the place and its coordinates along and across a turned frame, metres."""
    rows, cols = place.shape
    cell = place.cell_m
    r0, r1 = int((centre[1] - reach_m) / cell), int((centre[1] + reach_m) / cell) + 2
    c0, c1 = int((centre[0] - reach_m) / cell), int((centre[0] + reach_m) / cell) + 2
    r0, c0, r1, c1 = max(r0, 0), max(c0, 0), min(r1, rows), min(c1, cols)
    if r0 >= r1 or c0 >= c1:
        return None
    row, col = np.mgrid[r0:r1, c0:c1].astype(np.float32) * cell
    x, y = col - centre[0], row - centre[1]
    along = x * np.cos(turn) + y * np.sin(turn)
    across = -x * np.sin(turn) + y * np.cos(turn)
    return np.s_[r0:r1, c0:c1], along, across


def frame(centre: Pair, turn: float, along: float, across: float) -> Pair:
    return (
        centre[0] + along * np.cos(turn) - across * np.sin(turn),
        centre[1] + along * np.sin(turn) + across * np.cos(turn),
    )
