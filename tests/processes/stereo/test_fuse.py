"""Several models into one, and voids filled from where the ground is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from processes.core.origin import Origin
from processes.stereo.fuse import fill, fuse

SHAPE = (80, 100)
ROW, COL = np.mgrid[: SHAPE[0], : SHAPE[1]]
GROUND = (100 + 0.02 * COL).astype(np.float32)
HOUSE = (ROW > 25) & (ROW < 55) & (COL > 30) & (COL < 60)
TRUTH = np.where(HOUSE, 112.0, GROUND).astype(np.float32)


def noisy(seed, sigma=0.2):
    return (TRUTH + np.random.default_rng(seed).normal(0, sigma, SHAPE)).astype(np.float32)


def sure(value=0.8):
    return np.full(SHAPE, value, np.float32)


def test_three_models_are_better_than_one():
    models = [noisy(k) for k in range(3)]
    fused = fuse(models, [sure()] * 3)
    assert np.std(fused.dsm - TRUTH) < 0.7 * np.std(models[0] - TRUTH)
    assert np.all(fused.confidence > 0.9)


def test_witnesses_that_saw_the_same_grain_add_less_than_others():
    models = [noisy(k, 0.02) for k in range(3)]
    apart, alike = (fuse(models, [sure()] * 3, apart=share).confidence for share in (1.0, 0.0))
    assert_allclose(np.median(apart), 1 - 0.2**3, atol=0.02)
    assert_allclose(np.median(alike), 0.8, atol=0.05)
    assert np.all(alike <= apart + 1e-5)


def test_a_bad_pair_does_not_spoil_good_ones():
    bad = TRUTH + np.random.default_rng(9).normal(0, 6, SHAPE).astype(np.float32)
    fused = fuse([noisy(0), bad, noisy(1)], [sure()] * 3)
    assert np.mean(np.abs(fused.dsm - TRUTH) < 1.0) > 0.98


def test_models_that_float_are_brought_to_one_level():
    models = [noisy(0), noisy(1) + np.float32(0.9), noisy(2) - np.float32(0.3)]
    fused = fuse(models, [sure()] * 3)
    assert sum(fused.shift_m) == pytest.approx(0.0, abs=1e-6)
    assert fused.shift_m[0] - fused.shift_m[1] == pytest.approx(0.9, abs=0.03)
    assert fused.shift_m[0] - fused.shift_m[2] == pytest.approx(-0.3, abs=0.03)
    assert np.std(fused.dsm - TRUTH) < 0.2


def test_what_one_model_misses_the_other_gives():
    one, two = TRUTH.copy(), TRUTH.copy()
    one[:, :40], two[:, 60:] = np.nan, np.nan
    one[:5], two[:5] = np.nan, np.nan
    fused = fuse([one, two], [sure(), sure()])
    assert_allclose(fused.dsm[5:], TRUTH[5:], atol=0.05)
    assert np.isnan(fused.dsm[:5]).all()
    assert np.all(fused.confidence[:5] == 0)


def test_two_models_that_disagree_are_not_averaged():
    two = TRUTH.copy()
    two[60:70, 10:20] += 8
    fused = fuse([TRUTH, two], [sure(0.9), sure(0.3)])
    assert_allclose(fused.dsm[60:70, 10:20], TRUTH[60:70, 10:20], atol=0.05)


def test_one_model_alone_is_itself():
    one = TRUTH.copy()
    one[3, 4] = np.nan
    fused = fuse([one], [sure()])
    assert_array_equal(fused.dsm, one)
    assert fused.confidence[3, 4] == 0
    with pytest.raises(ValueError, match="one confidence for each"):
        fuse([], [])


def test_models_without_common_ground_are_kept_as_they_are():
    one, two = TRUTH.copy(), TRUTH.copy()
    one[:, 50:], two[:, :50] = np.nan, np.nan
    assert_allclose(fuse([one, two], [sure(), sure()]).dsm, TRUTH, atol=1e-4)


def test_what_a_wall_hides_is_filled_from_the_ground():
    hidden = (ROW > 25) & (ROW < 55) & (COL >= 60) & (COL < 68)
    filled, origin, *_ = fill(np.where(hidden, np.nan, TRUTH).astype(np.float32), cell_m=0.5)
    assert_allclose(filled[hidden], TRUTH[hidden], atol=0.2)
    assert np.mean(origin[hidden] == Origin.FILLED_OCCLUSION) > 0.95
    assert_array_equal(filled[~hidden], TRUTH[~hidden])
    assert np.all(origin[~hidden] == Origin.SEEN)


def test_one_stray_low_cell_beside_a_void_does_not_fill_it():
    hidden = (ROW > 60) & (ROW < 70) & (COL > 20) & (COL < 26)
    dsm = np.where(hidden, np.nan, TRUTH).astype(np.float32)
    dsm[65, 26] = 60.0
    filled = fill(dsm, cell_m=0.5).dsm
    assert_allclose(filled[hidden], TRUTH[hidden], atol=0.5)


def test_a_hole_in_a_roof_is_filled_with_roof():
    hole = (ROW > 35) & (ROW < 45) & (COL > 40) & (COL < 50)
    filled, origin, *_ = fill(np.where(hole, np.nan, TRUTH).astype(np.float32), cell_m=0.5)
    assert_allclose(filled[hole], 112.0, atol=0.01)
    assert np.mean(origin[hole] == Origin.INTERPOLATED) > 0.9


def test_a_narrow_gap_is_told_from_a_wide_one():
    gap = (COL == 80) | (COL == 81)
    filled, origin, *_ = fill(np.where(gap, np.nan, TRUTH).astype(np.float32), cell_m=0.5)
    assert np.all(origin[5:-5][gap[5:-5]] == Origin.FILLED_GAP)
    assert_allclose(filled[5:-5][gap[5:-5]], TRUTH[5:-5][gap[5:-5]], atol=0.1)


def test_voids_too_wide_or_outside_stay_empty():
    dsm = TRUTH.copy()
    dsm[:, 70:] = np.nan
    covered = COL < 90
    filled, origin, *_ = fill(dsm, cell_m=0.5, covered=covered, reach_m=3.0)
    assert np.isnan(filled[:, 80:]).all()
    assert np.all(origin[:, 90:] == Origin.OUTSIDE)
    assert np.all(origin[10:-10, 80:90] == Origin.EMPTY)


def test_nothing_known_stays_nothing():
    filled, origin, *_ = fill(np.full((20, 20), np.nan, np.float32), cell_m=0.5)
    assert np.isnan(filled).all()
    assert np.all(origin == Origin.EMPTY)


def test_a_void_wider_than_a_wall_hides_goes_from_side_to_side() -> None:
    slope = np.tile(np.arange(120, dtype=np.float32) * 0.4, (120, 1))
    void = slope.copy()
    void[30:90, 30:90] = np.nan  # 30 m: rises by 24 m
    filled, origin, *_ = fill(void, cell_m=0.5)
    middle = np.s_[55:65, 55:65]
    assert np.abs(filled[middle] - slope[middle]).max() < 3.0
    assert (origin[middle] == Origin.INTERPOLATED).all()
    assert filled[middle].min() > slope[60, 30] + 6.0  # not from the foot of it
