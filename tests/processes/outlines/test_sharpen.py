"""Mask edges where colours change."""

import numpy as np
import pytest

from processes.outlines.sharpen import sharpened

CELL_M = 0.5
HOUSE = np.s_[20:44, 20:40]
FAR_SLOPE = np.s_[20:44, 35:40]
HIDDEN = np.s_[18:46, 35:44]


def test_a_slope_that_was_filled_from_the_ground_is_roof_by_its_colour():
    rng = np.random.default_rng(3)
    bands = {name: np.full((64, 64), level) for name, level in (("red", 80.0), ("green", 120.0))}
    bands["red"][HOUSE], bands["green"][HOUSE] = 150.0, 90.0
    for band in bands.values():
        band *= np.exp(rng.normal(0.0, 0.05, band.shape))
    house, mask, filled = np.zeros((3, 64, 64), bool)
    house[HOUSE] = mask[HOUSE] = True
    mask[FAR_SLOPE] = False
    filled[HIDDEN] = True
    found = sharpened(mask, bands, CELL_M, filled=filled & ~mask)
    assert (found & house).sum() == pytest.approx(house.sum(), rel=0.02)
    assert (found & ~house).sum() < 0.02 * house.sum()
    assert not sharpened(mask, bands, CELL_M)[FAR_SLOPE][:, 1:].any()
