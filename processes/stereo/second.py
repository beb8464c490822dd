"""What pairs with a narrow base add to a surface that a wider one measured: a second opinion.

Two images that look from less different directions measure heights coarsely, but they see into
streets, beside towers and into crowns where one image of the wide pair does not, and they err
elsewhere. So their heights are not mixed in everywhere, which would thicken roofs and flatten
trees; each is asked only where it knows better:

* smooth ground and roofs take a share of it: it halves no noise, since all pairs see one grain.
  Not what stands out a little: a car is no higher than a pixel of the narrow pairs' parallax;
* a void, filled from the ground side, takes what was seen lower than that: it is ground;
* a void takes what was seen two pixels higher, or higher if it is green there: at the foot of a
  wall matches thicken roofs, by less than that;
* a crown that was completed takes what was seen higher;
* a height well above what the narrow pairs see is a mismatch, unless it is green: they flatten
  crowns;
* what is raised, and no narrow pair found it though they look there, is one too (`unsupported`):
  nothing hides a roof from an image that looks from between.

All that only where it knows nearly all of what the wide pair measured around: an image of another
day, under another sun, matches so badly that what it does not find says nothing. Of raised cells
that no narrow pair found, 7 to 20 % were right on two towns of one day, where they were .2 and .4 %
of all; 80 % on one whose third image had its sun 45° further on, where they were 22 %. There three
images had .917 of all and .717 of buildings within 1 m, asked anyway, .951 and .937 so; the wide
pair alone .950 and .934. A limit of .03 costs Marseille .0013 of all, RMSE 1.25 → 1.32 m.

Three towns of three images each, the wide pair alone and all of it, NMAD and RMSE, then the
completeness at 1 m of all, buildings, ground, trees, and cars:

    B/H .25   .220 m 2.18 m .930 .944 .938 .581 .638     .212 m 2.09 m .932 .949 .939 .596 .638
        .39   .124   1.28   .947 .923 .964 .561 .700     .122   1.13   .951 .932 .964 .606 .698
        .39   .094   1.54   .961 .963 .985 .573 .656     .090   1.46   .965 .971 .985 .626 .650

The rules were found while looking at these. The two rules against mismatches were sharpened later,
when tests/benchmarks/views.py showed the RMSE of three images above that of a narrow pair alone:
likelihoods do not tell which of the two opinions is wrong (where the second was 1.5 px lower it was
nearer in every class of doubt), and of what was raised and not supported 7 to 34 % was right. RMSE
and completeness of all, buildings, ground, trees, and at edges, before and after, two towns:

    B/H .25   2.10 m .935 .957 .965 .589 .823     1.99 m .937 .955 .968 .589 .834
        .39   1.20   .955 .954 .972 .615 .850     1.12   .958 .952 .977 .614 .866

and then, voids having asked for two narrow pairs that agree (.97) before what they see higher was
believed, with .9, with .7 as for all else, and with anything; on Pleiades images of a quarry RMSE
to another program's model 1.37, 1.24, 1.16, 1.12 m and .871, .873, .873, .874 within 1 m of it:

    B/H .25   .9   1.98 m .937 .957 .967 .590 .833   .39   1.11 m .958 .958 .975 .621 .863
              .7   1.98   .936 .958 .966 .591 .831         1.12   .957 .960 .973 .639 .859
              0    1.98   .936 .959 .965 .592 .829         1.13   .957 .961 .972 .649 .856

No gain: a third of the share on smooth surfaces, as independent errors would have it (NMAD the
same, trees −.005), and on rough ones (trees −.02); trust that grows where both agree, as in `fuse`
(claims held 92 → 93 and 91 → 91 %); what narrow pairs see less than two pixels above a void: on the
faces of a quarry they are right, on two towns wrong (.1 of it is right, .65 of what was filled),
and neither smoothness, likelihood, width nor how alike the images are there tells one from the
other.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.origin import Origin
from processes.stereo.canopy import Green

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]

ALIKE = 0.6
"""What errors of a second opinion are worth that go along with those of the first: of its weight
by base-to-height so much is taken."""
SMOOTH = 0.2
"""Surfaces are smooth whose heights differ by less, for each metre across a window …"""
WINDOW = 5
"""… of so many cells."""
NEAR_PX = 0.3
"""Heights as near as that, in pixels of parallax of the wide pair, are of one surface."""
LOWER_PX, CROWN_PX = 0.4, 0.5
"""How far below a void, and above a crown, was filled what the narrow pairs see, in such pixels."""
HIGHER_M, HIGHER_PX = 1.5, 2.0
"""How far above a void was filled."""
SURE = 0.7
"""How sure they must be of it."""
MISMATCH_PX = 1.5
"""How far above what the narrow pairs see a mismatch lies."""
RAISED_M, AROUND_M = 1.5, 5.0
"""What is raised stands so much above the lowest within so far of it."""
LOST, NEAR_M = 0.05, 15.0
"""A second opinion is asked if it lacks no more of what was measured within so far."""
BUMP_M, BUMP_CELLS = 0.3, 13
"""What is narrower than so many cells and stands out by more is not averaged."""
ENOUGH = 100
"""Cells from which the level of the second opinion can be told."""


class Known(NamedTuple):
    """Heights (row, col), how far measured ones can be trusted, 0 to 1, and their ``Origin``."""

    dsm: Pixels
    trust: Pixels
    origin: NDArray[np.uint8]


class Second(NamedTuple):
    """Heights that narrow pairs agree on, NaN where there are none, and their trust, 0 to 1.

    ``share``: what they weigh beside the widest pair, by the squares of base-to-height ratios.
    """

    dsm: Pixels
    trust: Pixels
    share: float


def asked(known: Known, second: Second, *, cell_m: float, px_m: float, green: Green) -> Known:
    """Return *known*, voids filled, corrected where a second opinion knows better.

    *px_m*: how much height a pixel of parallax of the wide pair is. What is taken counts as seen.
    """
    dsm, seen = known.dsm, known.origin == Origin.SEEN
    heights = second.dsm + _level(np.where(seen, dsm, np.float32(np.nan)), second.dsm)
    above = heights - dsm
    with np.errstate(invalid="ignore"):
        near = _smooth(dsm, seen, cell_m) & (np.abs(above) < NEAR_PX * px_m) & ~_bump(dsm)
        crown = known.origin == Origin.CROWN
        void = (known.origin > Origin.SEEN) & ~crown
        low = void & (above < -LOWER_PX * px_m) & (second.trust > SURE)
        high = void & (above > HIGHER_M)
        higher = high & (above > HIGHER_PX * px_m) & (second.trust > SURE)
        taller = crown & (above > CROWN_PX * px_m) & (second.trust > SURE)
        lower = seen & (above < -MISMATCH_PX * px_m)
    mismatch = lower & ~green(lower, dsm)
    take = low | mismatch | higher | taller | green(high, heights)
    weight = np.float32(ALIKE * second.share / (1 + second.share))
    better = np.where(near, dsm + weight * above, dsm)
    return Known(
        np.where(take, heights, better),
        np.where(take, second.trust * np.float32(second.share), known.trust),
        np.where(take, np.uint8(Origin.SEEN), known.origin),
    )


def telling(dsm: Pixels, second: Pixels, looked: Mask, cell_m: float) -> Mask:
    """Return where a *second* opinion, asked where *looked*, knows nearly all that is in *dsm*."""
    measured = np.isfinite(dsm) & looked
    side = 2 * round(NEAR_M / cell_m) + 1
    known, lost = (
        cv2.blur(cells.astype(np.float32), (side, side))
        for cells in (measured, measured & ~np.isfinite(second))
    )
    return np.asarray(looked & (lost <= LOST * known))


def unsupported(dsm: Pixels, second: Pixels, cell_m: float) -> Mask:
    """Return measured cells of *dsm* that are raised and of which the *second* knows nothing."""
    known = np.isfinite(dsm)
    side = 2 * round(AROUND_M / cell_m) + 1
    lowest = cv2.erode(np.where(known, dsm, np.float32(1e6)), np.ones((side, side), np.uint8))
    with np.errstate(invalid="ignore"):
        return np.asarray(known & ~np.isfinite(second) & (dsm - lowest > RAISED_M))


def _level(one: Pixels, other: Pixels) -> np.float32:
    """Return what brings the other to the level of one."""
    apart = (one - other)[np.isfinite(one) & np.isfinite(other)]
    return np.float32(np.median(apart) if apart.size >= ENOUGH else 0.0)


def _smooth(dsm: Pixels, seen: Mask, cell_m: float) -> Mask:
    """Return measured cells in the midst of others, without a step or anything rough near."""
    box = np.ones((WINDOW, WINDOW), np.uint8)
    high = cv2.dilate(np.where(np.isfinite(dsm), dsm, np.float32(-1e6)), box)
    low = cv2.erode(np.where(np.isfinite(dsm), dsm, np.float32(1e6)), box)
    inside = cv2.erode(seen.view(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.asarray(inside & (high - low < SMOOTH * (WINDOW - 1) * cell_m))


def _bump(dsm: Pixels) -> Mask:
    """Return cells that stand out of a surface, as cars do."""
    box = np.ones((BUMP_CELLS, BUMP_CELLS), np.uint8)
    ground = cv2.morphologyEx(np.nan_to_num(dsm, nan=1e6), cv2.MORPH_OPEN, box)
    return np.asarray(dsm - ground > BUMP_M)
