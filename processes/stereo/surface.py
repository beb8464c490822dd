"""A piece of surface model from pairs of images: rectify, match, intersect, rasterise, fuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely import (
    contains_xy,
    get_coordinates,
    get_parts,
    get_rings,
    transform,
    unary_union,
)
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

from processes.core.origin import Origin
from processes.core.raster import Grid
from processes.stereo.canopy import green, raised, typical_red
from processes.stereo.cloud import Measured
from processes.stereo.confidence import error_m
from processes.stereo.coverage import Pair
from processes.stereo.epipolar import EpipolarField, rectify
from processes.stereo.fuse import fill, fuse
from processes.stereo.housetops import roofed
from processes.stereo.match import Tones, match
from processes.stereo.outliers import Brightness, implausible
from processes.stereo.pyramid import halve
from processes.stereo.rasterise import rasterise, weights
from processes.stereo.rims import overhanging
from processes.stereo.scanline import filled
from processes.stereo.second import Known, Second, asked, telling, unsupported
from processes.stereo.sharpness import sharpness
from processes.stereo.tones import tone, tones_of
from processes.stereo.triangulate import ray_table
from processes.stereo.view import Piece, View, rectified

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Plane = Callable[[Floats, Floats], tuple[Floats, Floats]]

COMPARABLE = 0.6
"""Pairs whose base is at least this share of the widest are fused; narrower ones only asked."""
APART = 0.2
"""How independent the errors of such pairs are: all see one grain. With 1, confidence claimed 90 %
of cells and held 76 and 79 % on towns of six and four images; so it holds 89 and 93 %."""
DEEP_M, WORTH_M2 = 4.0, 100.0
"""A void is wide where a cell lies so far from what is measured; less of it in all is none."""
FRAME_STEP_PX = 64
"""Blocks have the pixels of images halved six times in common."""
STRAY_M, STRAY_M2 = 4.0, 60.0
TOLD_PX = 0.25
"""Disparities that differ by less are of one surface, whatever height that makes."""
SAMPLES = 8
"""Places across and along a scene whose colours are looked at."""
RIM_M = 3.0
"""Voids at the outer rim are filled no further from measured cells than this."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known before dense matching: corrected views, pairs, heights, the map plane."""

    views: Sequence[View]
    pairs: Sequence[Pair]
    heights_m: tuple[float, float]
    """Bounds of everything that stands in the scene."""
    height_m: float
    gsd_m: float
    step_m: float
    """How far apart the pixels are that are compared: no further than cells want points."""
    to_plane: Plane
    to_degrees: Plane
    device: str = "cpu"
    """Where heights of pairs are found: "cpu" or "cuda"."""

    @cached_property
    def fields(self) -> tuple[EpipolarField, ...]:
        """The epipolar geometry of each pair, over all its ground."""
        return tuple(
            EpipolarField.over(
                self.views[pair.left].model, self.views[pair.right].model,
                *get_coordinates(pair.ground.minimum_rotated_rectangle)[:-1].T,
                heights_m=self.heights_m, height_m=self.height_m, gsd_m=self.step_m,
            )
            for pair in self.pairs
        )  # fmt: skip

    @cached_property
    def tones(self) -> tuple[Tones | None, ...]:
        """The grey levels of each pair, the same in every block."""
        return tuple(
            tones_of(
                self.views[pair.left], self.views[pair.right], field, pair.ground,
                heights_m=self.heights_m, disparities=disparities,
            )
            for pair, field, disparities in zip(
                self.pairs, self.fields, self.disparities, strict=True
            )
        )  # fmt: skip

    @cached_property
    def typical_red(self) -> float | None:
        """The logarithm of the red of what is green, the same in every block."""
        ground = unary_union([pair.ground for pair in self.pairs])
        west, south, east, north = ground.bounds
        steps = (np.arange(SAMPLES) + 0.5) / SAMPLES
        lon, lat = np.meshgrid(west + steps * (east - west), south + steps * (north - south))
        inside = contains_xy(ground, lon, lat)
        return typical_red(self.views, lon[inside], lat[inside], self.height_m)

    @cached_property
    def sharpness(self) -> float:
        """How sharp the images are, the same in every block."""
        return sharpness(self.views)

    @cached_property
    def disparities(self) -> tuple[tuple[float, float], ...]:
        """The bounds of the disparities of each pair, the same in every block."""
        return tuple(field.disparities(self.heights_m) for field in self.fields)

    @property
    def widest(self) -> float:
        """The largest base-to-height ratio of the pairs."""
        return max(pair.base_to_height for pair in self.pairs)

    @property
    def px_m(self) -> float:
        """How much height a pixel of parallax is, in the pair with the widest base."""
        return self.gsd_m / self.widest

    def narrow(self, pair: Pair) -> bool:
        """Return whether a pair's base is so narrow beside the widest that it is only asked."""
        return pair.base_to_height < COMPARABLE * self.widest


