"""Robust smoothing: a plane through the ground around each cell, deaf to what is not ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.terrain.blocks import block_means

Heights = NDArray[np.float32]


def local_planes(heights: Heights, sigma_px: float) -> Heights:
    """Return at each cell the plane fitted to the known *heights* around it, NaN far from any."""
    plane, weight = planes(heights, sigma_px)
    plane[weight <= 1e-3] = np.nan
    return plane


def planes(
    heights: Heights, sigma_px: float, *, trust: Heights | None = None
) -> tuple[Heights, Heights]:
    """Return the plane fitted around each cell, weight Gaussian, and the share of weight known.

    The known cells count alike, or by their *trust*. Normalised convolution of first order
    (Knutsson & Westin, 1993): unlike a local mean it stays on a slope beside a void. Unknown where
    fewer than three cells' weight is in reach.

    It is fitted at the middles of blocks half as wide as the Gaussian's deviation and interpolated
    in between. A plane stays exact, wherever in a block its known cells lie, since each block
    brings their mean place. At one deviation, the two sides of a scarp mix.
    """
    step = max(1, int(sigma_px / 2))
    w, wx, wy, z = _blocks(heights, trust, step)
    total = float(w.sum())
    level = float(z.sum()) / total if total > 0 else 0.0
    z -= level * w
    sigma = sigma_px / step
    radius = int(np.ceil(3 * sigma))
    t = np.arange(-radius, radius + 1, dtype=np.float32)
    g = np.exp(-0.5 * (t / np.float32(sigma)) ** 2)
    g /= g.sum()
    gt, gtt = g * t, g * t * t

    def blur(values: Heights, along_col: Heights, along_row: Heights) -> Heights:
        return np.asarray(
            cv2.sepFilter2D(
                values, cv2.CV_32F, along_col, along_row, borderType=cv2.BORDER_CONSTANT
            )
        )

    # The residuals shall have no mean and no moment. Moments are taken about the blocks' middles,
    # heights and places being the cells' own: three equations that a plane solves exactly. A
    # little stiffness keeps it level where the known cells lie on a line.
    weight, wc, wr = blur(w, g, g), blur(w, gt, g), blur(w, g, gt)
    stiff = np.float32(0.02 * sigma**2) * weight
    wrc = blur(w, gt, gt)
    m, n, o, p = blur(w, gtt, g) + stiff, wrc, wrc, blur(w, g, gtt) + stiff
    x, y = wc, wr
    if step > 1:  # cells are their own middles
        m, n = m + blur(wx, gt, g), n + blur(wy, gt, g)
        o, p = o + blur(wx, g, gt), p + blur(wy, g, gt)
        x, y = x + blur(wx, g, g), y + blur(wy, g, g)
    # Cramer's rule for the height at the middle
    a, b, c = m * p - n * o, y * o - x * p, x * n - y * m
    det = weight * a + wc * b + wr * c
    sure = det > 1e-12 * sigma**4
    fitted = blur(z, g, g) * a + blur(z, gt, g) * b + blur(z, g, gt) * c
    fitted = np.where(sure, fitted / np.where(sure, det, 1), 0).astype(np.float32)
    weight = np.where(sure, weight, 0).astype(np.float32)
    fitted += np.float32(level)
    if step == 1:
        return fitted, weight
    return at_cells(fitted, step, heights.shape), at_cells(weight, step, heights.shape)


def at_cells(
    coarse: Heights, step: int, shape: tuple[int, ...], *, row0: int = 0, col0: int = 0
) -> Heights:
    """Return a coarse raster, bilinear, at the fine cells of a window that starts at a cell."""
    wide = continued(coarse, 1)
    top, left = row0 // step, col0 // step
    bottom, right = (row0 + shape[0] - 1) // step + 3, (col0 + shape[1] - 1) // step + 3
    part = np.ascontiguousarray(wide[top:bottom, left:right])
    size = (part.shape[1] * step, part.shape[0] * step)
    fine = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    row, col = row0 - (top - 1) * step, col0 - (left - 1) * step
    return np.ascontiguousarray(fine[row : row + shape[0], col : col + shape[1]], np.float32)


def continued(values: Heights, margin: int) -> Heights:
    """Return *values* with rims that go on with their slope: mirrored through the edge cell."""
    if min(values.shape) == 1:
        return np.pad(values, margin, mode="edge")
    return np.pad(values, margin, mode="reflect", reflect_type="odd")


def _blocks(heights: Heights, trust: Heights | None, step: int) -> tuple[Heights, ...]:
    """Return of each block its weight, that times its mean place, and times its mean height.

    Places are in blocks, from the block's middle, along columns and along rows; a block full of
    cells that are trusted weighs 1.
    """
    rows, cols = heights.shape
    padded = np.pad(heights, ((0, -rows % step), (0, -cols % step)), constant_values=np.nan)
    known = np.isfinite(padded)
    weight = known.astype(np.float32)
    if trust is not None:
        weight[:rows, :cols] *= trust
    z = cv2.multiply(weight, cv2.patchNaNs(padded, 0))
    if step == 1:
        still = np.zeros_like(weight)
        return weight, still, still, z
    x, y = (((np.arange(n) % step + 0.5) / step - 0.5).astype(np.float32) for n in weight.shape)
    east, south = weight * y, weight * x[:, None]
    return tuple(block_means(part, step) for part in (weight, east, south, z))
