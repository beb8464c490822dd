"""Figures expected without any reference: from the error that each cell's confidence claims.

A confidence raster says what error a cell stays below nine times in ten. How errors lie below and
above that is known from built scenes: TWENTIETHS. Together they are the distribution of errors of
a whole model, and its figures follow. Predicted for scenes the numbers were not taken from: RMSE
to 30 %, NMAD to 40 %, completeness at 1 m to 0.035.

What is predicted is the error of heights beside each other. The whole model may lie too high or too
low besides, by what its confidence file says of its level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot, isfinite

import numpy as np
from numpy.typing import NDArray

from processes.accuracy.heights import NMAD_SCALE, HeightFigures
from processes.core.errors import NothingToCompare
from processes.core.raster import RasterSource

CLAIMS_M = np.array([0.3, 0.5, 0.8, 1.2, 2.0, 3.5, 6.0, 10.0])
"""Between these claimed errors lie the rows of TWENTIETHS."""

# fmt: off
TWENTIETHS = np.array([
    [0.02, 0.05, 0.09, 0.12, 0.16, 0.20, 0.23, 0.27, 0.31, 0.36, 0.40, 0.45, 0.50, 0.55, 0.62,
     0.69, 0.77, 0.88, 1.04, 2.35],
    [0.02, 0.05, 0.08, 0.12, 0.15, 0.19, 0.22, 0.26, 0.30, 0.34, 0.39, 0.43, 0.48, 0.54, 0.60,
     0.67, 0.77, 0.89, 1.09, 3.57],
    [0.02, 0.05, 0.08, 0.12, 0.15, 0.18, 0.22, 0.26, 0.30, 0.34, 0.38, 0.43, 0.48, 0.53, 0.60,
     0.67, 0.77, 0.90, 1.12, 3.52],
    [0.02, 0.05, 0.08, 0.11, 0.14, 0.18, 0.21, 0.25, 0.28, 0.32, 0.37, 0.41, 0.46, 0.52, 0.59,
     0.66, 0.75, 0.88, 1.11, 4.18],
    [0.02, 0.05, 0.08, 0.12, 0.15, 0.18, 0.22, 0.26, 0.30, 0.34, 0.38, 0.43, 0.48, 0.54, 0.60,
     0.68, 0.79, 0.93, 1.22, 3.49],
    [0.01, 0.04, 0.06, 0.09, 0.11, 0.14, 0.16, 0.19, 0.22, 0.25, 0.29, 0.33, 0.37, 0.43, 0.49,
     0.59, 0.73, 0.89, 1.11, 2.78],
    [0.01, 0.02, 0.03, 0.05, 0.06, 0.08, 0.10, 0.12, 0.14, 0.16, 0.19, 0.23, 0.27, 0.33, 0.43,
     0.61, 0.80, 0.95, 1.10, 2.16],
    [0.01, 0.01, 0.02, 0.03, 0.05, 0.06, 0.07, 0.09, 0.11, 0.13, 0.17, 0.21, 0.29, 0.41, 0.55,
     0.71, 0.85, 0.97, 1.17, 1.91],
    [0.00, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10, 0.13, 0.17, 0.23, 0.35, 0.48, 0.59,
     0.72, 0.91, 1.01, 1.13, 1.51],
])
# fmt: on
"""Root mean square of each twentieth of the errors, smallest first, in claimed errors.

Small claims are kept by bell curves with a tail. Large ones are right or wrong by a whole wall.
"""

BAND, LEVEL = "error_90_m", "OROGRAPH_LEVEL_ERROR_M"
FINEST_M, COARSEST_M, BINS = 0.01, 200.0, 600
STRIP_ROWS = 512


@dataclass(frozen=True)
class Expected:
    """What is to be expected of a model."""

    figures: HeightFigures
    """Of the heights beside each other: bias and median are nought by definition."""
    level_m: float | None
    """How far the whole model may be off, one standard deviation; None where nobody knows."""
    share: NDArray[np.float64]
    """Share of the cells in each bin of *claims_m*."""
    claims_m: NDArray[np.float64]

    @property
    def rmse_m(self) -> float:
        """RMSE with the level of the model in it, where that is known."""
        return hypot(self.figures.rmse_m, self.level_m or 0.0)


def expected(confidence: RasterSource) -> Expected:
    """Return what a confidence raster promises. Raises NothingToCompare for an empty one."""
    edges = np.geomspace(FINEST_M, COARSEST_M, BINS + 1)
    counts, cells = np.zeros(BINS), 0
    for strip in _strips(confidence):
        known = strip[np.isfinite(strip)]
        cells += known.size
        counts += np.histogram(np.clip(known, FINEST_M, COARSEST_M), edges)[0]
    if cells == 0:
        raise NothingToCompare("confidence claims nothing anywhere: it is empty")
    middles = np.sqrt(edges[1:] * edges[:-1])
    said = confidence.tags.get(LEVEL)
    level = float(said) if said is not None and isfinite(float(said)) else None
    return Expected(_figures(middles, counts), level, counts / cells, middles)


def _figures(claims_m: NDArray[np.float64], counts: NDArray[np.float64]) -> HeightFigures:
    """Return the figures of a mixture: so many cells of each claim."""
    cells = int(counts.sum())
    row = np.searchsorted(CLAIMS_M, claims_m, side="right")
    errors = (claims_m[:, None] * TWENTIETHS[row]).ravel()
    weight = np.repeat(counts / TWENTIETHS.shape[1], TWENTIETHS.shape[1]) / cells
    order = np.argsort(errors)
    errors, reached = errors[order], np.cumsum(weight[order])

    def below(share: float) -> float:
        return float(errors[min(np.searchsorted(reached, share), errors.size - 1)])

    return HeightFigures(
        bias_m=0.0,
        median_m=0.0,
        rmse_m=float(np.sqrt(np.sum(weight[order] * errors**2))),
        nmad_m=NMAD_SCALE * below(0.5),
        le90_m=below(0.9),
        completeness_1m=float(np.sum(weight[order], where=errors <= 1.0)),
        void_share=0.0,
        cells=cells,
    )


def _strips(source: RasterSource) -> Iterator[NDArray[np.float32]]:
    rows = source.shape[1]
    for row0 in range(0, rows, STRIP_ROWS):
        yield source.read(row0, 0, min(STRIP_ROWS, rows - row0), bands=(0,))[0]