@dataclass(frozen=True, eq=False)
class Surface:
    """Heights on a grid, how far they can be trusted, and where each comes from."""

    dsm: Pixels
    likelihood: Pixels
    """That what was measured is right, 0 to 1; 0 where nothing was."""
    error_m: Pixels
    """What nine heights in ten are off by at most."""
    origin: NDArray[np.uint8]


def surface(
    scene: Scene, grid: Grid, *, workers: int = 2, points: list[Measured] | None = None
) -> Surface:
    """Return the surface over a grid; cells that fewer than two images see stay empty.

    Pairs with a narrow base measure heights coarsely and thicken buildings. They fill the wide
    voids that the good pairs leave, as a tower or a cloud hides things from one of them; elsewhere
    they are a second opinion. *points*, if given, gets what each pair adds, before it is gridded.
    """
    parts = [
        (pair, piece)
        for pair in scene.pairs
        if isinstance(
            piece := on_plane(scene, pair.ground).intersection(box(*grid.bounds)), Polygon
        )
        and not piece.is_empty
    ]
    covered = np.zeros(grid.shape, bool)
    for _, piece in parts:
        covered |= cells_inside(piece, grid)
    good = [part for part in parts if not scene.narrow(part[0])]
    narrow = [part for part in parts if scene.narrow(part[0])]
    found = _fused(scene, good, grid, workers, points)
    alone = found.dsm
    further: list[Measured] = []
    asks = _pair_surfaces(scene, narrow, grid, workers, None if points is None else further)
    shares = [(pair.base_to_height / scene.widest) ** 2 for pair, _ in narrow]
    for (_, piece), new, share in zip(narrow, asks, shares, strict=True):
        found = _completed(found, new, cells_inside(piece, grid), grid.cell_m, share)
    bright = _brightness(scene, parts[0][0], grid) if parts else None
    wrong = _stray(found.dsm, covered, grid.cell_m)
    wrong |= implausible(found.dsm, grid.cell_m, bright)
    second = _second(asks, shares, grid) if asks else None
    if second is not None:
        looked = np.any([cells_inside(piece, grid) for _, piece in narrow], axis=0)
        clear = telling(found.dsm, second.dsm, looked, grid.cell_m)
        wrong |= clear & unsupported(found.dsm, second.dsm, grid.cell_m)
        second = second._replace(dsm=np.where(clear, second.dsm, np.float32(np.nan)))
    measured = np.where(wrong, np.float32(np.nan), found.dsm)
    voids = fill(measured, cell_m=grid.cell_m, covered=covered)
    dsm, origin = voids.dsm, voids.origin
    outside = _unseen(scene, grid, dsm, origin > Origin.SEEN) | _beyond_rim(origin, grid.cell_m)
    dsm[outside] = np.nan
    origin[outside] = Origin.OUTSIDE
    seen = origin == Origin.SEEN
    dsm, crown = raised(dsm, seen, grid, scene.views, scene.to_degrees, scene.typical_red)
    origin[crown] = Origin.CROWN
    dsm, roof = roofed(voids, dsm, origin, grid, scene.views, scene.to_degrees)
    origin[roof] = Origin.FILLED_GAP
    known = Known(dsm, found.trust, origin)
    if second is not None:

        def leafy(where: NDArray[np.bool_], at: Pixels) -> NDArray[np.bool_]:
            return green(where, at, grid, scene.views, scene.to_degrees, scene.typical_red)

        known = asked(known, second, cell_m=grid.cell_m, px_m=scene.px_m, green=leafy)
    if points is not None:
        used = (known.origin == Origin.SEEN) & (known.dsm != alone)
        points += [pair.only(used) for pair in further]
    dsm, origin = known.dsm, known.origin
    likelihood = np.where(origin == Origin.SEEN, known.trust, np.float32(0.0))
    error = error_m(
        dsm, likelihood, origin,
        cell_m=grid.cell_m, gsd_m=scene.gsd_m, px_m=scene.px_m, sharp=scene.sharpness,
    )  # fmt: skip
    return Surface(dsm, likelihood, error, origin)


