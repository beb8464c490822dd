"""The nearest known cell of every cell."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Heights = NDArray[np.float32]


def nearest(targets: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Heights]:
    """Return for each cell the flat index of, and the distance in cells to, the nearest target.

    At least one cell must be a target.
    """
    distance, code = cv2.distanceTransformWithLabels(
        (~targets).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    place = np.zeros(int(code.max()) + 1, np.int64)
    at = np.flatnonzero(targets)
    place[code.ravel()[at]] = at
    return place[code], distance


def nearest_filled(heights: Heights) -> Heights:
    """Return *heights* with each NaN taken from the nearest known cell; zeros if none is known."""
    known = np.isfinite(heights)
    if known.all():
        return heights.astype(np.float32)
    if not known.any():
        return np.zeros(heights.shape, np.float32)
    source, _ = nearest(known)
    return np.asarray(heights.ravel()[source], np.float32)
