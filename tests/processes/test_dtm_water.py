"""Water on lands whose shores are known: level, marked, and nothing else taken for it."""

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from processes.core.origin import Ground
from processes.core.raster import Grid, Raster
from processes.dtm import DTM, DtmInputs
from workers.reader import Reader
from workers.workspace import LocalWorkspace

CELL_M = 0.5
SIZE_M = 150
ROW, COL = np.mgrid[: 2 * SIZE_M, : 2 * SIZE_M] * CELL_M
GRID = Grid.covering((0, 0, SIZE_M, SIZE_M), CELL_M, "EPSG:32631")
ROLLING = 0.8 * np.sin(ROW / 19) * np.cos(COL / 23)


@pytest.fixture
def made(tmp_path):
    work = LocalWorkspace(tmp_path / "products", Reader(cache=tmp_path / "fetched", files=True))

    def run(surface, water=None):
        raster = Raster(surface.astype(np.float32), GRID)
        inputs = {"dsm": work.write_raster("dsm", raster)}
        if water is not None:
            inputs["water"] = work.write_raster("water", Raster(water.astype(np.float32), GRID))
        outputs = DTM.run(DtmInputs(**inputs), work)
        with rasterio.open(outputs.dtm.href) as dtm, rasterio.open(outputs.terrain_mask.href) as m:
            return dtm.read(1), m.read(1) == Ground.WATER

    return run


def waves(height_m, seed=5):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=ROW.shape), 2)
    return height_m * noise / noise.std()


def houses(ground, keep_off):
    surface = ground.copy()
    for top in range(6, 135, 24):
        for left in range(4, 135, 22):
            house = (abs(ROW - top - 5) < 5) & (abs(COL - left - 6) < 6)
            if not (house & keep_off).any():
                surface[house] = ground[house].mean() + 6
    return surface


AWAY = np.hypot(ROW - 75, 0.7 * (COL - 75))
LAKE = AWAY < 30
BOWL = np.clip(0.08 * (AWAY - 30), 0, 3) + ROLLING * np.clip((AWAY - 30) / 40, 0, 1)


@pytest.mark.parametrize("seen", ["void", "level"])
def test_a_lake_is_level_at_its_shore_and_marked(made, seen):
    surface = houses(BOWL, AWAY < 36)
    dtm, wet = made(np.where(LAKE, np.nan if seen == "void" else 0.0, surface))
    assert wet[LAKE].mean() > 0.97
    assert wet[AWAY > 34].mean() == 0
    assert np.ptp(dtm[LAKE & wet]) < 0.01
    assert abs(np.median(dtm[LAKE])) < 0.15


def test_a_lake_in_two_blocks_has_one_level(made, monkeypatch):
    monkeypatch.setattr("processes.dtm.LARGEST_BLOCK", 150)
    dtm, wet = made(np.where(LAKE, np.nan, BOWL))
    assert wet[LAKE].mean() > 0.97
    assert np.ptp(dtm[LAKE & wet]) < 0.01


def test_a_river_of_noise_is_no_dam_between_its_banks(made):
    """Its crests were taken for ground once: 3 m above the banks."""
    away = abs(COL - 75 - 10 * np.sin(ROW / 30))
    river = away < 12
    banks = 0.006 * ROW + 0.3 * np.sin(COL / 15)
    surface = np.where(river, banks - 1.2 + waves(4), houses(banks, away < 15))
    dtm, wet = made(surface)
    assert wet[away < 10].mean() > 0.95
    assert wet[away > 15].mean() < 0.01
    inside = away < 10
    assert (dtm <= banks + 0.2)[inside].mean() > 0.98
    assert abs(np.mean((dtm - banks)[inside] + 1.2)) < 0.5
    along = [dtm[(abs(ROW - r) < 5) & inside].mean() for r in (20, 130)]
    assert along[1] - along[0] == pytest.approx(0.66, abs=0.35)


def test_what_a_mask_marks_is_water_however_it_looks(made):
    """Rough and higher than its shore, as where ships lie."""
    harbour = (abs(ROW - 75) < 20) & (abs(COL - 75) < 30)
    surface = np.where(harbour, 1 + abs(waves(1)), 0.5 + 0.01 * ROW)
    assert not made(surface)[1].any()
    dtm, wet = made(surface, harbour)
    assert wet[harbour].mean() > 0.95
    assert np.ptp(dtm[harbour & wet]) < 0.01
    assert dtm[harbour & wet].max() < 0.5 + 0.01 * 65


YARD = (abs(ROW - 75) < 12) & (abs(COL - 75) < 14)
BLOCK = (abs(ROW - 75) < 26) & (abs(COL - 75) < 28) & ~YARD
SLOPED = 0.01 * ROW + ROLLING


@pytest.mark.parametrize(
    "surface",
    [
        pytest.param(np.where(YARD | BLOCK, 14.0 * BLOCK, ROLLING), id="courtyard"),
        pytest.param(np.where(YARD | BLOCK, 8.0, ROLLING), id="flat roof"),
        pytest.param(np.where(BLOCK | YARD, 0.008 * COL, SLOPED + 1.5), id="sunken car park"),
        pytest.param(
            np.where(BLOCK | YARD, 20.0, np.where(abs(ROW - 108) < 6, np.nan, SLOPED)),
            id="hidden by a wall",
        ),
        pytest.param(np.where(abs(COL - 40) < 6, np.nan, SLOPED), id="missing strip"),
        pytest.param(np.where(YARD, np.nan, 0.04 * ROW), id="gap on a slope"),
        pytest.param(houses(np.zeros(ROW.shape), YARD), id="level town"),
    ],
)
def test_no_water_where_there_is_none(made, surface):
    assert not made(surface)[1].any()
