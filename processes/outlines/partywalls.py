"""Straight cuts through a block of houses, and what is to be seen on their two sides.

A block is laid so that cuts are rows, one a cell further on than the next. At each place from edge
to edge the two sides are compared: roof heights, each side extended as a plane to the cut so that
slopes and ridges are no steps; brightness; colour as log ratios, which shading hardly changes.
Medians along the cut: chimneys and noise average out. What cannot be a wall, since half of its
places differ too little, is not looked at any further.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Counts = NDArray[np.int32]
Mask = NDArray[np.bool_]

LARGE_M2 = 800.0
"""A block from here on is more than a few small houses."""
COMPACT, ROW = 1.5, 2.5
"""Extent of a block across a cut, relative to the cut's length, of one house and of a row."""
ALIKE = 0.85
"""Cuts side by side that are all but as strong as each other show one wall."""


class Signs(NamedTuple):
    """What makes a party wall."""

    step_m: float = 0.6
    brightness: float = 0.1
    """Change of log brightness; counts only where the roof has no crease, which shades it."""
    colour: float = 0.055
    """Change of the bands' log ratios to their mean, all together: about a relative change.

    Across a crease three times as much, since skylight tints the shaded side."""
    crease: float = 0.35
    """Change of slope, metres a metre, from which a crease is seen."""
    ridge: float = 0.1
    """Fall to both sides, metres a metre, from which a cut lies on a ridge: its two sides see
    different parts of the sky and the sun, whatever they are made of."""
    certainty: float = 4.0
    """A sign must exceed its standard error along the cut by this factor …"""
    unclear: float = 0.6
    """… counts less below, and not at all below this share of it."""
    agreement: float = 0.9
    """Share of the places along a cut whose heights must step the same way …"""
    image_agreement: float = 0.9
    """… and of those whose brightness and colour must."""
    alike: float = 0.3
    """Share of `brightness` and `colour` below which the image sees one roof on both sides, so
    that a step of less than a storey is noise: 1 to 5 % of true party walls look so."""
    depth: float = 0.9
    """Of a house behind a cut, relative to the cut's length, below which signs count less.

    Half of it is `shallow`: nothing counts there."""
    row_depth: float = 0.9
    """The same at the end of a block 2.5 times as long as the cut, which is a row."""
    elongation: float = 2.5
    """Extent of a block across a cut, relative to the cut's length, from which signs count more.

    A long block is more likely several houses than a compact one is."""
    least: float = 0.5
    most: float = 1.5
    """How little and how much they count in compact and in long blocks."""
    storey_m: float = 2.0
    storey_depth_m: float = 6.0
    """A step of height that is a wall however long, and the depth of a house behind it."""
    min_house_m2: float = 25.0
    min_width_m: float = 4.0
    window_m: float = 2.0
    """Width of what is asked on either side of a cut …"""
    blur_m: float = 0.75
    """… but for the cells this close to it."""
    least_depth_m: float = 3.2
    """Of houses on both sides of a cut."""
    least_length_m: float = 4.5
    shallow: float = 0.45
    """Depth behind a cut, relative to its length, below which it is not looked at …"""
    shallow_m: float = 6.0
    """… unless it is so deep in metres."""

    def of_block(self, area_m2: float) -> Signs:
        """Return what makes a wall in a block of this area.

        Where houses are small, cuts are short and paint is patchy along them, and the last house
        of a row is less deep than wide. In large blocks the same would cut roofs by their clutter.
        """
        if area_m2 >= LARGE_M2:
            return self
        return self._replace(image_agreement=0.7, row_depth=0.6)


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
    ends = ends[np.argsort(-strength, kind="stable")]
    return np.asarray(ends[_apart(ends, signs.min_width_m / cell_m)])


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
                weight, tall = _weight(back, on, cell_m, signs, own[3])
                strength = 0.0
                if weight > 0 or tall:
                    strength = _strength(steps, place, first, at, weight, tall, signs, own)
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
def _weight(
    behind: Counts, ahead: Counts, cell_m: float, signs: Signs, own: Floats
) -> tuple[float, bool]:
    """Return how much signs count along a cut, and whether a storey is a wall by itself.

    A house is seldom much wider than deep; a ridge runs along it.
    """
    length = len(behind)
    values = own[:length]
    for at in range(length):
        values[at] = min(behind[at], ahead[at])
    middle = _median(values)
    if middle < min(signs.shallow * length, signs.shallow_m / cell_m):
        return 0.0, False
    for at in range(length):
        values[at] = behind[at]
    extent = _median(values)
    for at in range(length):
        values[at] = ahead[at]
    extent += _median(values)
    row = min(max((extent / length - COMPACT) / (ROW - COMPACT), 0.0), 1.0)
    least = signs.depth + row * (signs.row_depth - signs.depth)
    weight = min(middle / (least * length), 1.0) ** 2
    if weight < 0.25:
        weight = 0.0
    weight *= min(max(extent / (signs.elongation * length), signs.least), signs.most)
    return weight, middle * cell_m >= signs.storey_depth_m


