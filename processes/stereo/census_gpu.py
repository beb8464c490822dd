"""Census codes and slices of disparities on a GPU: what `census` does, by torch, to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from processes.stereo.lanes import LANES


class SeenOn(NamedTuple):
    """As `census.Seen`, on the device: codes (int32), valid and greys (uint8)."""

    codes: Tensor
    valid: Tensor
    greys: Tensor


@dataclass(frozen=True, eq=False)
class SlicesOn:
    """As `census.Slices`, on the device."""

    first: Tensor
    count: Tensor
    start: Tensor
    per_px: int

    @property
    def size(self) -> int:
        """Length of a flat array that holds all slices."""
        return int(self.start[-1, -1] + self.count[-1, -1])

    @classmethod
    def between(cls, lo: Tensor, hi: Tensor, *, per_px: int, where: Tensor) -> SlicesOn:
        """Return slices that cover [lo, hi] (pixels); see `census.Slices.between`."""
        low = (lo * per_px).floor().int()
        need = (hi * per_px).ceil().int() - low + 1
        count = (need.clamp(min=1) + LANES - 1) // LANES * LANES
        first = low - (count - need) // 2
        count = count * where
        ends = torch.cumsum(count.reshape(-1), 0, dtype=torch.int64).view_as(count)
        return cls(first.contiguous(), count.contiguous(), ends - count, per_px)


def census(image: Tensor, offsets: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return codes (int32, 31 neighbours at most) and which are valid; see `census.census`."""
    rows, cols = image.shape
    codes = torch.zeros(image.shape, dtype=torch.int32, device=image.device)
    for bit, (down, right) in enumerate(offsets.tolist()):
        r0, r1 = max(0, -down), min(rows, rows - down)
        c0, c1 = max(0, -right), min(cols, cols - right)
        if r0 < r1 and c0 < c1:
            there = image[r0 + down : r1 + down, c0 + right : c1 + right]
            codes[r0:r1, c0:c1] |= (there < image[r0:r1, c0:c1]).int() << bit
    return codes, (~image.isnan()).to(torch.uint8)
