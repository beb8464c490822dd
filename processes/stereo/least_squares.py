"""Least squares matching: the plane around a pixel that brings both images' grey levels together.

A step of disparity costs semi-global matching a penalty, so a roof is found too flat, and planes
that are fitted to its disparities repeat that. The grey levels themselves know nothing of
penalties: over a window as large as that of the planes they tell how a roof leans. How surely they
do so comes with it, and tells roofs from noise (Grün, 1985; Förstner, 1982).

One pixel's window follows its own surface: neighbours count by their distance from its plane, as
in `planes`. Its unknowns are a change of height, of both slopes, and the brightness. Sums of
float32 take three fifths of the time of double precision, and move heights by 1e-5 px.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from processes.stereo.planes import Floats, Mask, Planes, disk
from processes.stereo.slopes import surroundings

RADIUS_PX, EVERY = 8, 2
"""Radius of the window, and which neighbours within it count: those of one colour of a chessboard.
"""
TAU_PX = 0.3
"""Distance from the plane at which a neighbour counts a quarter."""
TURNS = 2
HEIGHT_PX, LEAN = 0.5, 0.1
"""How far a first plane may be from the true one: what grey levels must speak against, and …

… the most a turn changes its height.
"""
SURE = 7.0
"""A slope is known if it is so many times its standard deviation. Of 4, 5, 6, 8 and 10 the low ones
roughen level roofs, the high ones leave roofs as flat as they were."""
ENOUGH = 8.0
"""Neighbours a plane is fitted to."""
TINY = 1e-24


def fitted(
    planes: Planes, wanted: Mask, known: Mask, left: Floats, right: Floats, gain: float
) -> tuple[Planes, Mask]:
    """Return planes as both images want them at *wanted* pixels, and where their slope is sure.

    Only *known* neighbours have a say. *gain* brings contrasts of the right image to those of the
    left. Planes that are not sure stay as they are.
    """
    now = planes
    table = disk(RADIUS_PX, every=EVERY)
    known = known & surroundings(wanted, RADIUS_PX)
    for _ in range(TURNS):
        seen = _compared(left, right, now.disparity, known, np.float32(gain))
        *new, sure = _fit(now.disparity, now.by_col, now.by_row, wanted, seen, table)
        now = Planes(new[0], planes.support, new[1], new[2])
    sure &= np.abs(now.disparity - planes.disparity) < np.float32(HEIGHT_PX)
    kept = (np.where(sure, one, other) for one, other in zip(now, planes, strict=True))
    return Planes(*kept), sure


@njit(cache=True, nogil=True, error_model="numpy")
def _compared(left, right, disparity, known, gain):  # type: ignore[no-untyped-def]
    """Return what the fit takes of each pixel, (4, row, col), float32, with a border of RADIUS_PX.

    Disparity; what the left image is brighter than the right one where the surface sees it; how
    much brighter the right one gets with disparity, a px, by Catmull and Rom; and 1 where all that
    is known. All is 0 elsewhere.
    """
    rows, cols = disparity.shape
    out = np.zeros((4, rows + 2 * RADIUS_PX, cols + 2 * RADIUS_PX), np.float32)
    half, last = np.float32(0.5), right.shape[1] - 1
    for r in range(rows):
        for c in range(cols):
            d = disparity[r, c]
            x = np.float32(c) + d
            if not (known[r, c] and x >= 1 and x < last - 1):
                continue
            at = int(x)
            t = x - np.float32(at)
            before, here, after = right[r, at - 1], right[r, at], right[r, at + 1]
            bend = 2 * before - 5 * here + 4 * after - right[r, at + 2]
            twist = 3 * (here - after) + right[r, at + 2] - before
            value = here + half * t * (after - before + t * (bend + t * twist))
            more = left[r, c] - gain * value
            if np.isfinite(more):
                i, j = r + RADIUS_PX, c + RADIUS_PX
                out[0, i, j], out[1, i, j], out[3, i, j] = d, more, 1
                out[2, i, j] = gain * half * (after - before + t * (2 * bend + 3 * t * twist))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def solved(sums):  # type: ignore[no-untyped-def]
    """Return changes of height and slopes, and what their variances are made of.

    *sums* over a window, weighted: 1, e, e², g, gx, gy, ge, gxe, gye, gg, ggx, ggy, ggxx, ggxy,
    ggyy, where *e* is what the left image is brighter, *g* the right one's slope, *x* and *y*
    columns and rows from the pixel. Numbers, or arrays of them, in double precision: what is sure
    on one device must be so on the other.
    """
    n, e, ee, g, gx, gy, ge, gxe, gye, gg, ggx, ggy, ggxx, ggxy, ggyy = sums
    share = 1 / (n + TINY)
    # without the brightness of the window
    a00, a01, a02 = gg - g * g * share, ggx - g * gx * share, ggy - g * gy * share
    a11, a12, a22 = ggxx - gx * gx * share, ggxy - gx * gy * share, ggyy - gy * gy * share
    b0, b1, b2 = ge - g * e * share, gxe - gx * e * share, gye - gy * e * share
    noise = (ee - e * e * share) * share + TINY
    a00 = a00 + noise / (HEIGHT_PX * HEIGHT_PX)
    a11, a22 = a11 + noise / (LEAN * LEAN), a22 + noise / (LEAN * LEAN)
    c00, c01, c02 = a11 * a22 - a12 * a12, a02 * a12 - a01 * a22, a01 * a12 - a02 * a11
    c11, c12, c22 = a00 * a22 - a02 * a02, a01 * a02 - a00 * a12, a00 * a11 - a01 * a01
    scale = 1 / (a00 * c00 + a01 * c01 + a02 * c02 + TINY)
    height = (c00 * b0 + c01 * b1 + c02 * b2) * scale
    by_col = (c01 * b0 + c11 * b1 + c12 * b2) * scale
    by_row = (c02 * b0 + c12 * b1 + c22 * b2) * scale
    return height, by_col, by_row, noise * scale * c11, noise * scale * c12, noise * scale * c22


@njit(cache=True, nogil=True, error_model="numpy")
def is_sure(by_col, by_row, of_col, of_both, of_row):  # type: ignore[no-untyped-def]
    """Say whether a slope is SURE times its standard deviation, by its (co)variances."""
    squared = by_col * by_col + by_row * by_row
    along = by_col * by_col * of_col + 2 * by_col * by_row * of_both + by_row * by_row * of_row
    return squared * squared > SURE * SURE * along


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
def _fit(disparity, by_col, by_row, wanted, seen, table):  # type: ignore[no-untyped-def]
    rows, cols = disparity.shape
    height, col, row = disparity.copy(), by_col.copy(), by_row.copy()
    sure = np.zeros((rows, cols), np.bool_)
    none, one, sharp = np.float32(0), np.float32(1), np.float32(1 / (TAU_PX * TAU_PX))
    stride = seen.shape[2]
    heights, brighter = seen[0].reshape(-1), seen[1].reshape(-1)
    slopes, there = seen[2].reshape(-1), seen[3].reshape(-1)
    xs, ys, nears = table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy()
    # from the first pixel of a window; without a sign, so that none is taken from the end
    offsets = np.empty(len(table), np.uint64)
    for k in range(len(table)):
        offsets[k] = (int(ys[k]) + RADIUS_PX) * stride + int(xs[k]) + RADIUS_PX
    middle = np.uint64(RADIUS_PX * stride + RADIUS_PX)
    for r in range(rows):
        for c in range(cols):
            if not wanted[r, c]:
                continue
            first = np.uint64(r * stride + c)
            d, a, b = disparity[r, c], by_col[r, c], by_row[r, c]
            # what all of a window is brighter takes no part, and would take float32's digits
            level = brighter[first + middle]
            n = s_e = s_ee = s_g = s_gx = s_gy = s_ge = s_gxe = none
            s_gye = s_gg = s_ggx = s_ggy = s_ggxx = s_ggxy = s_ggyy = none
            # no branches: the compiler takes several neighbours at once, of float32 twice as many
            for k in range(len(offsets)):
                at = first + offsets[k]
                x, y = xs[k], ys[k]
                off = heights[at] - (d + a * x + b * y)
                share = one / (one + off * off * sharp)
                w = share * share * nears[k] * there[at]
                g = slopes[at]
                e = brighter[at] - level + g * off
                wg = w * g
                wgg = wg * g
                n += w
                s_e += w * e
                s_ee += w * e * e
                s_g += wg
                s_gx += wg * x
                s_gy += wg * y
                s_ge += wg * e
                s_gxe += wg * x * e
                s_gye += wg * y * e
                s_gg += wgg
                s_ggx += wgg * x
                s_ggy += wgg * y
                s_ggxx += wgg * x * x
                s_ggxy += wgg * x * y
                s_ggyy += wgg * y * y
            if n < ENOUGH:
                continue
            up, a_more, b_more, of_col, of_both, of_row = solved((
                float(n), float(s_e), float(s_ee), float(s_g), float(s_gx), float(s_gy),
                float(s_ge), float(s_gxe), float(s_gye), float(s_gg), float(s_ggx), float(s_ggy),
                float(s_ggxx), float(s_ggxy), float(s_ggyy),
            ))  # fmt: skip
            if abs(up) < HEIGHT_PX:
                height[r, c], col[r, c], row[r, c] = d + up, a + a_more, b + b_more
                sure[r, c] = is_sure(col[r, c], row[r, c], of_col, of_both, of_row)
    return height, col, row, sure