class _Heights(NamedTuple):
    """Measured heights, NaN where there are none, and how far they can be trusted, 0 to 1."""

    dsm: Pixels
    trust: Pixels


def _fused(
    scene: Scene,
    parts: Sequence[tuple[Pair, Polygon]],
    grid: Grid,
    workers: int,
    points: list[Measured] | None,
) -> _Heights:
    """Return what pairs of comparable bases say together."""
    if not parts:
        nothing = np.full(grid.shape, np.nan, np.float32)
        return _Heights(nothing, np.zeros(grid.shape, np.float32))
    widest = max(pair.base_to_height for pair, _ in parts)
    found = _pair_surfaces(scene, parts, grid, workers, points)
    # the height error of a match goes with the inverse of the base, its weight with the square
    weights = [np.float32((pair.base_to_height / widest) ** 2) for pair, _ in parts]
    fused = fuse(
        [heights.dsm for heights in found],
        [heights.trust * weight for heights, weight in zip(found, weights, strict=True)],
        apart=APART,
    )
    return _Heights(fused.dsm, fused.confidence)


def _completed(
    known: _Heights, new: _Heights, seen: NDArray[np.bool_], cell_m: float, share: float
) -> _Heights:
    """Return *known* with its wide voids within *seen* filled from a further pair."""
    wide = _wide_voids(known.dsm, seen, cell_m)
    return _filled(known, new, wide, share) if wide.any() else known


def _second(pairs: Sequence[_Heights], shares: Sequence[float], grid: Grid) -> Second:
    """Return what narrow pairs say together."""
    said = fuse([heights.dsm for heights in pairs], [heights.trust for heights in pairs])
    heights = np.where(implausible(said.dsm, grid.cell_m), np.float32(np.nan), said.dsm)
    return Second(heights, said.confidence, float(sum(shares)))


def _brightness(scene: Scene, pair: Pair, grid: Grid) -> Brightness | None:
    """Return what tells how bright cells are in the images of a pair; None if nothing does."""
    tones = scene.tones[scene.pairs.index(pair)]
    if tones is None:
        return None
    ends = ((scene.views[pair.left], tones.left), (scene.views[pair.right], tones.right))

    def brighter(row: NDArray[np.int64], col: NDArray[np.int64], height: Pixels) -> Pixels:
        lonlat = scene.to_degrees(*grid.xy(row, col))
        return np.asarray(
            np.fmax(*(tone(view, side, *lonlat, height) for view, side in ends)), np.float32
        )

    return brighter


def _wide_voids(dsm: Pixels, seen: NDArray[np.bool_], cell_m: float) -> NDArray[np.bool_]:
    """Return the voids within *seen* that are somewhere deep; none if that is too little in all."""
    count, holes = _parts(~np.isfinite(dsm) & seen)
    deep = _depth(holes > 0) * cell_m > DEEP_M
    wide = np.zeros(count, bool)
    if np.count_nonzero(deep) * cell_m**2 >= WORTH_M2:
        wide[np.unique(holes[deep])] = True
        wide[0] = False
    return np.asarray(wide[holes])


