"""Straight cuts through two houses that stand wall to wall."""

import numpy as np
import pytest

from processes.outlines.partywalls import walls
from processes.outlines.signs import Signs


@pytest.mark.parametrize("angle_deg", [0.0, 17.0, 63.0, 120.0])
@pytest.mark.parametrize("kind", ["height", "light", "colour"])
def test_a_wall_lies_where_the_houses_differ_at_any_angle(angle_deg, kind):
    row, col = np.mgrid[:90, :90]
    a = np.radians(angle_deg)
    u = (col - 45) * np.cos(a) + (row - 45) * np.sin(a)
    v = (row - 45) * np.cos(a) - (col - 45) * np.sin(a)
    mask = (np.abs(u) < 30) & (np.abs(v) < 12)
    second = u > 3.0
    features = np.zeros((6, 90, 90), np.float32)
    features[0] = 60 + (3.0 * second if kind == "height" else 0.0)
    features[1] = 0.3 * second if kind == "light" else 0.0
    features[2] = 0.2 * second if kind == "colour" else 0.0
    features[3] = -features[2]
    (found,) = walls(mask, features, [a], 0.5, Signs())
    across = (found - 45) @ np.array([np.cos(a), np.sin(a)])
    along = (found - 45) @ np.array([-np.sin(a), np.cos(a)])
    assert np.abs(across - 3.0).max() < 1.0
    assert along.min() < -11
    assert along.max() > 11


def test_a_block_of_one_roof_has_no_wall():
    mask = np.zeros((60, 90), bool)
    mask[10:50, 10:80] = True
    rng = np.random.default_rng(0)
    features = rng.normal(0, 0.05, (6, 60, 90)).astype(np.float32)
    assert not len(walls(mask, features, [0.0, np.pi / 2], 0.5, Signs()))
