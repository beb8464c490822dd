"""Heights of pairs of images on the processor: rectify, match, intersect, rasterise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from processes.core.raster import Grid
from processes.stereo.cloud import Measured
from processes.stereo.coverage import Pair
from processes.stereo.match import match
from processes.stereo.rasterise import rasterise, weights
from processes.stereo.rims import overhanging
from processes.stereo.scene import Floats, Scene
from processes.stereo.triangulate import ray_table
from processes.stereo.view import rectified

Pixels = NDArray[np.float32]

FRAME_STEP_PX = 64
"""Blocks have the pixels of images halved six times in common."""
TOLD_PX = 0.25
"""Disparities that differ by less are of one surface, whatever height that makes."""


class Heights(NamedTuple):
    """Measured heights, NaN where there are none, and how far they can be trusted, 0 to 1."""

    dsm: Pixels
    trust: Pixels

    @classmethod
    def none(cls, grid: Grid) -> Heights:
        """Return that nothing was measured."""
        return cls(np.full(grid.shape, np.nan, np.float32), np.zeros(grid.shape, np.float32))


def pair_heights(
    scene: Scene,
    parts: Sequence[tuple[Pair, Polygon]],
    grid: Grid,
    points: list[Measured] | None = None,
    *,
    workers: int = 2,
) -> list[Heights]:
    """Return what each pair says by itself of its piece of the map plane.

    *points*, if given, gets what each pair adds, before it is gridded.
    """
    return [_heights(scene, pair, ground, grid, points, workers) for pair, ground in parts]


def _heights(
    scene: Scene,
    pair: Pair,
    ground: Polygon,
    grid: Grid,
    points: list[Measured] | None,
    workers: int,
) -> Heights:
    left, right = scene.views[pair.left], scene.views[pair.right]
    x, y = (np.array(v) for v in ground.exterior.coords.xy)
    lon, lat = scene.to_degrees(x, y)
    which = scene.pairs.index(pair)
    frame = scene.fields[which].frame(lon, lat, scene.heights_m, step_px=FRAME_STEP_PX)
    rays = ray_table(frame, left.model, right.model, scene.heights_m, scene.to_plane)
    a, b = rectified(left, frame, "left"), rectified(right, frame, "right")
    if not (np.isfinite(a).any() and np.isfinite(b).any()):
        return Heights.none(grid)
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
    return Heights(cells.dsm, trust_of(confidence, east, north, grid, cells.dsm))


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
