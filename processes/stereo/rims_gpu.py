"""Rims of roofs on a GPU: what `rims` does; the contrast may differ by its last digit.

Paths of least change are followed by a Triton kernel, a row a program, each two pixels behind the
row before it, as in `sgm_gpu`; by the processor for tensors that lie in its memory.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from processes.stereo import rims
from processes.stereo.pyramid_gpu import highest, quantiles
from processes.stereo.rims import CERTAIN, FARTHEST, JUMP_PX, NEAR_PX, RIM_PX, STEP_COST


def overhanging(
    image: Tensor, disparity: Tensor, confidence: Tensor, other: Tensor | None = None
) -> Tensor:
    """Return which pixels have an upper surface's disparity and look like the lower one."""
    over = _overhanging(image, disparity, confidence)
    if other is None:
        return over
    there, sure = _carried(disparity, confidence, other.shape[1])
    row, col, at = _matched(disparity, other.shape[1])
    seen = disparity[row, col] > there[row, at] - float(JUMP_PX)
    back = torch.zeros_like(over)
    back[row, col] = _overhanging(other, there, sure)[row, at] & seen
    return over | back


def _overhanging(image: Tensor, disparity: Tensor, confidence: Tensor) -> Tensor:
    seen = image.isfinite()
    if not bool(seen.any()) or not bool(disparity.isfinite().any()):
        return torch.zeros_like(seen)
    grey = torch.where(seen, image - image[seen].min(), 0.0).sqrt()
    values = grey[seen]
    low, high = quantiles(values[:: max(1, values.numel() // 100_000)], (0.02, 0.98))
    grey = grey / torch.tensor(max(high - low, 1e-6), device=image.device)
    rim = _rim(disparity, confidence)
    joined = _joined(grey, seen, torch.where(rim, torch.nan, disparity))
    return rim & (joined < disparity - float(JUMP_PX))


def _matched(disparity: Tensor, cols: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows and columns of pixels that have a match, and the columns of that."""
    row, col = torch.nonzero(disparity.isfinite(), as_tuple=True)
    at = (col + disparity[row, col].double()).round().long()
    inside = (at >= 0) & (at < cols)
    return row[inside], col[inside], at[inside]


def _carried(disparity: Tensor, confidence: Tensor, cols: int) -> tuple[Tensor, Tensor]:
    """Return disparities and confidences at the right image's pixels; the highest hides others."""
    row, col, at = _matched(disparity, cols)
    place = row * cols + at
    own, likely = disparity[row, col], confidence[row, col]
    there = own.new_full((disparity.shape[0] * cols,), -torch.inf)
    there.scatter_reduce_(0, place, own, "amax")
    sure = torch.zeros_like(there)
    top = own == there[place]
    sure.scatter_reduce_(0, place[top], likely[top], "amax")
    there, sure = (values.reshape(-1, cols) for values in (there, sure))
    there = torch.where(there.isfinite(), there, torch.nan)
    before, after = there[:, :-2], there[:, 2:]
    hole = there[:, 1:-1].isnan() & ((before - after).abs() < float(JUMP_PX))
    filled, likely = there.clone(), sure.clone()
    filled[:, 1:-1] = torch.where(hole, 0.5 * (before + after), there[:, 1:-1])
    likely[:, 1:-1] = torch.where(hole, torch.minimum(sure[:, :-2], sure[:, 2:]), sure[:, 1:-1])
    return filled, likely


def _rim(disparity: Tensor, confidence: Tensor) -> Tensor:
    """Return pixels of roofs that have something lower, or nothing known, within RIM_PX."""
    rows, cols = disparity.shape
    around = pad(confidence[None, None].double(), (1, 1, 1, 1), mode="reflect")[0, 0]
    total = sum(
        (around[i : i + rows, j : j + cols] for i in range(3) for j in range(3)),
        torch.zeros_like(around[:rows, :cols]),
    )
    sure = (total / 9).float() > float(CERTAIN)
    jump = float(JUMP_PX)
    least = -highest(-disparity.nan_to_num(nan=-torch.inf), RIM_PX)
    row, col = torch.nonzero(disparity.isfinite() & ~(least >= disparity - jump), as_tuple=True)
    own = disparity[row, col]
    certain = pad(torch.where(sure, disparity, torch.nan), (NEAR_PX,) * 4, value=torch.nan)
    roof = torch.zeros_like(own, dtype=torch.bool)
    for i in range(2 * NEAR_PX + 1):
        for j in range(2 * NEAR_PX + 1):
            roof |= (certain[row + i, col + j] - own).abs() < jump
    out = torch.zeros_like(sure)
    out[row, col] = roof
    return out


def _joined(grey: Tensor, seen: Tensor, disparity: Tensor) -> Tensor:
    """Return disparities, unknown ones taken from where the path of least change leads."""
    if not grey.is_cuda:
        found = rims._joined(grey.numpy(), seen.numpy(), disparity.numpy(), STEP_COST)
        return torch.from_numpy(found)
    return joined_by_rows(grey, seen, disparity)


def joined_by_rows(grey: Tensor, seen: Tensor, disparity: Tensor) -> Tensor:
    """Return the same by Triton, whatever the device."""
    rows, cols = disparity.shape
    out = disparity.clone()
    cost = torch.where(disparity.isnan(), float(FARTHEST), 0.0)
    step = float(STEP_COST)
    aslant = float(torch.tensor(2.0).sqrt() * torch.tensor(step))
    for upwards in (False, True):
        done = torch.zeros(rows, dtype=torch.int32, device=grey.device)
        join_row[(rows,)](
            grey.contiguous(), seen.to(torch.uint8), out, cost, done, rows, cols, step, aslant,
            UP=upwards, num_warps=1,
        )  # fmt: skip
    return out


@triton.jit
def join_row(  # type: ignore[no-untyped-def]
    grey, seen, out, cost, done, rows, cols, step_cost, aslant, UP: tl.constexpr
):
    """Follow paths from W, NW, N and NE, or when UP from the opposite, into one row."""
    order = tl.program_id(0)
    way = 1
    row = order
    if UP:
        way = -1
        row = rows - 1 - order
    behind = row - way
    ahead = 0
    for j in range(cols):
        c = j
        if UP:
            c = cols - 1 - j
        if order > 0:
            # NE of this pixel must be done
            while ahead < tl.minimum(j + 2, cols):
                ahead = tl.atomic_add(done + behind, 0)
            tl.debug_barrier()
        at = row * cols + c
        own = tl.load(cost + at)
        if (own > 0) & (tl.load(seen + at) != 0):
            g = tl.load(grey + at)
            value = tl.load(out + at)
            for k in tl.static_range(4):
                if k == 0:
                    r2, c2 = row, c - way
                else:
                    r2, c2 = behind, c + k - 2
                length = step_cost
                if k == 1 or k == 3:
                    length = aslant
                if (r2 >= 0) & (r2 < rows) & (c2 >= 0) & (c2 < cols):
                    there = r2 * cols + c2
                    # not from a cache that knows what was there before
                    price = tl.load(cost + there, cache_modifier=".cg") + length
                    price += tl.abs(g - tl.load(grey + there))
                    better = price < own
                    value = tl.where(better, tl.load(out + there, cache_modifier=".cg"), value)
                    own = tl.where(better, price, own)
            tl.store(cost + at, own)
            tl.store(out + at, value)
        # all of the pixel is written before anybody hears of it
        tl.debug_barrier()
        tl.atomic_add(done + row, 1)
