"""Height figures against cases worked out by hand, and the laws they obey."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processes.accuracy.heights import (
    figures_by_class,
    height_figures,
    near_edges,
    nmad,
    within_rim,
)


def test_five_differences_worked_out_by_hand():
    dz = np.array([0.0, 1.0, -1.0, 2.0, np.nan])
    f = height_figures(dz)
    assert f.bias_m == pytest.approx(0.5)
    assert f.median_m == pytest.approx(0.5)
    assert f.rmse_m == pytest.approx(np.sqrt(6 / 4))
    # |dz − 0.5| = 0.5, 0.5, 1.5, 1.5: its median is 1
    assert f.nmad_m == pytest.approx(1.4826)
    # |dz| sorted 0, 1, 1, 2: the 90 % quantile lies 0.7 of the way from 1 to 2
    assert f.le90_m == pytest.approx(1.7)
    assert f.completeness_1m == pytest.approx(3 / 5)
    assert f.void_share == pytest.approx(1 / 5)
    assert f.cells == 5


def test_only_counted_cells_count():
    dz = np.array([[0.2, 9.0], [np.nan, 0.4]])
    f = height_figures(dz, np.array([[True, False], [False, True]]))
    assert (f.cells, f.void_share, f.completeness_1m) == (2, 0.0, 1.0)
    assert f.bias_m == pytest.approx(0.3)


def test_a_product_of_voids_is_complete_nowhere():
    f = height_figures(np.full((3, 3), np.nan))
    assert f.completeness_1m == 0.0
    assert f.void_share == 1.0
    assert np.isnan(f.rmse_m)


def test_no_reference_gives_no_figures():
    f = height_figures(np.zeros((2, 2)), np.zeros((2, 2), bool))
    assert f.cells == 0
    assert np.isnan(f.completeness_1m)


@given(st.floats(-50, 50), st.integers(0, 5))
def test_nmad_forgets_a_constant_and_a_few_blunders(offset, blunders):
    dz = np.random.default_rng(3).normal(0, 0.3, 2000)
    dz[:blunders] = 1e4
    assert nmad(dz + offset) == pytest.approx(0.3, rel=0.1)


def test_classes_that_do_not_occur_are_left_out():
    classes = np.array([[1, 1], [2, 9]])
    f = figures_by_class(
        np.array([[0.5, 0.5], [3, 0]]), classes, {1: "ground", 2: "roof", 4: "water"}
    )
    assert set(f) == {"ground", "roof"}
    assert f["ground"].bias_m == 0.5
    assert f["roof"].completeness_1m == 0.0


def test_cells_near_an_edge_lie_on_both_sides_of_it():
    objects = np.zeros((1, 12), int)
    objects[0, 6:] = 7
    near = near_edges(objects, 0.5, 1.5)
    # centres lie 0.25, 0.75, 1.25 m from the outline on either side
    assert near[0].tolist() == [False] * 3 + [True] * 6 + [False] * 3


def test_the_wall_two_buildings_share_is_an_edge():
    objects = np.ones((5, 20), int)
    objects[:, 10:] = 2
    assert near_edges(objects, 1.0, 0.5)[2].nonzero()[0].tolist() == [9, 10]
    assert not near_edges(np.ones((5, 5), int), 1.0).any()


def test_a_void_inside_is_a_failure_and_a_void_outside_is_not_asked_for():
    dz = np.zeros((6, 6))
    dz[:, :2] = np.nan
    dz[3, 4] = np.nan
    asked = within_rim(dz)
    assert asked.sum() == 24
    assert asked[3, 4]
    assert within_rim(np.zeros((3, 3))).all()
