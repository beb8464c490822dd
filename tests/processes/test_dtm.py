"""The terrain process over real files: blocks, coverage, refusals."""

import cv2
import numpy as np
import pytest
import rasterio

from processes.core.codes import meanings
from processes.core.errors import InvalidInput, NoGround, UnknownCrs
from processes.core.origin import Ground
from processes.core.raster import Grid, Raster
from processes.dtm import DTM, DtmInputs
from workers.reader import Reader
from workers.workspace import LocalWorkspace


@pytest.fixture
def work(tmp_path):
    return LocalWorkspace(tmp_path / "products", Reader(cache=tmp_path / "fetched", files=True))


def town(shape, slope=0.05):
    """Return a slope with a grid of houses, and the slope alone."""
    row, col = np.mgrid[: shape[0], : shape[1]]
    ground = (slope * 0.5 * row + 2 * np.sin(col / 90)).astype(np.float32)
    built = (row % 70 > 40) & (col % 60 > 35)
    return np.where(built, ground + 8, ground).astype(np.float32), ground


def grid_of(shape, crs="EPSG:32631", cell=0.5):
    return Grid.covering((0, 0, shape[1] * cell, shape[0] * cell), cell, crs)


def made(work, surface, grid=None, **inputs):
    asset = work.write_raster("dsm", Raster(surface, grid or grid_of(surface.shape)))
    outputs = DTM.run(DtmInputs(dsm=asset, **inputs), work)
    with rasterio.open(outputs.dtm.href) as dtm, rasterio.open(outputs.ndsm.href) as ndsm:
        return dtm.read(1), ndsm.read(1), dtm.profile


def test_surface_is_terrain_plus_what_stands_on_it(work):
    surface, ground = town((420, 520))
    surface[50:90, 60:120] = np.nan
    dtm, ndsm, profile = made(work, surface)
    assert profile["crs"].to_epsg() == 32631
    assert np.sqrt(np.mean((dtm - ground) ** 2)) < 0.1
    np.testing.assert_array_equal(np.isnan(ndsm), np.isnan(surface))
    known = np.isfinite(surface)
    np.testing.assert_allclose((dtm + ndsm)[known], surface[known], atol=1e-3)


def test_blocks_give_the_same_terrain_as_one_piece(work, tmp_path, monkeypatch):
    surface, _ = town((700, 700))
    surface[300:420, 280:450] = np.nan
    whole, _, _ = made(work, surface, largest_object_m=60)
    monkeypatch.setattr("processes.dtm.LARGEST_BLOCK", 256)
    blocks, _, _ = made(work, surface, largest_object_m=60)
    assert np.abs(whole - blocks).max() < 0.1
    assert np.sqrt(np.mean((whole - blocks) ** 2)) < 0.01


def test_beyond_the_observed_area_no_terrain_is_claimed_but_a_lake_is_spanned(work):
    surface, _ = town((400, 600))
    surface[:, 400:] = np.nan
    surface[100:250, 100:300] = np.nan
    dtm, _, _ = made(work, surface)
    assert np.isfinite(dtm[:, :390]).all()
    assert np.isnan(dtm[:, 460:]).all()


def test_the_mask_says_where_the_terrain_comes_from(work):
    surface, _ = town((400, 600))
    surface[:, 500:] = np.nan
    surface[100:160, 100:160] = np.nan
    row, col = np.mgrid[:400, :600]
    valley = (col > 300) & (col < 380)
    surface[valley] = -20
    deck = (abs(row - 200) < 10) & (col > 290) & (col < 390)
    surface[deck] = 5
    asset = work.write_raster("dsm", Raster(surface, grid_of(surface.shape)))
    outputs = DTM.run(DtmInputs(dsm=asset), work)
    with rasterio.open(outputs.terrain_mask.href) as file, rasterio.open(outputs.dtm.href) as dtm:
        mask, ground = file.read(1), dtm.read(1)
        assert meanings(file.tags())[Ground.UNDER_BRIDGE] == "under a bridge"
    np.testing.assert_array_equal(mask == 0, np.isnan(ground))
    assert (mask[110:150, 110:150] == 4).all()
    assert mask[50, 20] == 1
    assert mask[60, 50] == 2  # a house
    assert (mask[deck & (col > 320) & (col < 360)] == 3).mean() > 0.9
    assert (ground[deck & (col > 320) & (col < 360)] < -15).all()


def test_an_empty_surface_has_no_ground(work):
    with pytest.raises(NoGround, match="no ground"):
        made(work, np.full((50, 60), np.nan, np.float32))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:2263"])
def test_a_lattice_that_is_not_in_metres_is_refused(work, crs):
    with pytest.raises(UnknownCrs, match="UTM"):
        made(work, town((50, 60))[0], grid_of((50, 60), crs, 1e-5))


def test_several_bands_are_refused(work):
    surface = np.stack([town((50, 60))[0]] * 3)
    with pytest.raises(InvalidInput, match="3 bands"):
        made(work, surface, grid_of((50, 60)))


def test_a_width_of_nothing_is_refused_before_anything_runs():
    with pytest.raises(InvalidInput, match="largest_object_m"):
        DTM.parse({"dsm": {"href": "dsm.tif"}, "largest_object_m": 0})


def test_whether_a_surface_is_blurred_is_decided_once_for_all_blocks(work):
    """Two neighbours near the bound could decide otherwise, and differ by a decimetre."""
    row, col = np.mgrid[:80, :2000]
    noise = cv2.GaussianBlur(np.random.default_rng(2).normal(size=row.shape), (0, 0), 1.0)
    surface = 0.1 * noise / noise.std()
    house = (row % 20 > 9) & (col % 24 > 10)
    fringe = cv2.dilate(house.astype(np.uint8), np.ones((5, 5))) > 0
    surface[fringe & (col < 1000)] += 0.25
    surface[house] = 8
    dtm, _, _ = made(work, surface.astype(np.float32))
    open_land = ~fringe & (np.abs(col - 1000) > 150)
    west, east = (dtm[open_land & side].std() for side in (col < 1000, col >= 1000))
    assert east < 1.15 * west  # 1.43 while each block decided
