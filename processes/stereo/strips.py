"""One level of two images: what every disparity costs, summed along paths, strip by strip."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.stereo.census import Seen, Slices, census, window
from processes.stereo.checks import settled
from processes.stereo.greys import Tones
from processes.stereo.pyramid import Floats, Mask
from processes.stereo.sgm import chosen, costs, summed
from processes.stereo.slopes import along

CENSUS_PX = (5, 5)
EDGE_CONTRAST = 12.0
"""Grey levels of 256 over which the penalty for a jump falls from P2 flat to P2 edge."""
STRIP_CELLS = 40_000_000
"""Disparities held at a time by one thread, 3 bytes each."""
STRIP_MARGIN_PX = 24


@dataclass(frozen=True)
class Recipe:
    """How one level is matched. Penalties for a change of disparity are in census bits."""

    per_px: int
    """Disparities tried in a pixel."""
    p1: int
    """Penalty for one step of disparity."""
    p2_edge: int
    """Penalty for a jump where the image has an edge …"""
    p2_flat: int
    """… and where it has none."""


@dataclass(frozen=True)
class Images:
    """The two images of a level as they are compared."""

    left: Floats
    lit: Floats
    """The left image in the light of the right one."""
    right: Floats
    tones: Tones
    surface: Floats | None = None
    """Disparities that are taken off the right image before it is compared, if any."""

    def part(self, rows: slice) -> Images:
        """Return some rows of it."""
        surface = None if self.surface is None else self.surface[rows]
        return Images(self.left[rows], self.lit[rows], self.right[rows], self.tones, surface)

    def fine(self, per_px: int) -> Floats:
        """Return the right image with *per_px* columns for each."""
        if self.surface is None:
            return resampled(self.right, per_px)
        return np.asarray(along(self.right, self.surface), np.float32)


@dataclass(frozen=True)
class Level:
    """Disparities of one level, of every pixel, right or wrong."""

    disparity: Floats
    reason: NDArray[np.uint8]
    clear: Floats
    """How far behind the second best is: 0 (as good) to 1."""


def level_of(
    pair: Images, lo: Floats, hi: Floats, recipe: Recipe, where: Mask | None = None
) -> Level:
    """Match strips of rows, as tall as memory allows, with margins that are thrown away.

    Nothing is looked for outside of *where*.
    """
    rows = pair.left.shape[0]
    sought = np.isfinite(pair.left)
    if where is not None:
        sought &= where
    cells = float(np.where(sought, hi - lo + 16.0, 0.0).sum()) * recipe.per_px
    cuts = np.linspace(0, rows, max(1, int(np.ceil(cells / STRIP_CELLS))) + 1).astype(int)
    parts = []
    for first, last in pairwise(cuts):
        top, bottom = max(0, first - STRIP_MARGIN_PX), min(rows, last + STRIP_MARGIN_PX)
        part = slice(top, bottom)
        strip = _strip(pair.part(part), lo[part], hi[part], recipe, sought[part])
        keep = slice(first - top, last - top)
        parts.append((strip.disparity[keep], strip.reason[keep], strip.clear[keep]))
    if len(parts) == 1:
        return Level(*parts[0])
    disparity, reason, clear = (np.concatenate(p) for p in zip(*parts, strict=True))
    return Level(disparity, reason, clear)


def _strip(pair: Images, lo: Floats, hi: Floats, recipe: Recipe, where: Mask) -> Level:
    """Match one strip."""
    contrast = np.exp(-np.arange(256) / EDGE_CONTRAST)
    p2 = (recipe.p2_edge + (recipe.p2_flat - recipe.p2_edge) * contrast).astype(np.uint8)
    cost, seen = _costs(pair, lo, hi, recipe.per_px, where)
    total = summed(cost, seen.slices, seen.greys, np.uint8(recipe.p1), p2)
    del cost  # it is as large as all else
    found = chosen(total, seen.slices, (seen.there.shape[1] - 2 * seen.pad) // recipe.per_px)
    return Level(*settled(*found, seen.valid, seen.there, seen.pad, recipe.per_px))


@dataclass(frozen=True)
class _Compared:
    """What is left to know of a strip once its pixels were compared."""

    slices: Slices
    greys: NDArray[np.uint8]
    """Of the left image."""
    valid: NDArray[np.uint8]
    """Whether a left pixel was compared."""
    there: NDArray[np.uint8]
    """Whether the right image shows anything, with *pad* more columns on both sides."""
    pad: int


def _costs(
    pair: Images, lo: Floats, hi: Floats, per_px: int, where: Mask
) -> tuple[NDArray[np.uint8], _Compared]:
    """Return what every disparity of every pixel costs."""
    codes, valid = census(pair.left, window(*CENSUS_PX), 0)
    valid *= where
    slices = Slices.between(lo, hi, per_px=per_px, where=valid != 0)
    lowest = int(slices.first.min())
    highest = int((slices.first + slices.count).max())
    fine = pair.fine(per_px)
    pad = max(0, -lowest, pair.left.shape[1] * per_px + highest - fine.shape[1]) + 1
    there_codes, there = census(fine, window(*CENSUS_PX, spread=per_px), pad)
    tones = pair.tones
    left = Seen(codes, valid, tones.grey(pair.lit, tones.left))
    right = Seen(there_codes, there, tones.grey(fine, tones.right, pad=pad))
    return costs(left, right, pad, slices), _Compared(slices, left.greys, valid, there, pad)


def resampled(image: Floats, per_px: int) -> Floats:
    """Return the image with *per_px* columns for each, by cubic interpolation."""
    if per_px == 1:
        return image
    rows, cols = image.shape
    fine = np.empty((rows, cols * per_px), np.float32)
    fine[:, ::per_px] = image
    col, row = np.meshgrid(np.arange(cols, dtype=np.float32), np.arange(rows, dtype=np.float32))
    for k in range(1, per_px):
        beside = col + np.float32(k / per_px)
        fine[:, k::per_px] = cv2.remap(
            image, beside, row, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
    return fine
