"""Where the ground itself steps: scarps, terraces, the flanks of embankments.

Steps are cut out when regions are told apart, and a membrane across the cut would make ramps of
them. Where both sides of a cut turned out to be ground, what lies between them was seen as well.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.terrain.shapes import disc, grown, larger

REACH_M, LEAST_M, LEAST_M2 = 6.0, 1.5, 60.0
"""How far from a brink ground above and below is looked for; ground that steps by less needs none,
for the membrane is as near; smaller ones are the feet of crowns and cars on a slope."""
FACE_REACH_M, FACE_M, FACE_M2 = 9.0, 6.0, 250.0
"""The same for the faces of quarries, which no house is as large as."""
OVER_M = 0.3
"""A brink is not higher than the ground above it, nor lower than that below, by more."""
CLEAR_M = 3.0
"""No brink is nearer to anything that stands on the ground."""
FAR_M = 1e6

Heights = NDArray[np.float32]
Mask = NDArray[np.bool_]


def brinks(heights: Heights, seen: Heights, ground: Mask, cuts: Mask, cell_m: float) -> Mask:
    """Return the cells of steps between ground and ground that are not *seen*, the sure ground.

    *ground* are the cells of regions taken for ground, *cuts* those of no region. *heights* and
    *seen* are NaN where unknown.
    """
    scarps = _steps(heights, seen, ground, cuts, cell_m, REACH_M, LEAST_M, LEAST_M2)
    faces = _steps(heights, seen, ground, cuts, cell_m, FACE_REACH_M, FACE_M, FACE_M2)
    return np.asarray(scarps | faces)


def _steps(
    heights: Heights,
    seen: Heights,
    ground: Mask,
    cuts: Mask,
    cell_m: float,
    reach_m: float,
    least_m: float,
    least_m2: float,
) -> Mask:
    reach = disc(reach_m / cell_m)
    sure = np.isfinite(seen)
    low = cv2.erode(np.where(sure, seen, FAR_M).astype(np.float32), reach)
    high = cv2.dilate(np.where(sure, seen, -FAR_M).astype(np.float32), reach)
    steps = (high - low > least_m) & (high - low < FAR_M) & (cuts | ground) & ~sure
    if not steps.any():
        return np.asarray(steps)
    known = np.isfinite(heights)
    standing = known & ~sure & (~(ground | cuts) | (heights > high + OVER_M))
    clear = ~grown(standing, CLEAR_M / cell_m)
    between = (heights <= high + OVER_M) & (heights >= low - OVER_M)
    return larger(known & steps & clear & between, least_m2 / cell_m**2)
