"""Heights on a grid on a GPU: what `rasterise.rasterise` does, by torch.

Each point is written down once for every cell that it speaks for, and these notes are sorted by
cell and height. A cell's points then lie side by side, its surfaces are runs without a gap, and
everything asked of a run is a difference of running sums (float64, so that they lose nothing). The
same points are chosen; sums are of another order, so that heights differ by float32's last digits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from processes.core.raster import Grid
from processes.stereo.rasterise import (
    _STEPS,
    CLEAR_GAP_M,
    FAIR_SHARE,
    LEAN_CELLS,
    MOST_POINTS,
    NEAR_CELLS,
    REACH_CELLS,
)


class Cells(NamedTuple):
    """As `rasterise.Cells`, on the device."""

    dsm: Tensor
    spread_m: Tensor
    points: Tensor


class _Points(NamedTuple):
    """Points cell by cell, by height within each; as `rasterise._in_cells` has them."""

    row: Tensor
    col: Tensor
    south: Tensor
    east: Tensor
    up: Tensor
    weight: Tensor


def rasterise(
    x: Tensor, y: Tensor, z: Tensor, weight: Tensor, grid: Grid, *, told_m: float = 0.0
) -> Cells:
    """Return heights on *grid* of points in its reference system; see `rasterise.rasterise`."""
    points, base = _in_cells(x.reshape(-1), y.reshape(-1), z.reshape(-1), weight.reshape(-1), grid)
    gap_m = float(np.float32(max(CLEAR_GAP_M, 1.2 * grid.cell_m, told_m)))
    size, device = grid.height * grid.width, x.device
    dsm = torch.full((size,), torch.nan, dtype=torch.float32, device=device)
    spread = dsm.clone()
    count = torch.zeros(size, dtype=torch.int32, device=device)
    asked = torch.ones(size, dtype=torch.bool, device=device)
    for wide in (False, True):
        if points.up.numel() == 0:
            break
        cell, mean, deviation, number = _surfaces(points, grid, asked, gap_m, wide)
        dsm[cell] = (mean.double() + base).float()
        spread[cell] = deviation
        if not wide:
            count[cell] = number
        # a cell without points looks further, and so does one beyond the rim of what it has
        asked &= dsm.isnan()
    return Cells(*(layer.reshape(grid.shape) for layer in (dsm, spread, count)))


def _in_cells(x: Tensor, y: Tensor, z: Tensor, weight: Tensor, grid: Grid) -> tuple[_Points, float]:
    """Return points in the order of their cells, which have a border of one, and mean height."""
    t = ~grid.transform
    row = x * t.d + y * t.e + t.f - 0.5
    col = x * t.a + y * t.b + t.c - 0.5
    inside = (row >= -1.5) & (col >= -1.5) & (row <= grid.height + 0.5) & (col <= grid.width + 0.5)
    inside &= (weight > 0) & z.isfinite()
    r, c = row.round(), col.round()
    inside &= (r >= -1) & (c >= -1) & (r <= grid.height) & (c <= grid.width)
    kept = torch.nonzero(inside)[:, 0]
    row, col, r, c, z = row[kept], col[kept], r[kept], c[kept], z[kept]
    base = float(z.mean()) if kept.numel() else 0.0
    south, east, up = (row - r).float(), (col - c).float(), (z - base).float()
    order = torch.argsort(south, stable=True)
    order = order[torch.argsort(up[order], stable=True)]
    cell = (r.long() + 1) * (grid.width + 2) + c.long() + 1
    order = order[torch.argsort(cell[order], stable=True)]
    values = (r.long(), c.long(), south, east, up, weight[kept].float())
    return _Points(*(v[order] for v in values)), base


def _surfaces(
    points: _Points, grid: Grid, asked: Tensor, gap_m: float, wide: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the cells that have a surface: which, its height, deviation and number of points."""
    cell, point, down, right, d2 = _notes(points, grid, asked, wide)
    device = cell.device
    nearness = np.exp(-2.0 * (np.arange(_STEPS + 1) + 0.5) / _STEPS * REACH_CELLS**2)
    table = torch.as_tensor(nearness.astype(np.float32), device=device)
    scale = float(np.float32(_STEPS / REACH_CELLS**2))
    weight = points.weight[point] * table[(d2 * scale).long()]
    height = points.up[point]

    first = torch.ones_like(cell, dtype=torch.bool)
    first[1:] = cell[1:] != cell[:-1]
    cuts = first.clone()
    cuts[1:] |= height[1:] - height[:-1] > gap_m
    run = torch.cumsum(cuts, 0) - 1
    begin = torch.nonzero(cuts)[:, 0]
    end = torch.cat([begin[1:], begin.new_tensor([cell.numel()])])
    owner = (torch.cumsum(first, 0) - 1)[begin]
    cells = int(first.sum())

    share = _sums(weight, begin, end)
    total = torch.zeros(cells, dtype=torch.float64, device=device)
    total = total.scatter_add(0, owner, share)
    number = torch.arange(begin.numel(), device=device)
    most = torch.zeros_like(total).scatter_reduce(0, owner, share, "amax")
    never = begin.numel()
    lowest = torch.where(share >= most[owner], number, never)
    chosen = torch.full((cells,), never, dtype=torch.int64, device=device)
    chosen = chosen.scatter_reduce(0, owner, lowest, "amin")
    if not wide:
        fair = torch.where(share >= FAIR_SHARE * total[owner], number, -1)
        highest = torch.full_like(chosen, -1).scatter_reduce(0, owner, fair, "amax")
        chosen = torch.where(highest >= 0, highest, chosen)

    lo, hi, weighed = begin[chosen], end[chosen], share[chosen]
    aside = _sums(weight * down, lo, hi) ** 2 + _sums(weight * right, lo, hi) ** 2
    level = aside <= LEAN_CELLS**2 * weighed**2
    lo, hi, weighed = lo[level], hi[level], weighed[level]
    where = cell[lo]
    if where.numel() == 0:
        nothing = weight.new_zeros(0)
        return where, nothing, nothing, where.int()
    # the weighted median, then the mean around it
    running = torch.cumsum(weight.double(), 0)
    before = running[lo] - weight[lo].double()
    middle = torch.searchsorted(running, before + 0.5 * weighed - 1e-9)
    middle = torch.minimum(torch.maximum(middle, lo), hi - 1)
    part = torch.full((begin.numel(),), -1, dtype=torch.int64, device=device)
    part[chosen[level]] = torch.arange(lo.numel(), device=device)
    mine = part[run]
    e = torch.where(mine >= 0, height - height[middle[mine.clamp(min=0)]], 0.0)
    w = weight / (1.0 + 4.0 * e * e)
    s0, s1, s2 = (_sums(v, lo, hi) for v in (w, w * e, w * e * e))
    mean = s1 / s0
    deviation = (s2 / s0 - mean * mean).clamp(min=0).sqrt().float()
    return where, height[middle] + mean.float(), deviation, (hi - lo).int()


