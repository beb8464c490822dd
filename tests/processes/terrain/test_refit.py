"""The ground beside walls, which matching lifts."""

import cv2
import numpy as np

from processes.terrain.ground import bare_earth
from processes.terrain.refit import refitted
from processes.terrain.sharp import above_ground, calmer, is_sharp, taken_back

CELL_M = 0.5
ROW, COL = np.mgrid[:300, :300] * CELL_M
BLOCK = (abs(ROW - 75) < 22) & (abs(COL - 75) < 25)
BEHIND = (abs(ROW - 99) < 2) & (abs(COL - 75) < 25)
"""A strip behind the block that an image does not see."""


def under(surface):
    return bare_earth(surface.astype(np.float32), CELL_M)[BLOCK].mean()


def test_ground_filled_behind_a_block_hardly_lifts_what_is_under_it():
    """By 0.19 m while all that was seen counted."""
    level = np.where(BLOCK, 15.0, 0.0)
    assert abs(under(level + 0.6 * BEHIND)) < 0.08


def test_a_quay_behind_a_block_stays_above_the_canal():
    quay = (abs(ROW - 102) < 5) & (abs(COL - 75) < 25)
    level = np.where(BLOCK, 15.0, np.where(ROW > 107, -1.1, 0.0))
    ground = bare_earth(level.astype(np.float32), CELL_M)
    assert np.abs(ground[quay]).mean() < 0.1


def test_a_street_with_nothing_beyond_it_answers_for_itself():
    blocks = (abs(COL - 75) > 4) & (abs(COL - 75) < 60) & (abs(ROW - 75) < 55)
    ground = 0.1 * ROW
    off = bare_earth(np.where(blocks, 20.0 + ground, ground).astype(np.float32), CELL_M) - ground
    assert np.abs(off[~blocks]).max() < 0.3


def test_a_sharp_surface_is_ground_up_to_the_wall_and_a_blurred_one_is_not():
    """Between lidar houses most land is so near to a wall that it was spanned, not read."""
    land = (0.05 * ROW + 0.1 * np.sin(COL / 2)).astype(np.float32)
    near = (ROW % 20 > 9) & (COL % 24 > 10)
    house = (ROW % 20 > 12) & (COL % 24 > 13)
    seen = np.where(near, np.nan, land)
    sharp = np.where(house, land + 7, land)
    blurred = np.where(near & ~house, land + 0.08, sharp)
    never = np.zeros(near.shape, bool)
    ground = taken_back(seen, sharp, never, CELL_M)
    assert is_sharp(above_ground(seen, sharp, CELL_M))
    np.testing.assert_array_equal(ground[~house], land[~house])
    assert np.isnan(ground[house]).all()
    assert not is_sharp(above_ground(seen, blurred, CELL_M))
    assert np.isnan(taken_back(seen, sharp, near, CELL_M)[near]).all()


def test_a_garden_below_its_bushes_is_found_and_what_stands_in_it_is_not():
    """By 0.5 m too high between bushes that were taken for ground, on a lidar town."""
    land = np.zeros(ROW.shape, np.float32)
    bush = np.hypot(ROW % 10 - 5, COL % 10 - 5) < 2
    surface = np.where(bush, 0.5, land).astype(np.float32)
    gap = np.hypot(ROW % 10 - 5, COL % 10 - 9) < 1
    seen = np.where(gap, np.nan, surface).astype(np.float32)
    ground = taken_back(seen, surface, np.zeros(land.shape, bool), CELL_M)
    assert np.isnan(ground[bush]).all()
    np.testing.assert_array_equal(ground[~bush], land[~bush])


def test_the_crest_of_a_bank_is_no_bush():
    """It stands above the plane through what is lower, but goes on into it."""
    bank = np.clip(4 - 0.7 * (ROW - 70), 0, 4).astype(np.float32)
    ground = taken_back(bank, bank, np.zeros(bank.shape, bool), CELL_M)
    assert np.isfinite(ground).all()


def test_the_noise_of_matching_is_calmed_and_a_terrace_is_not():
    noise = np.random.default_rng(1).normal(size=ROW.shape)
    noise = cv2.GaussianBlur(noise, (0, 0), 1.5)
    step = np.where(COL > 75, 2.0, 0.0)
    heights = (step + 0.15 * noise / noise.std()).astype(np.float32)
    smooth, _ = refitted(heights, heights, CELL_M)
    calm = calmer(smooth, CELL_M)
    away = np.abs(COL - 75) > 6
    fine, quiet = ((ground - step)[away].std() for ground in (smooth, calm))
    assert quiet < 0.8 * fine
    beside = (np.abs(COL - 75) > 3) & ~away
    assert np.abs(calm - step)[beside].mean() < np.abs(smooth - step)[beside].mean() + 0.02
