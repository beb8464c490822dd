"""One surface model from several, and its voids filled from the ground side.

What lies behind a building cannot be seen by one of two cameras: it is ground nearly always. So a
void is filled from the lower of the surfaces around it and never bridges a wall.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.origin import Origin

Floats = NDArray[np.float32]

AGREE_M = 1.0
"""Heights this near are of one surface, whatever their noise."""


FEW = 0.15
"""A lower surface met by a smaller share of directions is a chink: the void is in the upper one."""


class Fused(NamedTuple):
    """``dsm``: float32 m, NaN where nothing is known. ``confidence``: float32, 0 to 1.

    ``shift_m``: what was added to each model to bring it to the common level.
    """

    dsm: Floats
    confidence: Floats
    shift_m: tuple[float, ...]


def fuse(dsms: Sequence[Floats], confidences: Sequence[Floats], *, apart: float = 1.0) -> Fused:
    """Return the surface that the models (row, col), on one grid, agree on.

    Each model is first brought to the common level (its median difference from the others), and
    trusted less the more it scatters about them, so a bad pair cannot spoil good ones. In a cell,
    heights that agree are averaged; the surface with the most confidence wins. *apart*: how
    independent the errors of models are, 0 to 1: the doubts of all but the surest count so much.
    """
    if len(dsms) == 0 or len(dsms) != len(confidences):
        raise ValueError("give one confidence for each of one or more models")
    if len(dsms) == 1:
        known = np.isfinite(dsms[0])
        confidence = np.where(known, confidences[0], 0).astype(np.float32)
        return Fused(dsms[0].astype(np.float32), confidence, (0.0,))
    stack = np.stack([np.asarray(d, np.float32) for d in dsms])
    weight = np.stack(
        [np.where(np.isfinite(d), c, 0) for d, c in zip(dsms, confidences, strict=True)]
    )
    shift, scatter = _levels(stack)
    # a model is trusted by its scatter: that of the best pair counts one
    trust = (np.min(scatter) / scatter) ** 2
    stack = stack + shift[:, None, None].astype(np.float32)
    dsm, confidence = _agreed(
        stack, weight.astype(np.float32), trust.astype(np.float32), AGREE_M, np.float32(apart)
    )
    return Fused(dsm, confidence, tuple(float(s) for s in shift))


def _levels(stack: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each model its shift to the common level and its scatter (NMAD), metres.

    All pairs of models are compared; the shifts are the least-squares ones whose sum is zero,
    weighted by how well the pair agrees.
    """
    n = len(stack)
    normal = np.full((n, n), 1e-3)
    right = np.zeros(n)
    pair = np.full((n, n), np.nan)
    for i in range(n):
        for j in range(i + 1, n):
            difference = (stack[i] - stack[j])[np.isfinite(stack[i]) & np.isfinite(stack[j])]
            if difference.size < 100:
                continue
            difference = difference[:: max(1, difference.size // 200_000)]
            middle = float(np.median(difference))
            pair[i, j] = pair[j, i] = 1.4826 * np.median(np.abs(difference - middle)) + 0.05
            w = difference.size / pair[i, j] ** 2
            normal[[i, j], [i, j]] += w
            normal[[i, j], [j, i]] -= w
            right[[i, j]] += w * middle * np.array([-1.0, 1.0])
    normal += np.eye(n) * 1e-6 * max(1.0, float(np.trace(normal)))
    shift = np.linalg.solve(normal, right)
    known = np.isfinite(pair)
    # a model's own scatter: what it has with the one it agrees best with
    scatter = np.where(known.any(axis=1), np.min(np.where(known, pair, np.inf), axis=1), np.nan)
    scatter = np.where(np.isfinite(scatter), scatter, np.nanmax(scatter) if known.any() else 1.0)
    return shift - shift.mean(), scatter


@njit(cache=True, nogil=True, error_model="numpy")
def _agreed(stack, weight, trust, agree_m, apart):  # type: ignore[no-untyped-def]
    n, rows, cols = stack.shape
    dsm = np.full((rows, cols), np.nan, np.float32)
    confidence = np.zeros((rows, cols), np.float32)
    for r in range(rows):
        for c in range(cols):
            best = np.float32(0.0)
            for i in range(n):
                zi = stack[i, r, c]
                if not np.isfinite(zi):
                    continue
                s0, s1, top = np.float32(0.0), np.float32(0.0), np.float32(0.0)
                doubt = np.float32(1.0)
                for j in range(n):
                    e = stack[j, r, c] - zi
                    if np.isfinite(e) and abs(e) <= agree_m:
                        w = (weight[j, r, c] + np.float32(1e-3)) * trust[j]
                        s0 += w
                        s1 += w * e
                        w = min(w, np.float32(0.99))
                        top = max(top, w)
                        doubt *= np.float32(1.0) - w
                if s0 > best:
                    best = s0
                    dsm[r, c] = zi + s1 / s0
                    own = np.float32(1.0) - top
                    confidence[r, c] = np.float32(1.0) - own * (doubt / own) ** apart
    return dsm, confidence


class Filled(NamedTuple):
    """``dsm``: float32 m, voids filled from the ground side. ``origin``: the ``Origin`` of cells.

    Where a wall stands beside a void, ``upper`` is what it would be filled with from above it, and
    ``upper_px`` how far away, in cells, that was measured; NaN elsewhere.
    """

    dsm: Floats
    origin: NDArray[np.uint8]
    upper: Floats
    upper_px: Floats


def fill(
    dsm: Floats,
    *,
    cell_m: float,
    covered: NDArray[np.bool_] | None = None,
    reach_m: float = 30.0,
    wall_m: float = 2.0,
    hidden_m: float = 25.0,
) -> Filled:
    """Return the model with voids filled from the ground side, and what else they could be.

    A void cell looks along 16 directions for the nearest known heights within *reach_m*. The lower
    surface among them counts, the rest stands behind a wall (higher by *wall_m* or more), unless
    nearly all around is the upper one: a gap in a roof or a crown. A void wider than any wall hides
    (*hidden_m*), a face in black shade, goes from side to side instead. Voids that are seen from
    too few sides, outside *covered* or too wide stay NaN.
    """
    known = np.isfinite(dsm)
    inside = np.ones(dsm.shape, np.bool_) if covered is None else covered | known
    reach = max(1, round(reach_m / cell_m))
    widest = np.float32(hidden_m / cell_m)
    filled, walled, gap, upper, upper_px = _from_the_ground(
        dsm, inside, reach, np.float32(wall_m), widest
    )
    origin = np.full(dsm.shape, np.uint8(Origin.OUTSIDE))
    new = ~known & np.isfinite(filled)
    for where, name in (
        (inside, Origin.EMPTY),
        (known, Origin.SEEN),
        (new, Origin.INTERPOLATED),
        (new & (gap <= 3), Origin.FILLED_GAP),
        (new & walled, Origin.FILLED_OCCLUSION),
    ):
        origin[where] = name
    return Filled(filled, origin, upper, upper_px)


@njit(cache=True, nogil=True, inline="always")
def _second_lowest(z, n):  # type: ignore[no-untyped-def]
    """Return a low height that one stray cell cannot be."""
    low = second = np.float32(np.inf)
    for i in range(n):
        if z[i] < low:
            low, second = z[i], low
        elif z[i] < second:
            second = z[i]
    return second


_WAYS = np.array([(0, 1), (1, 2), (1, 1), (2, 1), (1, 0), (2, -1), (1, -1), (1, -2)], np.int64)


@njit(cache=True, nogil=True, error_model="numpy")
def _from_the_ground(dsm, inside, reach, wall_m, widest):  # type: ignore[no-untyped-def]
    """Return filled heights, whether a wall stood beside the void, and its width (cells).

    Then the heights from above that wall, and how far away (cells) the nearest of them is.
    """
    rows, cols = dsm.shape
    out = dsm.copy()
    walled = np.zeros((rows, cols), np.bool_)
    gap = np.zeros((rows, cols), np.int32)
    upper = np.full((rows, cols), np.float32(np.nan))
    upper_px = np.full((rows, cols), np.float32(np.nan))
    z = np.empty(16, np.float32)
    far = np.empty(16, np.float32)
    for r in range(rows):
        for c in range(cols):
            if np.isfinite(dsm[r, c]) or not inside[r, c]:
                continue
            n = 0
            sides = 0
            narrow = np.float32(2 * reach)
            for w in range(8):
                across = np.float32(0.0)
                for sign in (1, -1):
                    dr, dc = _WAYS[w, 0] * sign, _WAYS[w, 1] * sign
                    length = np.float32(np.sqrt(dr * dr + dc * dc))
                    k = 1
                    reached = np.float32(2 * reach)
                    while k * length <= reach:
                        rr, cc = r + k * dr, c + k * dc
                        if rr < 0 or cc < 0 or rr >= rows or cc >= cols:
                            break
                        if np.isfinite(dsm[rr, cc]):
                            z[n] = dsm[rr, cc]
                            far[n] = k * length
                            reached = far[n]
                            n += 1
                            sides += 1
                            break
                        k += 1
                    across += reached
                narrow = min(narrow, across)
            if sides < 6:
                continue
            low = _second_lowest(z, n)
            high = z[0]
            for i in range(n):
                high = max(high, z[i])
            lows = 0
            for i in range(n):
                if abs(z[i] - low) < wall_m:
                    lows += 1
            from_above = lows < FEW * n
            whole = narrow > widest
            s0, s1 = np.float32(0.0), np.float32(0.0)
            for i in range(n):
                if whole or (abs(z[i] - low) < wall_m) != from_above:
                    u = np.float32(1.0) / (far[i] * far[i])
                    s0 += u
                    s1 += u * z[i]
            out[r, c] = s1 / s0
            walled[r, c] = not whole and high - low >= wall_m
            gap[r, c] = np.int32(narrow)
            if not walled[r, c]:
                continue
            t0, t1, nearest = np.float32(0.0), np.float32(0.0), np.float32(np.inf)
            for i in range(n):
                if z[i] - low >= wall_m:
                    u = np.float32(1.0) / (far[i] * far[i])
                    t0 += u
                    t1 += u * z[i]
                    nearest = min(nearest, far[i])
            upper[r, c], upper_px[r, c] = t1 / t0, nearest
    return out, walled, gap, upper, upper_px
