"""The ground beside walls, which matching lifts."""

import cv2
import numpy as np

from processes.terrain.ground import bare_earth
from processes.terrain.refit import refitted
from processes.terrain.sharp import taken_back

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
    ground, is_sharp = taken_back(seen, sharp, never, CELL_M)
    assert is_sharp
    np.testing.assert_array_equal(ground[~house], land[~house])
    assert np.isnan(ground[house]).all()
    unchanged, is_sharp = taken_back(seen, blurred, never, CELL_M)
    np.testing.assert_array_equal(unchanged, seen)
    assert not is_sharp
    assert np.isnan(taken_back(seen, sharp, near, CELL_M)[0][near]).all()


def test_the_noise_of_matching_is_calmed_and_a_terrace_is_not():
    noise = np.random.default_rng(1).normal(size=ROW.shape)
    noise = cv2.GaussianBlur(noise, (0, 0), 1.5)
    step = np.where(COL > 75, 2.0, 0.0)
    heights = (step + 0.15 * noise / noise.std()).astype(np.float32)
    smooth, calm, _ = refitted(heights, heights, CELL_M)
    away = np.abs(COL - 75) > 6
    fine, quiet = ((ground - step)[away].std() for ground in (smooth, calm))
    assert quiet < 0.8 * fine
    beside = (np.abs(COL - 75) > 3) & ~away
    assert np.abs(calm - step)[beside].mean() < np.abs(smooth - step)[beside].mean() + 0.02
