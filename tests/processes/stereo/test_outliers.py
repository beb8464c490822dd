"""Heights that cannot be are found; trees, towers, roofs and steep land stay."""

from __future__ import annotations

import numpy as np

from processes.stereo.outliers import implausible

ROW, COL = np.mgrid[:160, :160]
CELL_M = 0.5
LAND = (100.0 + 0.3 * CELL_M * COL).astype(np.float32)
"""A slope of 30 %."""
ALL = np.ones(LAND.shape, bool)


def box(row: int, col: int, side: int):  # type: ignore[no-untyped-def]
    return (row <= ROW) & (row + side > ROW) & (col <= COL) & (col + side > COL)


def test_pits_and_needles_are_wrong() -> None:
    pit, needle = box(30, 30, 6), box(90, 40, 5)
    dsm = np.where(pit, LAND - 8, np.where(needle, LAND + 45, LAND)).astype(np.float32)
    assert (implausible(dsm, ALL, CELL_M) == (pit | needle)).all()


def test_what_may_stand_stays() -> None:
    tower, tree, court = box(20, 20, 12), box(70, 30, 8), box(105, 105, 10)
    block = box(90, 90, 40)
    dsm = np.where(tower, LAND + 60, np.where(tree, LAND + 12, LAND))
    dsm = np.where(block & ~court, 150.0, dsm).astype(np.float32)
    assert not implausible(dsm, ALL, CELL_M).any()


def test_a_cliff_is_land() -> None:
    assert not implausible(
        np.where(ROW < 80, LAND, LAND - 60).astype(np.float32), ALL, CELL_M
    ).any()


def test_debris_far_from_all_land_is_noise() -> None:
    dsm = np.where(COL < 60, LAND, np.float32(np.nan)).astype(np.float32)
    debris = box(70, 120, 9)
    dsm[debris] = 104.0
    assert (implausible(dsm, ALL, CELL_M) == debris).all()


def test_blots_of_height_on_the_water_between_quays_are_chance() -> None:
    water = (COL >= 60) & (COL < 104)
    blots = water & (ROW % 10 < 3) & (COL % 10 < 3)
    chance = np.random.default_rng(4).uniform(-2, 9, (16, 16)).repeat(10, 0).repeat(10, 1)
    heights = np.where(blots, LAND + chance, np.where(water, np.nan, LAND)).astype(np.float32)
    found = implausible(heights, ALL, CELL_M)
    assert not (found & ~blots).any()
    assert found[blots & (COL >= 70) & (COL < 94)].all()


def test_the_crowns_of_a_thin_wood_stay() -> None:
    wood = (COL >= 60) & (COL < 104)
    crowns = wood & (ROW % 10 < 6) & (COL % 10 < 6)
    heights = np.where(crowns, LAND + 12, np.where(wood, np.nan, LAND)).astype(np.float32)
    assert not implausible(heights, ALL, CELL_M).any()


def test_a_small_thing_at_the_edge_of_what_is_covered_stays() -> None:
    covered = COL < 90
    tree = box(70, 82, 8)
    dsm = np.where(covered, np.where(tree, LAND + 9, LAND), np.nan).astype(np.float32)
    assert not implausible(dsm, covered, CELL_M).any()


def test_nothing_known_is_nothing_wrong() -> None:
    assert not implausible(np.full((20, 30), np.nan, np.float32), ALL[:20, :30], CELL_M).any()


def test_the_highest_thing_near_is_not_in_black_shade() -> None:
    tower, strip, tree = box(20, 20, 60), box(85, 30, 8), box(100, 100, 8)
    dsm = np.where(tower, 140.0, np.where(strip, 165.0, np.where(tree, LAND + 9, LAND)))
    dsm = dsm.astype(np.float32)
    grey = np.where(strip | box(84, 20, 40), 0.02, 0.3).astype(np.float32)
    assert not implausible(dsm, ALL, CELL_M).any()
    found = implausible(dsm, ALL, CELL_M, lambda row, col, _: grey[row, col])
    assert (found == strip).all()
    assert not implausible(
        dsm, ALL, CELL_M, lambda row, *_: np.full(row.size, np.nan, np.float32)
    ).any()
