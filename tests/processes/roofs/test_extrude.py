"""Blocks: closed, oriented, and of the volume that arithmetic says."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import union_all
from shapely.geometry import MultiPolygon, Polygon, box

from processes.core.building import BuildingModel
from processes.roofs.extrude import extrude, tidy
from processes.roofs.validity import faults
from tiles.mesh import faces, triangulate

COURT = box(0, 0, 20, 14).difference(box(5, 5, 9, 9))
ELL = Polygon([(0, 0), (12, 0), (12, 5), (6, 5), (6, 11), (0, 11)])


def mesh(solid):
    table = faces([BuildingModel("a", (solid,), "1.2")])
    corners = triangulate(table, table.vertices).corners
    return trimesh.Trimesh(solid.vertices - solid.vertices[0], table.corners[corners])


@pytest.mark.parametrize("outline", [box(0, 0, 10, 8), ELL, COURT], ids=["box", "L", "courtyard"])
def test_a_block_is_closed_and_holds_area_times_height(outline):
    (part,) = tidy(outline)
    solid = extrude(part, 100.0, 106.5)
    assert faults(solid) == []
    assert mesh(solid).is_watertight
    assert mesh(solid).volume == pytest.approx(outline.area * 6.5)


def test_a_courtyard_is_an_inner_ring_of_roof_and_floor():
    solid = extrude(tidy(COURT)[0], 0.0, 5.0)
    kinds = [face.kind for face in solid.faces]
    assert [len(face.rings) for face in solid.faces if face.kind != "WallSurface"] == [2, 2]
    assert kinds.count("WallSurface") == 8


def test_a_courtyard_that_touches_the_street_is_drawn_back():
    touching = Polygon(box(0, 0, 10, 10).exterior, [[(0, 5), (3, 3), (3, 7)]])
    solids = [extrude(part, 0.0, 5.0) for part in tidy(touching)]
    assert [faults(solid) for solid in solids] == [[]]


def test_a_bow_tie_becomes_two_parts():
    parts = tidy(Polygon([(0, 0), (10, 10), (10, 0), (0, 10)]))
    assert [faults(extrude(part, 0, 4)) for part in parts] == [[], []]


def test_corners_two_millimetres_apart_are_one():
    (part,) = tidy(Polygon([(0, 0), (10, 0), (10.002, 0.001), (10, 8), (0, 8)]))
    assert len(part.exterior.coords) == 5


def test_parts_are_kept_apart_and_specks_dropped():
    parts = tidy(MultiPolygon([box(0, 0, 5, 5), box(8, 0, 12, 5), box(20, 0, 20.5, 0.5)]))
    assert sorted(part.area for part in parts) == [20, 25]


def test_rings_of_a_few_millimetres_go():
    speck = [(5.0, 5.0), (5.004, 5.0), (5.002, 5.004)]
    house = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)]
    (part,) = tidy(Polygon(house, [speck]))
    assert part.equals(Polygon(house))
    assert tidy(Polygon(speck)) == []


def test_nothing_is_left_of_a_line():
    assert tidy(Polygon([(0, 0), (5, 0), (10, 0)])) == []


rectangles = st.builds(
    lambda x, y, w, h: box(x, y, x + w, y + h),
    *(st.integers(0, 12) for _ in range(2)),
    *(st.integers(2, 9) for _ in range(2)),
)


@settings(max_examples=60, deadline=None)
@given(
    plus=st.lists(rectangles, min_size=1, max_size=4),
    minus=st.lists(rectangles, max_size=2),
    turn=st.floats(0, 3.2),
)
def test_any_rectilinear_outline_becomes_valid_solids(plus, minus, turn):
    """Law: whatever rectangles are joined, cut out and turned, every block is valid."""
    outline = union_all(plus).difference(union_all(minus))
    cos, sin = np.cos(turn), np.sin(turn)
    turned = _moved(outline, lambda c: c @ [[cos, sin], [-sin, cos]] + [431000, 5290000])
    for part in tidy(turned):
        solid = extrude(part, 140.0, 147.123)
        assert faults(solid) == []
        assert mesh(solid).is_watertight


def _moved(shape, function):
    from shapely import transform

    return transform(shape, function)
