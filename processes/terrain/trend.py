"""The slope of the land at large, taken off before steps are looked for."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.terrain.smooth import at_cells, continued

COARSE_M = 4.0
OPENING_M = 40.0
SOFT_M = 15.0

Heights = NDArray[np.float32]


def trend(heights: Heights, cell_m: float) -> Heights:
    """Return a smooth lower envelope of gap-free *heights*: hills stay, buildings vanish.

    An opening as wide as a house block on the lowest cell of every few metres, then a broad blur.
    A plane of any slope is its own trend. It serves to level slopes, not as a terrain model: at
    wide roofs it rises, but slowly, so that their walls remain steps.
    """
    step = max(1, round(COARSE_M / cell_m))
    rows, cols = heights.shape
    padded = np.pad(heights, ((0, -rows % step), (0, -cols % step)), mode="edge")
    low = padded.reshape(padded.shape[0] // step, step, -1, step).min(axis=(1, 3))
    # Beyond the rim the land goes on with its slope, else the opening flattens hillsides there.
    reach = max(1, round(OPENING_M / 2 / (step * cell_m)))
    margin = 3 * reach
    wide = continued(low, margin)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    opened = cv2.dilate(cv2.erode(wide, disc), disc)
    soft = cv2.GaussianBlur(opened, (0, 0), SOFT_M / (step * cell_m))
    return at_cells(soft[margin:-margin, margin:-margin], step, heights.shape)
