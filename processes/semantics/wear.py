"""What a stereo surface model, its terrain model and its orthoimage make of a town.

As ours do, measured on scenes with exact truth: roofs end raggedly, half a metre too far or too
soon, strips hidden from one image are filled from the ground or become ramps, crowns are
rounded, wider, and small ones gone, shadows are noisy, and here and there a patch stands at a wrong
height. The terrain rises a little under houses and cuts the corners of terraces. The orthoimage
is looked up at the wrong heights, so that walls and roofs smear where those err.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from processes.semantics.place import Town, smooth_noise
from processes.semantics.stack import BUILDING, VEGETATION, WATER
from processes.stereo.orthorectify import clear, sunlit

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Products:
    """What a chain would have made of a town."""

    above_ground: Floats
    """Metres."""
    bands: dict[str, Floats]
    """Counts in an arbitrary unit, NaN where no image sees."""


def degraded(rng: Generator, place: Town) -> Products:
    """Return heights and colours of a town as a chain from stereo images gives them."""
    surface = _matched(rng, place)
    terrain = _terrain(rng, place)
    return Products(surface - terrain, _ortho(rng, place, surface))


def _matched(rng: Generator, place: Town) -> NDArray[np.float32]:
    cell = place.cell_m
    heights = np.ascontiguousarray(place.surface, np.float32)
    if rng.random() < 0.06:
        # lidar, or a very good day
        return heights + rng.normal(0, 0.04, heights.shape).astype(np.float32)
    heights = _thinned(rng, place, heights)
    heights = _ragged(rng, heights, cell)
    heights = _hidden_filled(rng, place, heights)
    if rng.random() < 0.7:
        heights = cv2.medianBlur(heights, int(rng.choice([3, 5], p=[0.8, 0.2])))
    if rng.random() < 0.5:
        heights = cv2.GaussianBlur(heights, (0, 0), rng.uniform(0.3, 0.8))
    heights = _patched(rng, place, heights)
    return np.asarray(heights + _noise(rng, place))


def _thinned(rng: Generator, place: Town, heights: Floats) -> NDArray[np.float32]:
    """Return heights where pieces of crowns, and a few of roofs, are at the ground."""
    shape = place.shape
    gone = smooth_noise(rng, shape, rng.uniform(2, 7) / place.cell_m)
    lost = (place.classes == VEGETATION) & (gone > rng.choice([0.8, 1.3, 2.5]))
    lost |= (place.classes == BUILDING) & (gone < rng.choice([-2.6, -3.2, -4.0]))
    low = cv2.erode(heights.astype(np.float32), np.ones((9, 9), np.uint8))
    return np.asarray(np.where(lost, np.maximum(low, place.ground), heights), np.float32)


def _ragged(rng: Generator, heights: NDArray[np.float32], cell_m: float) -> NDArray[np.float32]:
    """Return heights whose edges wander by a cell or so, mostly outwards."""
    shape = (heights.shape[0], heights.shape[1])
    row, col = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    amount, wave = rng.exponential(0.35), rng.uniform(1.2, 4) / cell_m
    row += amount * smooth_noise(rng, shape, wave)
    col += amount * smooth_noise(rng, shape, wave)
    moved = cv2.remap(heights, col, row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    wider = cv2.dilate(moved, np.ones((3, 3), np.uint8))
    narrower = cv2.erode(moved, np.ones((3, 3), np.uint8))
    where = smooth_noise(rng, shape, rng.uniform(2, 8) / cell_m)
    out = np.where(where > rng.uniform(0.0, 3.5), wider, moved)
    return np.asarray(np.where(where < rng.uniform(-4.0, -1.0), narrower, out))


def _hidden_filled(
    rng: Generator, place: Town, heights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return heights where what one image does not see is guessed."""
    azimuth, base = rng.uniform(0, np.pi), rng.uniform(0.1, 0.35) / place.cell_m
    step = np.cos(azimuth) * base, np.sin(azimuth) * base
    seen = clear(heights, *step) & clear(heights, -step[0], -step[1])
    lower = cv2.erode(heights, np.ones((5, 5), np.uint8))
    ramp = cv2.GaussianBlur(heights, (0, 0), rng.uniform(1, 3))
    guess = smooth_noise(rng, place.shape, 5 / place.cell_m)
    filled = np.where(guess > rng.uniform(0.5, 2.5), ramp, np.maximum(lower, place.ground))
    return np.asarray(np.where(seen, heights, filled), np.float32)