def _sums(values: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """Return the sums of values[begin:end], float64."""
    running = torch.cumsum(torch.cat([values.new_zeros(1), values]).double(), 0)
    return running[end] - running[begin]


def _notes(
    points: _Points, grid: Grid, asked: Tensor, wide: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return which point speaks for which cell, sorted by cell and height: cell, point, …

    … how far south and east of the cell's centre the point lies (cells), and that squared.
    """
    limit = (REACH_CELLS if wide else NEAR_CELLS) ** 2
    found: list[tuple[Tensor, ...]] = []
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            row, col = points.row - i, points.col - j
            down, right = points.south + i, points.east + j
            d2 = down * down + right * right
            near = (row >= 0) & (col >= 0) & (row < grid.height) & (col < grid.width)
            cell = torch.where(near, row * grid.width + col, 0)
            keep = torch.nonzero(near & (d2 <= limit) & asked[cell])[:, 0]
            found.append((cell[keep], keep, down[keep], right[keep], d2[keep]))
    cell, point, down, right, d2 = (torch.cat(parts) for parts in zip(*found, strict=True))
    notes = (cell, point, down, right, d2)
    if cell.numel() == 0:
        return notes
    every = points.up.numel()
    if int(torch.bincount(cell).max()) > MOST_POINTS:
        notes = _first(notes, every)
    cell, point = notes[0], notes[1]
    rank = torch.empty(every, dtype=torch.int64, device=cell.device)
    rank[torch.argsort(points.up, stable=True)] = torch.arange(every, device=cell.device)
    order = torch.argsort(cell * every + rank[point])
    return tuple(v[order] for v in notes)  # type: ignore[return-value]  # as many as there were


def _first(notes: tuple[Tensor, ...], every: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the first MOST_POINTS notes of each cell, in the order in which points lie."""
    order = torch.argsort(notes[0] * every + notes[1])
    cell = notes[0][order]
    number = torch.bincount(cell)
    begin = torch.cumsum(number, 0) - number
    rank = torch.arange(cell.numel(), device=cell.device) - begin[cell]
    kept = order[rank < MOST_POINTS]
    return tuple(v[kept] for v in notes)  # type: ignore[return-value]  # as many as there were
