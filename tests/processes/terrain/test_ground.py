"""Bare earth on land whose ground is known because it was built here."""

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from processes.accuracy.heights import height_figures
from processes.terrain.ground import bare_earth, ground_heights

CELL_M = 0.5
ROW, COL = np.mgrid[:400, :400] * CELL_M


def houses(ground, count=35, *, keep_off=None, height=(4, 10), seed=0):
    """Return a surface with flat-roofed houses on *ground*, and where they stand."""
    rng = np.random.default_rng(seed)
    surface, built = ground.copy(), np.zeros(ground.shape, bool)
    for _ in range(count):
        top, left = rng.uniform(5, 180, 2)
        deep, wide = rng.uniform(8, 15, 2)
        house = (abs(ROW - top - deep / 2) < deep / 2) & (abs(COL - left - wide / 2) < wide / 2)
        if keep_off is None or not (house & keep_off).any():
            roof = np.median(ground[house]) + rng.uniform(*height)
            surface[house & ~built] = roof
            built |= house
    return surface, built


def photogrammetric(surface, seed=1):
    """Return a surface as matching sees it: soft walls, noise of 0.3 m, voids."""
    rng = np.random.default_rng(seed)
    soft = ndimage.gaussian_filter(surface, 1.6)
    noise = ndimage.gaussian_filter(rng.normal(size=surface.shape), 1.5)
    holes = ndimage.gaussian_filter(rng.normal(size=surface.shape), 3)
    seen = soft + noise * 0.3 / noise.std()
    return np.where(holes > np.quantile(holes, 0.95), np.nan, seen).astype(np.float32)


def error(surface, ground, where=None):
    return height_figures(bare_earth(surface.astype(np.float32), CELL_M) - ground, where)


@pytest.mark.parametrize("slope", [0.0, 0.35, 0.6])
@pytest.mark.parametrize("seen", [lambda s: s, photogrammetric], ids=["exact", "noisy"])
def test_houses_leave_no_trace_on_a_slope(slope, seen):
    ground = slope * ROW + 3 * np.sin(COL / 40)
    surface, built = houses(ground)
    assert error(seen(surface), ground).rmse_m < 0.25
    assert abs(error(seen(surface), ground, built).bias_m) < 0.15


def test_a_quarry_is_ground_to_its_floor():
    deep = np.clip(2.5 * (30 - np.maximum(abs(ROW - 100), abs(COL - 100))), 0, 12)
    ground = 0.03 * ROW - deep
    surface, _ = houses(ground, keep_off=deep > 0)
    floor = np.maximum(abs(ROW - 100), abs(COL - 100)) < 22
    assert error(surface, ground, floor).completeness_1m > 0.98


def test_the_benches_of_an_open_pit_are_ground_and_a_plant_in_it_is_not():
    """On a real quarry they went: level benches were cut by the slope of the face's trend."""
    bent = np.maximum(COL, ROW - 40)
    ground = 11.0 * np.clip(np.floor((bent - 30) / 18), 0, 5)
    surface, plant = ground.copy(), (abs(ROW - 30) < 12) & (abs(COL - 12) < 8)
    surface[plant] += 15
    off = bare_earth(surface.astype(np.float32), CELL_M) - ground
    inside = abs((bent - 30) % 18 - 9) < 5.5
    assert (np.abs(off[inside]) < 1).mean() > 0.98
    assert np.abs(off[plant]).max() < 1


def test_a_mound_without_a_step_is_ground_to_its_top():
    mound = 5 * np.exp(-((ROW - 100) ** 2 + (COL - 100) ** 2) / (2 * 9.0**2))
    surface, _ = houses(np.zeros(ROW.shape), keep_off=mound > 0.01)
    assert error(surface + mound, mound, mound > 0.5).rmse_m < 0.3


def test_a_hall_narrower_than_the_largest_object_goes_and_a_wider_plateau_stays():
    hall = (abs(ROW - 100) < 40) & (abs(COL - 100) < 60)
    surface = 10.0 * hall
    assert np.abs(bare_earth(surface.astype(np.float32), CELL_M, 120.0)).max() < 0.1
    kept = bare_earth(surface.astype(np.float32), CELL_M, 60.0)
    assert np.median(kept[hall]) == pytest.approx(10, abs=0.1)


