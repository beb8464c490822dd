"""Refinement: the disparity of a pixel as that of the best plane through its own surface around it.

Neighbours count by distance and by how near they lie to the pixel's plane, so a plane ends where
its surface ends. Passes grow wider and stricter: the first removes noise and steps of the matching,
the last one averages over what is flat indeed and leaves the rest alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

PASSES = ((3, 1.0), (5, 0.5), (8, 0.3))
"""Radius (px) and distance from the plane (px) at which a neighbour counts a quarter."""

RIDGE = 0.5
"""Added to the spread of the support (px²): a plane on few points keeps its slope."""

Floats = NDArray[np.float32]


def refine(disparity: Floats, matched: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return refined disparities, and the share of each one's surroundings that lies on its plane.

    Only *matched* pixels have a say.
    """
    weight = matched.astype(np.float32)
    smooth = disparity
    slope_c = slope_r = np.zeros_like(disparity)
    for radius, tau in PASSES:
        offsets, near = disk(radius)
        smooth, slope_c, slope_r, support = fit_planes(
            disparity, weight, smooth, slope_c, slope_r, offsets, near, tau, RIDGE
        )
    return smooth, support / near.sum()


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def fit_planes(  # type: ignore[no-untyped-def]
    measured, weight, disparity, slope_c, slope_r, offsets, near, tau, ridge
):
    rows, cols = disparity.shape
    out = disparity.copy()
    out_c = slope_c.copy()
    out_r = slope_r.copy()
    support = np.zeros((rows, cols), np.float32)
    acc = np.empty((9, cols), np.float32)
    it2 = np.float32(1.0 / (tau * tau))
    one = np.float32(1.0)
    for r in range(rows):
        acc[:] = np.float32(0.0)
        a0, a1, a2, a3, a4, a5, b0, b1, b2 = (
            acc[0],
            acc[1],
            acc[2],
            acc[3],
            acc[4],
            acc[5],
            acc[6],
            acc[7],
            acc[8],
        )
        for k in range(offsets.shape[0]):
            rr = r + offsets[k, 0]
            if rr < 0 or rr >= rows:
                continue
            dc = offsets[k, 1]
            lo = max(0, -dc)
            hi = min(cols, cols - dc)
            n = hi - lo
            x = np.float32(dc)
            y = np.float32(offsets[k, 0])
            sp = np.float32(near[k])
            d_p = disparity[r, lo:hi]
            c_p = slope_c[r, lo:hi]
            r_p = slope_r[r, lo:hi]
            d_q = disparity[rr, lo + dc : hi + dc]
            m_q = measured[rr, lo + dc : hi + dc]
            w_q = weight[rr, lo + dc : hi + dc]
            t0 = a0[lo:hi]
            t1 = a1[lo:hi]
            t2 = a2[lo:hi]
            t3 = a3[lo:hi]
            t4 = a4[lo:hi]
            t5 = a5[lo:hi]
            u0 = b0[lo:hi]
            u1 = b1[lo:hi]
            u2 = b2[lo:hi]
            for i in range(n):
                pred = d_p[i] + c_p[i] * x + r_p[i] * y
                e = d_q[i] - pred
                v = one + e * e * it2
                w = sp * w_q[i] / (v * v)
                m = w * (m_q[i] - pred)
                t0[i] += w
                t1[i] += w * x
                t2[i] += w * y
                t3[i] += w * (x * x)
                t4[i] += w * (x * y)
                t5[i] += w * (y * y)
                u0[i] += m
                u1[i] += m * x
                u2[i] += m * y
        for c in range(cols):
            s = a0[c]
            support[r, c] = s
            if s < np.float32(1e-6):
                continue
            inv = one / s
            mx = a1[c] * inv
            my = a2[c] * inv
            mm = b0[c] * inv
            xx = a3[c] * inv - mx * mx + ridge
            xy = a4[c] * inv - mx * my
            yy = a5[c] * inv - my * my + ridge
            xm = b1[c] * inv - mx * mm
            ym = b2[c] * inv - my * mm
            det = xx * yy - xy * xy
            gx = (xm * yy - ym * xy) / det
            gy = (ym * xx - xm * xy) / det
            out[r, c] = disparity[r, c] + mm - gx * mx - gy * my
            out_c[r, c] = slope_c[r, c] + gx
            out_r[r, c] = slope_r[r, c] + gy
    return out, out_c, out_r, support


def disk(radius: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the offsets (n, 2: row, col) within *radius* pixels and Gaussian weights for them."""
    side = range(-radius, radius + 1)
    inside = [(r, c) for r in side for c in side if r * r + c * c <= radius * radius + 0.5]
    offsets = np.array(inside, np.int64)
    sigma = radius / 1.5
    return offsets, np.exp(-(offsets**2).sum(axis=1) / (2 * sigma**2)).astype(np.float32)
