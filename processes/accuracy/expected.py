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
    [0.0199, 0.0529, 0.0876, 0.123, 0.159, 0.196, 0.234, 0.273, 0.313, 0.356, 0.4, 0.447, 0.499,
     0.555, 0.617, 0.689, 0.774, 0.882, 1.04, 2.35],
    [0.0192, 0.0508, 0.0841, 0.118, 0.152, 0.188, 0.224, 0.262, 0.301, 0.341, 0.385, 0.431, 0.482,
     0.538, 0.601, 0.674, 0.765, 0.888, 1.09, 3.57],
    [0.019, 0.0504, 0.0835, 0.117, 0.151, 0.185, 0.22, 0.257, 0.295, 0.336, 0.379, 0.425, 0.476,
     0.532, 0.596, 0.673, 0.77, 0.902, 1.12, 3.52],
    [0.0179, 0.0477, 0.0791, 0.111, 0.144, 0.177, 0.211, 0.247, 0.284, 0.325, 0.367, 0.413, 0.464,
     0.52, 0.585, 0.661, 0.754, 0.885, 1.11, 4.18],
    [0.0191, 0.0502, 0.0827, 0.116, 0.151, 0.185, 0.22, 0.257, 0.296, 0.337, 0.381, 0.429, 0.481,
     0.538, 0.604, 0.683, 0.785, 0.932, 1.22, 3.49],
    [0.0142, 0.0376, 0.062, 0.0867, 0.112, 0.138, 0.164, 0.192, 0.222, 0.252, 0.287, 0.326, 0.371,
     0.425, 0.494, 0.592, 0.726, 0.89, 1.11, 2.78],
    [0.00823, 0.0215, 0.0349, 0.0488, 0.0639, 0.0798, 0.0975, 0.117, 0.139, 0.164, 0.193, 0.228,
     0.271, 0.331, 0.426, 0.611, 0.8, 0.946, 1.1, 2.16],
    [0.00514, 0.0139, 0.0236, 0.034, 0.0453, 0.0578, 0.0717, 0.0876, 0.107, 0.132, 0.166, 0.213,
     0.288, 0.409, 0.555, 0.711, 0.849, 0.972, 1.17, 1.91],
    [0.004, 0.0104, 0.0179, 0.0271, 0.0371, 0.0484, 0.0625, 0.0801, 0.104, 0.131, 0.169, 0.233,
     0.35, 0.478, 0.592, 0.721, 0.909, 1.01, 1.13, 1.51],
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
