"""A surface moved by a known vector is moved back, and sampling keeps what it should."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from processes.accuracy.sample import bilinear
from processes.accuracy.shift import Shift, best_shift, best_shift_of_shapes, shifted


@pytest.fixture(scope="module")
def town():
    """A slope with forty houses."""
    rng = np.random.default_rng(5)
    row, col = np.mgrid[:200, :200]
    heights = 0.02 * row + 0.01 * col
    for _ in range(40):
        r, c = rng.integers(5, 170, 2)
        heights[r : r + rng.integers(8, 25), c : c + rng.integers(8, 25)] += rng.uniform(3, 9)
    return heights.astype(np.float32)


def test_a_known_shift_is_found_to_a_tenth_of_a_cell(town):
    true = Shift(-1.3, 2.15, 4.0)
    product = shifted(town, Shift(-true.dx_m, -true.dy_m, -true.dz_m), 0.5)
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 1, town.shape), 1)
    found = best_shift(product + noise, town, 0.5)
    assert found.dx_m == pytest.approx(true.dx_m, abs=0.06)
    assert found.dy_m == pytest.approx(true.dy_m, abs=0.06)
    assert found.dz_m == pytest.approx(true.dz_m, abs=0.05)
    repaired = shifted(product, found, 0.5) - town
    assert abs(np.nanmedian(repaired)) < 0.02


def test_voids_and_a_lost_quarter_do_not_pull_the_shift(town):
    product = shifted(town, Shift(2.0, 0.0, 0.0), 0.5)
    product[:70, :70] += 60
    product[np.random.default_rng(2).random(town.shape) < 0.2] = np.nan
    found = best_shift(product, town, 0.5)
    assert (found.dx_m, found.dy_m) == pytest.approx((-2.0, 0.0), abs=0.06)


@pytest.mark.parametrize("moved", [(0, 0), (2, 1), (-2, 2), (1, -5), (6, 3)])
def test_walls_tell_fractions_of_a_cell_to_shapes(moved):
    rng = np.random.default_rng(4)
    fine = np.zeros((840, 840), np.float32)
    for _ in range(60):
        r, c = rng.integers(20, 740, 2)
        fine[r : r + rng.integers(30, 100), c : c + rng.integers(30, 100)] = rng.uniform(4, 20)
    there = fine[20:-20:4, 20:-20:4]
    seen = fine[20 + moved[0] : 820 + moved[0] : 4, 20 + moved[1] : 820 + moved[1] : 4]
    seen = seen + rng.normal(0, 0.2, seen.shape).astype(np.float32)
    found = best_shift_of_shapes(seen, there, 0.5)
    assert found.dx_m == pytest.approx(moved[1] / 8, abs=0.06)
    assert found.dy_m == pytest.approx(-moved[0] / 8, abs=0.06)


def test_level_land_says_nothing_about_x_and_y():
    rng = np.random.default_rng(8)
    land = ndimage.gaussian_filter(rng.normal(size=(200, 200)), 2)
    found = best_shift(rng.normal(3, 0.3, (200, 200)), land * 0.01, 0.5)
    assert max(abs(found.dx_m), abs(found.dy_m)) <= 0.25
    assert found.dz_m == pytest.approx(-3, abs=0.05)


def test_too_little_in_common_is_no_shift(town):
    assert best_shift(np.full_like(town, np.nan), town, 0.5) == Shift(0, 0, 0)
    assert best_shift_of_shapes(np.full_like(town, np.nan), town, 0.5) == Shift(0, 0, 0)


def test_bilinear_is_exact_on_a_plane_and_at_centres():
    row, col = np.mgrid[:6, :7].astype(float)
    plane = 2 * row - 3 * col + 1
    at_row, at_col = np.array([0.0, 2.3, 4.9]), np.array([6.0, 1.7, 0.2])
    assert_allclose(bilinear(plane, at_row, at_col), 2 * at_row - 3 * at_col + 1, rtol=1e-6)
    assert_allclose(bilinear(plane, row, col), plane)


def test_a_void_neither_spreads_nor_shrinks():
    values = np.ones((5, 5))
    values[2, 2] = np.nan
    row, col = np.mgrid[:5, :5] + 0.3
    assert_array_equal(np.isnan(bilinear(values, row, col)), np.isnan(values))


def test_beyond_the_rim_there_is_nothing():
    values = np.ones((4, 4))
    assert np.isfinite(bilinear(values, np.array([-0.5]), np.array([3.4]))).all()
    assert np.isnan(bilinear(values, np.array([-0.6, 1]), np.array([1, 3.6]))).all()
