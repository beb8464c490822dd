"""Roof figures: how far modelled roofs are from true ones, cell by cell and plane by plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Heights = NDArray[np.floating]


@dataclass(frozen=True)
class RoofFigures:
    """Agreement of roof surfaces, metres; NaN where there was nothing to compare."""

    rmse_m: float
    """At the cells where both the model and the truth have a roof."""
    bias_m: float
    mae_union_m: float
    """Mean |difference| over the union of both; where only one stands, the other is ground."""
    common_cells: int
    union_cells: int


def roof_figures(model: Heights, truth: Heights, ground: Heights) -> RoofFigures:
    """Return the figures of roof heights at cell centres; NaN means no roof in that cell.

    *ground* is the terrain under both, used where a roof is missing or invented.
    """
    both, either = np.isfinite(model) & np.isfinite(truth), np.isfinite(model) | np.isfinite(truth)
    nan = float("nan")
    dz = (model[both] - truth[both]).astype(np.float64)
    filled = np.where(np.isfinite(model), model, ground) - np.where(
        np.isfinite(truth), truth, ground
    )
    off = np.abs(filled[either & np.isfinite(filled)]).astype(np.float64)
    return RoofFigures(
        rmse_m=float(np.sqrt(np.mean(dz**2))) if dz.size else nan,
        bias_m=float(dz.mean()) if dz.size else nan,
        mae_union_m=float(off.mean()) if off.size else nan,
        common_cells=int(both.sum()),
        union_cells=int(either.sum()),
    )


def pitch_error_deg(
    model_deg: Sequence[float] | NDArray[np.floating],
    true_deg: Sequence[float] | NDArray[np.floating],
    area_m2: Sequence[float] | NDArray[np.floating],
) -> float:
    """Return the area-weighted mean |difference| of roof pitches, degrees."""
    off = np.abs(np.asarray(model_deg, float) - np.asarray(true_deg, float))
    weight = np.asarray(area_m2, float)
    known = np.isfinite(off) & (weight > 0)
    if not known.any():
        return float("nan")
    return float(np.average(off[known], weights=weight[known]))
