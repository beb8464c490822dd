"""Which ground images see, and which of them make good pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import get_coordinates
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from processes.core.errors import BrokenRpc, NoOverlap, OutsideArea
from processes.stereo.epipolar import base_to_height, ground_sampling_m
from processes.stereo.view import View

Floats = NDArray[np.float64]

WEAKEST_BASE = 0.05
"""Metres of parallax for a metre of height below which a pair tells no height."""
WIDEST_BASE = 1.2
"""Above it the images look too different to be matched."""
BEST_BASE = 0.4
MOST_PAIRS = 6
"""So many, the best, are matched."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two views of one ground, by their places in the list of images."""

    left: int
    right: int
    ground: BaseGeometry
    """Longitude, latitude of what both see."""
    base_to_height: float


def footprint(view: View, height_m: float) -> Polygon:
    """Return what an image sees of the level at a height: longitude, latitude."""
    rows, cols = view.shape[0] - 1.0, view.shape[1] - 1.0
    t = np.linspace(0.0, 1.0, 9)[:-1]
    row = np.concatenate([0 * t, rows * t, rows + 0 * t, rows * (1 - t)])
    col = np.concatenate([cols * t, cols + 0 * t, cols * (1 - t), 0 * t])
    lon, lat = view.model.locate(row, col, height_m)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise BrokenRpc(f"{view.model.name}: the image's border cannot be located on the ground")
    shape = Polygon(np.stack([lon, lat], axis=1))
    if not shape.is_valid or shape.area == 0.0:
        raise BrokenRpc(f"{view.model.name}: the image's footprint on the ground is folded")
    return shape


def pairs_of(
    views: Sequence[View], heights_m: Sequence[float], area: Any = None
) -> tuple[list[Pair], tuple[float, float]]:
    """Return the pairs that share ground and look at it from different sides, best first.

    Small images may overlap at some heights only, so all *heights_m* are tried; the lowest and
    highest at which a pair overlaps come second. *area* is a geometry in degrees outside which
    nothing counts. Raises NoOverlap, or OutsideArea.
    """
    shapes = [[footprint(view, height) for view in views] for height in heights_m]
    found: list[tuple[float, Pair]] = []
    touched: list[float] = []
    unfit: list[float] = []
    off_area = False
    for i, j in combinations(range(len(views)), 2):
        common = [at[i].intersection(at[j]) for at in shapes]
        enough = 0.002 * min(shapes[0][i].area, shapes[0][j].area)
        level = [k for k, ground in enumerate(common) if ground.area > enough]
        if not level:
            continue
        middle = level[len(level) // 2]
        ground = unary_union([common[k] for k in level]).convex_hull
        if area is not None and not ground.intersection(area).area > 0.0:
            off_area = True
            continue
        touched += [heights_m[level[0]], heights_m[level[-1]]]
        at = common[middle].centroid
        base = base_to_height(views[i].model, views[j].model, at.x, at.y, heights_m[middle])
        if WEAKEST_BASE <= base <= WIDEST_BASE:
            # steeper pairs measure better, wide ones see less in common
            worth = min(base / BEST_BASE, BEST_BASE / base) * ground.area
            found.append((worth, Pair(i, j, ground, base)))
        else:
            unfit.append(base)
    if off_area and not touched:
        raise OutsideArea("no two images see the area of interest: move it, or leave it out")
    names = " and ".join(view.id for view in views)
    if not touched:
        raise NoOverlap(f"{names} share no ground: choose images of one place")
    if not found:
        raise NoOverlap(f"{names} look from directions too {_unfit(unfit)}")
    found.sort(key=lambda item: -item[0])
    return [pair for _, pair in found], (min(touched), max(touched))


def _unfit(bases: Sequence[float]) -> str:
    """Return why no pair will do, by the base to height of each, and what would."""
    wide = [base for base in bases if base > WIDEST_BASE]
    if wide:
        return (
            f"unlike to be matched: base to height is {min(wide):.2f}, at most {WIDEST_BASE} will "
            "do: choose images taken closer together, or one between them"
        )
    return (
        f"alike to tell heights: base to height is {max(bases):.2f}, at least {WEAKEST_BASE} will "
        "do: choose images taken further apart"
    )


def sampling_m(views: Sequence[View], lon: float, lat: float, height_m: float) -> float:
    """Return the ground sampling distance of the images, the median of them."""
    return float(np.median([ground_sampling_m(v.model, lon, lat, height_m) for v in views]))


def pieces(ground: BaseGeometry, side_m: float, most: int = 9) -> list[tuple[Floats, Floats]]:
    """Return up to *most* pieces of a ground, spread over it: corners (lon, lat) of each.

    A ground no wider than twice *side_m* is one piece, whole.
    """
    xmin, ymin, xmax, ymax = ground.bounds
    ky = 111_000.0
    kx = ky * float(np.cos(np.radians(0.5 * (ymin + ymax))))
    wide, tall = (xmax - xmin) * kx, (ymax - ymin) * ky
    if max(wide, tall) <= 2.0 * side_m:
        return [_corners(ground.convex_hull)]
    across = int(np.ceil(np.sqrt(most)))
    found = []
    for v in (np.arange(across) + 0.5) / across:
        for u in (np.arange(across) + 0.5) / across:
            lon0, lat0 = xmin + u * (xmax - xmin), ymin + v * (ymax - ymin)
            dx, dy = 0.5 * min(side_m, wide / across) / kx, 0.5 * min(side_m, tall / across) / ky
            box = Polygon(
                [(lon0 - dx, lat0 - dy), (lon0 + dx, lat0 - dy), (lon0 + dx, lat0 + dy),
                 (lon0 - dx, lat0 + dy)]
            ).intersection(ground)  # fmt: skip
            if isinstance(box, Polygon) and box.area > 0.25 * 4 * dx * dy:
                found.append(_corners(box))
    return found


def _corners(shape: BaseGeometry) -> tuple[Floats, Floats]:
    lonlat = get_coordinates(shape)[:-1]
    return lonlat[:, 0], lonlat[:, 1]
