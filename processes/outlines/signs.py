"""What makes a cut through a block of houses a party wall, and how much of it a cut shows.

Medians along the cut: chimneys and noise average out. What cannot be a wall, since half of its
places differ too little, is not looked at any further.

How large a block is says much before anything is seen: on 18 scenes 1 % of those of 80 to 120 m²
held a party wall, 14 % to 160 m², 86 % of 160 to 800 m². Signs count twice there, where a
usual house is left on both sides: of 5427 buildings 5102 are right (5051), 325 lost (376), 263
false (269). Three times cuts rooms off houses; without what must be left, so does twice. A logistic
rule on 31 figures of a cut, jogs of the outline among them, finds no more walls than this one did;
a network of 12 cells on them found a seventh of the missed ones with a sixth fewer false.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.medians import median_of

Floats = NDArray[np.floating[Any]]
Counts = NDArray[np.int32]

ONE_M2, SEVERAL_M2 = 140.0, 200.0
"""Blocks of up to the one area are a house, blocks from the other on more likely several …"""
LARGE_M2 = 800.0
"""… and from here on more than a few small ones, or a hall."""
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
    favour: float = 1.0
    """How many times signs count …"""
    usual_house_m2: float = 45.0
    """… where at least this much is left on both sides."""

    def of_block(self, area_m2: float) -> Signs:
        """Return what makes a wall in a block of this area.

        Where houses are small, cuts are short and paint is patchy along them, and the last house
        of a row is less deep than wide. In large blocks the same would cut roofs by their clutter.
        A block between small and large is more likely several houses than one, whatever is seen.
        """
        if area_m2 >= LARGE_M2:
            return self
        several = min(max((area_m2 - ONE_M2) / (SEVERAL_M2 - ONE_M2), 0.0), 1.0)
        return self._replace(image_agreement=0.7, row_depth=0.6, favour=1.0 + several)


@njit(cache=True, nogil=True, error_model="numpy")
def weight_of(
    behind: Counts, ahead: Counts, cell_m: float, signs: Signs, own: Floats
) -> tuple[float, bool]:
    """Return how much signs count along a cut, and whether a storey is a wall by itself.

    A house is seldom much wider than deep; a ridge runs along it.
    """
    length = len(behind)
    values = own[:length]
    for at in range(length):
        values[at] = min(behind[at], ahead[at])
    middle = median_of(values)
    if middle < min(signs.shallow * length, signs.shallow_m / cell_m):
        return 0.0, False
    for at in range(length):
        values[at] = behind[at]
    extent = median_of(values)
    for at in range(length):
        values[at] = ahead[at]
    extent += median_of(values)
    row = min(max((extent / length - COMPACT) / (ROW - COMPACT), 0.0), 1.0)
    least = signs.depth + row * (signs.row_depth - signs.depth)
    weight = min(middle / (least * length), 1.0) ** 2
    if weight < 0.25:
        weight = 0.0
    weight *= min(max(extent / (signs.elongation * length), signs.least), signs.most)
    if middle * length * cell_m**2 >= signs.usual_house_m2:
        weight *= signs.favour
    return weight, middle * cell_m >= signs.storey_depth_m


@njit(cache=True, nogil=True, error_model="numpy")
def strength_of(
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
        left, right = median_of(own[4, : len(heights)]), median_of(own[5, : len(heights)])
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
        direction[kind] = median_of(own[:count])
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
    scatter = 1.4826 * median_of(own[:number])
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
    return float(median_of(own[:number]))
