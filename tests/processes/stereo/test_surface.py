"""What belongs to a surface at its outer rim, and what does not."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_array_equal

from processes.core.origin import Origin
from processes.stereo.pair_heights import Heights
from processes.stereo.surface import (
    DEEP_M,
    RIM_M,
    STRAY_M,
    STRAY_M2,
    WORTH_M2,
    _beyond_rim,
    _filled,
    _stray,
    _wide_voids,
)

SHAPE = (80, 120)
ROW, COL = np.mgrid[: SHAPE[0], : SHAPE[1]]
CELL_M = 0.5
COVERED = COL < 90
"""What two images see: the rim is between columns 89 and 90."""
SIDE = 10
"""Cells; 25 m², less than an island that is believed everywhere."""
LARGE = 16
"""64 m²."""


def square(row: int, col: int, side: int) -> np.ndarray:  # type: ignore[type-arg]
    return (row <= ROW) & (row + side > ROW) & (col <= COL) & (col + side > COL)


def island(*shapes: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.where(np.any(shapes, axis=0), 100.0, np.nan).astype(np.float32)


def test_a_small_island_off_the_edge_is_stray() -> None:
    outside, at_the_rim = square(5, 95, SIDE), square(40, 89 - SIDE // 2, SIDE)
    assert_array_equal(_stray(island(outside, at_the_rim), COVERED, CELL_M), outside | at_the_rim)


def test_the_same_island_inside_and_a_large_one_at_the_edge_stay() -> None:
    inside = square(5, 30, SIDE)
    large = square(40, 95, LARGE)
    assert SIDE**2 * CELL_M**2 < STRAY_M2 < LARGE**2 * CELL_M**2
    assert not _stray(island(inside, large), COVERED, CELL_M).any()


def test_an_island_mostly_inside_stays_whole() -> None:
    deep = round(STRAY_M / CELL_M)
    mostly = (ROW >= 20) & (ROW < 24) & (89 - 2 * deep - 4 <= COL) & (COL < 90)
    assert np.count_nonzero(mostly) * CELL_M**2 < STRAY_M2
    assert not _stray(island(mostly), COVERED, CELL_M).any()


def test_cells_that_touch_at_a_corner_are_one_island() -> None:
    large = square(10, 95, LARGE)
    corner = square(10 + LARGE, 95 + LARGE, 4)
    assert not _stray(island(large, corner), COVERED, CELL_M).any()
    apart = square(11 + LARGE, 96 + LARGE, 4)
    assert_array_equal(_stray(island(large, apart), COVERED, CELL_M), apart)


def test_no_heights_have_no_islands() -> None:
    assert not _stray(np.full(SHAPE, np.nan, np.float32), COVERED, CELL_M).any()


def test_at_the_outer_rim_only_what_is_near_a_measurement_is_filled() -> None:
    origin = np.full(SHAPE, Origin.SEEN, np.uint8)
    origin[:, 60:90] = Origin.INTERPOLATED
    origin[:, 90:] = Origin.OUTSIDE
    near = round(RIM_M / CELL_M)
    # column 59 is measured, so column 59 + n lies n cells away
    assert_array_equal(_beyond_rim(origin, CELL_M), 59 + near < COL)


def test_a_void_within_is_filled_however_wide() -> None:
    origin = np.full(SHAPE, Origin.SEEN, np.uint8)
    origin[10:70, 20:80] = Origin.INTERPOLATED
    origin[:, 110:] = Origin.OUTSIDE
    assert_array_equal(_beyond_rim(origin, CELL_M), 110 + round(RIM_M / CELL_M) <= COL)


def test_what_could_not_be_filled_at_the_rim_is_beyond_it() -> None:
    origin = np.full(SHAPE, Origin.SEEN, np.uint8)
    origin[:, 88:90] = Origin.EMPTY
    origin[:, 90:] = Origin.OUTSIDE
    within = origin.copy()
    within[:, 90:] = Origin.SEEN
    assert _beyond_rim(origin, CELL_M)[:, 88:90].all()
    assert not _beyond_rim(within, CELL_M).any()


def land(void: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.where(void, np.nan, 100.0 + 0.1 * COL).astype(np.float32)


def test_a_wide_void_is_worth_a_pair_and_narrow_ones_are_not() -> None:
    wide, narrow = square(10, 10, 40), (ROW >= 10) & (ROW < 70) & (COL >= 70) & (COL < 76)
    core = round(40 - 2 * DEEP_M / CELL_M)
    assert (core * CELL_M) ** 2 > WORTH_M2
    everywhere = np.ones(SHAPE, bool)
    assert_array_equal(_wide_voids(land(wide | narrow), everywhere, CELL_M), wide)
    assert not _wide_voids(land(narrow), everywhere, CELL_M).any()


def test_one_deep_spot_alone_is_not_worth_a_pair() -> None:
    side = round(2 * DEEP_M / CELL_M) + 8
    assert not _wide_voids(land(square(10, 10, side)), np.ones(SHAPE, bool), CELL_M).any()


def test_a_void_counts_where_the_pair_sees_it() -> None:
    void, seen = square(10, 10, 60), COL < 40
    assert_array_equal(_wide_voids(land(void), seen, CELL_M), void & seen)
    assert not _wide_voids(land(void), COL >= 70, CELL_M).any()


def test_a_further_pair_fills_the_void_at_the_level_of_what_is_known() -> None:
    void, missing, trust = square(10, 10, 40), square(20, 20, 5), np.full(SHAPE, 0.8, np.float32)
    known = Heights(land(void), np.where(void, 0, trust).astype(np.float32))
    new = Heights(land(missing) - np.float32(3.0), trust)
    found = _filled(known, new, void, 0.25)
    np.testing.assert_allclose(found.dsm, land(missing), atol=1e-4)
    np.testing.assert_allclose(found.trust[void & ~missing], 0.2)
    np.testing.assert_allclose(found.trust[~void], 0.8)
    assert (found.trust[missing] == 0).all()


def test_pairs_with_too_little_in_common_keep_their_heights() -> None:
    void = ~square(0, 0, 9)
    known = Heights(land(void), np.full(SHAPE, 0.5, np.float32))
    new = Heights(land(np.zeros(SHAPE, bool)) + 7, np.full(SHAPE, 0.5, np.float32))
    np.testing.assert_allclose(_filled(known, new, void, 1.0).dsm[void], new.dsm[void])
