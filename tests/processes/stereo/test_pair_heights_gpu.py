"""What the device path makes is what the processor's makes: step by step, then a pair as a whole.

torch runs on whatever there is; Triton's kernels are interpreted where there is no GPU.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from numpy.testing import assert_allclose, assert_array_equal
from pyproj import Transformer
from shapely.geometry import box

from processes.core.raster import Grid
from processes.stereo import epipolar, rasterise, triangulate
from processes.stereo import pair_heights as on_cpu
from processes.stereo.coverage import pairs_of
from processes.stereo.rpc import read_document
from processes.stereo.scene import Scene, on_plane
from processes.stereo.view import View

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
CRS = "EPSG:32631"
EAST, NORTH = 431_000.0, 5_290_000.0


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    return torch


@pytest.fixture(scope="module")
def device(torch: Any) -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def up(torch: Any, values: Any, device: str) -> Any:
    return torch.as_tensor(np.ascontiguousarray(values), device=device)


def test_resampling_weighs_the_same_pixels_and_leaves_the_same_gaps(
    torch: Any, device: str
) -> None:
    from processes.stereo.epipolar_gpu import resample

    rng = np.random.default_rng(1)
    image = rng.normal(500, 80, (90, 110)).astype(np.float32)
    image[20:23, 30:60] = np.nan
    image[rng.random(image.shape) < 0.02] = np.nan
    i, j = np.mgrid[:8, :9] * epipolar.STEP_PX
    lattice = epipolar.Lattice(
        40.0 + 0.93 * i - 0.31 * j + 1e-4 * i * j, 55.0 + 0.3 * i + 0.95 * j - 1e-4 * j * j
    )
    expected = epipolar.resample(image[None], lattice, (105, 120), (31, 42))[0]
    found = resample(up(torch, image, device), lattice, (105, 120), (31, 42)).cpu().numpy()
    assert 0.2 < np.isfinite(expected).mean() < 0.95
    assert_array_equal(np.isnan(found), np.isnan(expected))
    assert_allclose(found, expected, rtol=2e-6, equal_nan=True)


def test_lines_of_sight_meet_at_the_same_places(torch: Any, device: str) -> None:
    from processes.stereo.triangulate_gpu import points

    rng = np.random.default_rng(2)
    scale = np.array([1.0, 0.4, 1e-3, 1e-6])[:, None, None]
    rays = triangulate.RayTable(
        rng.normal(0, 30, (3, 4, 5, 6)) * scale, (EAST, NORTH), 0.0, (-30.0, 30.0)
    )
    disparity = rng.uniform(-30, 30, (70, 90)).astype(np.float32)
    disparity[rng.random(disparity.shape) < 0.1] = np.nan
    for ours, theirs in zip(
        rays.points(disparity), points(rays, up(torch, disparity, device)), strict=True
    ):
        assert_allclose(theirs.cpu().numpy(), ours, atol=1e-8, rtol=0, equal_nan=True)


@pytest.mark.parametrize("step_m", [0.9, 0.43, 0.08])
def test_points_become_the_same_cells(torch: Any, device: str, step_m: float) -> None:
    """Few points a cell, some, and more than a cell listens to; a roof, its wall, and noise."""
    from processes.stereo.rasterise_gpu import rasterise as on_device

    rng = np.random.default_rng(3)
    grid = Grid.covering((EAST, NORTH, EAST + 20.0, NORTH + 15.0), 0.5, "EPSG:32631")
    u, v = np.meshgrid(np.arange(-14, 14, step_m), np.arange(-14, 14, step_m))
    x, y = EAST + 10 + 0.96 * u - 0.29 * v, NORTH + 7.5 + 0.29 * u + 0.96 * v
    z = 150 + 0.1 * u + np.where((abs(u) < 4) & (abs(v) < 3), 9.0, 0.0)
    z = z + rng.normal(0, 0.3, z.shape) + 12.0 * (rng.random(z.shape) < 0.03)
    z[(u > 5) & (v > 2)] = np.nan
    weight = rng.uniform(0, 1, z.shape).astype(np.float32)
    ours = rasterise.rasterise(x, y, z, weight, grid, told_m=1.1)
    theirs = on_device(*(up(torch, a, device) for a in (x, y, z, weight)), grid, told_m=1.1)
    dsm, spread, count = (layer.cpu().numpy() for layer in theirs)
    assert_array_equal(np.isnan(dsm), np.isnan(ours.dsm))
    assert 0.5 < np.isfinite(dsm).mean() < 1
    same = count == ours.points
    assert same.mean() > 0.999  # a share may be just fair, a gap just clear
    assert_allclose(dsm[same], ours.dsm[same], atol=1e-3, equal_nan=True)
    assert_allclose(spread[same], ours.spread_m[same], atol=1e-3, equal_nan=True)


def test_no_points_make_no_cells(torch: Any, device: str) -> None:
    from processes.stereo.rasterise_gpu import rasterise as on_device

    grid = Grid.covering((EAST, NORTH, EAST + 5.0, NORTH + 5.0), 0.5, "EPSG:32631")
    none = torch.full((4, 4), torch.nan, dtype=torch.float64, device=device)
    cells = on_device(none, none, none, torch.ones_like(none).float(), grid)
    assert bool(cells.dsm.isnan().all())
    assert int(cells.points.sum()) == 0


def test_census_slices_and_half_pixels_are_the_same_to_the_bit(torch: Any, device: str) -> None:
    from processes.stereo import census, greys, strips
    from processes.stereo import census_gpu as on_device
    from processes.stereo.match_gpu import grey, resampled

    rng = np.random.default_rng(4)
    image = rng.normal(500, 80, (31, 45)).round().astype(np.float32)
    image[10:12, 20:25] = np.nan
    image[0, 0] = image[-1, -1] = np.nan
    for theirs, ours in zip(
        on_device.census(up(torch, image, device), census.window(5, 5, spread=2)),
        census.census(image, census.window(5, 5, spread=2)),
        strict=True,
    ):
        assert_array_equal(theirs.cpu().numpy(), ours)
    lo = rng.uniform(-9, 2, image.shape).astype(np.float32)
    hi = lo + rng.uniform(0, 30, image.shape).astype(np.float32)
    ok = np.isfinite(image)
    ours = census.Slices.between(lo, hi, per_px=2, where=ok)
    theirs = on_device.SlicesOn.between(
        up(torch, lo, device), up(torch, hi, device), per_px=2, where=up(torch, ok, device)
    )
    for name in ("first", "count", "start"):
        assert_array_equal(getattr(theirs, name).cpu().numpy(), getattr(ours, name))
    fine, half = strips.resampled(image, 2), resampled(up(torch, image, device), 2).cpu().numpy()
    assert_array_equal(np.isnan(half), np.isnan(fine))
    assert_allclose(half, fine, rtol=3e-7, equal_nan=True)
    ends = (300.0, 730.5)
    image = rng.uniform(290, 740, (300, 300)).astype(np.float32)
    levels = greys.Tones(ends, ends).grey(image, ends)
    assert_array_equal(grey(up(torch, image, device), ends).cpu().numpy(), levels)


def test_pyramids_and_ranges_are_the_same(torch: Any, device: str) -> None:
    from processes.stereo import pyramid
    from processes.stereo import pyramid_gpu as on_device

    rng = np.random.default_rng(5)
    image = rng.normal(500, 80, (75, 97)).astype(np.float32)
    image[rng.random(image.shape) < 0.3] = np.nan
    small = on_device.halve(up(torch, image, device)).cpu().numpy()
    assert_allclose(small, pyramid.halve(image), rtol=3e-7, equal_nan=True)
    bounds = [np.full(image.shape, v, np.float32) for v in (-40.0, 55.0)]
    disparity = rng.normal(3, 4, image.shape).astype(np.float32)
    for share in (0.0, 0.02, 0.3, 0.9):
        found = rng.random(image.shape) < share
        found[:, 60:] = False
        expected = pyramid.search_range(disparity, found, (bounds[0], bounds[1]), 3.0)
        ranges = on_device.search_range(
            up(torch, disparity, device), up(torch, found, device),
            (up(torch, bounds[0], device), up(torch, bounds[1], device)), 3.0,
        )  # fmt: skip
        for theirs, ours in zip(ranges, expected, strict=True):
            assert_allclose(theirs.cpu().numpy(), ours, atol=2e-6)


@pytest.mark.parametrize(("most", "apart_px"), [(10, 1.0), (40, 1.5)])
def test_patches_are_found_alike(torch: Any, device: str, most: int, apart_px: float) -> None:
    from processes.stereo import slopes, slopes_gpu

    rng = np.random.default_rng(6)
    disparity = np.cumsum(rng.normal(0, 0.5, (80, 90)), axis=1).astype(np.float32)
    known = rng.random(disparity.shape) < 0.62
    found = slopes_gpu.patches(
        up(torch, disparity, device), up(torch, known, device), most, apart_px
    )
    expected = slopes.patches(disparity, known, most, np.float32(apart_px))
    assert 0.1 < expected.mean() < 0.6
    assert_array_equal(found.cpu().numpy(), expected)


def test_planes_refine_alike(torch: Any, device: str) -> None:
    from processes.stereo import planes
    from processes.stereo.planes_gpu import refine

    rng = np.random.default_rng(7)
    row, col = np.mgrid[:40, :50]
    disparity = (0.1 * row - 0.05 * col + 6.0 * (col > 25)).astype(np.float32)
    disparity += rng.normal(0, 0.2, disparity.shape).astype(np.float32)
    matched = rng.random(disparity.shape) < 0.8
    wanted = matched | (rng.random(disparity.shape) < 0.5)
    expected = planes.refine(disparity, matched, wanted)
    found = refine(*(up(torch, v, device) for v in (disparity, matched, wanted)))
    for theirs, ours in zip(found, expected, strict=True):
        assert_allclose(theirs.cpu().numpy()[wanted], ours[wanted], atol=1e-4)


def test_steep_surfaces_are_levelled_alike(torch: Any, device: str) -> None:
    from processes.stereo import planes, slopes, slopes_gpu
    from processes.stereo.planes_gpu import PlanesOn

    rng = np.random.default_rng(8)
    row, col = np.mgrid[:50, :64]
    disparity = (0.2 * np.minimum(np.minimum(col, 64 - col), 27) - 0.01 * row).astype(np.float32)
    disparity += rng.normal(0, 0.1, disparity.shape).astype(np.float32)
    known = rng.random(disparity.shape) < 0.9
    fitted = planes.refine(disparity, known)
    on_device = PlanesOn(*(up(torch, v, device) for v in fitted))
    inside = known & (row > 3) & (row < 46) & (col > 2) & (col < 61)
    apart = slopes.raised(fitted, inside)
    assert 0.6 < apart.mean() < 1
    lone = slopes_gpu.raised(on_device, up(torch, inside, device))
    assert_array_equal(lone.cpu(), apart)
    expected = slopes.leaning(fitted, known, slopes.STEEP)
    assert 0.2 < expected.mean() < 0.9
    found = slopes_gpu.leaning(on_device, up(torch, known, device), slopes.STEEP)
    assert_array_equal(found.cpu(), expected)
    longer, where = slopes.prolonged(fitted, expected, known & apart & ~expected)
    assert 0.03 < where.mean() < 0.5
    others = up(torch, known, device) & lone & ~found
    far, there = slopes_gpu.prolonged(on_device, found, others)
    assert_array_equal(there.cpu(), where)
    for theirs, ours in zip(far, longer, strict=True):
        assert_array_equal(theirs.cpu(), ours)
    grown = slopes_gpu.surroundings(found)
    assert_array_equal(grown.cpu(), slopes.surroundings(expected))
    image = rng.normal(500, 80, disparity.shape).astype(np.float32)
    image[20:23, 30:40] = np.nan
    surface = slopes.surface_of(fitted, known)
    to_level = slopes_gpu.surface_of(on_device, up(torch, known, device))
    assert_array_equal(to_level.cpu(), surface)
    levelled = slopes_gpu.along(up(torch, image, device), to_level)
    assert_array_equal(levelled.cpu(), slopes.along(image, surface))
    rest = rng.normal(0, 0.3, disparity.shape).astype(np.float32)
    again = slopes_gpu.moved(to_level, on_device.by_col, up(torch, rest, device)).cpu()
    assert_allclose(again, slopes.moved(surface, fitted.by_col, rest), rtol=1e-6)


def test_planes_lean_alike_as_grey_levels_want(torch: Any, device: str) -> None:
    """But for last digits, and for what is as sure as it must be."""
    from processes.stereo import least_squares, least_squares_gpu, planes
    from processes.stereo.planes_gpu import PlanesOn

    rng = np.random.default_rng(3)
    row, col = np.mgrid[:50, :64]
    true = (5 + 0.2 * np.minimum(col, 64 - col) - 0.05 * row).astype(np.float32)
    right = cv2.GaussianBlur(rng.normal(500, 80, (50, 90)).astype(np.float32), (0, 0), 0.8)
    left = cv2.remap(
        right, (col + true).astype(np.float32), row.astype(np.float32), cv2.INTER_CUBIC
    )
    left += rng.normal(0, 4, left.shape).astype(np.float32)
    left[20:23, 30:40] = np.nan
    right[10:14, 50:55] = np.nan
    known = rng.random(true.shape) < 0.9
    flatter = (true + 0.1 * (col % 10 - 5) * (col > 9) + rng.normal(0, 0.1, true.shape)).astype(
        np.float32
    )
    first = planes.refine(flatter, known)
    gap = (row > 40) & (col < 20)
    expected, sure = least_squares.fitted(first, ~gap, known, left, right, 1.1)
    assert 0.2 < sure.mean() < 0.9
    on_device = PlanesOn(*(up(torch, v, device) for v in first))
    images = up(torch, left, device), up(torch, right, device)
    masks = up(torch, ~gap, device), up(torch, known, device)
    found, also = least_squares_gpu.fitted(on_device, *masks, *images, 1.1)
    agree = also.cpu().numpy() == sure
    assert agree.mean() > 0.999
    for theirs, ours in zip(found, expected, strict=True):
        assert_allclose(theirs.cpu().numpy()[agree], ours[agree], atol=1e-4)


def roofs(seed: int, shape: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Return image, disparity and confidence: a roof carried too far over a street, and gaps."""
    rng = np.random.default_rng(seed)
    roof = np.zeros(shape, bool)
    roof[4 : shape[0] // 2, 5 : shape[1] // 2] = True
    image = np.where(roof, 900, 400) + rng.normal(0, 15, shape)
    upper = np.roll(roof, (1, 2), (0, 1)) | roof
    disparity = np.where(upper, 8.0, 0.5) + rng.normal(0, 0.05, shape)
    disparity[rng.random(shape) < 0.05] = np.nan
    image[-3:, -3:] = np.nan
    confidence = np.where(np.isfinite(disparity), 0.99, 0.0)
    confidence[:, ::9] *= 0.9
    return image.astype(np.float32), disparity.astype(np.float32), confidence.astype(np.float32)


def test_rims_are_the_same(torch: Any, device: str) -> None:
    from processes.stereo import rims
    from processes.stereo.rims_gpu import overhanging

    scene = roofs(8, (60, 80))
    expected = rims.overhanging(*scene)
    assert expected.any()
    assert_array_equal(overhanging(*(up(torch, v, device) for v in scene)).cpu(), expected)


def test_rims_in_the_other_image_are_the_same(torch: Any, device: str) -> None:
    from processes.stereo import rims
    from processes.stereo.rims_gpu import overhanging

    scene = roofs(8, (60, 80))
    other = np.roll(roofs(9, (60, 80))[0], 6, axis=1)[:, :75]
    expected = rims.overhanging(*scene, other)
    assert (expected & ~rims.overhanging(*scene)).any()
    found = overhanging(*(up(torch, v, device) for v in (*scene, other)))
    assert_array_equal(found.cpu(), expected)


def test_paths_of_least_change_lead_to_the_same_places(torch: Any, device: str) -> None:
    from processes.stereo import rims
    from processes.stereo.rims_gpu import joined_by_rows

    image, disparity, _ = roofs(9, (12, 16))
    seen, grey = np.isfinite(image), np.nan_to_num(image) / np.float32(500)
    disparity[3:9, 4:11] = np.nan
    expected = rims._joined(grey, seen, disparity, rims.STEP_COST)
    found = joined_by_rows(*(up(torch, v, device) for v in (grey, seen, disparity)))
    assert_array_equal(found.cpu().numpy(), expected)


@pytest.fixture(scope="module")
def scene(village: Path) -> Iterator[Scene]:
    """The village's pair with its true pointing, and half its sides' worth of map plane."""
    with ExitStack() as files:
        views = [_view(files, village, side) for side in ("left", "right")]
        pairs, _ = pairs_of(views, [80.0, 100.0, 120.0], None)
        yield Scene(
            views=views,
            pairs=pairs,
            heights_m=(70.0, 150.0),
            height_m=100.0,
            gsd_m=0.5,
            step_m=0.5,
            to_plane=Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform,
            to_degrees=Transformer.from_crs(CRS, "EPSG:4326", always_xy=True).transform,
        )


def _view(files: ExitStack, village: Path, side: str) -> View:
    model = read_document(side, (village / f"truth/{side}_true_RPC.TXT").read_text())
    file = files.enter_context(rasterio.open(village / f"{side}.tif"))

    def read(row0: int, col0: int, height: int, width: int) -> Any:
        bands = file.read(window=((row0, row0 + height), (col0, col0 + width)))
        return np.where(bands == 0, np.nan, bands).astype(np.float32)

    return View(side, model, file.shape, read)


def test_a_pair_of_the_village_has_the_same_heights(scene: Scene, torch: Any, device: str) -> None:
    """From images to cells: within 1 mm on 99.9 % of them."""
    from processes.stereo.pair_heights_gpu import pair_heights

    pair = scene.pairs[0]
    middle = on_plane(scene, pair.ground).centroid
    east, north = middle.x, middle.y
    bounds = (east - 35.0, north - 30.0, east + 35.0, north + 30.0)
    grid = Grid.covering(bounds, 0.5, CRS)
    parts = [(pair, box(*grid.bounds))]
    lists: tuple[list[Any], list[Any]] = ([], [])
    (ours,) = on_cpu.pair_heights(scene, parts, grid, lists[0], workers=1)
    ((dsm, trust),) = pair_heights(scene, parts, grid, lists[1], device=device)
    assert np.isfinite(ours.dsm).mean() > 0.7
    known = np.isfinite(ours.dsm) | np.isfinite(dsm)
    assert (abs(dsm - ours.dsm)[known] < 1e-3).mean() > 0.999
    assert (abs(trust - ours.trust) < 1e-3).mean() > 0.999
    assert abs(len(lists[0][0].points) - len(lists[1][0].points)) < 1e-3 * len(lists[0][0].points)


def test_an_image_that_does_not_show_the_place_gives_no_heights(
    scene: Scene, torch: Any, device: str
) -> None:
    from processes.stereo.pair_heights_gpu import pair_heights

    pair = scene.pairs[0]
    middle = on_plane(scene, pair.ground).centroid
    grid = Grid.covering((middle.x + 5000, middle.y, middle.x + 5020, middle.y + 20), 0.5, CRS)
    ((dsm, trust),) = pair_heights(scene, [(pair, box(*grid.bounds))], grid, device=device)
    assert not np.isfinite(dsm).any()
    assert not trust.any()


def test_each_stage_that_the_gpu_benchmark_times_is_there(torch: Any) -> None:
    sys.path.insert(0, BENCHMARKS)
    try:
        from gpu import STAGES
    finally:
        sys.path.remove(BENCHMARKS)
    for module, function in STAGES.values():
        home = importlib.import_module(f"processes.stereo.{module}")
        assert callable(getattr(home, function, None)), f"{module}.{function}"
