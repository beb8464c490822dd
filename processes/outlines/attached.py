"""Attached houses told apart: party walls where height or colour steps across a block.

A block of connected building cells is scanned along each of its wall directions. At every
position a straight cut from edge to edge is judged by what lies on its two sides: roof heights,
each side extended as a plane to the cut so that slopes and ridges are no steps, and roof colour as
log ratios, which shading hardly changes. Medians along the cut: chimneys and noise average out.
A cut must stand out against the scatter along it as well as in metres or colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from processes.outlines.trace import PAD_PX, Contour, contour, edge_lines, orientation

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Signs:
    """What makes a party wall."""

    step_m: float = 0.8
    chroma: float = 0.06
    """Change of a band's log ratio to the mean of all bands: about its relative change.

    Across a crease three times as much, since skylight tints the shaded side."""
    brightness: float = 0.12
    """Change of log brightness; counts only where the roof has no crease, which shades it."""
    crease: float = 0.35
    """Change of slope, metres a metre, from which a crease is seen."""
    certainty: float = 4.0
    """A sign must exceed its standard error along the cut by this factor."""
    agreement: float = 0.85
    """Share of the rows across a cut that must step the same way."""
    depth: float = 0.5
    """Of a house behind a cut, relative to the cut's length; 60 % of it for steps of height."""
    min_house_m2: float = 25.0
    min_width_m: float = 4.0
    window_m: float = 2.0
    blur_m: float = 0.75
    """Cells this close to the cut are not asked."""


@dataclass(frozen=True)
class Cut:
    """A straight cut in cells, from (x, y) to (x, y), and how strongly it shows."""

    ends: Floats
    strength: float


def parts(
    mask: Mask,
    surface: Floats,
    cell_m: float,
    bands: Mapping[str, Floats] | None = None,
    *,
    shadow: Mask | None = None,
    signs: Signs | None = None,
) -> NDArray[np.int32]:
    """Return buildings numbered from 1: connected cells, cut along party walls.

    Colours in *shadow* are not asked: its edge would pass for a wall.
    """
    signs = signs or Signs()
    features = _features(surface, bands or {})
    if shadow is not None:
        features[1:, shadow] = np.nan
    labels = np.asarray(ndimage.label(mask)[0], np.int32)
    pending = list(range(1, int(labels.max()) + 1))
    # a cut may end on another: what was cut is looked at again
    for _ in range(3):
        boxes = ndimage.find_objects(labels)
        fresh: list[int] = []
        for number in pending:
            box = boxes[number - 1]
            own = labels[box] == number
            if own.sum() * cell_m**2 < 2 * signs.min_house_m2:
                continue
            pieces = _divided(own, features[:, box[0], box[1]], cell_m, signs)
            count = int(pieces.max())
            if count < 2:
                continue
            top = int(labels.max())
            names = np.array([0, number, *range(top + 1, top + count)], np.int32)
            labels[box][own] = names[pieces[own]]
            fresh += names[1:].tolist()
        if not fresh:
            break
        pending = fresh
    return labels


def cuts(mask: Mask, features: Floats, cell_m: float, signs: Signs) -> list[Cut]:
    """Return the party walls of one connected part, strongest first, none too close to another."""
    outline = contour(mask)
    if not len(outline.points):
        return []
    found: list[Cut] = []
    for angle in _directions(outline, cell_m):
        found += _scan(mask, features, angle, cell_m, signs)
    found.sort(key=lambda cut: -cut.strength)
    kept: list[Cut] = []
    for cut in found:
        if all(_apart(cut, other, signs.min_width_m / cell_m) for other in kept):
            kept.append(cut)
    return kept


def _features(surface: Floats, bands: Mapping[str, Floats]) -> Floats:
    """Return height, log brightness and log band ratios; NaN where unknown."""
    known = [np.where(band > 0, band, np.nan) for band in bands.values()]
    if not known:
        return surface[None].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.stack(known))
    mean = logs.mean(axis=0)
    ratios = [log - mean for log in logs] if len(logs) > 1 else []
    return np.stack([surface, mean, *ratios]).astype(np.float32)


def _divided(mask: Mask, features: Floats, cell_m: float, signs: Signs) -> NDArray[np.int32]:
    """Return the pieces of one part, numbered from 1."""
    mask = np.pad(mask, PAD_PX)
    features = np.pad(features, ((0, 0), (PAD_PX, PAD_PX), (PAD_PX, PAD_PX)), mode="edge")
    barrier = np.zeros(mask.shape, np.uint8)
    for cut in cuts(mask, features, cell_m, signs):
        (x0, y0), (x1, y1) = np.round(cut.ends * 256).astype(int).tolist()
        cv2.line(barrier, (x0, y0), (x1, y1), 1, 1, cv2.LINE_4, 8)
    inner = (slice(PAD_PX, -PAD_PX), slice(PAD_PX, -PAD_PX))
    if not barrier.any():
        return mask[inner].astype(np.int32)
    pieces, count = ndimage.label(mask & (barrier == 0))
    areas = np.bincount(pieces.ravel(), minlength=count + 1) * cell_m**2
    large = areas >= signs.min_house_m2
    large[0] = False
    if large.sum() < 2:
        return mask[inner].astype(np.int32)
    names = np.where(large, np.cumsum(large), 0)
    seeds = names[pieces]
    nearest = ndimage.distance_transform_edt(
        seeds == 0, return_distances=False, return_indices=True
    )
    return np.asarray(np.where(mask, seeds[tuple(nearest)], 0)[inner], np.int32)


