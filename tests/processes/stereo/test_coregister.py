"""Co-registration: a scene is moved beside its elevation model only where the relief proves it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from processes.stereo.coregister import MODEL_M, POINTING_M, offset

Floats = NDArray[np.float64]
RNG = np.random.default_rng(5)
SIDE_M, STEP_M = 3000.0, 30.0


def hills(east: Floats, north: Floats) -> Floats:
    return 40.0 * np.sin(east / 310.0) + 30.0 * np.cos(north / 270.0 + east / 900.0)


def flat(east: Floats, north: Floats) -> Floats:
    return np.full(np.shape(east), 12.0)


def points(land, east_m: float, north_m: float) -> tuple[Floats, Floats]:  # type: ignore[no-untyped-def]
    """Points of a scene that stands that far east and north of the land, a fifth of them roofs."""
    at = RNG.uniform(100.0, SIDE_M - 100.0, (2, 120_000))
    height = land(*at) + RNG.normal(0.0, 0.3, at.shape[1])
    height += np.where(RNG.random(at.shape[1]) < 0.2, RNG.uniform(3.0, 15.0, at.shape[1]), 0.0)
    return at + np.array([[east_m], [north_m]]), height + 7.0


def test_an_offset_on_hills_is_found() -> None:
    found = offset(*points(hills, 9.0, -6.0), hills, STEP_M)
    share = POINTING_M**2 / (POINTING_M**2 + MODEL_M**2)
    assert found.east_m == pytest.approx(-9.0 * share, abs=0.3)
    assert found.north_m == pytest.approx(6.0 * share, abs=0.3)
    assert found.sigma_m < 0.3


def test_nothing_moves_on_hills_where_all_is_well() -> None:
    assert not offset(*points(hills, 0.0, 0.0), hills, STEP_M).moves


def test_nothing_moves_on_flat_land() -> None:
    found = offset(*points(flat, 9.0, -6.0), flat, STEP_M)
    assert not found.moves


@pytest.mark.parametrize("seed", range(6))
def test_errors_of_the_model_draw_no_town_to_them(seed: int) -> None:
    """On flat land all of the model's slopes are errors, and houses are like some of them."""
    rng = np.random.default_rng(seed)
    errors = gaussian_filter(rng.normal(0.0, 1.0, (42, 42)), 1.0) * 4.0
    houses = np.kron(rng.random((34, 34)) < 0.4, np.ones((3, 3))) * rng.uniform(4, 25, (102, 102))

    def model(east: Floats, north: Floats) -> Floats:
        return map_coordinates(errors, [north / 25.0, east / 25.0], order=1)

    at = rng.uniform(50.0, 950.0, (2, 60_000))
    height = houses[tuple((at[::-1] / 10.0).astype(int))] + rng.normal(0.0, 0.2, at.shape[1])
    assert not offset(at, height, model, 25.0).moves


def test_too_small_a_scene_says_nothing() -> None:
    at, height = points(hills, 9.0, -6.0)
    near = (at < 300.0).all(axis=0)
    assert not offset(at[:, near], height[near], hills, STEP_M).moves
