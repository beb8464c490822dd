"""What a raster holds, without a reference: shares, quantiles, extremes; strip by strip."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from processes.core.raster import RasterSource

STRIP_ROWS = 512


def shares(source: RasterSource, meanings: dict[int, str]) -> dict[str, float]:
    """Return how much of a mask each code covers, 0…1; absent counts as code 0."""
    counts = np.zeros(256, np.int64)
    for strip in _strips(source):
        counts += np.bincount(np.nan_to_num(strip).astype(np.uint8).ravel(), minlength=256)
    total = max(int(counts.sum()), 1)
    return {meaning: float(counts[code] / total) for code, meaning in meanings.items()}


def quantiles(
    source: RasterSource, *, lowest: float, highest: float, bins: int = 20_000
) -> dict[str, float] | None:
    """Return p5, median and p95 of a raster, to one bin between *lowest* and *highest*."""
    counts = np.zeros(bins, np.int64)
    for strip in _strips(source):
        known = strip[np.isfinite(strip)]
        counts += np.histogram(known, bins=bins, range=(lowest, highest))[0]
    if counts.sum() == 0:
        return None
    reached = np.cumsum(counts) / counts.sum()
    step = (highest - lowest) / bins
    return {
        name: float(lowest + step * (np.searchsorted(reached, part) + 0.5))
        for name, part in (("p5", 0.05), ("median", 0.5), ("p95", 0.95))
    }


def extremes(source: RasterSource) -> tuple[float, float]:
    """Return the lowest and highest value; NaN twice where a raster is empty."""
    low, high = np.inf, -np.inf
    for strip in _strips(source):
        known = strip[np.isfinite(strip)]
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    return (low, high) if low <= high else (float("nan"), float("nan"))


def _strips(source: RasterSource) -> Iterator[NDArray[np.float32]]:
    rows = source.shape[1]
    for row0 in range(0, rows, STRIP_ROWS):
        yield source.read(row0, 0, min(STRIP_ROWS, rows - row0), bands=(0,))[0]
