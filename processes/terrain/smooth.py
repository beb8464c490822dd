"""Robust smoothing: a plane through the ground around each cell, deaf to what is not ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Heights = NDArray[np.float32]


def local_planes(heights: Heights, sigma_px: float) -> Heights:
    """Return at each cell the plane fitted to the known *heights* around it, NaN far from any."""
    plane, weight = planes(heights, sigma_px)
    return np.where(weight > 1e-3, plane, np.nan).astype(np.float32)


def planes(
    heights: Heights, sigma_px: float, *, trust: Heights | None = None
) -> tuple[Heights, Heights]:
    """Return the plane fitted around each cell, weight Gaussian, and the share of weight known.

    The known cells count alike, or by their *trust*. Normalised convolution of first order
    (Knutsson & Westin, 1993): unlike a local mean it stays on a slope beside a void. Unknown where
    fewer than three cells' weight is in reach.
    """
    known = np.isfinite(heights)
    level = np.float32(np.nanmedian(heights)) if known.any() else np.float32(0)
    w = known.astype(np.float32) if trust is None else np.where(known, trust, 0).astype(np.float32)
    z = np.where(known, heights - level, 0).astype(np.float32) * w
    radius = int(np.ceil(3 * sigma_px))
    t = np.arange(-radius, radius + 1, dtype=np.float32)
    g = np.exp(-0.5 * (t / sigma_px) ** 2)
    g /= g.sum()
    gt, gtt = g * t, g * t * t

    def blur(values: Heights, along_col: Heights, along_row: Heights) -> Heights:
        return np.asarray(
            cv2.sepFilter2D(
                values, cv2.CV_32F, along_col, along_row, borderType=cv2.BORDER_CONSTANT
            )
        )

    s0, sx, sy = blur(w, g, g), blur(w, gt, g), blur(w, g, gt)
    sxx, syy, sxy = blur(w, gtt, g), blur(w, g, gtt), blur(w, gt, gt)
    z0, zx, zy = blur(z, g, g), blur(z, gt, g), blur(z, g, gt)
    # a little stiffness towards level ground where the known cells lie on a line
    stiff = np.float32(0.02 * sigma_px**2) * s0
    sxx, syy = sxx + stiff, syy + stiff
    # Cramer's rule for the height at the centre
    a = sxx * syy - sxy * sxy
    b = sxy * sy - sx * syy
    c = sx * sxy - sxx * sy
    det = s0 * a + sx * b + sy * c
    fitted = (z0 * a + zx * b + zy * c) / np.where(det > 0, det, 1)
    sure = det > 1e-12 * sigma_px**4
    return (
        np.where(sure, fitted + level, level).astype(np.float32),
        np.where(sure, s0, 0).astype(np.float32),
    )


def continued(values: Heights, margin: int) -> Heights:
    """Return *values* with rims that go on with their slope: mirrored through the edge cell."""
    if min(values.shape) == 1:
        return np.pad(values, margin, mode="edge")
    return np.pad(values, margin, mode="reflect", reflect_type="odd")
