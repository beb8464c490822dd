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
    [0.0206, 0.0546, 0.0905, 0.127, 0.164, 0.203, 0.242, 0.283, 0.325, 0.37, 0.417, 0.467, 0.521,
     0.579, 0.644, 0.718, 0.808, 0.923, 1.09, 2.92],
    [0.0169, 0.0451, 0.0745, 0.105, 0.136, 0.168, 0.202, 0.238, 0.276, 0.316, 0.36, 0.407, 0.46,
     0.519, 0.588, 0.671, 0.776, 0.927, 1.21, 4.15],
    [0.0144, 0.0382, 0.0632, 0.0891, 0.116, 0.144, 0.173, 0.205, 0.238, 0.274, 0.314, 0.357,
     0.407, 0.464, 0.53, 0.61, 0.712, 0.858, 1.13, 4.28],
    [0.0128, 0.0338, 0.056, 0.0792, 0.103, 0.128, 0.154, 0.182, 0.212, 0.245, 0.282, 0.322, 0.368,
     0.42, 0.482, 0.558, 0.657, 0.803, 1.09, 4.3],
    [0.0112, 0.0297, 0.0494, 0.0697, 0.0909, 0.113, 0.137, 0.163, 0.191, 0.222, 0.256, 0.296,
     0.341, 0.393, 0.457, 0.538, 0.648, 0.807, 1.12, 3.43],
    [0.00594, 0.0158, 0.0264, 0.0375, 0.0492, 0.0619, 0.0757, 0.0908, 0.108, 0.128, 0.152, 0.181,
     0.218, 0.268, 0.343, 0.462, 0.634, 0.867, 1.23, 2.82],
    [0.00406, 0.0108, 0.0182, 0.0259, 0.0343, 0.0437, 0.0543, 0.0667, 0.0818, 0.101, 0.125, 0.157,
     0.204, 0.28, 0.425, 0.614, 0.805, 0.979, 1.15, 1.88],
    [0.00302, 0.00808, 0.0137, 0.0199, 0.0269, 0.0354, 0.0457, 0.0589, 0.077, 0.101, 0.134, 0.175,
     0.248, 0.375, 0.567, 0.805, 0.934, 1.04, 1.19, 1.57],
    [0.00298, 0.00837, 0.0154, 0.024, 0.0357, 0.0483, 0.0669, 0.108, 0.141, 0.167, 0.2, 0.245,
     0.301, 0.394, 0.574, 0.838, 0.939, 1, 1.07, 1.29],
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
