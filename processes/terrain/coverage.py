"""Where a terrain model may claim to know: within what was observed, lakes included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

GAP_M = 40.0
"""Notches in the rim narrower than this are part of the coverage."""


def covered(observed: NDArray[np.bool_], cell_m: float) -> NDArray[np.bool_]:
    """Return *observed* with every hole and narrow notch closed; outside its rim stays outside."""
    reach = max(1, round(GAP_M / 2 / cell_m))
    wide = np.pad(observed, reach)
    far = ndimage.distance_transform_edt(~wide) if observed.any() else np.full(wide.shape, np.inf)
    grown = far <= reach
    closed = (
        ndimage.distance_transform_edt(np.pad(grown, 1, constant_values=False))[1:-1, 1:-1] > reach
    )
    filled = ndimage.binary_fill_holes(closed | wide)
    return np.asarray(filled[reach:-reach, reach:-reach])
