"""The error that a height stays below: what it goes with, and that it knows no blocks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from processes.core.origin import Origin
from processes.stereo.confidence import FILLED, error_m, read, unit_m
from processes.stereo.sharpness import TYPICAL

SHAPE = (60, 80)
ROW, COL = np.mgrid[: SHAPE[0], : SHAPE[1]]
SEEN = np.full(SHAPE, Origin.SEEN, np.uint8)
PLAIN = np.full(SHAPE, 100.0, np.float32)


def sure(likelihood=0.99):
    return np.full(SHAPE, likelihood, np.float32)


def rough(sigma_m=0.1, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma_m, SHAPE)
    return (PLAIN + noise).astype(np.float32)


def error(dsm, likelihood=None, origin=SEEN, cell_m=0.5, px_m=2.0, gsd_m=0.5, sharp=TYPICAL):
    likelihood = sure() if likelihood is None else likelihood
    return error_m(dsm, likelihood, origin, cell_m=cell_m, gsd_m=gsd_m, px_m=px_m, sharp=sharp)


def test_a_surer_match_is_claimed_to_be_better():
    errors = [np.median(error(rough(), sure(p))) for p in (0.7, 0.9, 0.98, 0.998)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2 * errors[-1]


def test_rough_ground_is_claimed_to_be_worse_and_a_wall_worst():
    wall = np.where(COL < 40, 100.0, 112.0).astype(np.float32)
    found = error(wall)
    assert np.median(error(rough(0.5))) > 2 * np.median(error(PLAIN))
    assert found[:, 39:41].min() > 4 * found[:, :38].max()


def test_errors_of_matches_are_of_pixels():
    """Twice the height a pixel, on a surface twice as rough: twice the error."""
    once, twice = error(rough(0.1), px_m=2.0), error(rough(0.2), px_m=4.0)
    assert_allclose(twice, 2 * once, rtol=0.07)  # both are rounded to 3 %


def test_errors_of_coarser_images_are_some_more_pixels():
    """What stands on the ground is fewer of them wide."""
    fine, coarse = (unit_m(gsd, 4 * gsd, TYPICAL) / gsd for gsd in (0.3, 1.0))
    assert 1.2 * fine < coarse < 1.4 * fine


def test_a_wide_base_is_a_little_better_than_its_pixels_say():
    narrow, half, wide = (unit_m(0.5, px, TYPICAL) for px in (4.0, 2.0, 1.0))
    assert narrow == 2 * half
    assert 0.4 * half < wide < 0.5 * half


def test_blurred_images_are_claimed_to_be_worse_within_what_is_known():
    blurred, usual, crisp = (np.median(error(rough(), sharp=s)) for s in (0.69, TYPICAL, 0.73))
    assert crisp < usual < blurred < 1.15 * crisp
    assert unit_m(0.5, 2.0, 0.3) == unit_m(0.5, 2.0, 0.67)


def test_a_slope_is_as_sure_in_coarser_cells():
    """It rises twice as much between cells twice as wide, and is claimed to be hardly worse."""
    fine, coarse = (100 + 0.3 * cell_m * COL for cell_m in (0.5, 1.0))
    ratio = np.median(error(coarse.astype(np.float32), cell_m=1.0)) / np.median(
        error(fine.astype(np.float32))
    )
    assert 1.0 <= ratio < 1.5


@pytest.mark.parametrize("name", sorted(FILLED))
def test_a_filled_cell_is_claimed_to_be_worse_than_a_measured_one(name):
    origin = SEEN.copy()
    origin[20:30, 20:30] = name
    found = error(PLAIN, origin=origin)
    hole = origin == name
    assert found[hole].min() > found[~hole].max()


def test_errors_grow_into_a_void_behind_a_wall():
    origin = SEEN.copy()
    origin[:, 20:30] = Origin.FILLED_OCCLUSION
    found = error(PLAIN, origin=origin)[30]
    assert found[20] < found[22] < found[24]


def test_a_cell_without_a_height_has_no_error():
    void = np.where((ROW > 20) & (COL > 20), np.nan, PLAIN).astype(np.float32)
    origin = np.where(np.isnan(void), Origin.EMPTY, Origin.SEEN).astype(np.uint8)
    assert_array_equal(np.isnan(error(void, origin=origin)), np.isnan(void))
    assert np.isnan(error(np.full(SHAPE, np.nan, np.float32), origin=SEEN * 0)).all()


def test_a_block_with_its_margin_says_what_the_whole_says():
    rng = np.random.default_rng(4)
    origin = np.where(rng.random(SHAPE) < 0.9, 1, rng.choice([2, 3, 4, 6], SHAPE)).astype(np.uint8)
    likelihood = np.where(origin == 1, rng.random(SHAPE), 0).astype(np.float32)
    heights = rough(2.0)
    part = slice(10, 50), slice(15, 70)
    inner = slice(10, -10), slice(10, -10)
    whole = error(heights, likelihood, origin)
    block = error(heights[part], likelihood[part], origin[part])
    assert_array_equal(block[inner], whole[part][inner])


def test_a_table_is_read_between_its_nodes():
    table = np.array([[1.0, 4.0], [1.0, 4.0]])
    row, col = np.zeros(3, np.float32), np.array([0.0, 0.5, 1.0], np.float32)
    assert_allclose(read(table, row, col), [1, 2, 4], rtol=1e-5)
    many = np.linspace(0, 1, 100_000, dtype=np.float32)
    assert_allclose(read(table, many * 0, many), 4**many, rtol=0.03)
