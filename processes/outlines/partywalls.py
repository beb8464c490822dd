"""Straight cuts through a block of houses, and what is to be seen on their two sides.

A block is laid so that cuts are rows, one a cell further on than the next. At each place from edge
to edge the two sides are compared: roof heights, each side extended as a plane to the cut so that
slopes and ridges are no steps; brightness; colour as log ratios, which shading hardly changes.
`signs` says what of that makes a wall.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.outlines.signs import ALIKE, Signs, strength_of, weight_of

Floats = NDArray[np.floating[Any]]
Counts = NDArray[np.int32]
Mask = NDArray[np.bool_]


def walls(
    mask: Mask, features: NDArray[np.float32], angles: Sequence[float], cell_m: float, signs: Signs
) -> Floats:
    """Return the party walls, from (x, y) to (x, y), strongest first, none close to another.

    They are square to one of the *angles*. *features* are height and, where known, log brightness
    and log ratios, (feature, row, col).
    """
    found = []
    for angle in angles:
        inside, laid, corner = _laid(mask, features, angle)
        room, behind, ahead = _depths(inside)
        cuts = _cuts(_steps(laid, room, cell_m, signs), room, behind, ahead, cell_m, signs)
        found.append(_middles(cuts, angle, corner, 2.0 / cell_m))
    ends, strength = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.argsort(-strength, kind="stable")
    return np.asarray(ends[order][_apart(ends[order], strength[order], cell_m, signs)])


@njit(cache=True, nogil=True, error_model="numpy")
def _cuts(
    steps: NDArray[np.float32],
    room: Counts,
    behind: Counts,
    ahead: Counts,
    cell_m: float,
    signs: Signs,
) -> Floats:
    """Return the cuts that are all but walls: (place, from, to, how far it exceeds what is asked).

    They go from edge to edge.
    """
    places, wide = room.shape
    shortest = max(4, round(signs.least_length_m / cell_m))
    cuts = np.empty((room.size // shortest + 1, 4))
    own = np.empty((6, wide))
    count = 0
    for place in range(1, places):
        length = 0
        for at in range(wide + 1):
            if at < wide and room[place, at] > 0:
                length += 1
                continue
            if length >= shortest:
                first = at - length
                back, on = behind[place, first:at], ahead[place, first:at]
                weight, tall = weight_of(back, on, cell_m, signs, own[3])
                strength = 0.0
                if weight > 0 or tall:
                    strength = strength_of(steps, place, first, at, weight, tall, signs, own)
                if strength > ALIKE:
                    cuts[count, 0], cuts[count, 1], cuts[count, 2] = place, first, at
                    cuts[count, 3] = strength
                    count += 1
            length = 0
    return cuts[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def _laid(
    mask: Mask, features: NDArray[np.float32], angle: float
) -> tuple[Mask, NDArray[np.float32], tuple[float, float]]:
    """Return mask and features, each cell of four, on a lattice whose first axis runs at an angle.

    NaN outside the mask, where no one asks. Beside them where the lattice begins, along both axes.
    """
    c, s = np.cos(angle), np.sin(angle)
    kinds, high, wide = features.shape
    low_u = low_v = np.inf
    high_u = high_v = -np.inf
    for row in range(high):
        first = -1
        last = -1
        for col in range(wide):
            if mask[row, col]:
                first, last = (col if first < 0 else first), col
        if first < 0:
            continue
        for col in (first, last):
            u, v = c * col + s * row, c * row - s * col
            low_u, high_u = min(low_u, u), max(high_u, u)
            low_v, high_v = min(low_v, v), max(high_v, v)
    size = int(high_u - low_u) + 6, int(high_v - low_v) + 6
    low_u, low_v = low_u - 2, low_v - 2
    inside = np.zeros(size, np.bool_)
    laid = np.full((kinds, size[0], size[1]), np.nan, np.float32)
    for place in range(size[0]):
        for at in range(size[1]):
            x = c * (place + low_u) - s * (at + low_v)
            y = s * (place + low_u) + c * (at + low_v)
            left, top = int(np.floor(x)), int(np.floor(y))
            if left < 0 or top < 0 or left + 1 >= wide or top + 1 >= high:
                continue
            across, down = np.float32(x - left), np.float32(y - top)
            one, two = (1 - across) * (1 - down), across * (1 - down)
            three, four = (1 - across) * down, across * down
            share = one * mask[top, left] + two * mask[top, left + 1]
            share += three * mask[top + 1, left] + four * mask[top + 1, left + 1]
            if not share > 0.5:
                continue
            inside[place, at] = True
            for kind in range(kinds):
                values = features[kind]
                value = one * values[top, left] + two * values[top, left + 1]
                value += three * values[top + 1, left] + four * values[top + 1, left + 1]
                laid[kind, place, at] = value
    return inside, laid, (low_u, low_v)


@njit(cache=True, nogil=True, error_model="numpy")
def _depths(inside: Mask) -> tuple[Counts, Counts, Counts]:
    """Return how many places one gets away from a cut without leaving, on the shallower side.

    Then the same back from it and on from it, straight on or askew: a wing that leaves the wall at
    a slant is not shallow.
    """
    places, wide = inside.shape
    room = np.zeros((places, wide), np.int32)
    behind, ahead = np.zeros((places, wide), np.int32), np.zeros((places, wide), np.int32)
    padded = np.zeros((2, wide + 4), np.int32)
    for slant in (0, -1, 1, -2, 2):
        for side in range(2):
            depths = behind if side == 0 else ahead
            padded[:] = 0
            before, now = padded[0], padded[1]
            for number in range(1, places):
                place = number if side == 0 else places - number
                cells, found = inside[place - 1 if side == 0 else place], depths[place]
                come = before[2 + slant :]
                for at in range(wide):
                    now[2 + at] = come[at] + 1 if cells[at] else 0
                for at in range(wide):
                    found[at] = max(found[at], now[2 + at])
                before, now = now, before
        if slant == 0:
            room = np.minimum(behind, ahead)
    return room, behind, ahead


@njit(cache=True, nogil=True, error_model="numpy")
def _means(total: Floats, count: Counts, window: int, out: Floats) -> None:
    """Write the means of the *window* places from each on; NaN where under half are known.

    *total* and *count* are those of the known cells before each place.
    """
    for place in range(len(out)):
        one, other, means = total[place], total[place + window], out[place]
        fewer, more = count[place], count[place + window]
        for at in range(len(means)):
            number = more[at] - fewer[at]
            mean = (other[at] - one[at]) / number
            means[at] = mean if 2 * number >= window else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _steps(
    laid: NDArray[np.float32], room: Counts, cell_m: float, signs: Signs
) -> NDArray[np.float32]:
    """Return (feature, place, along): the difference across the gap before a place.

    After the features come the crease, what the slopes of the two sides make of the gap, and the
    ridge, in metres a metre. Slopes are read far from the gap where the houses are wide enough:
    stereo smears a step over metres.
    What is not there any more further on, a stripe or a skylight, is nought.
    """
    window = max(2, round(signs.window_m / cell_m))
    skip = max(1, round(signs.blur_m / cell_m))
    least = max(1, round(signs.least_depth_m / cell_m))
    kinds, places, wide = laid.shape
    out = np.full((kinds + 4, places, wide), np.nan, np.float32)
    half, long = max(1, window // 2), round(1.5 * max(1, window // 2))
    margin = skip + 2 * max(window, long)
    total = np.zeros((places + 1 + 3 * margin, wide))
    count = np.zeros((places + 1 + 3 * margin, wide), np.int32)
    means = np.empty((3, places + 2 * margin, wide))  # over window, half and long
    for kind in range(kinds):
        base = _first(laid[kind])  # heights are large numbers: their sums are not
        for place in range(len(total) - margin - 1):
            now, then = total[margin + place], total[margin + place + 1]
            known, more = count[margin + place], count[margin + place + 1]
            if place >= places:
                then[:], more[:] = now, known
                continue
            values = laid[kind, place]
            for at in range(wide):
                seen = values[at] == values[at]
                then[at] = now[at] + (values[at] - base if seen else 0.0)
                more[at] = known[at] + (1 if seen else 0)
        _means(total, count, window, means[0])
        if kind == 0:
            _means(total, count, half, means[1])
            _means(total, count, long, means[2])
        for place in range(1, places):
            deep, found, at_gap = room[place], out[kind, place], place + margin
            mean = means[0]
            after, before = mean[at_gap + skip], mean[at_gap - skip - window]
            beyond, back = mean[at_gap + skip + window], mean[at_gap - skip - 2 * window]
            for at in range(wide):
                near, far = after[at] - before[at], beyond[at] - back[at]
                near = 0.0 if far * near < 0.25 * near * near else near
                found[at] = near if deep[at] >= least else np.nan
            if kind > 0:
                continue
            first, mean = means[1], means[2]
            for at in range(wide):
                if deep[at] < least:
                    continue
                broad = deep[at] >= skip + 2 * window - 1
                side, reach = (means[0], window) if broad else (first, half)
                left, right = side[at_gap - skip - reach, at], side[at_gap + skip, at]
                found[at] = right - left
                left = (left - side[at_gap - skip - 2 * reach, at]) / reach
                right = (side[at_gap + skip + reach, at] - right) / reach
                out[kinds + 1, place, at] = left * (2 * skip + reach)
                out[kinds + 2, place, at] = right * (2 * skip + reach)
                left = mean[at_gap - skip - long, at] - mean[at_gap - skip - 2 * long, at]
                right = mean[at_gap + skip + long, at] - mean[at_gap + skip, at]
                out[kinds, place, at] = (right - left) / long / cell_m
                out[kinds + 3, place, at] = min(left, -right) / long / cell_m
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _first(values: NDArray[np.float32]) -> float:
    """Return the first known value."""
    for value in values.flat:
        if value == value:
            return float(value)
    return 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _middles(
    cuts: Floats, angle: float, corner: tuple[float, float], reach: float
) -> tuple[Floats, Floats]:
    """Return the ends (n, 2, 2) and strengths of walls among cuts (place, from, to, strength).

    Each lies at the mean of the cuts within *reach*, beside it, that are all but as strong.
    """
    c, s = np.cos(angle), np.sin(angle)
    ends, strength = np.empty((len(cuts), 2, 2)), np.empty(len(cuts))
    count = 0
    for cut in range(len(cuts)):
        place, first, stop, how = cuts[cut]
        if how <= 1.0:
            continue
        total = weight = 0.0
        for other in range(len(cuts)):
            near, start, end, theirs = cuts[other]
            beside = start < stop and end > first
            if beside and abs(near - place) <= reach and theirs > ALIKE * how:
                total, weight = total + theirs * (near - place), weight + theirs
        u = place - 0.5 + total / weight + corner[0]
        strength[count] = how
        for end, at in enumerate((first - 2.0, stop + 1.0)):
            v = at + corner[1]
            ends[count, end, 0], ends[count, end, 1] = c * u - s * v, s * u + c * v
        count += 1
    return ends[:count], strength[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def _apart(ends: Floats, strength: Floats, cell_m: float, signs: Signs) -> Mask:
    """Return which cuts, strongest first, leave a house between them and all kept before.

    They cross those, or lie far enough apart. Those that are favoured leave a usual one.
    """
    kept = np.ones(len(ends), np.bool_)
    for cut in range(len(ends)):
        x, y = ends[cut, 1] - ends[cut, 0]
        width_px = signs.min_width_m / cell_m
        if strength[cut] <= signs.favour:
            width_px = max(width_px, signs.usual_house_m2 / cell_m**2 / np.hypot(x, y))
        for other in range(cut):
            along = ends[other, 1] - ends[other, 0]
            length = np.hypot(along[0], along[1])
            along /= length
            if abs(x * along[0] + y * along[1]) < 0.5 * np.hypot(x, y):
                continue
            first, last = ends[cut, 0] - ends[other, 0], ends[cut, 1] - ends[other, 0]
            start = first[0] * along[0] + first[1] * along[1]
            stop = last[0] * along[0] + last[1] * along[1]
            beside = max(start, stop) < 0 or min(start, stop) > length
            across = min(
                abs(first[0] * along[1] - first[1] * along[0]),
                abs(last[0] * along[1] - last[1] * along[0]),
            )
            if kept[other] and not beside and across < width_px:
                kept[cut] = False
                break
    return kept
