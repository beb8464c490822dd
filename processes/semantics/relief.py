"""The bare ground of a made-up place: slopes, hills, terraces and mounds."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from processes.semantics.materials import Materials
from processes.semantics.place import Town, smooth_noise
from processes.semantics.stack import GROUND

Floats = NDArray[np.floating[Any]]


def bare(rng: Generator, size: int, cell_m: float) -> Town:
    shape = (size, size)
    row, col = np.mgrid[:size, :size].astype(np.float32) * cell_m
    steep = rng.choice([0.02, 0.08, 0.22], p=[0.5, 0.3, 0.2])
    slope = rng.normal(0, steep / 1.4, 2)
    ground = slope[0] * row + slope[1] * col
    ground += smooth_noise(rng, shape, rng.uniform(60, 300) / cell_m) * rng.exponential(2.0)
    ground += smooth_noise(rng, shape, 12 / cell_m) * rng.uniform(0.0, 0.12)
    if rng.random() < 0.35:
        ground += _steps(rng, shape, cell_m)
    if rng.random() < 0.25:
        ground += _mounds(rng, row, col, size * cell_m)
    kind = Materials.GRASS if rng.random() < 0.7 else Materials.SOIL
    patches = smooth_noise(rng, shape, rng.uniform(8, 60) / cell_m)
    material = np.full(shape, kind, np.uint8)
    material[patches > rng.uniform(0.4, 2.0)] = Materials.DRY
    material[patches < -rng.uniform(0.8, 2.5)] = Materials.SOIL
    return Town(
        cell_m,
        ground.astype(np.float32),
        ground.astype(np.float32),
        np.full(shape, GROUND, np.uint8),
        material,
        np.ones(shape, np.float32),
    )


def _steps(rng: Generator, shape: tuple[int, int], cell_m: float) -> Floats:
    """Return terraces: 1.5 to 9 m high, with faces from upright to as wide as they are high."""
    level = smooth_noise(rng, shape, rng.uniform(50, 160) / cell_m)
    count = int(rng.integers(1, 5))
    edges = np.sort(rng.uniform(-1.5, 1.5, count))
    steps = np.zeros(shape, np.float32)
    for edge in edges:
        steps += np.where(level > edge, 1.0, 0.0) * rng.uniform(1.5, 9.0 if count < 3 else 4.5)
    width_px = rng.uniform(0.3, 4.0) / cell_m
    return np.asarray(cv2.GaussianBlur(steps, (0, 0), width_px))


def _mounds(rng: Generator, row: Floats, col: Floats, reach_m: float) -> Floats:
    heaps = np.zeros(row.shape, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        y, x = rng.uniform(0, reach_m, 2)
        high, wide, long = rng.uniform(2, 9), rng.uniform(3, 12), rng.uniform(1, 5)
        turn = rng.uniform(0, np.pi)
        a = (col - x) * np.cos(turn) + (row - y) * np.sin(turn)
        b = -(col - x) * np.sin(turn) + (row - y) * np.cos(turn)
        away = np.hypot(a / long, b) / wide
        heaps = np.maximum(heaps, high * np.clip(1.4 - away, 0, 1))
    return heaps
