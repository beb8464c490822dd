"""Steep surfaces, matched again along their own slopes, and beyond them.

A step of disparity costs a path P1. What makes level ground smooth makes a roof flat: a fifth to a
quarter of its pitch is lost, in the middle of large roofs too, and with it its eaves and ridges.
So the right image is brought to the surface that was found first; there a roof is level, nearly
nothing is left to find, and a low P1 lets it be found. Only what is steep and lies on a plane is
looked at again: elsewhere a low P1 is noise.

A ridge that runs along the epipolar lines shows in no disparity where it lies, and its roof was a
plateau, 8 to 10 px wide and up to 2 m too low. It is level, so it was not looked at again. Faces
are therefore prolonged over what lies beside them, and the images asked about that. Only what a
jump sets apart from large surfaces may be such a roof: on lawns prolonged slopes are noise.

Which of the slopes are roofs, and how much they lean, the grey levels tell: `least_squares`.

Slope of roofs that fall across the epipolar lines as a share of the true one, completeness at 1 m
of buildings and of ground on three towns (B/H .25, .39, .35):

    steep surfaces once more, .05 or more       .65 .67 .58   .936 .926 .894   .927 .971 .954
    .05 beside jumps only, .1 elsewhere         .66 .63       .936 .926        .930 .972
    … and prolonged, P1 6                       .70 .66 .59   .938 .927 .905   .930 .972 .955
    … and prolonged, P1 4                       .77 .73 .64   .938 .928 .907   .930 .971 .955
    … the same, gentle slopes only if broad     .74 .72 .64   .939 .927 .906   .931 .971 .955
    a look before it is prolonged, both P1 6    .80 .75 .66   .935 .928 .907   .929 .971 .955
    prolonged on large surfaces too, P1 3       .79 .76       .935 .931        .910 .971

Later, with other sightings of the first town, and how uneven its level roofs are: the 99th
percentile of differences over 4 m.

    gentle slopes only if broad                 .74 .72 .64   .949 .927 .906   .79 m
    faces that grew from seeds, aligned whole   .90 .83 .84   .952 .927 .909   .77 m
    planes of pixels, by least squares          .81 .79 .70   .953 .929 .907   .57 m
    … and looked at twice                       .88 .84       .953 .930        .59 m

Whole faces lean best, but hang on seeds: their heights would differ from device to device. A lower
P1 is dear on steep land: the grain of a face of the great pyramid has an NMAD of .071 m without
another look, .084 with 6, .102 with 2. No gain: four columns a pixel, a third look, faces prolonged
by 10 px, or only where the costs of both surfaces differ (they hardly do).
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

from processes.stereo.planes import Floats, Mask, Planes

STEEP, UPRIGHT = 0.1, 1.0
"""Slopes of surfaces that are looked at again, in px of disparity a px …"""
ROOF = 0.05
"""… and of roofs that grey levels know to lean: no more may be left of one that falls across the
epipolar lines."""
SUPPORT = 0.2
"""So much of the surroundings of a pixel must lie on its plane."""
PATCH_PX = 20_000
"""A patch of surface is a roof, a crown, a yard, the ground between blocks, if it is smaller …"""
APART_PX = 0.75
"""… and stands so far apart from everything around it."""
FACE = 0.08
"""Slope of a face of a roof that may be prolonged …"""
BEYOND_PX = (2, 4, 6)
"""… by so many pixels …"""
BESIDE_PX = 1.25
"""… to where it passes so near the surface that was found."""
GROW_PX = 2
"""Paths begin so far outside."""
REACH_PX = 1.5
"""It is looked for so far from the first surface …"""
REST_PX = 1.0
"""… and what is further than this is another one."""
STEPS = np.float32(32)
"""Of a pixel, to which the first surface is rounded."""
CUBIC = np.float32(-0.5)
"""Slope of the kernel one pixel away: Keys, 1981."""


@njit(cache=True, nogil=True, error_model="numpy")
def patches(disparity, known, most, apart_px):  # type: ignore[no-untyped-def]
    """Return known pixels in patches of at most *most* that stand more than *apart_px* apart.

    Of what goes on beyond the border nobody knows how large it is: it is none of them.
    """
    rows, cols = disparity.shape
    small = np.zeros((rows, cols), np.bool_)
    seen = ~known
    patch = np.empty((rows * cols, 2), np.int32)
    for r in range(rows):
        for c in range(cols):
            if seen[r, c]:
                continue
            patch[0], seen[r, c] = (r, c), True
            size, done, inside = 1, 0, True
            while done < size:
                y, x = patch[done]
                done += 1
                inside = inside and 0 < y < rows - 1 and 0 < x < cols - 1
                for i, j in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                    to, at = y + i, x + j
                    if to < 0 or at < 0 or to >= rows or at >= cols or seen[to, at]:
                        continue
                    if abs(disparity[to, at] - disparity[y, x]) <= apart_px:
                        patch[size], seen[to, at] = (to, at), True
                        size += 1
            if inside and size <= most:
                for k in range(size):
                    small[patch[k, 0], patch[k, 1]] = True
    return small


def raised(planes: Planes, matched: Mask) -> Mask:
    """Return patches of surface that jumps set apart, single pixels of other heights filled."""
    apart = patches(planes.disparity, matched, PATCH_PX, np.float32(APART_PX))
    return np.asarray(
        cv2.morphologyEx(apart.view(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
    )


def leaning(planes: Planes, known: Mask, least: float) -> Mask:
    """Return where a plane leans by more than *least*, and much of the surroundings lies on it."""
    steep = planes.by_col**2 + planes.by_row**2
    return known & (planes.support > SUPPORT) & (steep > least**2) & (steep < UPRIGHT**2)


def prolonged(planes: Planes, roofs: Mask, where: Mask) -> tuple[Planes, Mask]:
    """Return planes with faces of *roofs* gone on over others, and where they do.

    Of the faces that reach a pixel of *where*, that one goes on which passes nearest: at a ridge
    the lower of both.
    """
    faces = roofs & (planes.by_col**2 + planes.by_row**2 > FACE**2)
    height, by_col, by_row = planes.disparity.copy(), planes.by_col.copy(), planes.by_row.copy()
    asked = where & surroundings(faces, BEYOND_PX[-1])
    _prolong(
        planes.disparity, planes.by_col, planes.by_row, faces, asked, np.array(BEYOND_PX),
        np.float32(BESIDE_PX), height, by_col, by_row,
    )  # fmt: skip
    longer = asked & ((by_col != planes.by_col) | (by_row != planes.by_row))
    return Planes(height, planes.support, by_col, by_row), longer


@njit(cache=True, nogil=True, error_model="numpy")
def _prolong(  # type: ignore[no-untyped-def]
    disparity, by_col, by_row, faces, asked, beyond, beside, out, out_col, out_row
):
    rows, cols = disparity.shape
    for r in range(rows):
        for c in range(cols):
            if not asked[r, c]:
                continue
            nearest = beside
            for far in beyond:
                for i in (-far, 0, far):
                    for j in (-far, 0, far):
                        y, x = r + i, c + j
                        if y < 0 or x < 0 or y >= rows or x >= cols or not faces[y, x]:
                            continue
                        rise = by_col[y, x] * np.float32(j) + by_row[y, x] * np.float32(i)
                        here = disparity[y, x] - rise
                        off = abs(here - disparity[r, c])
                        if off < nearest:
                            nearest = off
                            out[r, c], out_col[r, c], out_row[r, c] = (
                                here,
                                by_col[y, x],
                                by_row[y, x],
                            )


def surroundings(mask: Mask, px: int = GROW_PX) -> Mask:
    """Return a mask grown by *px*."""
    kernel = np.ones((2 * px + 1, 2 * px + 1), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def surface_of(planes: Planes, known: Mask) -> Floats:
    """Return what the right image is brought to, in whole STEPS of a pixel; 0 where nothing is.

    Last digits of a float32, in which devices differ, would turn census bits.
    """
    return np.where(known, np.rint(planes.disparity * STEPS) / STEPS, np.float32(0))


def moved(surface: Floats, by_col: Floats, rest: Floats) -> Floats:
    """Return disparities from those that were left, *rest* (px), once the surface was taken off."""
    return surface + rest * (1 + by_col)


@njit(cache=True, nogil=True, error_model="numpy")
def along(image, surface):  # type: ignore[no-untyped-def]
    """Return the right image as *surface* (row, col; px of disparity) brings it to the left one.

    float32, two columns a pixel; NaN beyond the image and beside gaps.
    """
    rows, cols = surface.shape
    out = np.full((rows, 2 * cols), np.float32(np.nan), np.float32)
    half, last = np.float32(0.5), image.shape[1] - 1
    for r in range(rows):
        for c in range(cols):
            beyond = surface[r, min(c + 1, cols - 1)]
            for k in range(2):
                step = half * np.float32(k)
                shift = surface[r, c] + step * (beyond - surface[r, c])
                x = np.float32(c) + step + shift
                if not (x >= 1 and x < last - 1):
                    continue
                whole = int(x)
                out[r, 2 * c + k] = _between(image[r], whole, x - np.float32(whole))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _between(line, at, t):  # type: ignore[no-untyped-def]
    """Return the value *t* (0 to 1) beyond pixel *at* of a line, by four pixels."""
    one, two, three = np.float32(1), np.float32(2), np.float32(3)
    five, eight, four = np.float32(5), np.float32(8), np.float32(4)
    u = one - t
    before, after = one + t, one + u
    w0 = CUBIC * (((before - five) * before + eight) * before - four)
    w1 = ((CUBIC + two) * t - (CUBIC + three)) * t * t + one
    w2 = ((CUBIC + two) * u - (CUBIC + three)) * u * u + one
    w3 = CUBIC * (((after - five) * after + eight) * after - four)
    return w0 * line[at - 1] + w1 * line[at] + w2 * line[at + 1] + w3 * line[at + 2]
