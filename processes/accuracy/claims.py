"""Whether a confidence keeps what it claims: the share of heights that each claim holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processes.accuracy.expected import CLAIMS_M, TWENTIETHS

CLAIM = 0.9
LEVELS = np.arange(0.05, 1.0, 0.05)
"""Shares that are claimed: the error of each is read off the distribution of errors."""


@dataclass(frozen=True)
class Kept:
    """How a confidence kept its claims, on cells whose true height is known."""

    held_share: float
    """Share of the cells within their claimed error, which says 0.9."""
    median_claim_m: float
    cells: int


def kept(
    dz: NDArray[np.floating], claim_m: NDArray[np.floating], where: NDArray[np.bool_] | None = None
) -> Kept:
    """Return how claims on differences *dz* were kept; cells that miss either do not count."""
    known = np.isfinite(dz) & np.isfinite(claim_m)
    known = known if where is None else known & where
    off, claim = np.abs(dz[known]), claim_m[known]
    if off.size == 0:
        return Kept(float("nan"), float("nan"), 0)
    return Kept(float(np.mean(off <= claim)), float(np.median(claim)), int(off.size))


def kept_by_class(
    dz: NDArray[np.floating],
    claim_m: NDArray[np.floating],
    classes: NDArray[np.integer],
    names: Mapping[int, str],
) -> dict[str, Kept]:
    """Return the same for each class that occurs."""
    found = {name: kept(dz, claim_m, classes == code) for code, name in names.items()}
    return {name: row for name, row in found.items() if row.cells}


def held_at_levels(dz: NDArray[np.floating], claim_m: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the share held at each of LEVELS, where a perfect confidence holds that share."""
    known = np.isfinite(dz) & np.isfinite(claim_m)
    off, claim = np.abs(dz[known]).astype(np.float64), claim_m[known].astype(np.float64)
    row = np.searchsorted(CLAIMS_M, claim, side="right")
    ends = _upper_ends()
    return np.array([np.mean(off <= claim * ends[row, k]) for k in range(LEVELS.size)])


def _upper_ends() -> NDArray[np.float64]:
    """Return what each of LEVELS is in claimed errors; the ninth tenth is the claim itself."""
    between = 0.5 * (TWENTIETHS[:, 1:] + TWENTIETHS[:, :-1])
    return np.asarray(between / between[:, [17]])
