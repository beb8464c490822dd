"""Grey levels of two images of one place, as they are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processes.stereo.census import greys
from processes.stereo.pyramid import Floats, Mask

FAR = 30.0
"""Grey levels so many times further off the line of most than half of them are do not count."""


@dataclass(frozen=True)
class Tones:
    """Dark and bright ends of both images: what brings them to common grey levels."""

    left: tuple[float, float]
    right: tuple[float, float]

    @classmethod
    def of(cls, left: Floats, right: Floats) -> Tones:
        """Return the ends of two images by themselves."""
        return cls(ends_of(left), ends_of(right))

    @classmethod
    def of_matches(cls, left: Floats, right: Floats, disparity: Floats, ok: Mask) -> Tones | None:
        """Return the ends of what both images see, or None if that is too little."""
        row, col = np.nonzero(ok)
        if row.size < 1000:
            return None
        # the tip of the V may lie half a step beyond the last column
        there = np.clip(col + np.rint(disparity[row, col]).astype(int), 0, right.shape[1] - 1)
        return cls(ends_of(left[row, col]), ends_of(right[row, there]))

    @classmethod
    def of_pairs(cls, left: Floats, right: Floats) -> Tones:
        """Return the ends of what both images show of the same places, two lines of grey levels.

        What lies far off the line of most is left out. Chance matches under a cloud in one image
        made its white that image's bright end: of a town a fifth of which lay under clouds, .53 was
        measured, and .75 without them.
        """
        order = np.argsort(left)
        quarter = order.size // 4
        (dark, bright), (dark_too, bright_too) = (
            (float(np.median(side[order[:quarter]])), float(np.median(side[order[-quarter:]])))
            for side in (left, right)
        )
        slope = (bright_too - dark_too) / max(bright - dark, 1e-6)
        off = np.abs(right - dark_too - slope * (left - dark))
        keep = off <= FAR * np.median(off)
        return cls(ends_of(left[keep]), ends_of(right[keep]))

    @property
    def gain(self) -> float:
        """By how much the left image's contrasts are larger than the right one's."""
        (left_low, left_high), (right_low, right_high) = self.left, self.right
        return (left_high - left_low) / max(right_high - right_low, 1e-6)

    def grey(self, image: Floats, ends: tuple[float, float], *, pad: int = 0) -> NDArray[np.uint8]:
        """Return square roots of grey levels with *pad* more columns on both sides; see `greys`."""
        dark, spread = np.float32(ends[0]), np.float32(max(ends[1] - ends[0], 1e-6))
        return np.asarray(greys(image, dark, spread, pad), np.uint8)


def luminance(image: Floats) -> Floats:
    """Return the mean of the bands: it has less noise than any one of them."""
    grey = image if image.ndim == 2 else image.mean(axis=0)
    return np.ascontiguousarray(grey, np.float32)


def ends_of(image: Floats) -> tuple[float, float]:
    seen = image[np.isfinite(image)]
    if seen.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(seen[:: max(1, seen.size // 100_000)], (2, 98))
    return float(low), float(high)
