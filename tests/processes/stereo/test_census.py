"""Census codes and the cost of comparing them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from processes.stereo.census import LANES, NO_DATA_COST, Slices, census, cost_slices, window

SCENE = np.random.default_rng(3).integers(0, 1000, (12, 17)).astype(np.float32)


# the first example waits for the compiler
@settings(deadline=None)
@given(gain=st.floats(0.5, 2), offset=st.floats(-50, 50))
def test_census_ignores_gain_and_offset(gain, offset):
    codes, _ = census(SCENE, window(5, 5))
    others, _ = census((gain * SCENE + offset).astype(np.float32), window(5, 5))
    assert_array_equal(codes, others)


def test_each_bit_tells_one_neighbour_darker_than_the_centre():
    offsets = window(3, 5)
    codes, _ = census(SCENE, offsets)
    for k, (r, c) in enumerate(offsets):
        bit = (codes[5, 8] >> np.uint32(k)) & np.uint32(1)
        assert bit == (SCENE[5 + r, 8 + c] < SCENE[5, 8])


def test_missing_pixels_are_not_valid_and_missing_neighbours_give_no_bit():
    image = SCENE.copy()
    image[4, 4] = np.nan
    codes, valid = census(image, window(3, 3))
    assert valid.sum() == image.size - 1
    assert not valid[4, 4]
    assert codes[0, 0] < 2**8
    offsets = [tuple(o) for o in window(3, 3)]
    assert not (codes[5, 5] >> np.uint32(offsets.index((-1, -1)))) & np.uint32(1)


@given(lo=st.floats(-50, 50, width=32), length=st.floats(0, 80, width=32), per_px=st.integers(1, 4))
def test_slices_hold_the_range_asked_for_in_whole_lanes(lo, length, per_px):
    low = np.full((2, 3), lo, np.float32)
    slices = Slices.between(low, low + np.float32(length), per_px=per_px)
    assert np.all(slices.first <= low * per_px)
    assert np.all(slices.first + slices.count - 1 >= np.floor((low + np.float32(length)) * per_px))
    assert np.all(slices.count % LANES == 0)
    assert_array_equal(np.diff(slices.start.ravel()), slices.count.ravel()[:-1])
    assert slices.size == slices.count.sum()


def costs(left, right, lo, hi):
    lo, hi = (np.full(left.shape, v, np.float32) for v in (lo, hi))
    slices = Slices.between(lo, hi)
    pad = 64
    here, ok = census(left, window(5, 5))
    there, there_ok = (np.pad(a, ((0, 0), (pad, pad))) for a in census(right, window(5, 5)))
    grey = np.clip(left / 4, 0, 255).astype(np.uint8)
    grey_there = np.pad(
        np.nan_to_num(right / 4).clip(0, 255).astype(np.uint8), ((0, 0), (pad, pad))
    )
    cost = np.empty(slices.size, np.uint8)
    cost_slices(
        here, ok, grey, there, there_ok, grey_there, pad,
        slices.first, slices.count, slices.start, 1, cost,
    )  # fmt: skip
    return slices, cost.reshape(*left.shape, -1)


def test_the_same_pixel_costs_nothing_and_others_cost_something():
    right = np.roll(SCENE, 3, axis=1)
    slices, cost = costs(SCENE, right, -7, 8)
    at = 3 - slices.first[0, 0]
    assert np.all(cost[3:-3, 3:-6, at] == 0)
    assert np.median(np.delete(cost[3:-3, 3:-6], at, axis=2)) > 8


def test_what_is_not_there_costs_as_much_as_chance():
    right = SCENE.copy()
    right[:, 9] = np.nan
    slices, cost = costs(SCENE, right, -7, 8)
    assert np.all(cost[:, 9, -slices.first[0, 0]] == NO_DATA_COST)
    assert np.all(cost[:, 0, : -slices.first[0, 0]] == NO_DATA_COST)
