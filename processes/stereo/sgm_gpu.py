"""Semi-global aggregation on a GPU: what `sgm.solve` does, to the bit, by Triton kernels.

The volume stays on the card: images and ranges go up, winners come down. A sweep is one launch. One
program works through a row, and a row follows the one before it at a distance of two pixels, so
that W, NW, N and NE are always done: all rows run at once, staggered like a wave. Path costs of two
rows are kept: a row writes over those of the row before last, which by then nobody needs. The
programs of a launch begin in order, so the row that one waits for has always begun.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray

from processes.stereo.census import GREY_CAP, NO_DATA_COST, Seen, Slices
from processes.stereo.census_gpu import SeenOn, SlicesOn
from processes.stereo.sgm import NEVER, NOTHING, PATHS, Solution


def solve(
    left: Seen,
    right: Seen,
    pad: int,
    slices: Slices,
    p1: np.uint8,
    p2: NDArray[np.uint8],
    right_cols: int,
    *,
    device: str = "cuda",
) -> Solution:
    """Return the best disparity of every pixel of a strip; arguments as those of `sgm.solve`."""
    up = _Uploads(device)
    found = solved(
        SeenOn(up(left.codes.view(np.int32)), up(left.valid), up(left.greys)),
        SeenOn(up(right.codes.view(np.int32)), up(right.valid), up(right.greys)),
        pad,
        SlicesOn(up(slices.first), up(slices.count), up(slices.start), slices.per_px),
        p1,
        up(p2),
        right_cols,
    )
    best, near, rival, back = (np.asarray(values.cpu().numpy()) for values in found)
    return Solution(best, near.astype(np.uint16), rival.astype(np.uint16), back)


def solved(
    left: SeenOn,
    right: SeenOn,
    pad: int,
    slices: SlicesOn,
    p1: np.uint8,
    p2: torch.Tensor,
    right_cols: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the same of what is on the device and stays there, all of it int32."""
    rows, cols = slices.first.shape
    first, count, start = slices.first, slices.count, slices.start
    device, size = first.device, max(slices.size, 1)
    lanes = triton.next_power_of_2(max(int(count.max()), 16))
    warps = min(4, max(1, lanes // 32))
    cost = torch.empty(size, dtype=torch.uint8, device=device)
    total = torch.zeros(size, dtype=torch.int16, device=device)
    fill_cost[(rows,)](
        left.codes, left.valid, left.greys, right.codes, right.valid, right.greys,
        first, count, start, cost, cols, right.codes.shape[1], pad, slices.per_px,
        int(GREY_CAP), int(NO_DATA_COST), LANES=lanes, num_warps=warps,
    )  # fmt: skip
    for upwards in (False, True):
        done = torch.zeros(rows, dtype=torch.int32, device=device)
        lines = torch.empty((2, cols, PATHS, lanes), dtype=torch.uint8, device=device)
        best = torch.empty((2, cols, PATHS), dtype=torch.int32, device=device)
        sweep_rows[(rows,)](
            cost, first, count, start, left.greys, p2, total, lines, best, done,
            rows, cols, int(p1), UP=upwards, PATHS=PATHS, LANES=lanes, num_warps=warps,
        )  # fmt: skip
    shape = (rows, cols)
    best_left = torch.zeros(shape, dtype=torch.int32, device=device)
    near = torch.full((*shape, 3), int(NOTHING), dtype=torch.int32, device=device)
    rival = torch.full(shape, int(NOTHING), dtype=torch.int32, device=device)
    # cost above, column below: the least is the cheapest, and of equals the first
    right_best = torch.full((rows, right_cols), FREE, dtype=torch.int64, device=device)
    choose[(rows,)](
        total, first, count, start, best_left, near, rival, right_best,
        cols, right_cols, PER_PX=slices.per_px, LANES=lanes, num_warps=warps,
    )  # fmt: skip
    column = torch.arange(right_cols, device=device)
    back = ((column - (right_best & COLUMN)) * slices.per_px).to(torch.int32)
    back = torch.where(right_best == FREE, int(NEVER), back)
    return best_left, near, rival, back


FREE = 1 << 62
COLUMN = (1 << 32) - 1


class _Uploads:
    def __init__(self, device: str) -> None:
        self._device = device

    def __call__(self, values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


@triton.jit
def _bits(x):  # type: ignore[no-untyped-def]
    """Return the number of set bits of int32s."""
    x = x - ((x >> 1) & 0x55555555)
    x = (x & 0x33333333) + ((x >> 2) & 0x33333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F
    return ((x * 0x01010101) >> 24) & 0xFF


@triton.jit
def fill_cost(  # type: ignore[no-untyped-def]
    codes, valid, greys, codes2, valid2, greys2, first, count, start, cost,
    cols, cols2, pad, per_px, cap, missing, LANES: tl.constexpr,
):  # fmt: skip
    """Write the matching cost of one row; see `census.cost_slices`."""
    row = tl.program_id(0)
    k = tl.arange(0, LANES)
    for c in range(cols):
        at = row * cols + c
        n = tl.load(count + at)
        to = tl.load(start + at)
        if tl.load(valid + at) == 0:
            tl.store(cost + to + k, missing.to(tl.uint8), mask=k < n)
        else:
            there = row * cols2 + c * per_px + tl.load(first + at) + pad + k
            bits = _bits(tl.load(codes + at) ^ tl.load(codes2 + there, mask=k < n, other=0))
            grey = tl.load(greys + at).to(tl.int32)
            grey2 = tl.load(greys2 + there, mask=k < n, other=0).to(tl.int32)
            value = bits + tl.minimum(tl.abs(grey - grey2) >> 1, cap)
            seen = tl.load(valid2 + there, mask=k < n, other=0)
            value = tl.where(seen != 0, value, missing)
            tl.store(cost + to + k, value.to(tl.uint8), mask=k < n)


@triton.jit
def _cost_at(line, place, n):  # type: ignore[no-untyped-def]
    """Return path costs, 255 where there are none."""
    known = (place >= 0) & (place < n)
    return tl.load(line + place, mask=known, other=255, cache_modifier=".cg").to(tl.int32)


@triton.jit
def _reached(  # type: ignore[no-untyped-def]
    lines, best, first, count, guide, p2, grey, a, row, col, path, cols, p1, k,
    PATHS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Return path costs that follow from one neighbour, less its least."""
    at = row * cols + col
    slot = ((row & 1) * cols + col) * PATHS + path
    low = tl.load(best + slot, cache_modifier=".cg")  # not from a cache that knows an older row
    step = tl.abs(grey - tl.load(guide + at).to(tl.int32))
    jump = low + tl.load(p2 + step).to(tl.int32)
    n = tl.load(count + at)
    place = k + a - tl.load(first + at)
    line = lines + slot * LANES
    same = _cost_at(line, place, n)
    beside = tl.minimum(_cost_at(line, place - 1, n), _cost_at(line, place + 1, n))
    return tl.minimum(tl.minimum(beside + p1, 255), tl.minimum(same, jump)) - low


@triton.jit
def sweep_rows(  # type: ignore[no-untyped-def]
    cost, first, count, start, guide, p2, total, lines, best, done, rows, cols, p1,
    UP: tl.constexpr, PATHS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Add four paths to *total*, two by two alike: from W and N, from NW and NE, or when UP …

    … the opposite. One row a program.
    """
    order = tl.program_id(0)
    step = 1
    row = order
    if UP:
        step = -1
        row = rows - 1 - order
    behind = row - step
    k = tl.arange(0, LANES)
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
        n = tl.load(count + at)
        if n > 0:
            a = tl.load(first + at)
            to = tl.load(start + at)
            grey = tl.load(guide + at).to(tl.int32)
            own = tl.load(cost + to + k, mask=k < n, other=0).to(tl.int32)
            west = c - step
            east = c + step
            has_w = (west >= 0) & (west < cols)
            has_e = (east >= 0) & (east < cols)
            has_n = order > 0
            west_in = tl.where(has_w, west, c)
            east_in = tl.where(has_e, east, c)
            behind_in = tl.where(has_n, behind, row)
            has_nw = has_w & has_n & (tl.load(count + behind_in * cols + west_in) > 0)
            has_ne = has_e & has_n & (tl.load(count + behind_in * cols + east_in) > 0)
            has_w = has_w & (tl.load(count + row * cols + west_in) > 0)
            has_n = has_n & (tl.load(count + behind_in * cols + c) > 0)
            summed = tl.zeros((LANES,), tl.int32)
            for path in tl.static_range(PATHS):
                if path == 0:
                    one, r1, c1, two, r2, c2 = has_w, row, west, has_n, behind, c
                else:
                    one, r1, c1, two, r2, c2 = has_nw, behind, west, has_ne, behind, east
                value = tl.zeros((LANES,), tl.int32)
                other = tl.zeros((LANES,), tl.int32)
                if one:
                    value = _reached(
                        lines, best, first, count, guide, p2, grey, a, r1, c1, path, cols, p1, k,
                        PATHS, LANES,
                    )  # fmt: skip
                if two:
                    other = _reached(
                        lines, best, first, count, guide, p2, grey, a, r2, c2, path, cols, p1, k,
                        PATHS, LANES,
                    )  # fmt: skip
                value = value + other
                if one & two:
                    value = value >> 1
                value = value + own
                slot = ((row & 1) * cols + c) * PATHS + path
                tl.store(lines + slot * LANES + k, value.to(tl.uint8), mask=k < n)
                tl.store(best + slot, tl.min(tl.where(k < n, value, 255)))
                summed += 2 * value
            before = tl.load(total + to + k, mask=k < n, other=0).to(tl.int32)
            tl.store(total + to + k, (before + summed).to(tl.int16), mask=k < n)
        # all of the pixel is written before anybody hears of it
        tl.debug_barrier()
        tl.atomic_add(done + row, 1)


@triton.jit
def choose(  # type: ignore[no-untyped-def]
    total, first, count, start, left, near, rival, right_best, cols, right_cols,
    PER_PX: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Write the winners of one row; see `sgm.winners`."""
    row = tl.program_id(0)
    k = tl.arange(0, LANES)
    for c in range(cols):
        at = row * cols + c
        n = tl.load(count + at)
        if n > 0:
            a = tl.load(first + at)
            to = tl.load(start + at)
            t = tl.load(total + to + k, mask=k < n, other=0x7FFF).to(tl.int32)
            low = tl.min(t)
            m = tl.min(tl.where(t == low, k, LANES))
            tl.store(left + at, a + m)
            tl.store(near + at * 3 + 1, low)
            if m > 0:
                tl.store(near + at * 3, tl.min(tl.where(k == m - 1, t, 0xFFFF)))
            if m + 1 < n:
                tl.store(near + at * 3 + 2, tl.min(tl.where(k == m + 1, t, 0xFFFF)))
            beyond = (k < n) & (tl.abs(k - m) >= 2 * PER_PX)
            tl.store(rival + at, tl.min(tl.where(beyond, t, 0xFFFF)))
            step = c * PER_PX + a + k
            x = step // PER_PX
            whole = (k < n) & (step >= 0) & (step % PER_PX == 0) & (x < right_cols)
            packed = (t.to(tl.int64) << 32) | c
            tl.atomic_min(right_best + row * right_cols + x, packed, mask=whole)
