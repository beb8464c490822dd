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
    [0.0208, 0.0552, 0.0911, 0.128, 0.165, 0.203, 0.241, 0.281, 0.323, 0.366, 0.411, 0.458, 0.51,
     0.566, 0.629, 0.701, 0.787, 0.898, 1.06, 3.07],
    [0.0184, 0.0488, 0.0806, 0.114, 0.147, 0.182, 0.218, 0.255, 0.294, 0.336, 0.38, 0.428, 0.48,
     0.539, 0.607, 0.688, 0.792, 0.942, 1.23, 4.74],
    [0.0155, 0.0412, 0.0684, 0.0965, 0.125, 0.156, 0.188, 0.221, 0.257, 0.295, 0.336, 0.382,
     0.432, 0.489, 0.554, 0.633, 0.733, 0.875, 1.13, 4.68],
    [0.0135, 0.0358, 0.0594, 0.0841, 0.11, 0.136, 0.164, 0.193, 0.225, 0.26, 0.298, 0.341, 0.389,
     0.443, 0.507, 0.582, 0.68, 0.822, 1.11, 4.79],
    [0.0123, 0.0324, 0.0535, 0.0753, 0.0984, 0.122, 0.148, 0.175, 0.205, 0.238, 0.273, 0.313,
     0.358, 0.409, 0.47, 0.546, 0.648, 0.798, 1.11, 3.71],
    [0.006, 0.0159, 0.0266, 0.0379, 0.0499, 0.0627, 0.0767, 0.0924, 0.11, 0.13, 0.155, 0.184,
     0.22, 0.268, 0.333, 0.438, 0.599, 0.822, 1.17, 3.14],
    [0.00436, 0.0117, 0.0195, 0.0278, 0.0368, 0.047, 0.0587, 0.0723, 0.0895, 0.112, 0.14, 0.178,
     0.232, 0.311, 0.431, 0.604, 0.785, 0.931, 1.09, 1.89],
    [0.00302, 0.00822, 0.0139, 0.0201, 0.0273, 0.0358, 0.0464, 0.0608, 0.081, 0.108, 0.142, 0.185,
     0.248, 0.345, 0.512, 0.734, 0.866, 0.967, 1.1, 1.62],
    [0.00226, 0.00616, 0.0109, 0.0166, 0.0242, 0.034, 0.0509, 0.0749, 0.0954, 0.114, 0.136, 0.162,
     0.202, 0.262, 0.417, 0.79, 0.924, 0.98, 1.07, 1.41],
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
