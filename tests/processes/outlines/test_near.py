"""Distances and nearest cells are those of a distance transform of everything."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from processes.outlines.near import _nearest, filled, from_edge, nearest, nearest_of_all


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    return np.random.default_rng(4).random((60, 70)) < 0.02


def test_distances_are_exact(mask: np.ndarray) -> None:
    np.testing.assert_allclose(from_edge(~mask), ndimage.distance_transform_edt(~mask), rtol=1e-6)
    assert np.isinf(from_edge(np.ones((3, 3), bool))).all()


def test_the_nearest_cell_is_as_near_as_any_and_none_is_beyond_reach(mask: np.ndarray) -> None:
    away = ndimage.distance_transform_edt(~mask)
    asked = np.random.default_rng(5).random(mask.shape) < 0.3
    found = nearest(mask, asked, 4.0)
    row, col = np.nonzero(asked)
    assert ((found >= 0) == (away[asked] <= 4.0)).all()
    there, hit = np.divmod(found, mask.shape[1]), found >= 0
    assert mask.ravel()[found[hit]].all()
    np.testing.assert_allclose(np.hypot(row - there[0], col - there[1])[hit], away[asked][hit])


def test_of_all_cells_the_nearest_is_that_of_a_distance_transform(mask: np.ndarray) -> None:
    place = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    asked = np.random.default_rng(5).random(mask.shape) < 0.3
    known = np.ravel_multi_index(tuple(place), mask.shape)
    np.testing.assert_array_equal(nearest_of_all(mask, asked), known[asked])
    assert (nearest_of_all(np.zeros_like(mask), asked) == -1).all()


def test_a_single_cell_is_sought_by_the_machine_code_of_many(mask: np.ndarray) -> None:
    """It made numba compile once more, in the middle of somebody's job."""
    asked = np.zeros(mask.shape, bool)
    asked[30, 20:40] = True
    nearest(mask, asked, 4.0)
    kinds = len(_nearest.signatures)
    asked[30, 21:] = False
    nearest(mask, asked, 4.0)
    assert len(_nearest.signatures) == kinds


def test_unknown_cells_take_the_nearest_value_where_they_are_asked() -> None:
    values = np.full((5, 9), np.nan)
    values[:, 0] = 3.0
    asked = np.ones(values.shape, bool)
    asked[0] = False
    out = filled(values, np.isfinite(values), asked, 2.0)
    assert (out[1:, :3] == 3.0).all()
    assert np.isnan(out[0, 1:]).all()
    assert np.isnan(out[:, 3:]).all()
