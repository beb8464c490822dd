"""A piece of surface model from pairs of images: what each says, fused, filled and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely import (
    get_coordinates,
    get_parts,
    get_rings,
)
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

from processes.core.origin import Origin
from processes.core.raster import Grid
from processes.stereo.canopy import green, raised
from processes.stereo.cloud import Measured
from processes.stereo.confidence import error_m
from processes.stereo.coverage import Pair
from processes.stereo.fuse import fill, fuse
from processes.stereo.outliers import Brightness, implausible
from processes.stereo.pair_heights import Heights, pair_heights
from processes.stereo.scanline import filled
from processes.stereo.scene import Scene, on_plane
from processes.stereo.second import Known, Second, asked, telling, unsupported
from processes.stereo.shade import contradicted, suns_of
from processes.stereo.tones import Toned
from processes.stereo.walls import sided

Pixels = NDArray[np.float32]

APART = 0.2
"""How independent the errors of comparable pairs are: all see one grain. With 1, confidence claimed
90 % of cells and held 76 and 79 % on towns of six and four images; so it holds 89 and 93 %."""
DEEP_M, WORTH_M2 = 4.0, 100.0
"""A void is wide where a cell lies so far from what is measured; less of it in all is none."""
STRAY_M, STRAY_M2 = 4.0, 60.0
RIM_M = 3.0
"""Voids at the outer rim are filled no further from measured cells than this."""


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
    asks = _heights(scene, narrow, grid, workers, None if points is None else further)
    shares = [(pair.base_to_height / scene.widest) ** 2 for pair, _ in narrow]
    for (_, piece), new, share in zip(narrow, asks, shares, strict=True):
        found = _completed(found, new, cells_inside(piece, grid), grid.cell_m, share)
    bright = _brightness(scene, parts[0][0], grid) if parts else None
    wrong = _stray(found.dsm, covered, grid.cell_m)
    wrong |= implausible(found.dsm, covered, grid.cell_m, bright)

    def leafy(where: NDArray[np.bool_], at: Pixels) -> NDArray[np.bool_]:
        return green(where, at, grid, scene.views, scene.to_degrees, scene.typical_red)

    if bright is not None:
        plausible = np.where(wrong, np.float32(np.nan), found.dsm)
        suns = suns_of([scene.views[i].sun for i in (parts[0][0].left, parts[0][0].right)])
        wrong |= contradicted(plausible, grid, bright, suns, green=leafy)
    second = None
    if asks:
        looked = np.any([cells_inside(piece, grid) for _, piece in narrow], axis=0)
        second = _second(asks, shares, looked, grid)
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
    known = Known(dsm, found.trust, origin)
    if second is not None:
        known = asked(known, second, cell_m=grid.cell_m, px_m=scene.px_m, green=leafy)
    if points is not None:
        used = (known.origin == Origin.SEEN) & (known.dsm != alone)
        points += [pair.only(used) for pair in further]
    dsm, origin = sided(
        known.dsm, known.origin, voids, grid, scene.gsd_m, scene.views, scene.to_degrees, leafy
    )
    likelihood = np.where(origin == Origin.SEEN, known.trust, np.float32(0.0))
    error = error_m(
        dsm, likelihood, origin,
        cell_m=grid.cell_m, gsd_m=scene.gsd_m, px_m=scene.px_m, sharp=scene.sharpness,
    )  # fmt: skip
    return Surface(dsm, likelihood, error, origin)


def _fused(
    scene: Scene,
    parts: Sequence[tuple[Pair, Polygon]],
    grid: Grid,
    workers: int,
    points: list[Measured] | None,
) -> Heights:
    """Return what pairs of comparable bases say together."""
    if not parts:
        return Heights.none(grid)
    widest = max(pair.base_to_height for pair, _ in parts)
    found = _heights(scene, parts, grid, workers, points)
    # the height error of a match goes with the inverse of the base, its weight with the square
    weights = [np.float32((pair.base_to_height / widest) ** 2) for pair, _ in parts]
    fused = fuse(
        [heights.dsm for heights in found],
        [heights.trust * weight for heights, weight in zip(found, weights, strict=True)],
        apart=APART,
    )
    return Heights(fused.dsm, fused.confidence)


def _completed(
    known: Heights, new: Heights, seen: NDArray[np.bool_], cell_m: float, share: float
) -> Heights:
    """Return *known* with its wide voids within *seen* filled from a further pair."""
    wide = _wide_voids(known.dsm, seen, cell_m)
    return _filled(known, new, wide, share) if wide.any() else known


def _second(
    pairs: Sequence[Heights], shares: Sequence[float], looked: NDArray[np.bool_], grid: Grid
) -> Second:
    """Return what narrow pairs say together; they *looked* there."""
    said = fuse([heights.dsm for heights in pairs], [heights.trust for heights in pairs])
    heights = np.where(implausible(said.dsm, looked, grid.cell_m), np.float32(np.nan), said.dsm)
    return Second(heights, said.confidence, float(sum(shares)))


def _brightness(scene: Scene, pair: Pair, grid: Grid) -> Brightness | None:
    """Return what tells how bright cells are in the images of a pair; None if nothing does."""
    tones = scene.tones[scene.pairs.index(pair)]
    if tones is None:
        return None
    ends = ((scene.views[pair.left], tones.left), (scene.views[pair.right], tones.right))

    @cache
    def looks() -> list[Toned]:
        corners = grid.xy(*np.meshgrid([0, grid.height - 1], [0, grid.width - 1]))
        lon, lat = (np.tile(np.ravel(v), 2) for v in scene.to_degrees(*corners))
        return [Toned.of(*end, lon, lat, np.repeat(scene.heights_m, 4)) for end in ends]

    def brighter(row: NDArray[np.int64], col: NDArray[np.int64], height: Pixels) -> Pixels:
        lonlat = scene.to_degrees(*grid.xy(row, col))
        return np.asarray(np.fmax(*(look.at(*lonlat, height) for look in looks())), np.float32)

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


def _filled(known: Heights, new: Heights, where: NDArray[np.bool_], share: float) -> Heights:
    """Return *known* with *new* there, brought to its level and trusted by a *share* only."""
    apart = (known.dsm - new.dsm)[np.isfinite(known.dsm) & np.isfinite(new.dsm)]
    level = np.float32(np.median(apart)) if apart.size >= 100 else np.float32(0.0)
    take = where & np.isfinite(new.dsm)
    return Heights(
        np.where(take, new.dsm + level, known.dsm),
        np.where(take, new.trust * np.float32(share), known.trust),
    )


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


def _heights(
    scene: Scene,
    parts: Sequence[tuple[Pair, Polygon]],
    grid: Grid,
    workers: int,
    points: list[Measured] | None,
) -> list[Heights]:
    """Return what each pair says by itself, found on the scene's device."""
    if scene.device == "cpu" or not parts:
        return pair_heights(scene, parts, grid, points, workers=workers)
    from processes.stereo import pair_heights_gpu

    return pair_heights_gpu.pair_heights(scene, parts, grid, points)


def cells_inside(shape: BaseGeometry, grid: Grid) -> NDArray[np.bool_]:
    """Return which cells of a grid have their centre in a shape of the map plane."""
    corners = (get_coordinates(ring) for ring in get_rings(get_parts(shape)))
    return filled([np.stack(grid.rowcol(*xy.T), axis=1) for xy in corners], grid.shape)
