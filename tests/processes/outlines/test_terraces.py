"""Rows whose widths are known."""

import numpy as np
import pytest

from processes.outlines.terraces import divided

CELL_M = 0.5


def row_of(widths_m, depth_m=9.0, angle_deg=20.0):
    """Return parts of these widths side by side, numbered from 1."""
    row, col = np.mgrid[:140, :140]
    a = np.radians(angle_deg)
    u = ((col - 70) * np.cos(a) + (row - 70) * np.sin(a)) * CELL_M + sum(widths_m) / 2
    v = (-(col - 70) * np.sin(a) + (row - 70) * np.cos(a)) * CELL_M
    edges = np.concatenate([[0.0], np.cumsum(widths_m)])
    house = np.searchsorted(edges, u)
    inside = (np.abs(v) < depth_m / 2) & (house > 0) & (house <= len(widths_m))
    return np.where(inside, house, 0).astype(np.int32)


@pytest.mark.parametrize("angle_deg", [0.0, 20.0, 65.0])
def test_what_is_twice_or_thrice_as_wide_as_its_neighbours_is_divided(angle_deg):
    found = divided(row_of([6.5, 13.0, 6.5, 19.5, 6.5], angle_deg=angle_deg), CELL_M)
    areas = np.bincount(found.ravel())[1:] * CELL_M**2
    assert len(areas) == 8
    assert areas == pytest.approx(np.full(8, 58.5), rel=0.12)
    assert ((found > 0) == (row_of([6.5, 13.0, 6.5, 19.5, 6.5], angle_deg=angle_deg) > 0)).all()


def test_houses_drawn_too_wide_and_too_narrow_say_together_how_wide_one_is():
    found = divided(row_of([10.0, 7.5, 23.7]), CELL_M)
    areas = np.sort(np.bincount(found.ravel())[1:]) * CELL_M**2
    assert areas == pytest.approx(np.array([7.5, 7.9, 7.9, 7.9, 10.0]) * 9.0, rel=0.12)


@pytest.mark.parametrize("widths_m", [[6.5, 13.0], [6.5, 10.0, 6.5], [12.0, 25.0, 12.0], [7, 7, 7]])
def test_unequal_houses_pairs_and_halls_stay_as_they_are(widths_m):
    labels = row_of(widths_m)
    assert (divided(labels, CELL_M) == labels).all()


def test_a_deeper_house_at_the_end_is_not_of_the_row():
    labels = row_of([6.5, 6.5, 6.5])
    deep = row_of([32.5, 13.0], depth_m=18.0)
    labels = np.where(labels > 0, labels, np.where(deep == 2, 4, 0)).astype(np.int32)
    assert divided(labels, CELL_M).max() == 4


def test_nothing_and_a_single_house_stay_as_they_are():
    nothing = np.zeros((20, 20), np.int32)
    assert not divided(nothing, CELL_M).any()
    assert divided(row_of([14.0]), CELL_M).max() == 1
