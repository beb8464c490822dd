"""Least squares matching on a GPU: what `least_squares` does, by torch, but for last digits."""

from __future__ import annotations

import torch
from torch import Tensor

from processes.stereo.least_squares import (
    ENOUGH,
    EVERY,
    HEIGHT_PX,
    RADIUS_PX,
    TAU_PX,
    TURNS,
    is_sure,
    solved,
)
from processes.stereo.planes import disk
from processes.stereo.planes_gpu import PlanesOn


def fitted(
    planes: PlanesOn, wanted: Tensor, known: Tensor, left: Tensor, right: Tensor, gain: float
) -> tuple[PlanesOn, Tensor]:
    """Return planes as both images want them, and where their slope is sure; see `least_squares`.

    Only *wanted* pixels are looked at: one value each in every array below.
    """
    row_at, col_at = wanted.nonzero(as_tuple=True)
    at = row_at, col_at
    height, col, row, sure = planes.disparity, planes.by_col, planes.by_row, wanted
    for _ in range(TURNS):
        *new, good = _fit(height, col[at], row[at], at, known, left, right, gain)
        height, col, row, sure = (
            old.index_put(at, values)
            for old, values in zip((height, col, row, sure), (*new, good), strict=True)
        )
    sure = sure & ((height - planes.disparity).abs() < HEIGHT_PX)
    now = PlanesOn(height, planes.support, col, row)
    return PlanesOn(*(torch.where(sure, *both) for both in zip(now, planes, strict=True))), sure


def _fit(
    disparity: Tensor,
    by_col: Tensor,
    by_row: Tensor,
    at: tuple[Tensor, Tensor],
    known: Tensor,
    left: Tensor,
    right: Tensor,
    gain: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    value, slope = _seen(right, disparity)
    more, slope = left - gain * value, gain * slope
    known = known & more.isfinite()
    rows, cols = disparity.shape
    own = disparity[at]
    sums = [torch.zeros_like(own, dtype=torch.float64) for _ in range(15)]
    for x, y, near in disk(RADIUS_PX, every=EVERY).astype("float32").tolist():
        v, u = at[0] + int(y), at[1] + int(x)
        inside = (v >= 0) & (u >= 0) & (v < rows) & (u < cols)
        other = v.clamp(0, rows - 1), u.clamp(0, cols - 1)
        inside &= known[other]
        off = disparity[other] - (own + by_col * x + by_row * y)
        share = 1 / (1 + off * off * (1 / (TAU_PX * TAU_PX)))
        w = torch.where(inside, share * share * near, 0.0)
        g = torch.where(inside, slope[other], 0.0)
        e = torch.where(inside, more[other] + g * off, 0.0)
        wg, wgg = w * g, w * g * g
        terms = (
            w, w * e, w * e * e, wg, wg * x, wg * y, wg * e, wg * x * e, wg * y * e,
            wgg, wgg * x, wgg * y, wgg * x * x, wgg * x * y, wgg * y * y,
        )  # fmt: skip
        for total, term in zip(sums, terms, strict=True):
            total += term
    up, col, row, of_col, of_both, of_row = solved.py_func(sums)
    good = (sums[0] >= ENOUGH) & (up.abs() < HEIGHT_PX)
    height, col, row = (
        torch.where(good, old + change, old).float()
        for old, change in ((own, up), (by_col, col), (by_row, row))
    )
    return height, col, row, good & is_sure.py_func(col, row, of_col, of_both, of_row)


def _seen(right: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor]:
    """Return the right image where a surface sees it, and how it changes with disparity."""
    cols, last = disparity.shape[1], right.shape[1] - 1
    x = torch.arange(cols, dtype=torch.float32, device=right.device) + disparity
    inside = (x >= 1) & (x < last - 1)
    at = torch.where(inside, x, 1.0).long()
    t = torch.where(inside, x, 1.0) - at
    before, here, after, beyond = (right.gather(1, (at + k).clamp(max=last)) for k in range(-1, 3))
    bend = 2 * before - 5 * here + 4 * after - beyond
    twist = 3 * (here - after) + beyond - before
    value = here + 0.5 * t * (after - before + t * (bend + t * twist))
    slope = 0.5 * (after - before + t * (2 * bend + 3 * t * twist))
    return torch.where(inside, value, torch.nan), torch.where(inside, slope, 0.0)
