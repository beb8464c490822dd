"""Building-height figures: one number a building, against one of the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BuildingFigures:
    """Agreement of building heights, metres; NaN where there was nothing to compare."""

    median_error_m: float
    """Median of |height − true height|."""
    bias_m: float
    rmse_m: float
    le90_m: float
    within_1m: float
    """Share of compared buildings that are off by at most 1 m."""
    compared: int


def building_figures(
    height_m: NDArray[np.floating], truth_m: NDArray[np.floating]
) -> BuildingFigures:
    """Return the figures of *height_m* against *truth_m*, building by building; NaN is unknown."""
    dz = np.asarray(height_m, float) - np.asarray(truth_m, float)
    dz = dz[np.isfinite(dz)]
    if not dz.size:
        nan = float("nan")
        return BuildingFigures(nan, nan, nan, nan, nan, 0)
    size = np.abs(dz)
    return BuildingFigures(
        median_error_m=float(np.median(size)),
        bias_m=float(dz.mean()),
        rmse_m=float(np.sqrt(np.mean(dz**2))),
        le90_m=float(np.quantile(size, 0.9)),
        within_1m=float(np.mean(size <= 1.0)),
        compared=int(dz.size),
    )
