"""Smaller images and where to look in larger ones, on a GPU: what `pyramid` does, by torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d, pad

from processes.stereo.pyramid import FAR_PX, NEAR_PX, SPARSE


def halve(image: Tensor) -> Tensor:
    """Return means of 2 by 2 pixels, of those that are not NaN."""
    image = _even(image)
    quad = [image[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    total = sum((q.nan_to_num(nan=0.0) for q in quad), torch.zeros_like(quad[0]))
    count = sum((q.isfinite().float() for q in quad), torch.zeros_like(quad[0]))
    return total / count


def halve_range(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """Return bounds in half-size pixels that include those of all four pixels."""
    low, high = -max_pool2d(-_even(lo)[None], 2)[0], max_pool2d(_even(hi)[None], 2)[0]
    return low / 2, high / 2


def search_range(
    disparity: Tensor, found: Tensor, bounds: tuple[Tensor, Tensor], margin_px: float
) -> tuple[Tensor, Tensor]:
    """Return for each pixel the disparities worth trying; see `pyramid.search_range`."""
    low, high = _extremes(disparity, found, NEAR_PX)
    side = 2 * NEAR_PX + 1
    around = pad(found.float()[None, None], (NEAR_PX,) * 4, mode="reflect")
    sparse = avg_pool2d(around, side, stride=1)[0, 0] < SPARSE
    low_far, high_far = _extremes(disparity, found, FAR_PX)
    low, high = torch.where(sparse, low_far, low), torch.where(sparse, high_far, high)
    if bool(found.any()):
        low_all, high_all = quantiles(disparity[found], (0.002, 0.998))
    else:
        low_all, high_all = float(bounds[0].min()), float(bounds[1].max())
    nothing = low > high
    low = torch.where(nothing, low_all, low) - margin_px
    high = torch.where(nothing, high_all, high) + margin_px
    low, high = torch.maximum(low, bounds[0]), torch.minimum(high, bounds[1])
    empty = low > high
    return torch.where(empty, bounds[0], low), torch.where(empty, bounds[1], high)


def finer(values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return *values* repeated on a grid twice as fine."""
    twice = values.repeat_interleave(2, 0).repeat_interleave(2, 1)
    return twice[: shape[0], : shape[1]]


def quantiles(values: Tensor, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Return quantiles by linear interpolation, of more values than `torch.quantile` takes."""
    ordered = values.sort().values
    found = []
    for share in shares:
        at = share * (ordered.numel() - 1)
        below = int(at)
        pair = ordered[below : below + 2].double()
        found.append(float((pair[0] + (at - below) * (pair[-1] - pair[0])).float()))
    return tuple(found)


def _even(values: Tensor) -> Tensor:
    rows, cols = values.shape
    return pad(values[None, None], (0, cols % 2, 0, rows % 2), mode="replicate")[0, 0]


def _extremes(disparity: Tensor, found: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    low = -highest(-torch.where(found, disparity, 1e6), radius)
    return low, highest(torch.where(found, disparity, -1e6), radius)


def highest(values: Tensor, radius: int) -> Tensor:
    """Return the greatest within a square window around each pixel."""
    side = 2 * radius + 1
    by_row = max_pool2d(values[None, None], (side, 1), stride=1, padding=(radius, 0))
    return max_pool2d(by_row, (1, side), stride=1, padding=(0, radius))[0, 0]
