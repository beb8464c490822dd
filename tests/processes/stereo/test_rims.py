"""Roofs end where the image shows that they end."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processes.stereo.rims import RIM_PX, overhanging

SHAPE = (60, 80)
ROW, COL = np.mgrid[: SHAPE[0], : SHAPE[1]]
ROOF = (ROW >= 20) & (ROW < 40) & (COL >= 30) & (COL < 50)
CARRIED = (ROW >= 20) & (ROW < 40) & (COL >= 30) & (COL < 50 + RIM_PX)
SURE = np.full(SHAPE, 0.99, np.float32)


def shown(roof: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Return an image of a dark street and a bright roof, with some noise."""
    noise = np.random.default_rng(5).normal(0, 4, SHAPE)
    return np.where(roof, 700.0, 300.0).astype(np.float32) + noise.astype(np.float32)


def matched(roof: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.where(roof, 9.0, 1.0).astype(np.float32)


def test_a_roof_carried_over_the_street_loses_what_looks_like_street() -> None:
    assert_array_equal(overhanging(shown(ROOF), matched(CARRIED), SURE), CARRIED & ~ROOF)


def test_the_same_beside_a_void() -> None:
    disparity = matched(CARRIED)
    disparity[(COL >= 50 + RIM_PX) & (COL < 60)] = np.nan
    assert_array_equal(overhanging(shown(ROOF), disparity, SURE), CARRIED & ~ROOF)


def test_a_roof_that_ends_where_the_image_says_is_left_alone() -> None:
    assert not overhanging(shown(ROOF), matched(ROOF), SURE).any()


def test_the_image_that_matches_lead_to_has_a_say_if_it_is_asked() -> None:
    """What the first image cannot tell, since roof and street are of one colour there."""
    plain = np.full(SHAPE, 400.0, np.float32)
    moved = np.roll(ROOF, 9, axis=1)
    over = overhanging(plain, matched(CARRIED), SURE, shown(moved))
    assert_array_equal(over & ROOF, overhanging(plain, matched(CARRIED), SURE) & ROOF)
    assert over[CARRIED & ~ROOF].all()
    assert not over[~CARRIED].any()


def test_a_roof_that_ends_where_both_images_say_is_left_alone() -> None:
    moved = np.roll(ROOF, 9, axis=1)
    assert not overhanging(shown(ROOF), matched(ROOF), SURE, shown(moved)).any()


def test_what_leads_out_of_the_other_image_is_not_asked_there() -> None:
    narrow = shown(np.roll(ROOF, 9, axis=1))[:, :45]
    assert_array_equal(
        overhanging(shown(ROOF), matched(CARRIED), SURE, narrow),
        overhanging(shown(ROOF), matched(CARRIED), SURE),
    )


def test_one_colour_all_over_decides_nothing_away_from_the_jump() -> None:
    over = overhanging(np.full(SHAPE, 400.0, np.float32), matched(ROOF), SURE)
    inner = (ROW >= 20 + RIM_PX) & (ROW < 40 - RIM_PX) & (COL >= 30 + RIM_PX) & (COL < 50 - RIM_PX)
    assert not over[inner].any()
    assert not over[~ROOF].any()


def test_crowns_are_left_alone() -> None:
    assert not overhanging(shown(ROOF), matched(CARRIED), np.full(SHAPE, 0.9, np.float32)).any()


@pytest.mark.parametrize(("image", "disparity"), [(np.nan, 1.0), (1.0, np.nan), (1.0, 1.0)])
def test_nothing_seen_or_known_is_nothing_to_decide(image: float, disparity: float) -> None:
    full = [np.full(SHAPE, value, np.float32) for value in (image, disparity)]
    assert not overhanging(full[0], full[1], SURE).any()
