"""Dams: raised land that no house looks like, because it falls by slopes of earth."""

import numpy as np
import pytest

from processes.accuracy.heights import height_figures
from processes.terrain.ground import bare_earth

CELL_M = 0.5
ROW, COL = np.mgrid[:420, :420] * CELL_M
AWAY = abs(ROW - 105 - 12 * np.sin(COL / 50))


def error(surface, ground, where=None):
    return height_figures(bare_earth(surface.astype(np.float32), CELL_M) - ground, where)


def with_houses(ground, keep_off):
    surface = ground.copy()
    for top in range(8, 190, 30):
        for left in range(5, 190, 24):
            house = (abs(ROW - top - 5) < 5) & (abs(COL - left - 6) < 6)
            if not (house & keep_off).any():
                surface[house] = np.median(ground[house]) + 6
    return surface


@pytest.mark.parametrize("run", [1.0, 1.5, 2.5])
def test_a_railway_dam_is_ground(run):
    """Its crown steps up on both sides, as a roof does; by 3 m RMSE while it went as one."""
    dam = 0.01 * COL + np.clip(6 - np.clip(AWAY - 5, 0, None) / run, 0, 6)
    at = 5 + 6 * run > AWAY
    assert error(with_houses(dam, 8 + 6 * run > AWAY), dam, at).rmse_m < 0.15


def test_a_dam_that_begins_as_a_ramp_is_ground():
    top = np.clip((80 - abs(COL - 105)) / 10, 0, 6)
    dam = np.minimum(top, np.clip(6 - np.clip(abs(ROW - 105) - 5, 0, None) / 1.5, 0, 6))
    assert error(with_houses(dam, abs(ROW - 105) < 18), dam).rmse_m < 0.1


def test_a_noisy_dam_is_ground():
    noise = np.random.default_rng(1).normal(0, 0.15, ROW.shape)
    dam = np.clip(6 - np.clip(AWAY - 5, 0, None) / 1.5, 0, 6)
    assert error(with_houses(dam, AWAY < 17) + noise, dam, AWAY < 14).rmse_m < 0.3


def test_a_hip_roof_is_no_dam():
    """It falls by slopes at first, and then by walls."""
    hip = np.minimum(30 - abs(ROW - 105), 45 - abs(COL - 105))
    surface = np.where(hip > 0, 3 + np.clip(0.8 * hip, 0, 5), 0)
    assert np.abs(bare_earth(surface.astype(np.float32), CELL_M)).max() < 0.1


def test_a_hall_150_m_wide_is_not_land():
    hall = (abs(ROW - 105) < 75) & (abs(COL - 105) < 85)
    assert np.abs(bare_earth(np.where(hall, 10.0, 0).astype(np.float32), CELL_M)).max() < 0.1
