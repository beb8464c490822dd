"""Light that falls differently on one image of a pair: haze, a cloud's shadow, another sun.

Tones are the same for a whole pair, so a shadow on half of one image made its grey levels lie: 12 %
of a village stayed empty under one of 0.7, and 35 % under haze. What both images show of the same
place, matched at coarse levels, tells how light differs in cells of 64 pixels: mean and spread of
one are brought to those of the other. Small differences are left alone, as there are some
everywhere (0.02 of the range between the tones' ends in nine cells of ten), so that a scene in even
light is matched as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ends = tuple[float, float]

CELL_PX = 64
"""Side of a cell in pixels of the whole image; blocks have such cells in common."""
SMALL = 0.025
"""Differences of brightness that are left alone, in shares of the range of tones …"""
SMALL_GAIN = 0.1
"""… and of contrast, as logarithms."""
FEW = 0.01
"""The share of matched pixels at which a cell is half believed."""
FLAT = 1e-3
"""Variance that noise makes."""


@dataclass(frozen=True, eq=False)
class Light:
    """What brings tones (0 to 1) of one image to those of the other: ``gain · tone + offset``."""

    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    cell_px: int
    """Side of a cell in pixels of pyramid level *level*."""
    level: int

    def per_cell(self, level: int) -> int:
        """Return the side of a cell in pixels of another level."""
        return int(self.cell_px * 2 ** (self.level - level))

    def on(self, image: Floats, ends: Ends, level: int) -> NDArray[np.float32]:
        """Return the *image* (row, col) of a level as if the light had been the other's."""
        size = [side * self.per_cell(level) for side in self.gain.shape[::-1]]
        gain, offset = (
            cv2.resize(field, size, interpolation=cv2.INTER_LINEAR)[
                : image.shape[0], : image.shape[1]
            ]
            for field in (self.gain, self.offset)
        )
        dark, bright = ends
        return np.asarray((share(image, ends) * gain + offset) * (bright - dark) + dark, np.float32)


def share(image: Floats, ends: Ends) -> Floats:
    """Return where values lie between the dark and the bright end, 0 to 1."""
    dark, bright = ends
    return (image - dark) / max(bright - dark, 1e-6)


@njit(cache=True, nogil=True, error_model="numpy")
def partners(right, disparity, matched):  # type: ignore[no-untyped-def]
    """Return what the right image shows of each *matched* pixel of the left one, NaN elsewhere."""
    rows, cols = disparity.shape
    out, last = np.full((rows, cols), np.float32(np.nan)), right.shape[1] - 1
    for r in range(rows):
        for c in range(cols):
            if matched[r, c]:
                # the tip of the V may lie half a step beyond the last column
                out[r, c] = right[r, min(max(c + int(np.rint(disparity[r, c])), 0), last)]
    return out


def light_of(one: Floats, other: Floats, level: int) -> Light | None:
    """Return how light differs between tones (row, col) of the same places, NaN where unknown.

    None where it does not.
    """
    known = np.isfinite(one) & np.isfinite(other)
    one, other = (np.where(known, tones, 0).astype(np.float32) for tones in (one, other))
    cell_px = cell_of(level)
    sums = [_means(v, cell_px) for v in (known, one, other, one * one, other * other)]
    return light_between(np.stack(sums), cell_px, level)


def cell_of(level: int) -> int:
    """Return the side of a cell in pixels of a pyramid level."""
    return max(1, CELL_PX >> level)


def light_between(means: Floats, cell_px: int, level: int) -> Light | None:
    """As `light_of`, from means over cells: whether known, both tones, both squared."""
    known, one, other, one_2, other_2 = (
        cv2.GaussianBlur(mean, (0, 0), 1.0, borderType=cv2.BORDER_REFLECT)
        for mean in means.astype(np.float32)
    )
    share = np.maximum(known, np.float32(1e-6))
    one, other = one / share, other / share
    spread, spread_other = (
        np.maximum(squares / share - mean * mean, 0) + FLAT
        for squares, mean in ((one_2, one), (other_2, other))
    )
    belief = known / (known + FEW)
    gain = np.exp(_beyond(0.5 * belief * np.log(spread_other / spread), SMALL_GAIN))
    brighter = _beyond(belief * (other - one), SMALL)
    if np.all(gain == 1) and not brighter.any():
        return None
    offset = one * (1 - gain) + brighter
    return Light(gain.astype(np.float32), offset.astype(np.float32), cell_px, level)


def _beyond(value: Floats, small: float) -> Floats:
    return np.asarray(np.sign(value) * np.maximum(np.abs(value) - small, 0))


def _means(values: Floats, cell_px: int) -> Floats:
    """Return the means over cells; beyond the image all is 0."""
    rows, cols = (-(-side // cell_px) for side in values.shape)
    whole = np.zeros((rows * cell_px, cols * cell_px), np.float32)
    whole[: values.shape[0], : values.shape[1]] = values
    return np.asarray(whole.reshape(rows, cell_px, cols, cell_px).mean(axis=(1, 3)))