def _directions(outline: Contour, cell_m: float) -> list[float]:
    """Return the directions to scan along: the main walls' and those of long oblique walls."""
    main = orientation(outline)
    found = [main, main + np.pi / 2]
    for nx, ny, _ in edge_lines(outline, main, cell_m, min_wall_m=8.0):
        normal = float(np.arctan2(ny, nx))
        for angle in (normal, normal + np.pi / 2):
            turns = [abs((angle - a + np.pi / 2) % np.pi - np.pi / 2) for a in found]
            if min(turns) > np.radians(10) and len(found) < 8:
                found.append(angle)
    return found


def _scan(mask: Mask, features: Floats, angle: float, cell_m: float, signs: Signs) -> list[Cut]:
    """Return the cuts square to a direction, the best of each neighbourhood."""
    turn, size = _rotation(mask.shape, angle)
    flags = cv2.INTER_LINEAR
    inside = cv2.warpAffine(mask.astype(np.float32), turn, size, flags=flags) > 0.5
    turned = np.stack(
        [cv2.warpAffine(f, turn, size, flags=flags, borderValue=float("nan")) for f in features]
    )
    steps, creases = _steps(turned, inside, cell_m, signs)
    left, right = _depths(inside)
    depth = np.minimum(left, right)
    steps[:, depth < 0.8 * signs.min_width_m / cell_m] = np.nan
    shortest = max(4, round(signs.min_width_m / cell_m / 1.5))
    runs = _runs(steps, creases, inside, depth, shortest)
    if not len(runs):
        return []
    strength = _strength(runs, len(features), signs)
    runs, strength = runs[strength > 1.0], strength[strength > 1.0]
    back = cv2.invertAffineTransform(turn)
    found = []
    for run, value in zip(runs, strength, strict=True):
        # the gap hides where the wall is: the middle of those that show it as well
        alike = (np.abs(runs[:, 0] - run[0]) <= 2.0 / cell_m) & (strength > 0.85 * value)
        alike &= (runs[:, 1] < run[2]) & (runs[:, 2] > run[1])
        x = float(np.average(runs[alike, 0], weights=strength[alike])) - 0.5
        ends = np.array([[x, run[1] - 2.0, 1.0], [x, run[2] + 1.0, 1.0]])
        found.append(Cut(ends @ back.T, float(value)))
    return found


def _rotation(shape: tuple[int, ...], angle: float) -> tuple[Floats, tuple[int, int]]:
    """Return the affine that lays *angle* along the columns, and the size that holds all."""
    rows, cols = shape
    side = int(np.ceil(np.hypot(rows, cols))) + 2
    c, s = np.cos(angle), np.sin(angle)
    x0, y0 = (cols - 1) / 2, (rows - 1) / 2
    middle = (side - 1) / 2
    turn = np.array(
        [
            [c, s, middle - c * x0 - s * y0],
            [-s, c, middle + s * x0 - c * y0],
        ]
    )
    return turn, (side, side)


