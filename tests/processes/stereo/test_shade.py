"""Heights that shadows contradict: streets between high blocks, not dark roofs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from processes.core.raster import Grid
from processes.stereo.canopy import Green
from processes.stereo.outliers import Brightness
from processes.stereo.shade import contradicted, suns_of

SUN = (180.0, 45.0)
ROW, COL = np.mgrid[:160, :120]
GRID = Grid("EPSG:32631", Affine(0.5, 0, 452_000, 0, -0.5, 5_411_000), 160, 120)
ALONG = (COL > 20) & (COL < 100)
SOUTH, NORTH = ALONG & (ROW > 90) & (ROW < 120), ALONG & (ROW > 40) & (ROW < 70)
STREET = ALONG & (ROW >= 70) & (ROW <= 90)
SHADE = STREET | ALONG & (ROW > 10) & (ROW <= 40)
"""The sun is in the south; blocks are 15 m high."""
LOST = STREET & (COL > 40) & (COL < 45)
"""Part of the street that was matched as roof."""
ROOFS = SOUTH | NORTH
HEIGHTS = np.where(ROOFS | LOST, 15.0, 0.0)
TONES = np.where(ROOFS, 0.6, np.where(SHADE, 0.02, 0.3))


def bare(where: NDArray[np.bool_], at: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.zeros_like(where)


def found(
    heights: NDArray[np.float64],
    tones: NDArray[np.float64],
    suns: Sequence[tuple[float, float]],
    green: Green = bare,
) -> NDArray[np.bool_]:
    dsm = np.where(np.isnan(heights), np.nan, 200 + 0.02 * COL + heights).astype(np.float32)
    return contradicted(
        dsm, GRID, lambda row, col, _: tones[row, col].astype(np.float32), suns, green
    )


def test_a_dark_street_at_roof_height_is_contradicted() -> None:
    against = found(HEIGHTS, TONES, [SUN])
    assert against[LOST].mean() > 0.9
    assert not against[ROOFS].any()


def test_what_is_green_or_beside_it_shades_itself_and_is_left_alone() -> None:
    crown = LOST & (ROW < 76)
    against = found(HEIGHTS, TONES, [SUN], green=lambda where, _: where & crown)
    assert not against[LOST & (ROW < 77)].any()
    assert against[LOST & (ROW > 76)].mean() > 0.9


def test_half_of_a_street_that_is_lost_is_contradicted() -> None:
    half = STREET & (COL < 60)
    against = found(np.where(half, 15.0, HEIGHTS), TONES, [SUN])
    assert against[half].mean() > 0.6
    assert not against[ROOFS].any()


def test_a_dark_house_whose_ground_would_be_lit_is_not() -> None:
    house = (ROW > 135) & (ROW < 142) & (COL > 50) & (COL < 57)
    against = found(np.where(house, 6.0, HEIGHTS), np.where(house, 0.01, TONES), [SUN])
    assert not against[house].any()
    assert against[LOST].any()


def test_a_roof_that_lies_in_the_shade_of_a_higher_one_is_not() -> None:
    low = NORTH & (COL > 60)
    heights = np.where(SOUTH, 40.0, np.where(low, 12.0, HEIGHTS))
    assert not found(heights, np.where(low, 0.02, TONES), [SUN])[low].any()


def test_a_slope_that_light_only_grazes_is_not() -> None:
    roof = NORTH & (COL > 60)
    slope = np.where(roof, 15 + 0.5 * (ROW - 69), HEIGHTS)
    grazed = roof & (ROW < 60)
    assert not found(slope, np.where(grazed, 0.02, TONES), [(180.0, 45.0)])[grazed].any()


def test_each_image_is_judged_by_its_own_sun() -> None:
    in_the_east = (90.0, 45.0)
    assert not found(HEIGHTS, TONES, [SUN, in_the_east])[LOST & (COL > 43)].any()
    a_bit_later = (190.0, 47.0)
    assert found(HEIGHTS, TONES, [SUN, a_bit_later])[LOST].mean() > 0.9


def test_what_is_not_seen_or_not_known_is_not_dark() -> None:
    unseen = np.full(HEIGHTS.shape, np.nan)
    assert not found(HEIGHTS, unseen, [SUN]).any()
    assert not found(unseen, TONES, [SUN]).any()


def test_suns_that_are_not_known_or_low_tell_nothing_and_one_sun_is_asked_once() -> None:
    assert suns_of([SUN, SUN]) == [SUN]
    assert suns_of([SUN, (185.0, 44.0)]) == [SUN, (185.0, 44.0)]
    assert suns_of([SUN, None]) == []
    assert not found(HEIGHTS, TONES, []).any()
    assert suns_of([SUN, (180.0, 9.0)]) == []
    assert suns_of([(180.0, -20.0), (180.0, -20.0)]) == []


def test_a_part_of_the_town_says_what_the_whole_does() -> None:
    grain = np.where(STREET, np.random.default_rng(3).random(ROW.shape) * 0.1, TONES)
    dsm = (200 + 0.05 * COL + np.where(STREET & (COL < 60), 15.0, HEIGHTS)).astype(np.float32)
    part = np.s_[3:159, 5:118]

    def bright(row0: int, col0: int) -> Brightness:
        return lambda row, col, _: grain[row + row0, col + col0].astype(np.float32)

    whole = contradicted(dsm, GRID, bright(0, 0), [SUN], bare)
    own = contradicted(dsm[part], GRID.window(3, 5, 156, 113), bright(3, 5), [SUN], bare)
    inner = np.s_[50:110, 35:75]
    np.testing.assert_array_equal(own[inner], whole[part][inner])
    assert own[inner].any()
