"""Where the ground itself steps: scarps, terraces, the flanks of embankments.

Steps are cut out when regions are told apart, and a membrane across the cut would make ramps of
them. Where both sides of a cut turned out to be ground, what lies between them was seen as well.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.terrain.shapes import disc, grown, larger

REACH_M = 5.0
"""How far from a brink ground above and below is looked for."""
LEAST_M = 1.5
"""Ground that steps by less needs no brink: the membrane is as near."""
OVER_M = 0.3
"""A brink is not higher than the ground above it, nor lower than that below, by more."""
CLEAR_M = 3.0
"""No brink is nearer to anything that stands on the ground."""
LEAST_M2 = 60.0
"""Smaller ones are the feet of crowns and cars on a slope."""

FAR_M = 1e6

Heights = NDArray[np.float32]
Mask = NDArray[np.bool_]


def brinks(heights: Heights, seen: Heights, ground: Mask, cuts: Mask, cell_m: float) -> Mask:
    """Return the cells of steps between ground and ground that are not *seen*, the sure ground.

    *ground* are the cells of regions taken for ground, *cuts* those of no region. *heights* and
    *seen* are NaN where unknown.
    """
    reach = disc(REACH_M / cell_m)
    sure = np.isfinite(seen)
    low = cv2.erode(np.where(sure, seen, FAR_M).astype(np.float32), reach)
    high = cv2.dilate(np.where(sure, seen, -FAR_M).astype(np.float32), reach)
    known = np.isfinite(heights)
    standing = known & ~sure & (~(ground | cuts) | (heights > high + OVER_M))
    clear = ~grown(standing, CLEAR_M / cell_m)
    steps = (high - low > LEAST_M) & (high - low < FAR_M)
    between = (heights <= high + OVER_M) & (heights >= low - OVER_M)
    found = known & (cuts | ground) & ~sure & clear & steps & between
    return larger(found, LEAST_M2 / cell_m**2)