@njit(cache=True, nogil=True, error_model="numpy")
def _strength(
    steps: NDArray[np.float32],
    place: int,
    first: int,
    stop: int,
    weight: float,
    tall: bool,
    signs: Signs,
    own: Floats,
) -> float:
    """Return how far a cut exceeds what is asked of a wall, which is 1.

    Nought where it is easily seen to be less than ALIKE.
    """
    kinds, enough = len(steps) - 4, 0.7 * (stop - first)
    heights, lights, tints = own[0], own[1], own[2]
    count = 0
    for at in range(first, stop):
        height, left, right = steps[0, place, at], steps[-3, place, at], steps[-2, place, at]
        if np.isfinite(height + left + right):
            heights[count], own[4, count], own[5, count] = height, left, right
            count += 1
    heights = heights[: count if count >= enough else 0]
    count = _known(steps[1, place, first:stop], lights) if kinds > 1 else 0
    lights = lights[: count if count >= enough else 0]
    rise, light = _middle(heights, own[3]), _middle(lights, own[3])
    if not (tall and abs(rise) >= signs.storey_m):
        # neither sign is more than its median
        rest = (ALIKE / weight) ** 2 - (rise / signs.step_m) ** 2 - (light / signs.brightness) ** 2
        if rest > 0 and not _tinted(steps, place, first, stop, signs.colour * rest**0.5):
            return 0.0
    if len(heights):
        left, right = _median(own[4, : len(heights)]), _median(own[5, : len(heights)])
        # what no slope between those of the two sides explains
        heights -= min(max(rise, min(left, right, 0.0)), max(left, right, 0.0))
    tints = tints[: _tint(steps, place, first, stop, tints, own[3])]
    step, by_height = _judged(heights, signs.step_m, signs.agreement, signs, own[3])
    light, by_light = _judged(lights, signs.brightness, signs.image_agreement, signs, own[3])
    tint, by_tint = _judged(tints, signs.colour, signs.image_agreement, signs, own[3])
    one_roof = len(lights) > 0 and max(light, tint) < signs.alike
    if one_roof and step * signs.step_m < signs.storey_m:
        by_height = 0.0
    creases = own[4, : _known(steps[kinds, place, first:stop], own[4])]
    falls = own[5, : _known(steps[-1, place, first:stop], own[5])]
    if not len(creases) or abs(_middle(creases, own[3])) > signs.crease:
        by_light, by_tint = 0.0, by_tint / 3.0
    if _middle(falls, own[3]) >= signs.ridge:
        by_light, by_tint = 0.0, 0.0
    if tall and step * signs.step_m >= signs.storey_m:
        weight = 1.0
    return weight * float(np.sqrt(by_height**2 + by_light**2 + by_tint**2))


@njit(cache=True, nogil=True, error_model="numpy")
def _known(values: NDArray[np.float32], own: Floats) -> int:
    """Write the finite values one after the other; return how many there are."""
    count = 0
    for value in values:
        if np.isfinite(value):
            own[count] = value
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _tinted(steps: NDArray[np.float32], place: int, first: int, stop: int, least: float) -> bool:
    """Say whether colours differ by *least* or more at half of the places along a cut."""
    count = much = 0
    for at in range(first, stop):
        square = 0.0
        for kind in range(2, len(steps) - 4):
            square += steps[kind, place, at] ** 2
        count += np.isfinite(square)
        much += square >= least * least
    return 2 * much >= count > 0


@njit(cache=True, nogil=True, error_model="numpy")
def _tint(
    steps: NDArray[np.float32], place: int, first: int, stop: int, out: Floats, own: Floats
) -> int:
    """Write how colours differ along the direction in which their medians do; return how many."""
    direction = np.zeros(len(steps) - 4)
    for kind in range(2, len(direction)):
        count = _known(steps[kind, place, first:stop], own)
        if count < 0.7 * (stop - first):
            return 0
        direction[kind] = _median(own[:count])
    size = np.sqrt(np.sum(direction * direction))
    if not size > 0:
        return 0
    count = 0
    for at in range(first, stop):
        value = 0.0
        for kind in range(2, len(direction)):
            value += steps[kind, place, at] * direction[kind] / size
        if np.isfinite(value):
            out[count] = value
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _judged(
    values: Floats, usual: float, agreement: float, signs: Signs, own: Floats
) -> tuple[float, float]:
    """Return how large the median is, in units of what is *usual*, and how much of that counts."""
    number = len(values)
    if number == 0:
        return 0.0, 0.0
    middle = _middle(values, own)
    for at in range(number):
        own[at] = abs(values[at] - middle)
    scatter = 1.4826 * _median(own[:number])
    # neighbouring places are correlated: one in three is independent
    error = signs.certainty * 1.25 * scatter / max(number / 3.0, 1.0) ** 0.5
    clear = min(abs(middle) / max(error, 1e-9), 1.0)
    agreed = 0
    for value in values:
        agreed += value * middle > 0
    # a step along half a cut only, as at a tower on its podium, is no wall from edge to edge
    if clear < signs.unclear or agreed < agreement * number:
        clear = 0.0
    return abs(middle) / usual, clear * abs(middle) / usual


@njit(cache=True, nogil=True, error_model="numpy")
def _middle(values: Floats, own: Floats) -> float:
    """Return the median of values that keep their order; nought of none."""
    number = len(values)
    if number == 0:
        return 0.0
    own[:number] = values
    return float(_median(own[:number]))


@njit(cache=True, nogil=True, error_model="numpy")
def _median(values: Floats) -> float:
    """Return the median, of finite values that may change places (Hoare, 1961)."""
    half = len(values) // 2
    low, high = 0, len(values) - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if half <= j:
            high = j
        elif half >= i:
            low = i
        else:
            break
    middle = float(values[half])
    if len(values) % 2:
        return middle
    below = float(values[0])
    for at in range(1, half):
        below = max(below, float(values[at]))
    return (below + middle) / 2


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
def _apart(ends: Floats, width_px: float) -> Mask:
    """Return which cuts, strongest first, leave a house between them and all kept before.

    They cross those, or lie far enough apart.
    """
    kept = np.ones(len(ends), np.bool_)
    for cut in range(len(ends)):
        x, y = ends[cut, 1] - ends[cut, 0]
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
