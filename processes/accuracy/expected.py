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
    [0.021, 0.0555, 0.0917, 0.129, 0.167, 0.205, 0.245, 0.286, 0.329, 0.374, 0.421, 0.472, 0.526,
     0.584, 0.649, 0.724, 0.814, 0.929, 1.1, 2.83],
    [0.017, 0.045, 0.0745, 0.105, 0.136, 0.168, 0.202, 0.237, 0.275, 0.315, 0.358, 0.406, 0.458,
     0.517, 0.586, 0.668, 0.774, 0.924, 1.21, 4.08],
    [0.0143, 0.038, 0.0632, 0.0893, 0.116, 0.144, 0.174, 0.205, 0.238, 0.274, 0.313, 0.356, 0.404,
     0.46, 0.525, 0.604, 0.706, 0.852, 1.13, 4.47],
    [0.0124, 0.0331, 0.0549, 0.0775, 0.101, 0.126, 0.151, 0.178, 0.207, 0.239, 0.273, 0.311,
     0.354, 0.404, 0.464, 0.539, 0.638, 0.784, 1.07, 4.48],
    [0.0102, 0.0269, 0.0448, 0.0634, 0.0826, 0.103, 0.125, 0.148, 0.174, 0.202, 0.234, 0.271,
     0.313, 0.362, 0.423, 0.503, 0.612, 0.777, 1.14, 3.66],
    [0.00689, 0.0183, 0.0309, 0.044, 0.058, 0.0735, 0.0906, 0.11, 0.133, 0.16, 0.191, 0.229,
     0.277, 0.338, 0.421, 0.541, 0.706, 0.915, 1.19, 2.51],
    [0.00412, 0.011, 0.0186, 0.0267, 0.0356, 0.0457, 0.0573, 0.0712, 0.088, 0.109, 0.135, 0.169,
     0.218, 0.289, 0.426, 0.664, 0.856, 0.997, 1.16, 1.78],
    [0.00305, 0.0082, 0.0139, 0.0202, 0.0275, 0.0361, 0.0463, 0.059, 0.0749, 0.0951, 0.122, 0.157,
     0.207, 0.297, 0.483, 0.735, 0.913, 1.05, 1.2, 1.56],
    [0.00247, 0.0069, 0.0121, 0.0184, 0.0266, 0.0381, 0.0519, 0.0696, 0.0938, 0.124, 0.157, 0.203,
     0.251, 0.301, 0.375, 0.635, 0.896, 1.01, 1.1, 1.35],
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
