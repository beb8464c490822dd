"""Roofs that are the least of several planes, over outlines of any shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely.affinity import rotate, translate
from shapely.geometry import Polygon, box

from processes.roofs.extrude import tidy
from processes.roofs.planes import Planes, RoofUnfit, raise_roof
from processes.roofs.validity import faults

GABLE = Planes(np.array([[0, 0.5, 12.0], [0, -0.5, 12.0]]), (5.0, 4.0))
HIP = Planes(np.vstack([GABLE.coefficients, [[0.5, 0, 12.5], [-0.5, 0, 12.5]]]), (5.0, 4.0))
HOUSE = box(0, 0, 10, 8)


def raised(outline, planes, base_m=0.0):
    (part,) = tidy(outline)
    return raise_roof(part, base_m, planes)


def kinds(solid):
    found = [face.kind for face in solid.faces]
    return found.count("RoofSurface"), found.count("WallSurface"), found.count("GroundSurface")


def volume(solid):
    """Sum of signed tetrahedra over fans; faces are planar, so fans are exact."""
    total = 0.0
    for face in solid.faces:
        for ring in face.rings:
            p = solid.vertices[list(ring)]
            total += sum(np.dot(p[0], np.cross(p[i], p[i + 1])) for i in range(1, len(p) - 1))
    return total / 6


def test_a_gable_has_two_roofs_and_five_cornered_ends():
    solid = raised(HOUSE, GABLE)
    assert faults(solid) == []
    assert kinds(solid) == (2, 4, 1)
    walls = sorted(len(f.rings[0]) for f in solid.faces if f.kind == "WallSurface")
    assert walls == [4, 4, 5, 5]
    assert solid.vertices[:, 2].max() == 12.0
    assert volume(solid) == pytest.approx(10 * 8 * 11)


def test_a_hip_has_four_roofs_and_level_eaves():
    solid = raised(HOUSE, HIP)
    assert faults(solid) == []
    assert kinds(solid) == (4, 4, 1)
    assert set(solid.vertices[:, 2]) == {0.0, 10.0, 12.0}


def test_a_gable_over_an_l_with_a_courtyard_is_closed():
    outline = Polygon(
        [(0, 0), (10, 0), (10, 8), (6, 8), (6, 6), (0, 6)], [[(2, 2), (2, 5), (5, 5), (5, 2)]]
    )
    solid = raised(outline, GABLE)
    assert faults(solid) == []
    assert volume(solid) > 0


def test_eaves_in_the_ground_are_refused():
    with pytest.raises(RoofUnfit, match="eaves"):
        raised(HOUSE, GABLE, base_m=9.9)


def test_a_sliver_of_roof_is_refused():
    clipped_corner = Planes(np.array([[0, 0, 12], [-1, -1, 20.85]]), GABLE.origin)
    with pytest.raises(RoofUnfit, match="sliver"):
        raised(HOUSE, clipped_corner)


@settings(max_examples=60, deadline=None)
@given(
    width=st.floats(5, 25),
    depth=st.floats(5, 25),
    pitch=st.floats(0.15, 1.2),
    turn=st.floats(0, 180),
    bank=st.sampled_from(["gable", "hip", "pyramid", "shed"]),
)
def test_any_turned_house_is_valid(width, depth, pitch, turn, bank):
    """Law: a roof of the bank over its own rectangle, turned anyhow on a UTM grid, is valid."""
    angle = np.radians(turn)
    u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    across = [(*(s * pitch * v), 150.0) for s in (-1, 1)]
    ends = [(*(s * pitch * u), 150.0 + pitch * (width - depth) / 2) for s in (-1, 1)]
    slant = [(*(s * pitch * depth / width * u), 150.0) for s in (-1, 1)]
    shapes = {"gable": across, "hip": across + ends, "pyramid": across + slant, "shed": across[:1]}
    outline = box(-width / 2, -depth / 2, width / 2, depth / 2)
    placed = translate(rotate(outline, turn, origin=(0, 0)), 431000.123, 5290000.456)
    planes = Planes(np.array(shapes[bank]), (431000.123, 5290000.456))
    try:
        solid = raised(placed, planes, base_m=120.0)
    except RoofUnfit:
        assume(False)
    assert faults(solid) == []
