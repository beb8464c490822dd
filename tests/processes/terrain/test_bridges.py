"""Bridges are no terrain, whatever carries them."""

import numpy as np

from processes.terrain.ground import bare_earth, ground_and_bridges

CELL_M = 0.5
ROW, COL = np.mgrid[:360, :360] * CELL_M
ON = abs(ROW - 90)


def found(surface):
    _, decks = ground_and_bridges(surface.astype(np.float32), CELL_M)
    return decks


def test_a_bridge_over_a_valley_is_taken_off_and_marked():
    valley = -8 * np.clip(1 - (abs(COL - 90) - 10) / 8, 0, 1)
    deck = (ON < 5) & (abs(COL - 90) < 18)
    surface = np.where(deck, 0.0, valley)
    core = (ON < 5) & (abs(COL - 90) < 10)
    decks = found(surface)
    assert decks[core].mean() > 0.95
    assert (decks & (ON > 8)).sum() == 0
    ground = bare_earth(surface.astype(np.float32), CELL_M)
    assert np.abs(ground[core & (abs(COL - 90) < 7)] + 8).max() < 1.5


def test_a_road_over_a_road_leaves_the_lower_one():
    ramp = np.clip((85 - abs(COL - 90)) / 70 * 7.0, 0, 7)
    bank = np.clip(ramp - np.clip(ON - 5, 0, None) / 2.5, 0, None)
    gap = abs(COL - 90) < 9
    surface = np.where(gap, 0.0, bank)
    surface[(ON < 5) & (abs(COL - 90) < 10)] = 7.0
    ground = bare_earth(surface.astype(np.float32), CELL_M)
    assert np.abs(ground[(ON < 4) & (abs(COL - 90) < 6)]).mean() < 0.1
    # the embankments that lead to it slope down; they were bridges once, 30 m of them
    assert not found(surface)[abs(COL - 90) > 14].any()


def test_a_dam_a_bench_and_roofs_are_no_bridges():
    bank = 6 * np.clip(1 - (ON - 4) / 9, 0, 1)
    assert not found(bank).any()
    bench = 6.0 * (ROW > 60) + 6.0 * (ROW > 80)
    assert not found(bench).any()
    town = np.where((ROW % 40 > 25) & (COL % 50 > 12), 9.0, 0.0)
    assert not found(town).any()


def test_the_corner_of_a_plateau_is_no_bridge():
    """It falls on both sides, but goes on one way only."""
    plateau = (abs(ROW - 90) < 45) & (COL > 50)
    assert not found(4.0 * plateau).any()
