"""Where lines of sight meet, on a GPU: what `RayTable.points` does, by torch in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from processes.stereo.epipolar_gpu import spans
from processes.stereo.triangulate import RayTable


def points(rays: RayTable, disparity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, y, height (float64) for each pixel of a left disparity map; NaN where it is NaN."""
    device = disparity.device
    table = torch.as_tensor(rays.coefficients, device=device)
    i, fi = spans(disparity.shape[0], table.shape[2], device)
    j, fj = spans(disparity.shape[1], table.shape[3], device)
    d = disparity.double()
    found = []
    for start, quantity in zip((*rays.origin, 0.0), table, strict=True):
        value = torch.zeros_like(d)
        for power in (3, 2, 1, 0):
            nodes = quantity[power]
            rows = (1 - fi)[:, None] * nodes[i] + fi[:, None] * nodes[i + 1]
            value = value * d + ((1 - fj) * rows[:, j] + fj * rows[:, j + 1])
        found.append(start + value)
    return found[0], found[1], found[2]
