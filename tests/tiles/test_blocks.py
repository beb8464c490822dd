"""Blocks that stand for modelled roofs: the same floor, the same volume, walls that look out."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import trimesh
from shapely.geometry import Polygon, box

from processes.core.building import BuildingModel, Face, Solid
from processes.roofs.extrude import extrude, tidy
from processes.roofs.planes import Planes, raise_roof
from tiles.blocks import GROUND, ROOF, WALL, blocks, deviations
from tiles.mesh import faces, joined, select, triangulate

COURT = box(0, 0, 20, 14).difference(box(6, 5, 10, 9))
ELL = Polygon([(0, 0), (12, 0), (12, 5), (5, 5), (5, 11), (0, 11)])


def gabled(outline, base_m=2.0):
    west, south, east, north = outline.bounds
    middle = ((west + east) / 2, (south + north) / 2)
    planes = Planes(np.array([[0, 0.5, 10.0], [0, -0.5, 10.0]]), middle)
    return raise_roof(tidy(outline)[0], base_m, planes)


def model(ident, *solids):
    return BuildingModel(ident, solids, "2.0")


@pytest.mark.parametrize("outline", [box(0, 0, 12, 8), COURT, ELL], ids=["box", "court", "ell"])
def test_a_block_has_the_volume_of_the_house_it_stands_for(outline):
    house = gabled(outline)
    table = faces([model("a", house)])
    solid = trimesh.Trimesh(
        table.vertices, table.corners[triangulate(table, table.vertices).corners], process=False
    )
    found = blocks(table)
    assert found.models.tolist() == [0]
    top = found.faces.vertices[:, 2].max()
    assert outline.area * (top - 2.0) == pytest.approx(solid.volume, rel=1e-6)
    roof = select(found.faces, found.faces.face_kind == ROOF)
    drawn = triangulate(roof, roof.vertices).corners
    a, b, c = (roof.vertices[roof.corners[drawn[:, i]], :2] for i in range(3))
    one, other = b - a, c - a
    area = (one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]) / 2
    assert (area > 0).all(), "the roof looks up"
    assert area.sum() == pytest.approx(outline.area)
    walls = select(found.faces, found.faces.face_kind == WALL)
    drawn = triangulate(walls, walls.vertices)
    surface = trimesh.Trimesh(walls.vertices, walls.corners[drawn.corners], process=False)
    assert surface.area == pytest.approx(outline.length * (top - 2.0))
    foot = surface.triangles_center[:, :2] + 0.1 * surface.face_normals[:, :2]
    assert not shapely.contains_xy(outline, *foot.T).any(), "walls look out"


def test_the_deviation_is_how_far_the_roof_leaves_the_block():
    house = gabled(box(0, 0, 12, 8))
    (found,) = deviations(faces([model("a", house)]))
    assert found == pytest.approx(1.0)  # eaves at 8, ridge at 10, mean 9


def test_a_flat_roof_is_its_own_block():
    flat = extrude(tidy(COURT)[0], 0.0, 6.0)
    table = faces([model("flat", flat), model("gabled", gabled(ELL))])
    assert blocks(table).models.tolist() == [1]
    assert deviations(table)[0] == 0.0
    assert deviations(table)[1] > 0.0


def test_two_floors_that_touch_have_no_wall_between():
    """A solid whose floor is two faces: eight corners, six of them on the outside."""
    plan = np.array([[0, 0], [5, 0], [10, 0], [10, 8], [5, 8], [0, 8]], float)
    low = np.column_stack([plan, np.zeros(6)])
    high = np.column_stack([plan, [8, 11, 8, 8, 11, 8.0]])
    roofs = (Face(((6, 7, 10, 11),), "RoofSurface"), Face(((7, 8, 9, 10),), "RoofSurface"))
    floors = (Face(((0, 5, 4, 1),), "GroundSurface"), Face(((1, 4, 3, 2),), "GroundSurface"))
    found = blocks(faces([model("a", Solid(np.concatenate([low, high]), roofs + floors))]))
    assert (found.faces.face_kind == WALL).sum() == 6
    assert (found.faces.face_kind == ROOF).sum() == 2
    assert found.faces.vertices[:, 2].max() == pytest.approx(9.5)


def test_without_a_floor_there_is_no_block():
    house = gabled(ELL)
    above = Solid(house.vertices, tuple(f for f in house.faces if f.kind != "GroundSurface"))
    table = faces([model("a", above)])
    assert len(blocks(table).models) == 0
    assert deviations(table).tolist() == [0.0]


def test_tables_are_joined_and_cut_without_mixing_models():
    one = faces([model("a", gabled(ELL)), model("b", extrude(tidy(COURT)[0], 0.0, 5.0))])
    both = joined(one, one)
    assert both.model_faces.tolist() == one.model_faces.tolist() * 2
    seen = select(both, both.face_kind != GROUND)
    assert (seen.model_faces == both.model_faces - 1).all()
    shifted = both.corners[len(one.corners) :] - len(one.vertices)
    assert (shifted == one.corners).all()