def _patched(rng: Generator, place: Town, heights: Floats) -> Floats:
    """Return heights with a few patches matched wrongly."""
    for _ in range(int(rng.poisson(rng.choice([0.3, 3.0])))):
        row, col = rng.uniform(0, place.shape[0]), rng.uniform(0, place.shape[1])
        away = _away(place.shape, row, col)
        wobble = 1 + 0.3 * smooth_noise(rng, place.shape, 8)
        inside = away * place.cell_m < rng.uniform(1, 4) * wobble
        heights = np.where(inside, heights + rng.normal(0, 3.5), heights)
    return np.asarray(heights, np.float32)


def _away(shape: tuple[int, int], row: float, col: float) -> Floats:
    down, right = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(down - row, right - col))


def _noise(rng: Generator, place: Town) -> Floats:
    cell, shape = place.cell_m, place.shape
    fine = smooth_noise(rng, shape, rng.uniform(1.5, 5) / cell) * rng.gamma(2, 0.05)
    broad = smooth_noise(rng, shape, rng.uniform(10, 40) / cell) * rng.uniform(0, 0.12)
    wild = rng.choice([0.0, rng.exponential(1.5)])
    wet = smooth_noise(rng, shape, rng.uniform(2, 15) / cell) * wild * (place.classes == WATER)
    dark = ~sunlit(place.surface.astype(np.float32), cell, *place.sun)
    return np.asarray(fine * np.where(dark, rng.uniform(1, 5), 1.0) + broad + wet)


def _terrain(rng: Generator, place: Town) -> Floats:
    cell = place.cell_m
    terrain = place.ground.astype(np.float32)
    if rng.random() < 0.6:
        # scarps and banks stay behind as raised ground
        terrain = cv2.GaussianBlur(terrain, (0, 0), rng.uniform(1, 9) / cell)
    objects = cv2.GaussianBlur((place.surface - place.ground).astype(np.float32), (0, 0), 4 / cell)
    terrain = terrain + rng.uniform(0, rng.choice([0.03, 0.3], p=[0.9, 0.1])) * objects
    terrain = terrain + smooth_noise(rng, place.shape, rng.uniform(15, 60) / cell) * min(
        rng.exponential(0.12), 0.8
    )
    return np.asarray(terrain + rng.normal(0, 0.1))


def _ortho(rng: Generator, place: Town, surface: Floats) -> dict[str, Floats]:
    """Return bands looked up at the heights that were found."""
    azimuth, lean = rng.uniform(0, 2 * np.pi), np.tan(np.radians(rng.uniform(0, 17)))
    down, right = np.cos(azimuth) * lean / place.cell_m, np.sin(azimuth) * lean / place.cell_m
    wrong = np.clip(surface - place.surface, -15, 15).astype(np.float32)
    row, col = np.mgrid[: place.shape[0], : place.shape[1]].astype(np.float32)
    row, col = row + down * wrong, col + right * wrong
    row = np.asarray(row + rng.normal(0, 0.3), np.float32)
    col = np.asarray(col + rng.normal(0, 0.3), np.float32)
    bands = np.stack(
        [
            cv2.remap(b, col, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for b in place.bands
        ]
    )
    seen = clear(surface.astype(np.float32), down, right)
    if rng.random() < 0.5:
        # another image fills in, all but the narrowest gaps
        seen |= smooth_noise(rng, place.shape, 3 / place.cell_m) < 1.5
    gain = 2000 * np.exp(rng.normal(0, 0.12, (4, 1, 1)))
    bands = np.where(seen, bands * gain, np.nan).astype(np.float32)
    return dict(zip(("red", "green", "blue", "nir"), bands, strict=True))
