"""Heights of pairs of images on a GPU, as `pair_heights` finds them, from pixels up to cells down.

Every image of a block is read once for all its pairs, by threads that read the next one while a
pair is worked on, and goes up once. Resampling, costs, aggregation, checks, planes, rims,
triangulation and rasterisation stay on the card; heights of cells and their trust come down. The
lattice of a frame and the table of rays are small (a node in 16 by 16 pixels) and come from the
processor, as does what follows for all pairs together: fusion, filling, crowns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from shapely.geometry import Polygon
from torch import Tensor

from processes.core.raster import Grid
from processes.stereo.cloud import Measured
from processes.stereo.coverage import Pair
from processes.stereo.epipolar import EpipolarFrame, Lattice
from processes.stereo.epipolar_gpu import resample
from processes.stereo.match_gpu import match
from processes.stereo.pair_heights import FRAME_STEP_PX, TOLD_PX, Heights
from processes.stereo.rasterise_gpu import rasterise
from processes.stereo.rims_gpu import overhanging
from processes.stereo.scene import Scene
from processes.stereo.triangulate import ray_table
from processes.stereo.triangulate_gpu import points as meeting
from processes.stereo.view import FINER, View, low_passed

Pixels = NDArray[np.float32]
Window = tuple[int, int, int, int]

READERS = 2


class Tile(NamedTuple):
    """A part of an image: its luminance, and the row and column of its first pixel."""

    grey: Tensor
    origin: tuple[int, int]


def pair_heights(
    scene: Scene,
    parts: Sequence[tuple[Pair, Polygon]],
    grid: Grid,
    points: list[Measured] | None = None,
    *,
    device: str | None = None,
) -> list[Heights]:
    """Return each pair's heights on the grid, NaN where it has none, and their trust, 0 to 1.

    *points* gets what each pair adds before it is gridded, as in `pair_heights.pair_heights`.
    """
    frames = [_frame(scene, pair, ground) for pair, ground in parts]
    with (
        _stream(place := torch.device(device or scene.device)),
        _reading(scene, parts, frames) as (reads),
    ):
        up: dict[tuple[int, float], Tile | None] = {}
        found = []
        for (pair, _), frame in zip(parts, frames, strict=True):
            tiles = []
            for view, lattice in _sides(pair, frame):
                key = _key(view, lattice)
                if key not in up:
                    up[key] = _uploaded(reads[key].result(), place)
                tiles.append(up[key])
            found.append(_heights(scene, pair, frame, tiles, grid, points))
        return found


def _frame(scene: Scene, pair: Pair, ground: Polygon) -> EpipolarFrame:
    lon, lat = scene.to_degrees(*(np.array(v) for v in ground.exterior.coords.xy))
    field = scene.fields[scene.pairs.index(pair)]
    return field.frame(lon, lat, scene.heights_m, step_px=FRAME_STEP_PX)


def _heights(
    scene: Scene,
    pair: Pair,
    frame: EpipolarFrame,
    tiles: Sequence[Tile | None],
    grid: Grid,
    points: list[Measured] | None,
) -> Heights:
    """Return what one pair says; nothing where an image shows nothing of the frame."""
    left, right = scene.views[pair.left], scene.views[pair.right]
    which = scene.pairs.index(pair)
    images = [
        resample(tile.grey, lattice, frame.shape, tile.origin)
        for tile, (_, lattice) in zip(tiles, _sides(pair, frame), strict=True)
        if tile is not None
    ]
    if len(images) < 2 or not all(bool(image.isfinite().any()) for image in images):
        return Heights.none(grid)
    low, high = scene.disparities[which]
    matched = match(
        images[0], images[1], low, high,
        tones=scene.tones[which], base_to_height=pair.base_to_height, wanted=frame.shown,
    )  # fmt: skip
    other = images[1] if scene.narrow(pair) else None
    over = overhanging(images[0], matched.disparity, matched.confidence, other)
    disparity = torch.where(over, torch.nan, matched.disparity)
    confidence = torch.where(over, 0.0, matched.confidence)
    rays = ray_table(frame, left.model, right.model, scene.heights_m, scene.to_plane)
    x, y, z = meeting(rays, disparity)
    cells = rasterise(x, y, z, confidence, grid, told_m=TOLD_PX / frame.px_per_m)
    trust = trust_of(confidence, x, y, grid, cells.dsm)
    dsm = cells.dsm.cpu().numpy()
    if points is not None:
        east, north, height, likely = (v.cpu().numpy() for v in (x, y, z, confidence))
        points.append(
            Measured.of(
                east, north, height, likely, grid, dsm,
                views=(pair.left, pair.right), share=(pair.base_to_height / scene.widest) ** 2,
            )
        )  # fmt: skip
    return Heights(dsm, trust.cpu().numpy())


def trust_of(confidence: Tensor, x: Tensor, y: Tensor, grid: Grid, dsm: Tensor) -> Tensor:
    """Return the mean confidence of the points in each cell; see `pair_heights.trust_of`."""
    known = x.isfinite()
    usual = float(confidence[known].mean()) if bool(known.any()) else 0.0
    t = ~grid.transform
    x, y, weight = x[known], y[known], confidence[known].double()
    row, col = t.f + x * t.d + y * t.e - 0.5, t.c + x * t.a + y * t.b - 0.5
    keep = (row > -0.5) & (col > -0.5) & (row < grid.height - 0.5) & (col < grid.width - 0.5)
    cell = row[keep].round().long() * grid.width + col[keep].round().long()
    size = grid.height * grid.width
    total = torch.bincount(cell, weight[keep], size).reshape(grid.shape)
    count = torch.bincount(cell, minlength=size).reshape(grid.shape)
    mean = total / count.clamp(min=1)
    return torch.where((count == 0) & dsm.isfinite(), 0.5 * usual, mean).float()


def _sides(pair: Pair, frame: EpipolarFrame) -> tuple[tuple[int, Lattice], tuple[int, Lattice]]:
    return (pair.left, frame.left), (pair.right, frame.right)


def _key(view: int, lattice: Lattice) -> tuple[int, float]:
    """Return which tile a side is cut from: images finer than the frame are smoothed for it."""
    coarser = lattice.step_px
    return view, coarser if coarser > FINER else 1.0


@contextmanager
def _reading(
    scene: Scene, parts: Sequence[tuple[Pair, Polygon]], frames: Sequence[EpipolarFrame]
) -> Iterator[Mapping[tuple[int, float], Future[tuple[Pixels, Window]]]]:
    """Give all tiles as they are read, those of the first pair first."""
    windows: dict[tuple[int, float], Window] = {}
    for (pair, _), frame in zip(parts, frames, strict=True):
        for view, lattice in _sides(pair, frame):
            key, window = _key(view, lattice), lattice.window(scene.views[view].shape)
            windows[key] = _together(windows[key], window) if key in windows else window
    with ThreadPoolExecutor(READERS) as pool:
        yield {
            key: pool.submit(_read, scene.views[key[0]], window, key[1])
            for key, window in windows.items()
        }


def _together(one: Window, two: Window) -> Window:
    """Return the smallest window around two; one without pixels does not count."""
    if min(one[2:]) <= 0 or min(two[2:]) <= 0:
        return two if min(one[2:]) <= 0 else one
    row0, col0 = min(one[0], two[0]), min(one[1], two[1])
    row1, col1 = max(one[0] + one[2], two[0] + two[2]), max(one[1] + one[3], two[1] + two[3])
    return row0, col0, row1 - row0, col1 - col0


def _read(view: View, window: Window, coarser: float) -> tuple[Pixels, Window]:
    """Return the luminance of a part of an image, as `pointing.rectified` has it."""
    if min(window[2:]) <= 0:
        return np.empty((0, 0), np.float32), window
    grey = view.read(*window).mean(axis=0, dtype=np.float32)
    return (low_passed(grey, coarser) if coarser > FINER else grey), window


def _uploaded(read: tuple[Pixels, Window], device: torch.device) -> Tile | None:
    """Return a tile on the device, None if it has no pixels; memory is pinned for a card."""
    pixels, window = read
    if pixels.size == 0:
        return None
    tile = torch.from_numpy(np.ascontiguousarray(pixels))
    if device.type == "cuda":
        tile = tile.pin_memory().to(device, non_blocking=True)
    return Tile(tile, (window[0], window[1]))


@contextmanager
def _stream(device: torch.device) -> Iterator[None]:
    """Give each thread its own queue of a card, so that blocks on several threads overlap."""
    if device.type != "cuda":
        yield
        return
    own = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch says no types here
    with torch.cuda.device(device), torch.cuda.stream(own):
        yield