def test_a_low_annexe_between_houses_is_not_a_courtyard():
    surface = np.zeros(ROW.shape)
    block = (abs(ROW - 100) < 25) & (abs(COL - 100) < 25)
    annexe = (abs(ROW - 100) < 6) & (abs(COL - 90) < 6)
    yard = (abs(ROW - 100) < 6) & (abs(COL - 112) < 6)
    surface[block], surface[annexe], surface[yard] = 12, 3, 0
    ground = bare_earth(surface.astype(np.float32), CELL_M)
    assert np.abs(ground).max() < 0.1


def test_a_wood_on_a_hillside_is_crossed_on_the_slope():
    rng = np.random.default_rng(4)
    wood = ndimage.gaussian_filter(rng.normal(size=ROW.shape), 30) > 0
    crowns = ndimage.gaussian_filter(rng.normal(size=ROW.shape), 4)
    ground = 0.3 * ROW
    surface = np.where(wood, ground + 10 + 2 * crowns / crowns.std(), ground)
    assert error(surface, ground).rmse_m < 0.3


def test_clearings_on_a_wooded_hilltop_are_land():
    """They lay higher than what was spanned between the feet of the hill: RMSE 2.8 m."""
    rng = np.random.default_rng(0)
    away = np.hypot(ROW - 100, COL - 100)
    ground = 8 * np.exp(-((away / 45) ** 2))
    surface = ground.copy()
    for row, col in rng.uniform(30, 170, (700, 2)):
        crown = np.hypot(ROW - row, COL - col) < rng.uniform(1.5, 3.5)
        surface[crown] = np.maximum(surface[crown], ground[crown] + rng.uniform(4, 9))
    assert error(surface, ground, away < 40).rmse_m < 0.6


def test_noise_on_water_and_voids_are_spanned_from_the_banks():
    rng = np.random.default_rng(6)
    river = abs(COL - 100 - 10 * np.sin(ROW / 30)) < 12
    wild = ndimage.gaussian_filter(rng.normal(size=ROW.shape), 2)
    surface, _ = houses(np.zeros(ROW.shape), keep_off=river)
    surface = np.where(river, 6 * wild / wild.std(), surface)
    assert error(surface, np.zeros(ROW.shape)).rmse_m < 0.2
    surface[river] = np.nan
    assert error(surface, np.zeros(ROW.shape)).rmse_m < 0.1


def test_ground_is_found_only_where_it_is_seen():
    surface, built = houses(np.zeros(ROW.shape))
    seen = np.isfinite(ground_heights(surface.astype(np.float32), CELL_M))
    assert not (seen & built).any()
    assert (seen & ~built).sum() > 0.8 * (~built).sum()


@pytest.mark.parametrize("cell_m", [0.3, 1.0, 2.0])
def test_other_cell_sizes_give_the_same_ground(cell_m):
    row, col = np.mgrid[: int(200 / cell_m), : int(200 / cell_m)] * cell_m
    ground = 0.1 * row
    surface = np.where((row % 50 > 30) & (col % 45 > 25), ground + 7, ground).astype(np.float32)
    assert height_figures(bare_earth(surface, cell_m) - ground).rmse_m < 0.25


@pytest.mark.parametrize("surface", [np.nan, 5.0])
def test_an_empty_or_level_surface_stays_what_it_is(surface):
    flat = np.full((60, 80), surface, np.float32)
    np.testing.assert_allclose(bare_earth(flat, CELL_M), flat, atol=1e-4)


def test_the_village_without_its_houses_and_trees(village):
    with rasterio.open(village / "truth/dsm.tif") as surface:
        dsm = surface.read(1)
    with rasterio.open(village / "truth/dtm.tif") as terrain:
        ground = terrain.read(1)
    assert error(dsm, ground).rmse_m < 0.1
    assert error(photogrammetric(dsm), ground).rmse_m < 0.25


@pytest.mark.parametrize("place", ["delft", "montpellier"])
def test_lidar_towns_within_three_decimetres(shared_data, place):
    def band(name):
        with rasterio.open(shared_data / f"lidar/{place}/derived/{place}_{name}.tif") as file:
            return file.read(1, masked=True).astype(np.float32).filled(np.nan)

    reference, near = band("dtm_ref"), band("dist_to_ground") <= 3
    figures = error(band("dsm"), reference, near & np.isfinite(reference))
    assert figures.rmse_m < 0.3
    assert abs(figures.bias_m) < 0.15
