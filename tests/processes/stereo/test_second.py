"""A second opinion is taken where it knows better, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from processes.core.origin import Origin
from processes.stereo.second import Known, Second, asked, telling, unsupported

SHAPE = (60, 80)
ROW, COL = np.mgrid[: SHAPE[0], : SHAPE[1]]
HOUSE = (ROW > 20) & (ROW < 40) & (COL > 20) & (COL < 40)
TRUTH = np.where(HOUSE, 112.0, 100.0).astype(np.float32)
VOID = (ROW > 20) & (ROW < 40) & (COL >= 40) & (COL < 46)
SHARE = 0.5


def first(dsm=TRUTH, void=None, origin=Origin.FILLED_OCCLUSION, trust=0.9):
    """Return a surface that was measured but for a void."""
    void = np.zeros(SHAPE, bool) if void is None else void
    kinds = np.where(void, np.uint8(origin), np.uint8(Origin.SEEN))
    return Known(dsm.astype(np.float32), np.where(void, 0, trust).astype(np.float32), kinds)


def opinion(dsm, trust=0.95, level_m=0.4):
    """Return a second opinion, at another level."""
    known = np.isfinite(dsm)
    heights = (dsm - level_m).astype(np.float32)
    return Second(heights, np.where(known, trust, 0).astype(np.float32), SHARE)


def heard(known, second, green=None):
    leaves = np.zeros(SHAPE, bool) if green is None else green
    return asked(known, second, cell_m=0.5, px_m=2.0, green=lambda where, _: where & leaves)


def test_smooth_ground_and_roofs_take_a_share_of_it_and_walls_none():
    noise = np.random.default_rng(0).normal(0, 0.03, (2, *SHAPE)).astype(np.float32)
    known = first(TRUTH + noise[0])
    found = heard(known, opinion(TRUTH + noise[1]))
    apart = found.dsm - known.dsm
    wall = (ROW > 18) & (ROW < 42) & (COL > 18) & (COL < 23)
    assert_array_equal(apart[wall], 0)
    far = np.s_[:, 50:75]
    assert_allclose(apart[far], 0.2 * (noise[1] - noise[0])[far], atol=0.01)
    assert np.std((found.dsm - TRUTH)[far]) < 0.85 * np.std(noise[0][far])


def test_what_was_seen_lower_than_a_void_was_filled_with_is_ground():
    filled = np.where(VOID, TRUTH + 5, TRUTH)
    found = heard(first(filled, VOID), opinion(TRUTH))
    assert_allclose(found.dsm, TRUTH, atol=0.01)
    assert np.all(found.origin == Origin.SEEN)
    assert_allclose(found.trust[VOID], 0.95 * SHARE, atol=1e-4)


def test_crowns_stay_as_tall_as_they_were_filled():
    filled = np.where(VOID, TRUTH + 5, TRUTH)
    known = first(filled, VOID, Origin.CROWN)
    found = heard(known, opinion(TRUTH))
    assert_array_equal(found.dsm[VOID], filled[VOID])
    assert np.all(found.origin[VOID] == Origin.CROWN)


def test_crowns_take_what_was_seen_higher():
    found = heard(first(TRUTH, VOID, Origin.CROWN), opinion(np.where(VOID, 104.0, TRUTH)))
    assert_allclose(found.dsm[VOID], 104.0, atol=0.01)


def test_cars_are_not_flattened_by_pairs_that_do_not_see_them():
    car = (ROW > 45) & (ROW < 50) & (COL > 50) & (COL < 60)
    ramps = np.minimum(np.abs(ROW - 47.5), 2.5) / 2.5 * np.abs(COL - 55) / 5
    known = first(TRUTH + np.where(car, 0.55 * (1 - np.minimum(ramps, 1)), 0))
    found = heard(known, opinion(TRUTH))
    top = (ROW == 47) & (COL == 55)
    assert_array_equal(found.dsm[top], known.dsm[top])


@pytest.mark.parametrize(("trust", "green", "taken"), [(0.6, 0, 0), (0.95, 0, 1), (0.6, 1, 1)])
def test_what_was_seen_well_above_a_void_needs_a_sure_witness_or_leaves(trust, green, taken):
    thick = np.where(VOID, 110.0, TRUTH)
    found = heard(first(TRUTH, VOID), opinion(thick, trust), green=VOID & bool(green))
    assert_allclose(found.dsm[VOID], 110.0 if taken else 100.0, atol=0.01)
    assert np.all((found.origin[VOID] == Origin.SEEN) == bool(taken))


def test_a_roof_that_is_thick_by_a_pixel_or_two_does_not_fill_a_void():
    known = first(TRUTH, VOID)
    found = heard(known, opinion(np.where(VOID, 103.5, TRUTH), 0.995))
    assert_array_equal(found.dsm, known.dsm)


@pytest.mark.parametrize(("trust", "green", "taken"), [(0.7, 0, 1), (0.95, 0, 1), (0.7, 1, 0)])
def test_a_patch_well_above_what_narrow_pairs_see_is_a_mismatch_or_a_crown(trust, green, taken):
    strip = (ROW > 45) & (ROW < 49) & (COL > 50) & (COL < 70)
    known = first(np.where(strip, 104.0, TRUTH), trust=trust)
    found = heard(known, opinion(TRUTH), green=strip & bool(green))
    assert_allclose(found.dsm[strip], 100.0 if taken else 104.0, atol=0.01)


def test_a_raised_patch_that_no_narrow_pair_found_has_no_support():
    spike = (ROW > 45) & (ROW < 49) & (COL > 60) & (COL < 66)
    lost = spike | ((ROW > 50) & (COL > 10) & (COL < 30))  # level ground in black shade, too
    dsm = np.where(spike, 130.0, TRUTH).astype(np.float32)
    second = np.where(lost, np.nan, TRUTH).astype(np.float32)
    assert_array_equal(unsupported(dsm, second, 0.5), spike)


def test_an_opinion_that_lacks_a_tenth_of_what_was_measured_around_is_not_asked():
    looked = np.ones((100, 200), bool)
    dsm = np.full(looked.shape, 100.0, np.float32)
    second = dsm.copy()
    second[::10, :60] = np.nan  # of another day: matched here and there
    second[50, 150] = np.nan
    told = telling(dsm, second, looked, 0.5)
    assert not told[:, :40].any()
    assert told[:, 100:].all()
    assert not telling(dsm, second, ~looked, 0.5).any()


def test_where_nothing_was_said_all_stays():
    known = first(TRUTH, VOID)
    found = heard(known, opinion(np.full(SHAPE, np.nan)))
    for ours, theirs in zip(found, known, strict=True):
        assert_array_equal(ours, theirs)