def _steps(features: Floats, inside: Mask, cell_m: float, signs: Signs) -> tuple[Floats, Floats]:
    """Return (feature, row, col) of each side's difference across the gap before a column.

    Of a height difference only that counts which the steeper side's slope does not explain; the
    crease is the change of slope.
    """
    window = max(2, round(signs.window_m / cell_m))
    skip = max(1, round(signs.blur_m / cell_m))
    half = max(1, window // 2)
    near = _across(features, inside, skip, window)
    # a stripe or a skylight is not there any more further on
    far = _across(features, inside, skip + window, window)
    lasting = np.isnan(far) | (far * near >= 0.25 * near**2)
    steps = np.where(lasting, near, 0.0)
    # means of short windows: two on each side give the slope, the inner two the difference
    height = features[:1]
    rise = _across(height, inside, skip, half)[0]
    left, right = _slopes(height, inside, skip, half)
    steepest = np.fmax(np.abs(left), np.abs(right))
    explained = steepest * (2 * skip + half)
    steps[0] = np.sign(rise) * np.maximum(np.abs(rise) - explained, 0.0)
    left, right = _slopes(height, inside, skip, round(1.5 * half))
    return steps, (right - left) / cell_m


def _across(features: Floats, inside: Mask, first: int, window: int) -> Floats:
    """Return means to the right less means to the left, windows starting *first* cells away."""
    right = _means(features, inside, first, window)
    return np.asarray(right - _means(features, inside, -first - window, window))


def _slopes(height: Floats, inside: Mask, skip: int, half: int) -> tuple[Floats, Floats]:
    """Return metres a cell on the left and right of a gap, from two windows each."""
    left_near, left_far, right_near, right_far = (
        _means(height, inside, first, half)[0]
        for first in (-skip - half, -skip - 2 * half, skip, skip + half)
    )
    return (left_near - left_far) / half, (right_far - right_near) / half


def _depths(inside: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return how many inside cells follow one another left of a column, and from it on."""
    left = np.zeros(inside.shape, np.int32)
    right = np.zeros(inside.shape, np.int32)
    for col in range(1, inside.shape[1]):
        left[:, col] = (left[:, col - 1] + 1) * inside[:, col - 1]
    for col in range(inside.shape[1] - 2, -1, -1):
        right[:, col] = (right[:, col + 1] + 1) * inside[:, col]
    return left, right


def _means(features: Floats, inside: Mask, first: int, window: int) -> Floats:
    """Return means over *window* columns from *first* on, of inside cells; NaN under half full."""
    known = inside & np.isfinite(features)
    total = np.cumsum(np.pad(np.where(known, features, 0.0), ((0, 0), (0, 0), (1, 0))), axis=2)
    count = np.cumsum(np.pad(known, ((0, 0), (0, 0), (1, 0))), axis=2)
    cols = features.shape[2]
    start = np.clip(np.arange(cols) + first, 0, cols)
    stop = np.clip(np.arange(cols) + first + window, 0, cols)
    number = count[:, :, stop] - count[:, :, start]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (total[:, :, stop] - total[:, :, start]) / number
    return np.asarray(np.where(2 * number >= window, mean, np.nan))


@njit(cache=True, nogil=True)
def _median_and_error(values: Floats) -> tuple[Any, Any]:
    middle = np.median(values)
    scatter = 1.4826 * np.median(np.abs(values - middle))
    # neighbouring rows are correlated: one in three is independent
    return middle, 1.25 * scatter / max(len(values) / 3.0, 1.0) ** 0.5


@njit(cache=True, nogil=True)
def _runs(
    steps: Floats, creases: Floats, inside: Mask, depth: NDArray[np.int32], shortest: int
) -> Floats:
    """Return (col, first row, last row, crease, depth, …) of every cut.

    Then for each feature: step, its error, and the share of rows that step the same way.
    """
    kinds, rows, cols = steps.shape
    found = []
    for col in range(1, cols):
        row = 0
        while row < rows:
            if not (inside[row, col] and inside[row, col - 1]):
                row += 1
                continue
            first = row
            while row < rows and inside[row, col] and inside[row, col - 1]:
                row += 1
            if row - first < shortest:
                continue
            entry = np.zeros(5 + 3 * kinds)
            entry[0], entry[1], entry[2] = col, first, row
            asked = 0
            for kind in range(kinds):
                values = steps[kind, first:row, col]
                values = values[np.isfinite(values)]
                if len(values) >= 0.7 * (row - first):
                    step, error = _median_and_error(values)
                    entry[5 + 3 * kind], entry[6 + 3 * kind] = step, error
                    entry[7 + 3 * kind] = np.mean(values * np.sign(step) > 0)
                    asked += 1
            if not asked:
                continue
            entry[4] = np.median(depth[first:row, col])
            slopes = creases[first:row, col]
            slopes = slopes[np.isfinite(slopes)]
            if len(slopes):
                entry[3] = abs(np.median(slopes))
            found.append(entry)
    out = np.zeros((len(found), 5 + 3 * kinds))
    for index in range(len(found)):
        out[index] = found[index]
    return out


def _strength(runs: Floats, kinds: int, signs: Signs) -> Floats:
    """Return how far each cut exceeds what is asked; above 1 is a wall."""
    step, error, agreed = runs[:, 5::3], runs[:, 6::3], runs[:, 7::3]
    size = np.abs(step)
    clear = np.clip(size / np.maximum(signs.certainty * error, 1e-9), 0, 1)
    limits = np.array([signs.step_m, signs.brightness, *[signs.chroma] * (kinds - 2)][:kinds])
    share = clear * (agreed >= signs.agreement) * size / limits
    # a house is seldom much wider than deep; a ridge runs along it
    length = runs[:, 2] - runs[:, 1]
    share[runs[:, 4] < signs.depth * length, 1:] = 0.0
    share[runs[:, 4] < 0.6 * signs.depth * length] = 0.0
    creased = runs[:, 3] > signs.crease
    if kinds > 1:
        share[creased, 1] = 0.0
        share[creased, 2:] /= 3.0
    return np.asarray(share.max(axis=1))


def _apart(cut: Cut, other: Cut, width_px: float) -> bool:
    """Say whether two cuts leave a house between them: they cross, or lie far enough apart."""
    along = other.ends[1] - other.ends[0]
    length = float(np.hypot(*along))
    along = along / length
    own = cut.ends[1] - cut.ends[0]
    square = abs(float(own @ along)) < 0.5 * float(np.hypot(*own))
    if square:
        return True
    offset = cut.ends - other.ends[0]
    across = np.abs(offset[:, 0] * along[1] - offset[:, 1] * along[0])
    position = np.sort(offset @ along)
    beside = position[1] < 0 or position[0] > length
    return bool(beside or across.min() >= width_px)
