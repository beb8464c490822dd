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
    [0.0205, 0.0543, 0.0896, 0.126, 0.162, 0.2, 0.239, 0.278, 0.319, 0.362, 0.408, 0.456, 0.508,
     0.564, 0.627, 0.7, 0.787, 0.898, 1.06, 2.49],
    [0.018, 0.0478, 0.0792, 0.111, 0.144, 0.178, 0.213, 0.249, 0.286, 0.326, 0.369, 0.415, 0.466,
     0.523, 0.588, 0.667, 0.768, 0.914, 1.19, 3.77],
    [0.0171, 0.0454, 0.0752, 0.106, 0.137, 0.17, 0.204, 0.239, 0.276, 0.316, 0.358, 0.403, 0.453,
     0.509, 0.574, 0.651, 0.75, 0.891, 1.15, 3.87],
    [0.0172, 0.0457, 0.0759, 0.107, 0.139, 0.172, 0.206, 0.242, 0.28, 0.32, 0.363, 0.409, 0.46,
     0.515, 0.577, 0.651, 0.743, 0.874, 1.12, 4.31],
    [0.0144, 0.0381, 0.0627, 0.0884, 0.115, 0.142, 0.171, 0.202, 0.234, 0.269, 0.307, 0.349,
     0.397, 0.45, 0.513, 0.592, 0.696, 0.851, 1.16, 3.43],
    [0.0105, 0.028, 0.0461, 0.0648, 0.0837, 0.103, 0.124, 0.145, 0.169, 0.194, 0.223, 0.256,
     0.295, 0.344, 0.409, 0.511, 0.674, 0.892, 1.18, 2.93],
    [0.00654, 0.0172, 0.0284, 0.0399, 0.0519, 0.0648, 0.0789, 0.0947, 0.113, 0.134, 0.159, 0.19,
     0.233, 0.299, 0.438, 0.628, 0.821, 0.965, 1.12, 2.21],
    [0.00464, 0.0126, 0.0211, 0.0302, 0.0402, 0.0512, 0.0636, 0.0782, 0.0961, 0.119, 0.151, 0.199,
     0.298, 0.441, 0.626, 0.793, 0.905, 0.999, 1.14, 1.9],
    [0.00344, 0.00982, 0.0175, 0.0274, 0.0413, 0.0614, 0.102, 0.183, 0.249, 0.298, 0.353, 0.419,
     0.49, 0.554, 0.634, 0.808, 0.923, 0.989, 1.07, 1.35],
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
