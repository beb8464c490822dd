"""Whole objects told apart without colour: houses, one cut by the rim, crowns, a cliff."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processes.outlines.likely import likely_houses
from processes.outlines.segment import WIDE_M, Sample, building_mask, buildings_only, roughness

CELL_M = 0.5
ROW, COL = np.mgrid[:200, :200]


def box(row0, row1, col0, col1):
    return (row0 <= ROW) & (row1 > ROW) & (col0 <= COL) & (col1 > COL)


HOUSE, CUT_BY_THE_RIM, BRINK = box(40, 70, 30, 60), box(60, 80, 180, 200), box(120, 130, 20, 180)


@pytest.fixture
def hillside():
    """Return a surface with two houses, a cliff, two crowns and its picture in one grey band."""
    rng = np.random.default_rng(5)
    ground = np.where(ROW >= 130, 100.0, 106.0)
    above = np.where(HOUSE | CUT_BY_THE_RIM, 6.0, 0.0)
    crown = np.zeros(ROW.shape, bool)
    for row, col in ((30, 110), (95, 120)):
        far = np.hypot(ROW - row, COL - col) * CELL_M
        crown |= far < 4
        above = np.where(far < 4, 7 - 0.3 * far + rng.normal(0, 0.3, ROW.shape), above)
    pan = np.where(HOUSE | CUT_BY_THE_RIM, 900.0, 400.0)
    pan = np.where(crown, 200 * np.exp(rng.normal(0, 0.3, ROW.shape)), pan)
    above[BRINK] = 4.0  # as if the terrain model had cut the brink off
    surface = ground + np.where(BRINK, 0.0, above)
    return Sample(surface, above, {"pan": pan * np.exp(rng.normal(0, 0.02, ROW.shape))}), crown


@pytest.mark.parametrize("bands", [("pan",), ()])
def test_houses_stay_and_crowns_and_brinks_go(hillside, bands):
    sample, crown = hillside
    sample = Sample(sample.surface, sample.above_ground, {b: sample.bands[b] for b in bands})
    mask = buildings_only(building_mask(sample, CELL_M), sample, CELL_M)
    assert mask[HOUSE].mean() > 0.9
    assert mask[CUT_BY_THE_RIM].mean() > 0.9
    assert not mask[BRINK].any()
    assert not mask[crown].any()


def test_what_is_large_and_even_but_not_higher_is_no_house():
    plain, level = box(50, 150, 50, 150), np.zeros(ROW.shape)
    rough = roughness(level, CELL_M, WIDE_M)
    assert not likely_houses(plain, level, level, rough, None, {}, CELL_M).any()
    raised = np.where(plain, 5.0, 0.0)
    assert likely_houses(plain, raised, raised, rough, None, {}, CELL_M)[plain].all()


def slope_and_rim():
    """A mound with a flat top and soft sides, a hilltop cut by the rim, and a house between."""
    far_m = np.maximum(np.abs(ROW - 60), np.abs(COL - 60)) * CELL_M
    mound = np.clip((14.0 - far_m) / 2.0, 0.0, 5.0)
    hill = np.clip((COL - 150) * CELL_M / 3.0, 0.0, 5.0)
    house = np.where(box(120, 150, 60, 95), 5.0, 0.0)
    return mound + hill + house, box(120, 150, 60, 95)


@pytest.mark.parametrize("colours", [{}, dict.fromkeys(("red", "green", "blue"), 500.0)])
def test_mounds_and_what_the_rim_cuts_off_are_no_houses(colours):
    above, house = slope_and_rim()
    bands = {name: np.full(ROW.shape, value) for name, value in colours.items()}
    sample = Sample(100.0 + above, above, bands)
    mask = above > 2.2
    assert mask[box(50, 70, 50, 70)].all()
    kept = buildings_only(mask, sample, CELL_M)
    assert kept[house].mean() > 0.9
    assert not kept[~house].any()


def test_no_object_is_no_house(hillside):
    sample, _ = hillside
    nothing = np.zeros(ROW.shape, bool)
    assert not buildings_only(nothing, sample, CELL_M).any()


@pytest.mark.parametrize("cell_m", [0.5, 1.0, 2.45, 5.0])
def test_houses_stand_on_walls_in_cells_of_any_size(cell_m):
    above = np.where(HOUSE, 20.0, 0.0)
    sample = Sample(100.0 + above, above, {})
    assert_array_equal(buildings_only(HOUSE, sample, cell_m), HOUSE)


def test_what_fills_its_block_has_no_walls_to_ask():
    everything = np.ones(ROW.shape, bool)
    sample = Sample(np.full(ROW.shape, 120.0), np.full(ROW.shape, 20.0), {})
    assert buildings_only(everything, sample, CELL_M).shape == everything.shape


def test_what_cannot_be_seen_does_not_speak_against_a_block_at_the_rim():
    """Its street side lies beyond the rim, a lower house stands at its back."""
    block, annexe = box(40, 120, 176, 200), box(60, 100, 150, 174)
    above = np.where(block, 15.0, np.where(annexe, 13.8, 0.0))
    surface = np.where(COL < 190, 100.0 + above, np.nan)
    bands = {name: np.full(ROW.shape, 500.0) for name in ("red", "green", "blue")}
    mask = block & (COL < 190)
    assert_array_equal(buildings_only(mask, Sample(surface, above, bands), CELL_M), mask)