def _filled(known: _Heights, new: _Heights, where: NDArray[np.bool_], share: float) -> _Heights:
    """Return *known* with *new* there, brought to its level and trusted by a *share* only."""
    apart = (known.dsm - new.dsm)[np.isfinite(known.dsm) & np.isfinite(new.dsm)]
    level = np.float32(np.median(apart)) if apart.size >= 100 else np.float32(0.0)
    take = where & np.isfinite(new.dsm)
    return _Heights(
        np.where(take, new.dsm + level, known.dsm),
        np.where(take, new.trust * np.float32(share), known.trust),
    )


def scout(
    left: View,
    right: View,
    pieces: Sequence[Piece],
    heights_m: tuple[float, float],
    gsd_m: float,
) -> tuple[Floats, Floats, Floats]:
    """Return longitude, latitude and height of what two views show, matched at half resolution.

    Quick, and evenly spread, unlike tie points, which sit on corners and edges.
    """
    found = []
    for piece in pieces:
        frame = rectify(
            left.model, right.model, *piece,
            heights_m=heights_m, height_m=float(np.mean(heights_m)), gsd_m=gsd_m,
        )  # fmt: skip
        rays = ray_table(frame, left.model, right.model, heights_m, lambda lon, lat: (lon, lat))
        images = [halve(rectified(v, frame, s)) for v, s in ((left, "left"), (right, "right"))]
        if not all(np.isfinite(image).any() for image in images):
            continue
        low, high = (0.5 * d for d in rays.disparities)
        half = match(images[0], images[1], low, high).disparity
        half = half[: frame.shape[0] // 2, : frame.shape[1] // 2]
        whole = np.full(frame.shape, np.nan, np.float32)
        whole[: 2 * half.shape[0] : 2, : 2 * half.shape[1] : 2] = 2.0 * half
        known = np.isfinite(whole)
        found.append(np.stack([values[known] for values in rays.points(whole)]))
    if not found:
        return np.empty(0), np.empty(0), np.empty(0)
    lon, lat, height = np.concatenate(found, axis=1)
    return lon, lat, height


def _unseen(
    scene: Scene, grid: Grid, dsm: Pixels, doubtful: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which of the doubtful cells, at their height, fewer than two images hold."""
    row, col = np.nonzero(doubtful & np.isfinite(dsm))
    lon, lat = scene.to_degrees(*grid.xy(row, col))
    held = np.zeros(row.size, int)
    for view in scene.views:
        r, c = view.model.project(lon, lat, dsm[row, col])
        held += (r >= 0) & (c >= 0) & (r <= view.shape[0] - 1) & (c <= view.shape[1] - 1)
    out = np.zeros(grid.shape, bool)
    out[row, col] = held < 2
    return out


def _stray(dsm: Pixels, covered: NDArray[np.bool_], cell_m: float) -> NDArray[np.bool_]:
    """Return small islands of heights that lie off the edge of what is covered: mismatches."""
    count, islands = _parts(np.isfinite(dsm), connectivity=8)
    size = np.bincount(islands.ravel(), minlength=count)
    edge = _depth(covered) * cell_m <= STRAY_M
    small = size * cell_m**2 < STRAY_M2
    near = np.bincount(islands[edge], minlength=count) > 0.5 * size
    drop = small & near
    drop[0] = False
    return np.asarray(drop[islands])


def _beyond_rim(origin: NDArray[np.uint8], cell_m: float) -> NDArray[np.bool_]:
    """Return the cells without a measurement that lie at the outer rim, far from any."""
    bare = origin != Origin.SEEN
    count, holes = _parts(bare)
    rim = np.zeros(count, bool)
    rim[np.unique(holes[origin == Origin.OUTSIDE])] = True
    rim[0] = False
    far = _depth(bare) * cell_m > RIM_M
    return np.asarray(rim[holes] & (far | (origin == Origin.EMPTY)))


def _parts(mask: NDArray[np.bool_], connectivity: int = 4) -> tuple[int, NDArray[np.int32]]:
    """Return the number of connected parts, what lies outside of them included, and their map."""
    count, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=connectivity)
    return int(count), np.asarray(parts, np.int32)


def _depth(mask: NDArray[np.bool_]) -> Pixels:
    """Return how far inside of a mask each cell lies, in cells; 0 outside."""
    # 2 % off at most; the exact ones take six times as long
    within = mask.view(np.uint8)
    return np.asarray(cv2.distanceTransform(within, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)


def _pair_surfaces(
    scene: Scene,
    parts: Sequence[tuple[Pair, Polygon]],
    grid: Grid,
    workers: int,
    points: list[Measured] | None,
) -> list[_Heights]:
    """Return what each pair says by itself, found on the scene's device."""
    if not parts:
        return []
    if scene.device == "cpu":
        return [_pair_surface(scene, pair, piece, grid, workers, points) for pair, piece in parts]
    from processes.stereo.surface_gpu import pair_heights

    return [_Heights(*heights) for heights in pair_heights(scene, parts, grid, points)]


def _pair_surface(
    scene: Scene,
    pair: Pair,
    ground: Polygon,
    grid: Grid,
    workers: int,
    points: list[Measured] | None,
) -> _Heights:
    left, right = scene.views[pair.left], scene.views[pair.right]
    x, y = (np.array(v) for v in ground.exterior.coords.xy)
    lon, lat = scene.to_degrees(x, y)
    which = scene.pairs.index(pair)
    frame = scene.fields[which].frame(lon, lat, scene.heights_m, step_px=FRAME_STEP_PX)
    rays = ray_table(frame, left.model, right.model, scene.heights_m, scene.to_plane)
    a, b = rectified(left, frame, "left"), rectified(right, frame, "right")
    if not (np.isfinite(a).any() and np.isfinite(b).any()):
        nothing = np.full(grid.shape, np.nan, np.float32)
        return _Heights(nothing, np.zeros(grid.shape, np.float32))
    low, high = scene.disparities[which]
    found = match(
        a, b, low, high,
        tones=scene.tones[which], base_to_height=pair.base_to_height, wanted=frame.shown,
        workers=workers,
    )  # fmt: skip
    other = b if scene.narrow(pair) else None
    over = overhanging(a, found.disparity, found.confidence, other)
    disparity = np.where(over, np.float32(np.nan), found.disparity)
    confidence = np.where(over, np.float32(0.0), found.confidence)
    east, north, height = rays.points(disparity)
    cells = rasterise(east, north, height, confidence, grid, told_m=TOLD_PX / frame.px_per_m)
    if points is not None:
        points.append(
            Measured.of(
                east, north, height, confidence, grid, cells.dsm,
                views=(pair.left, pair.right), share=(pair.base_to_height / scene.widest) ** 2,
            )
        )  # fmt: skip
    return _Heights(cells.dsm, trust_of(confidence, east, north, grid, cells.dsm))


def trust_of(confidence: Pixels, x: Floats, y: Floats, grid: Grid, dsm: Pixels) -> Pixels:
    """Return the mean confidence of the points in each cell; half the usual where it has none."""
    inverse = ~grid.transform
    total, count = weights(
        x.ravel(), y.ravel(), confidence.ravel(), np.array(inverse[:6]), *grid.shape
    )
    mean = total / np.maximum(count, 1)
    usual = float(confidence.mean(where=np.isfinite(x))) if np.isfinite(x).any() else 0.0
    mean[(count == 0) & np.isfinite(dsm)] = 0.5 * usual
    return np.asarray(mean, np.float32)


def cells_inside(shape: BaseGeometry, grid: Grid) -> NDArray[np.bool_]:
    """Return which cells of a grid have their centre in a shape of the map plane."""
    corners = (get_coordinates(ring) for ring in get_rings(get_parts(shape)))
    return filled([np.stack(grid.rowcol(*xy.T), axis=1) for xy in corners], grid.shape)


def on_plane(scene: Scene, shape: BaseGeometry) -> BaseGeometry:
    """Return a shape in degrees on the map plane."""

    def moved(lonlat: Floats) -> Floats:
        return np.stack(scene.to_plane(lonlat[:, 0], lonlat[:, 1]), axis=1)

    return transform(shape, moved)
