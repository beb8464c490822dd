"""Attached houses told apart: party walls where height or colour steps across a block.

A block of connected building cells is scanned along each of its wall directions for straight cuts
from edge to edge (`partywalls`). Signs of a wall add up: houses of one builder differ a little in
height and a little in colour, and neither alone would do. Each must stand out against the scatter
along the cut as well as in metres or colour. What then is a multiple of the houses beside it is
divided too (`terraces`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from processes.core.crew import each
from processes.outlines import terraces
from processes.outlines.near import nearest
from processes.outlines.partywalls import BRIGHTNESS, COLOUR, HEIGHT, Reach, Runs, scan
from processes.outlines.trace import PAD_PX, Contour, contour, edge_lines, orientation

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

LARGE_M2 = 800.0
"""A block from here on is more than a few small houses."""
COMPACT, ROW = 1.5, 2.5
"""Extent of a block across a cut, relative to the cut's length, of one house and of a row."""


@dataclass(frozen=True)
class Signs:
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

    Half of it is `Reach.shallow`: nothing counts there."""
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
    reach: Reach = field(default_factory=Reach)

    def of_block(self, area_m2: float) -> Signs:
        """Return what makes a wall in a block of this area.

        Where houses are small, cuts are short and paint is patchy along them, and the last house
        of a row is less deep than wide. In large blocks the same would cut roofs by their clutter.
        """
        if area_m2 >= LARGE_M2:
            return self
        return replace(self, image_agreement=0.7, row_depth=0.6)


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
    features = _features(surface, bands or {}, mask)
    if shadow is not None:
        features[1:, shadow] = np.nan
    labels = np.asarray(ndimage.label(mask)[0], np.int32)
    pending = list(range(1, int(labels.max()) + 1))
    area_m2 = np.bincount(labels.ravel()) * cell_m**2
    own = {number: signs.of_block(float(area_m2[number])) for number in pending}

    def divide(part: tuple[Mask, Floats, Signs]) -> NDArray[np.int32]:
        mask, features, asked = part
        return _divided(mask, features, cell_m, asked)

    # a cut may end on another: what was cut is looked at again
    for _ in range(3):
        boxes = ndimage.find_objects(labels)
        whole = [(labels[boxes[n - 1]] == n, features[:, *boxes[n - 1]], own[n]) for n in pending]
        fresh: list[int] = []
        top = int(labels.max())
        for number, pieces in zip(pending, each(divide, whole), strict=True):
            count = int(pieces.max())
            if count > 1:
                names = np.array([0, number, *range(top + 1, top + count)], np.int32)
                labels[boxes[number - 1]][pieces > 0] = names[pieces[pieces > 0]]
                fresh += names[1:].tolist()
                own |= dict.fromkeys(names[1:].tolist(), own[number])
                top += count - 1
        if not fresh:
            break
        pending = fresh
    return terraces.divided(labels, cell_m)


def grown(labels: NDArray[np.int32], mask: Mask, reach_px: float = 8.0) -> NDArray[np.int32]:
    """Return parts with the cells of a mask that have none: they go to the nearest part."""
    rest = mask & (labels == 0)
    if not rest.any():
        return labels
    found = nearest(labels > 0, rest, reach_px)
    labels = labels.copy()
    labels[rest] = np.where(found < 0, 0, labels.ravel()[found])
    return labels


def cuts(mask: Mask, features: Floats, cell_m: float, signs: Signs) -> list[Cut]:
    """Return the party walls of one connected part, strongest first, none too close to another."""
    outline = contour(mask)
    if not len(outline.points):
        return []
    found: list[Cut] = []
    for angle in _directions(outline, cell_m):
        found += _walls(scan(mask, features, angle, cell_m, signs.reach), cell_m, signs)
    found.sort(key=lambda cut: -cut.strength)
    if not found:
        return []
    kept = _apart(np.stack([cut.ends for cut in found]), signs.min_width_m / cell_m)
    return [cut for cut, far in zip(found, kept.tolist(), strict=True) if far]


def _features(surface: Floats, bands: Mapping[str, Floats], mask: Mask) -> NDArray[np.float32]:
    """Return height, log brightness and log band ratios; NaN where unknown or far from a mask."""
    several = len(bands) > 1
    mask = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    found = np.full((1 + bool(bands) + several * len(bands), *mask.shape), np.nan, np.float32)
    found[0] = surface
    if bands:
        known = np.stack([band[mask] for band in bands.values()])
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(np.where(known > 0, known, np.float32(np.nan)))
        mean = logs.mean(axis=0)
        found[1, mask] = mean
        for index in range(several * len(logs)):
            found[2 + index, mask] = logs[index] - mean
    return found


def _divided(mask: Mask, features: Floats, cell_m: float, signs: Signs) -> NDArray[np.int32]:
    """Return the pieces of one part, numbered from 1."""
    if mask.sum() * cell_m**2 < 2 * signs.min_house_m2:
        return mask.astype(np.int32)
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


def _walls(runs: Runs, cell_m: float, signs: Signs) -> list[Cut]:
    """Return the cuts of one direction that are walls, each at the middle of those alike."""
    strength = _strength(runs, cell_m, signs)
    # the gap hides where the wall is: the middle of those that show it as well
    off = _middles(runs.col, runs.rows, strength, 2.0 / cell_m)
    found = []
    for index in np.flatnonzero(strength > 1.0).tolist():
        along = runs.ends[index, 1] - runs.ends[index, 0]
        across = np.array([along[1], -along[0]]) / np.hypot(*along)
        found.append(Cut(runs.ends[index] + off[index] * across, float(strength[index])))
    return found


@njit(cache=True, nogil=True)
def _middles(col: Floats, rows: Floats, strength: Floats, reach_px: float) -> Floats:
    """Return how far each cut is from the mean of those near and beside it that are as strong."""
    off = np.zeros(len(col))
    for cut in range(len(col)):
        total = weight = 0.0
        for other in range(len(col)):
            near = abs(col[other] - col[cut]) <= reach_px and strength[other] > 0.85 * strength[cut]
            if near and rows[other, 0] < rows[cut, 1] and rows[other, 1] > rows[cut, 0]:
                total += strength[other] * (col[other] - col[cut])
                weight += strength[other]
        off[cut] = total / weight if weight > 0 else 0.0
    return off


def _strength(runs: Runs, cell_m: float, signs: Signs) -> Floats:
    """Return how far each cut exceeds what is asked; above 1 is a wall."""
    size = np.nan_to_num(np.abs(runs.step))
    error = np.maximum(signs.certainty * np.nan_to_num(runs.error, nan=np.inf), 1e-9)
    clear = np.clip(size / error, 0, 1)
    # a step along half a cut only, as at a tower on its podium, is no wall from edge to edge
    clear[clear < signs.unclear] = 0.0
    asked = np.array([signs.agreement, signs.image_agreement, signs.image_agreement])
    relative = size / np.array([signs.step_m, signs.brightness, signs.colour])
    share = clear * (runs.agreed >= asked) * relative
    seen = np.isfinite(runs.step[:, BRIGHTNESS])
    one_roof = seen & (relative[:, BRIGHTNESS:] < signs.alike).all(axis=1)
    share[one_roof & (size[:, HEIGHT] < signs.storey_m), HEIGHT] = 0.0
    # a house is seldom much wider than deep; a ridge runs along it
    length = runs.rows[:, 1] - runs.rows[:, 0]
    least = np.interp(runs.extent / length, [COMPACT, ROW], [signs.depth, signs.row_depth])
    shape = np.clip(runs.depth / (least * length), 0, 1) ** 2
    shape[shape < 0.25] = 0.0
    tall = (size[:, HEIGHT] >= signs.storey_m) & (runs.depth * cell_m >= signs.storey_depth_m)
    shape *= np.clip(runs.extent / (signs.elongation * length), signs.least, signs.most)
    share *= np.where(tall, 1.0, shape)[:, None]
    creased = ~(runs.crease <= signs.crease)
    share[creased, BRIGHTNESS] = 0.0
    share[creased, COLOUR] /= 3.0
    share[runs.ridge >= signs.ridge, BRIGHTNESS:] = 0.0
    return np.asarray(np.sqrt((share**2).sum(axis=1)))


@njit(cache=True, nogil=True)
def _apart(ends: Floats, width_px: float) -> Mask:
    """Return the cuts, strongest first, that leave a house between them and all kept before.

    They cross those, or lie far enough apart.
    """
    kept = np.ones(len(ends), np.bool_)
    for cut in range(len(ends)):
        own = ends[cut, 1] - ends[cut, 0]
        for other in range(cut):
            along = ends[other, 1] - ends[other, 0]
            length = np.hypot(along[0], along[1])
            along /= length
            if abs(own @ along) < 0.5 * np.hypot(own[0], own[1]):
                continue
            first, last = ends[cut, 0] - ends[other, 0], ends[cut, 1] - ends[other, 0]
            start, stop = first @ along, last @ along
            beside = max(start, stop) < 0 or min(start, stop) > length
            across = min(
                abs(first[0] * along[1] - first[1] * along[0]),
                abs(last[0] * along[1] - last[1] * along[0]),
            )
            if kept[other] and not beside and across < width_px:
                kept[cut] = False
                break
    return kept
