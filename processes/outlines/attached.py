"""Attached houses told apart: party walls where height or colour steps across a block.

A block of connected building cells is scanned along each of its wall directions for straight cuts
from edge to edge (`partywalls`). Signs of a wall add up: houses of one builder differ a little in
height and a little in colour, and neither alone would do. Each must stand out against the scatter
along the cut as well as in metres or colour. What then is a multiple of the houses beside it is
divided too (`terraces`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.crew import Crew, in_turn
from processes.outlines import terraces
from processes.outlines.near import nearest, nearest_of_all
from processes.outlines.partywalls import walls
from processes.outlines.regions import labelled, windows
from processes.outlines.signs import Signs
from processes.outlines.trace import PAD_PX, Contour, contour, edge_lines, orientation

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


def parts(
    mask: Mask,
    surface: Floats,
    cell_m: float,
    bands: Mapping[str, Floats] | None = None,
    *,
    shadow: Mask | None = None,
    signs: Signs | None = None,
    on_cores: Crew = in_turn,
) -> NDArray[np.int32]:
    """Return buildings numbered from 1: connected cells, cut along party walls.

    Colours in *shadow* are not asked: its edge would pass for a wall.
    """
    signs = signs or Signs()
    features = _features(surface, bands or {}, mask)
    if shadow is not None:
        features[1:, shadow] = np.nan
    labels = labelled(mask)[0]
    pending = list(range(1, int(labels.max()) + 1))
    area_m2 = np.bincount(labels.ravel()) * cell_m**2
    own = {number: signs.of_block(float(area_m2[number])) for number in pending}

    def divide(part: tuple[Mask, Floats, Signs]) -> NDArray[np.int32]:
        mask, features, asked = part
        return _divided(mask, features, cell_m, asked)

    # a cut may end on another: what was cut is looked at again
    for _ in range(3):
        boxes = windows(labels)
        whole = [(labels[boxes[n - 1]] == n, features[:, *boxes[n - 1]], own[n]) for n in pending]
        fresh: list[int] = []
        top = int(labels.max())
        for number, pieces in zip(pending, on_cores(divide, whole), strict=True):
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
    cuts = _cuts(mask, features, cell_m, signs)
    barrier = np.zeros(mask.shape, np.int32)
    for number, ((x0, y0), (x1, y1)) in enumerate(np.round(cuts * 256).astype(int).tolist(), 1):
        cv2.line(barrier, (x0, y0), (x1, y1), number, 1, cv2.LINE_4, 8)
    inner = (slice(PAD_PX, -PAD_PX), slice(PAD_PX, -PAD_PX))
    if not barrier.any():
        return mask[inner].astype(np.int32)
    pieces, count = labelled(mask & (barrier == 0))
    areas = np.bincount(pieces.ravel(), minlength=count + 1) * cell_m**2
    large = areas >= signs.min_house_m2
    large[0] = False
    if large.sum() < 2:
        return mask[inner].astype(np.int32)
    names = np.where(large, np.cumsum(large), 0).astype(np.int32)
    found = names[pieces]
    on_cut = np.nonzero(mask & (barrier > 0))
    found[on_cut] = found[_on_its_side(cuts[barrier[on_cut] - 1], *on_cut)]
    rest = mask & (found == 0)
    found[rest] = found.ravel()[nearest_of_all(found > 0, rest)]
    return np.ascontiguousarray(found[inner])


def _on_its_side(
    cuts: Floats, row: NDArray[np.int64], col: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a cell (row, col) further away from the cut on which each cell lies, on its side.

    By the nearest cell alone all would go to the part north or west, half a cell too many.
    """
    start, along = cuts[:, 0], cuts[:, 1] - cuts[:, 0]
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normal /= np.hypot(*along.T)[:, None]
    away = ((np.stack([col, row], axis=1) - start) * normal).sum(axis=1)
    step = np.round(1.5 * np.where(away < 0, -1, 1)[:, None] * normal).astype(int)
    return row + step[:, 1], col + step[:, 0]


def _cuts(mask: Mask, features: NDArray[np.float32], cell_m: float, signs: Signs) -> Floats:
    """Return the party walls of one connected part, strongest first, none too close to another."""
    outline = contour(mask)
    if not len(outline.points):
        return np.empty((0, 2, 2))
    return walls(mask, features, _directions(outline, cell_m), cell_m, signs)


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
