"""The ground without what was taken for it: sheds, hedges, cars, blunders and noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.nearest import nearest_filled
from processes.terrain.shapes import disc, larger, open_parts
from processes.terrain.smooth import local_planes, planes

BROAD_M = (8.0, 5.0)
"""Reach of the first fits, which only what stands up can fail …"""
UPRIGHT_M, FRINGE_UPRIGHT_M = 0.6, 0.25
"""… by this much; by less in the fringe …"""
FRINGE_M = 3.0
"""… beside what stands up, where blurred walls and crowns lift the surface."""
STANDS_M = 0.5
SHADOW_M, SHADOW_REACH_M = 5.0, 8.0
"""So near to what stands up, matching lifts the ground: streets are filled from their lit side, and
windows see the wall. It is asked what the ground beyond says, within this reach …"""
SHADOW_LIFT_M, TERRACE_M, SHADOW_TRUST = 0.2, 1.2, 0.02
"""… and left out if it is higher by more, but not by a terrace. With nothing beyond, it answers
for itself."""
TERRACE_M2 = 25.0
"""A terrace is no smaller: such are sheds and ramps that lean on the ground."""
FINE_M = 2.0
CREST_M, CREST_OPEN = 7.0, 0.6
"""A hill that was dropped is so wide somewhere, and so much of its rim goes on into the ground."""
ROUNDS = 2
CREPT_M, CREPT_REACH_M = 3.0, 8.0
"""So near to what stands up, cells so much higher than the broad plane agree with a fine one only
where cells beside them drew it on, from a slope onto a roof."""
INLIER_M, INLIER_NMADS = 0.3, 2.5

Heights = NDArray[np.float32]


def refitted(
    heights: Heights, surface: Heights, cell_m: float
) -> tuple[Heights, NDArray[np.bool_]]:
    """Return smooth ground, NaN far from any, and the cells that agree with it.

    *heights* is the gap-free *surface* where that was taken for ground, NaN elsewhere.

    What stands on the ground by less than a step, or leaked into its region, is higher and never
    lower: so the broad planes drop only what is above them, which a symmetric test between many
    sheds and little garden would not. The fine ones then take back crests and drop the rest.
    """
    away_m = _from_standing(heights, surface, cell_m)
    fringe, beside = away_m < FRINGE_M, away_m < CREPT_REACH_M
    upright_m = np.where(fringe, FRINGE_UPRIGHT_M, UPRIGHT_M)
    kept = heights
    for reach_m in BROAD_M:
        above = heights - local_planes(kept, reach_m / cell_m)
        kept = np.where(above <= upright_m, heights, np.nan).astype(np.float32)
    for _ in range(ROUNDS):
        off = np.abs(heights - local_planes(kept, FINE_M / cell_m))
        inside = off[np.isfinite(kept) & np.isfinite(off)]
        spread = 1.4826 * float(np.median(inside)) if inside.size else 0.0
        above = heights - local_planes(kept, BROAD_M[-1] / cell_m)
        lifted = (fringe & (above > FRINGE_UPRIGHT_M)) | (beside & (above > CREPT_M))
        agrees = (off <= max(INLIER_M, INLIER_NMADS * spread)) & ~lifted
        kept = np.where(agrees, heights, np.nan).astype(np.float32)
    kept = np.where(_crests(heights, kept, cell_m), heights, kept).astype(np.float32)
    smooth = local_planes(kept, FINE_M / cell_m)
    seen = np.where(np.isfinite(kept), smooth, np.nan).astype(np.float32)
    return smooth, np.isfinite(seen) & ~_lifted(seen, away_m, cell_m)


def _lifted(seen: Heights, away_m: Heights, cell_m: float) -> NDArray[np.bool_]:
    """Return the cells beside what stands up that are higher than the ground beyond goes on.

    Under the blocks of a dense quarter, seen by three images, this halves the bias (0.20 to
    0.11 m; 0.21 to 0.11 m on another), and changes villages by 0.02 m. Leaving out everything so
    near gave 0.10 m there but twice the error where the surface is exact, on quays and in yards;
    weights by distance, and a correction by the mean lift at each distance, gave 0.19 m.
    """
    near = away_m < SHADOW_M
    trust = np.where(near, SHADOW_TRUST, 1.0).astype(np.float32)
    beyond, _ = planes(seen, SHADOW_REACH_M / cell_m, trust=trust)
    lift = seen - beyond
    high = larger(near & (lift >= TERRACE_M), TERRACE_M2 / cell_m**2)
    return np.asarray(near & (lift > SHADOW_LIFT_M) & ~high)


def _crests(heights: Heights, kept: Heights, cell_m: float) -> NDArray[np.bool_]:
    """Return what was dropped but is wider than sheds and hedges: hills that rise without a step.

    Anything that high with walls was cut off before; what leaked out of a cut through a gap, as a
    house that is hardly higher than the slope behind it, has the cut around it still.

    While only what a disc of CREST_M reaches was asked, the narrow ends of a crest were left out,
    and its rim then ran along them: dunes 0.124 m and an embankment seen by matching 0.222 m, now
    0.063 and 0.153; 18 built towns and two of lidar stay as they are. With half of the rim a wood
    in the corner of a map was a hill; with 0.65 the embankment stays cut. Of 5 m: noisy dunes 0.23
    to 0.19 m, but bushes and feet of houses come back on 12 towns (mean 0.138 to 0.139 m); with
    0.35 of the rim houses on slopes do (0.12 to 0.14 m). Slopes of earth among the cuts neither
    standing nor closed rim: dunes from a stereo pair 0.67 to 0.63 m, towns a little worse. What is
    wrong there is the surface: matching made walls of 3 to 7 m of slopes of 27 degrees.
    """
    dropped = np.isfinite(heights) & np.isnan(kept)
    core = cv2.erode(dropped.astype(np.uint8), disc(CREST_M / 2 / cell_m)) > 0
    label, hill = open_parts(dropped, np.isfinite(kept), CREST_OPEN, reach_px=1.0 / cell_m)
    wide = np.zeros(hill.size, bool)
    wide[label[core]] = True
    return np.asarray((hill & wide)[label])


def _from_standing(heights: Heights, surface: Heights, cell_m: float) -> Heights:
    """Return the distance to something higher, metres: a wall, but not the brink of a quarry."""
    standing = np.isnan(heights) & (surface > nearest_filled(heights) + STANDS_M)
    away = cv2.distanceTransform((~standing).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away * np.float32(cell_m), np.float32)
