"""Planes fitted to each pixel's own surface on a GPU: what `planes.refine` does, by Triton.

Nine sums a pixel stay in registers while its neighbours are read; the order of the sums is the
processor's, their rounding is not, so disparities differ by float32's last digits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from processes.stereo.planes import PASSES, RIDGE, disk

BLOCK = 256
AT_ONCE = 1 << 16
"""Pixels of a program, and as many where the interpreter takes each program by itself."""


class PlanesOn(NamedTuple):
    """As `planes.Planes`, on the device."""

    disparity: Tensor
    support: Tensor
    by_col: Tensor
    by_row: Tensor


def refine(disparity: Tensor, matched: Tensor, wanted: Tensor) -> PlanesOn:
    """Return the planes that fit disparities best; see `planes.refine`."""
    rows, cols = disparity.shape
    rim = max(radius for radius, _, _ in PASSES)
    measured, weight = (pad(v.float(), (rim,) * 4).contiguous() for v in (disparity, matched))
    asked = pad(wanted.to(torch.uint8), (rim,) * 4).contiguous()
    now = torch.stack([measured, torch.zeros_like(measured), torch.zeros_like(measured)])
    support, full = torch.zeros_like(measured), 1.0
    size, stride = measured.numel(), measured.shape[1]
    block = AT_ONCE if interpreted() else BLOCK
    for radius, every, tau in PASSES:
        table = torch.as_tensor(disk(radius, every=every), device=disparity.device)
        full = float(table[:, 2].sum())
        offsets = (table[:, 1].long() * stride + table[:, 0].long()).int()
        after = now.clone()
        fit_planes[(triton.cdiv(size, block),)](
            measured, weight, asked, now, after, support, offsets, table, len(table),
            size, 1.0 / (tau * tau), RIDGE, BLOCK=block,
        )  # fmt: skip
        now = after
    inside = (slice(rim, rim + rows), slice(rim, rim + cols))
    height, by_col, by_row = (values[inside].contiguous() for values in now)
    return PlanesOn(height, support[inside] / full, by_col, by_row)


def interpreted() -> bool:
    """Say whether Triton's interpreter runs the kernels."""
    return bool(triton.knobs.runtime.interpret)


@triton.jit
def fit_planes(  # type: ignore[no-untyped-def]
    measured, weight, asked, now, after, support, offsets, table, n, size, sharp, ridge,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Fit planes to BLOCK pixels: heights and slopes *now* give those *after*."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    # what is asked for lies so far within that its neighbours exist
    use = tl.load(asked + at, mask=at < size, other=0) != 0
    own = tl.load(now + at, mask=use, other=0.0)
    by_c = tl.load(now + size + at, mask=use, other=0.0)
    by_r = tl.load(now + 2 * size + at, mask=use, other=0.0)
    s = tl.zeros((BLOCK,), tl.float32)
    s_x, s_y, s_xx, s_xy, s_yy, s_m, s_xm, s_ym = s, s, s, s, s, s, s, s
    for k in range(n):
        x = tl.load(table + 3 * k)
        y = tl.load(table + 3 * k + 1)
        near = tl.load(table + 3 * k + 2)
        other = at + tl.load(offsets + k)
        plane = own + by_c * x + by_r * y
        off = tl.load(now + other, mask=use, other=0.0) - plane
        beyond = 1.0 + off * off * sharp
        w = near * tl.load(weight + other, mask=use, other=0.0) / (beyond * beyond)
        m = w * (tl.load(measured + other, mask=use, other=0.0) - plane)
        w_x = w * x
        w_y = w * y
        s += w
        s_x += w_x
        s_y += w_y
        s_xx += w_x * x
        s_xy += w_x * y
        s_yy += w_y * y
        s_m += m
        s_xm += m * x
        s_ym += m * y
    enough = s > 1e-6
    share = 1.0 / tl.where(enough, s, 1.0)
    x = s_x * share
    y = s_y * share
    m = s_m * share
    xx = s_xx * share - x * x + ridge
    xy = s_xy * share - x * y
    yy = s_yy * share - y * y + ridge
    xm = s_xm * share - x * m
    ym = s_ym * share - y * m
    det = xx * yy - xy * xy
    steeper_c = (xm * yy - ym * xy) / det
    steeper_r = (ym * xx - xm * xy) / det
    higher = m - steeper_c * x - steeper_r * y
    tl.store(after + at, tl.where(enough, own + higher, own), mask=use)
    tl.store(after + size + at, tl.where(enough, by_c + steeper_c, by_c), mask=use)
    tl.store(after + 2 * size + at, tl.where(enough, by_r + steeper_r, by_r), mask=use)
    tl.store(support + at, s, mask=use)
