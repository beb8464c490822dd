"""Which roof a house has, from noisy cells of one that is known."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.affinity import rotate
from shapely.geometry import Polygon, box

from processes.roofs.bank import fit_roof
from processes.roofs.blur import points

HOUSE = box(0, 0, 16, 10)
RISE_M = 3.0

SHAPES = {
    "flat": lambda u, v: 0 * u,
    "shed": lambda u, v: (v + 5) / 10,
    "gable": lambda u, v: 1 - np.abs(v) / 5,
    "hip": lambda u, v: np.minimum(1 - np.abs(v) / 5, (8 - np.abs(u)) / 5),
    "pyramid": lambda u, v: np.minimum(1 - np.abs(v) / 5, 1 - np.abs(u) / 8),
}


def cells(kind, *, turn=0.0, noise_m=0.25, outliers=0.0, seed=1):
    """Return half-metre cells of a roof over HOUSE turned by *turn* degrees."""
    rng = np.random.default_rng(seed)
    u, v = (a.ravel() for a in np.meshgrid(np.arange(-6.75, 7, 0.5), np.arange(-3.75, 4, 0.5)))
    z = 150 + RISE_M * SHAPES[kind](u, v) + rng.normal(0, noise_m, u.size)
    z = np.where(rng.random(u.size) < outliers, z + 4, z)
    angle = np.radians(turn)
    x, y = u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)
    return points(x + 8, y + 5, z)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("turn", [0.0, 33.0, 90.0, 147.5])
def test_each_roof_of_the_bank_is_known_again(kind, turn):
    roof = fit_roof(rotate(HOUSE, turn, origin=(8, 5)), cells(kind, turn=turn))
    assert roof is not None
    assert roof.type == kind


def test_the_pitch_of_a_gable_is_found_within_a_degree():
    roof = fit_roof(HOUSE, cells("gable"))
    assert roof is not None
    assert roof.pitch_deg == pytest.approx(np.degrees(np.arctan(RISE_M / 5)), abs=1.0)


@pytest.mark.parametrize("kind", ["gable", "hip"])
def test_a_ridge_is_where_the_surface_has_it_although_the_outline_is_off(kind):
    off = box(-1, 0.5, 16, 11.5)
    roof = fit_roof(off, cells(kind, noise_m=0.1))
    assert roof is not None
    assert roof.type == kind
    assert roof.pitch_deg == pytest.approx(np.degrees(np.arctan(RISE_M / 5)), abs=1.0)
    assert roof.planes.lowest(8.0, 5.0) == pytest.approx(153.0, abs=0.1)
    assert roof.planes.lowest(8.0, 1.0) == pytest.approx(150.6, abs=0.1)


def test_a_flat_roof_may_carry_a_stairwell():
    flat = cells("flat", noise_m=0.05)
    boxed = np.where((flat.x > 12) & (flat.y > 5), flat.z + 3, flat.z)
    roof = fit_roof(HOUSE, points(flat.x, flat.y, boxed))
    assert roof is not None
    assert roof.type == "flat"
    assert roof.planes.lowest(8.0, 5.0) == pytest.approx(150.0, abs=0.05)


def test_chimneys_and_dormers_do_not_bend_the_roof():
    roof = fit_roof(HOUSE, cells("gable", outliers=0.1))
    assert roof is not None
    assert roof.type == "gable"
    assert roof.planes.lowest(8.0, 5.0) == pytest.approx(153.0, abs=0.15)


def test_a_roof_that_is_in_no_bank_is_refused():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(1, 15, 400), rng.uniform(1, 9, 400)
    steps = points(x, y, 150 + 5 * (np.floor(x / 4) % 2))
    assert fit_roof(HOUSE, steps) is None


def test_only_flat_and_shed_roofs_stand_on_an_l():
    ell = Polygon([(0, 0), (16, 0), (16, 4), (5, 4), (5, 10), (0, 10)])
    roof = fit_roof(ell, cells("gable"))
    assert roof is None or roof.type in ("flat", "shed")
