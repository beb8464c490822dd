"""What surfaces look like from above: reflectances, their grain, and the light on them."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from processes.stereo.orthorectify import sunlit

Floats = NDArray[np.floating[Any]]


class Materials(IntEnum):
    """Rows of `REFLECTANCE`."""

    GRASS = 0
    DRY = 1
    SOIL = 2
    CROP = 3
    LEAF = 4
    NEEDLE = 5
    BROWN = 6
    ASPHALT = 7
    CONCRETE = 8
    GRAVEL = 9
    WATER = 10
    TILE = 11
    SLATE = 12
    FELT = 13
    METAL = 14
    COPPER = 15
    PAINT = 16
    POOL = 17


REFLECTANCE = np.array(
    [
        [0.070, 0.105, 0.055, 0.42],
        [0.200, 0.180, 0.115, 0.32],
        [0.210, 0.160, 0.110, 0.28],
        [0.090, 0.120, 0.060, 0.38],
        [0.040, 0.075, 0.038, 0.42],
        [0.030, 0.050, 0.030, 0.27],
        [0.130, 0.100, 0.060, 0.27],
        [0.110, 0.110, 0.105, 0.13],
        [0.280, 0.270, 0.250, 0.31],
        [0.250, 0.235, 0.210, 0.28],
        [0.035, 0.050, 0.050, 0.020],
        [0.240, 0.130, 0.095, 0.30],
        [0.100, 0.105, 0.110, 0.13],
        [0.070, 0.070, 0.072, 0.085],
        [0.420, 0.430, 0.430, 0.44],
        [0.170, 0.250, 0.210, 0.24],
        [0.250, 0.250, 0.250, 0.27],
        [0.120, 0.270, 0.300, 0.050],
    ],
    np.float32,
)
"""Red, green, blue, near infrared."""
GRAIN = np.array(
    [.10, .10, .10, .13, .22, .22, .22, .05, .06, .08, .05, .08, .05, .06, .06, .06, .04, .06],
    np.float32,
)  # fmt: skip
"""Deviation of the logarithm within half a metre."""


def painted(
    rng: Generator, material: NDArray[np.uint8], tint: Floats, leafy: NDArray[np.bool_]
) -> Floats:
    """Return reflectances of four bands; each town has its own soils, tiles and seasons."""
    own = REFLECTANCE * np.exp(rng.normal(0, 0.18, (len(REFLECTANCE), 1)))
    own = own * np.exp(rng.normal(0, 0.07, REFLECTANCE.shape))
    # the season: from lush to dry
    own[[Materials.LEAF, Materials.GRASS, Materials.CROP], 3] *= rng.uniform(0.65, 1.1)
    if rng.random() < 0.3:
        murk = rng.uniform(1, 3)
        own[Materials.WATER] *= np.array([murk, murk, murk * 0.8, rng.uniform(0.7, 2.5)])
    bands = own[material].transpose(2, 0, 1) * tint
    fine = rng.normal(0, 1, material.shape).astype(np.float32)
    broad = _broad(rng, (material.shape[0], material.shape[1]))
    bands = bands * np.exp(GRAIN[material] * rng.uniform(0.5, 1.5) * fine)
    bands = bands * np.exp(0.12 * broad)
    clumps = cv2.GaussianBlur(rng.normal(0, 1, material.shape).astype(np.float32), (0, 0), 1.5)
    bands = bands * np.where(leafy, np.exp(0.9 * clumps), 1.0)
    return np.asarray(bands, np.float32)


def lit(
    rng: Generator, colours: Floats, surface: Floats, cell_m: float, sun: tuple[float, float]
) -> Floats:
    """Return what a sensor above sees: sun and sky on the surface, haze, blur and noise."""
    azimuth, elevation = np.radians(sun[0]), np.radians(sun[1])
    down, right = np.gradient(surface.astype(np.float32), cell_m)
    # facing: x east, y north
    length = np.sqrt(1 + down**2 + right**2)
    cosine = (
        -right * np.sin(azimuth) * np.cos(elevation)
        + down * np.cos(azimuth) * np.cos(elevation)
        + np.sin(elevation)
    ) / length
    free = sunlit(surface.astype(np.float32), cell_m, sun[0], sun[1]).astype(np.float32)
    free = cv2.GaussianBlur(free, (0, 0), 0.6)
    sky = np.array([0.16, 0.22, 0.30, 0.10], np.float32) * rng.uniform(0.6, 1.5)
    # courts and street canyons see less of the sky
    walls = cv2.GaussianBlur(surface.astype(np.float32), (0, 0), 5 / cell_m) - surface
    open_sky = np.clip(1.0 - 0.06 * np.maximum(walls, 0), 0.35, 1.0)
    direct = np.clip(cosine, 0, None) / max(np.sin(elevation), 0.2) * free
    seen = colours * (direct + sky[:, None, None] * open_sky)
    blur = rng.uniform(0.45, 0.95)
    seen = np.stack([cv2.GaussianBlur(band.astype(np.float32), (0, 0), blur) for band in seen])
    haze = np.array([0.012, 0.022, 0.04, 0.005], np.float32) * rng.uniform(0, 1.8)
    seen = seen + haze[:, None, None]
    noise = rng.uniform(0.002, 0.012) * np.sqrt(np.maximum(seen, 0.01) / 0.1)
    seen = seen + rng.normal(0, 1, seen.shape).astype(np.float32) * noise
    return np.asarray(np.maximum(seen, 1e-3), np.float32)


def _broad(rng: Generator, shape: tuple[int, int]) -> Floats:
    total = np.zeros(shape, np.float32)
    for wave in (6, 18, 60):
        small = rng.normal(0, 1, (shape[0] // wave + 3, shape[1] // wave + 3)).astype(np.float32)
        whole = cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
        total += whole / np.sqrt(3)
    return total
