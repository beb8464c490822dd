"""Epipolar resampling on a GPU: what `epipolar.resample` does, by torch, to the bit.

Positions are found in float64 and rounded to the same phases of the kernel. Sums are taken in the
order in which a processor with fused products (FMA) takes them: one census bit that flips for a
last digit moves the costs of a whole path, and one disparity in ninety by more than 2e-4 px.
"""

from __future__ import annotations

import torch
from torch import Tensor

from processes.stereo.epipolar import _KERNEL, _PHASES, STEP_PX, Lattice, _kernel_table


def resample(
    image: Tensor, lattice: Lattice, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)
) -> Tensor:
    """Return an image, float32 (row, col), on the rectified grid; see `epipolar.resample`."""
    height, width = image.shape
    y = _positions(lattice.row - origin[0], shape, image.device)
    x = _positions(lattice.col - origin[1], shape, image.device)
    inside = (y > -0.5) & (x > -0.5) & (y < height - 0.5) & (x < width - 0.5)
    y, x = y[inside], x[inside]
    out = torch.full(shape, torch.nan, dtype=torch.float32, device=image.device)
    out[inside] = _weighed(image, y, x)
    return out


def _positions(nodes: object, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Return the values of a lattice (node row, node column) at each pixel, float64."""
    lattice = torch.as_tensor(nodes, dtype=torch.float64, device=device)
    i, fi = spans(shape[0], lattice.shape[0], device)
    j, fj = spans(shape[1], lattice.shape[1], device)
    rows = (1 - fi)[:, None] * lattice[i] + fi[:, None] * lattice[i + 1]
    return rows[:, j] + fj * (rows[:, j + 1] - rows[:, j])


def spans(pixels: int, nodes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the node before each pixel, and how far (0 to 1) the pixel lies beyond it."""
    at = torch.arange(pixels, device=device)
    before = (at // STEP_PX).clamp(max=nodes - 2)
    return before, at.double() / STEP_PX - before


def _weighed(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return the image at positions within it; NaN where the nearest pixel is."""
    height, width = image.shape
    table = torch.as_tensor(_kernel_table()[:, :_KERNEL], device=image.device)
    top, left = y.floor().long() - 2, x.floor().long() - 2
    down = table[((y - y.floor()) * _PHASES + 0.5).long()]
    across = table[((x - x.floor()) * _PHASES + 0.5).long()]
    flat = image.reshape(-1)
    rows = [(top + a).clamp(0, height - 1) * width for a in range(_KERNEL)]
    columns = []
    for b in range(_KERNEL):
        col = (left + b).clamp(0, width - 1)
        column = down[:, 0] * flat[rows[0] + col]
        for a in range(1, _KERNEL):
            # a product that is added without being rounded, as vector units do it
            column = (column + down[:, a].double() * flat[rows[a] + col]).float()
        columns.append(across[:, b] * column)
    c0, c1, c2, c3, c4, c5 = columns
    # halves of a register of eight, quarters, then one to the other
    value = ((c0 + c4) + c2) + ((c1 + c5) + c3)
    nearest = flat[(y + 0.5).long() * width + (x + 0.5).long()]
    gap = torch.nonzero(value.isnan() & ~nearest.isnan())[:, 0]
    total, weight = torch.zeros_like(value[gap]), torch.zeros_like(value[gap])
    for a in range(_KERNEL):
        for b in range(_KERNEL):
            pixel = flat[rows[a][gap] + (left[gap] + b).clamp(0, width - 1)]
            w = torch.where(pixel.isnan(), 0.0, down[gap, a] * across[gap, b])
            weight += w
            total += w * pixel.nan_to_num(nan=0.0)
    value[gap] = torch.where(weight > 0.25, total / weight, nearest[gap])
    return torch.where(nearest.isnan() & value.isnan(), torch.nan, value)
