"""Patches of heights that cannot be: mismatches that both images agreed upon.

Measured cells are joined to patches whose heights go on from cell to cell. Large patches are land
and roofs. A small one is judged by the large ones near it: nothing lies below all land around it,
nothing as small as a car stands far above all roofs around it, and where there is no large patch
near, small ones are noise in the shade or on water. What was cut out on two built scenes was wrong
by 36 to 62 m, all of it; on Gizeh's pyramid, whose north side is black, it was the debris in that
shade. RMSE of the two: 1.65 → 1.53 m, 2.67 → 2.57 m.

Waves differ between images, and both agree on some of them by chance, again and again: small
patches in what is void for the most part. Of patches with heights on less than 0.55 of what is near
three cells in four on the water of a built harbour have them on less than 0.38, one in twenty in
the woods of a village on less than 0.42. Asked for a half, that village lost heights of its woods,
four in five of them right (RMSE 1.32 → 1.39 m). Agreement of both images near, likelihoods and how
far heights near scatter tell waves from woods no better.

What is highest near has light: a small patch above all roofs that is as black as shade in both
images is shade, at the foot of a tower that hides it from one of them. Height, size and likelihood
do not tell such patches. On a town with towers the brightness of 23 of them lay below 0.07 of the
way from the dark to the bright end of the scene, and that of nine crowns and set-back storeys in
ten above 0.07 to 0.23 on four scenes. RMSE 1.50 → 1.43 m there, 1.36 → 1.29 m on another.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Pixels = NDArray[np.float32]

GOES_ON_M = 1.5
"""Neighbouring cells of a patch differ by less."""
LARGE_M2 = 60.0
NEAR_M = 12.0
SPARSE = np.float32(1 / 3)
"""A small patch is chance where a smaller share of what is near has a height."""
BELOW_M = 3.0
"""A small patch this far below all large ones near it is a mismatch …"""
ABOVE_M, TINY_M2 = 20.0, 12.0
"""… and one that is tiny and this far above them."""
LIT_M = 3.0
"""One this far above them has light …"""
BLACK = 0.05
"""… and is brighter than this."""
HIGHEST_M = np.float32(1e5)

Brightness = Callable[[NDArray[np.int64], NDArray[np.int64], Pixels], Pixels]
"""Rows, columns and heights of cells → how bright they are in the image that shows them brighter,
from the dark end of the scene, 0, to the bright one, 1; NaN where no image shows them."""


def implausible(
    dsm: Pixels, covered: Mask, cell_m: float, brightness: Brightness | None = None
) -> Mask:
    """Return which cells of a measured surface (row, col; NaN where void) cannot be right.

    *covered*: where heights were looked for. Without *brightness*, patches in black shade are not
    told.
    """
    known = np.isfinite(dsm)
    height = np.where(known, dsm, np.float32(0))
    names, count = _patches(height, known, np.float32(GOES_ON_M))
    cells = np.bincount(names.ravel(), minlength=count + 1)
    large = known & (cells * cell_m**2 >= LARGE_M2)[names]
    side = 2 * max(1, round(NEAR_M / cell_m)) + 1
    near = np.ones((side, side), np.uint8)
    lowest = cv2.erode(np.where(large, dsm, HIGHEST_M), near)
    highest = cv2.dilate(np.where(large, dsm, -HIGHEST_M), near)
    row, col = np.nonzero(known & ~large)
    name = names[row, col]
    floor, roof = np.full(count + 1, np.inf), np.full(count + 1, -np.inf)
    np.minimum.at(floor, name, lowest[row, col])
    np.maximum.at(roof, name, highest[row, col])
    mean = np.bincount(name, dsm[row, col], count + 1) / np.maximum(cells, 1)
    tiny = cells * cell_m**2 < TINY_M2
    alone = floor >= HIGHEST_M
    wrong = alone | (mean < floor - BELOW_M) | (tiny & (mean > roof + ABOVE_M))
    small = np.bincount(name, minlength=count + 1)
    wrong = _and_sparse(wrong & (small > 0), names, small, covered | known, side)
    if brightness is not None:
        lit = ~wrong & (mean > roof + LIT_M)
        at = row[lit[name]], col[lit[name]]
        if at[0].size:
            patch = names[at]
            many = np.maximum(np.bincount(patch, minlength=count + 1), 1)
            grey = np.bincount(patch, brightness(*at, dsm[at]), count + 1) / many
            wrong |= lit & (grey < BLACK)
    out = np.zeros(dsm.shape, bool)
    out[row, col] = wrong[name]
    return out


def _and_sparse(
    wrong: Mask, names: NDArray[np.int32], small: NDArray[np.int64], looked: Mask, side: int
) -> Mask:
    """Return which patches are *wrong*, with those whose surroundings are void for the most part.

    *small*: how many cells each small patch has, 0 of others; *side*: how wide surroundings are.
    """
    at = np.nonzero((small > 0)[names])
    name = names[at]
    sought = _share(looked, side)[at]
    while True:
        share = _share((names > 0) & ~wrong[names], side)[at] / sought
        sparse = ~wrong & (np.bincount(name, share, small.size) < SPARSE * small)
        if not sparse.any():
            return wrong
        wrong = wrong | sparse


def _share(mask: Mask, side: int) -> Pixels:
    """Return the share of a square around each cell that is in a mask."""
    return np.asarray(cv2.boxFilter(mask.astype(np.float32), -1, (side, side)), np.float32)


@njit(cache=True, nogil=True)
def _patches(height, known, step):  # type: ignore[no-untyped-def]
    """Return the number of each cell's patch, from 1, 0 where nothing is known; and how many."""
    rows, cols = height.shape
    names = np.zeros((rows, cols), np.int32)
    waiting = np.empty((rows * cols, 2), np.int32)
    count = 0
    for row in range(rows):
        for col in range(cols):
            if not known[row, col] or names[row, col] != 0:
                continue
            count += 1
            names[row, col] = count
            waiting[0] = row, col
            n = 1
            while n > 0:
                n -= 1
                r, c = waiting[n]
                for rr in range(max(r - 1, 0), min(r + 2, rows)):
                    for cc in range(max(c - 1, 0), min(c + 2, cols)):
                        if names[rr, cc] != 0 or not known[rr, cc]:
                            continue
                        if abs(height[rr, cc] - height[r, c]) < step:
                            names[rr, cc] = count
                            waiting[n] = rr, cc
                            n += 1
    return names, count
