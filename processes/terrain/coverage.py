"""Where a terrain model may claim to know: within what was observed, lakes included."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GAP_M = 40.0
"""Notches in the rim narrower than this are part of the coverage."""


def covered(observed: NDArray[np.bool_], cell_m: float) -> NDArray[np.bool_]:
    """Return *observed* with every hole and narrow notch closed; outside its rim stays outside."""
    reach = max(1, round(GAP_M / 2 / cell_m))
    wide = np.pad(observed, reach + 1).astype(np.uint8)
    if not observed.any():
        return observed.copy()
    grown = (_distance(1 - wide) <= reach).astype(np.uint8)
    closed = (_distance(grown) > reach) | (wide > 0)
    _, label = cv2.connectedComponents((~closed).astype(np.uint8), connectivity=4)
    filled = label != label[0, 0]  # the rim is outside
    return np.asarray(filled[reach + 1 : -reach - 1, reach + 1 : -reach - 1])


def _distance(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the distance of the cells of *mask* to the others."""
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
