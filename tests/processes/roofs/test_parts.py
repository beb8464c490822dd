"""Outlines that hold several houses: cut where each side has its own roof, closed as one solid."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from shapely.affinity import rotate
from shapely.geometry import box

from processes.core.raster import Grid, Raster
from processes.roofs.reconstruct import reconstruct
from processes.roofs.validity import faults

GRID = Grid("EPSG:32631", Affine(0.5, 0, -20.0, 0, -0.5, 40.0), 110, 160)
MIDDLE = (20, 8)


def modelled(outline, roof, turn=0.0):
    """Return what becomes of a turned outline under the surface *roof* of x and y before that."""
    x, y = GRID.xy(*np.mgrid[: GRID.height, : GRID.width])
    angle = np.radians(turn)
    dx, dy = x - MIDDLE[0], y - MIDDLE[1]
    before = (
        MIDDLE[0] + np.cos(angle) * dx + np.sin(angle) * dy,
        MIDDLE[1] - np.sin(angle) * dx + np.cos(angle) * dy,
    )
    turned = rotate(outline, turn, origin=MIDDLE)
    z = np.where(shapely.contains_xy(turned, x, y), roof(*before), 100.0)
    z += np.random.default_rng(3).normal(0, 0.1, z.shape)
    ground = np.full(GRID.shape, 100.0, np.float32)
    found = reconstruct(turned, Raster(z.astype(np.float32), GRID), Raster(ground, GRID), 2)
    return found, lambda x, y: _height(found, *_turned(x, y, turn))


def _turned(x, y, turn):
    point = rotate(shapely.Point(x, y), turn, origin=MIDDLE)
    return point.x, point.y


def _height(found, x, y):
    """Return the height of the modelled roof over a place."""
    for solid in found.solids:
        for face in solid.faces:
            ring = solid.vertices[list(face.rings[0])]
            plan = shapely.Polygon(ring[:, :2])
            if face.kind == "RoofSurface" and plan.contains(shapely.Point(x, y)):
                system = np.column_stack([ring[:, :2], np.ones(len(ring))])
                return float(np.linalg.lstsq(system, ring[:, 2])[0] @ (x, y, 1))
    return np.nan


@pytest.mark.parametrize("turn", [0.0, 33.0])
def test_a_row_of_houses_in_one_outline_is_cut_at_its_steps(turn):
    def row(x, y):
        return (
            106
            + 0.7 * (5 - np.abs(y - 5))
            + np.select([x < 10, x < 20, x < 30], [0, 1.5, -0.7], 0.8)
        )

    found, height = modelled(box(0, 0, 40, 10), row, turn)
    assert found.roof.type == "gable"
    assert faults(found.solids[0]) == []
    for x in (5, 15, 25, 35):
        for y in (2, 4, 7):
            assert height(x, y) == pytest.approx(row(x, y), abs=0.15)


def test_a_level_annex_beside_a_gable_is_level():
    def house(x, y):
        return np.where(x < 24, 106 + 0.8 * (6 - np.abs(y - 6)), 104.0)

    outline = box(0, 0, 24, 12).union(box(24, 0, 36, 14))
    found, height = modelled(outline, house, 20.0)
    assert found.roof.type == "gable"
    assert faults(found.solids[0]) == []
    assert height(30, 3) == pytest.approx(104, abs=0.1)
    assert height(30, 11) == pytest.approx(104, abs=0.1)
    assert height(10, 3) == pytest.approx(house(10, 3), abs=0.15)


def test_faces_that_cross_above_a_cut_are_closed_by_walls_on_both_sides():
    def shed_beside_shed(x, y):
        return np.where(x < 20, 104 + 0.5 * y, 112 - 0.5 * y)

    found, height = modelled(box(0, 0, 40, 16), shed_beside_shed)
    assert faults(found.solids[0]) == []
    for x, y in ((10, 3), (10, 13), (30, 3), (30, 13)):
        assert height(x, y) == pytest.approx(shed_beside_shed(x, y), abs=0.15)


def test_one_roof_that_explains_its_surface_is_not_cut():
    def gable(x, y):
        return 106 + 0.7 * (5 - np.abs(y - 5))

    found, _ = modelled(box(0, 0, 40, 10), gable)
    assert sum(face.kind == "RoofSurface" for face in found.solids[0].faces) == 2


def test_a_ridge_that_leaves_a_sliver_at_a_corner_is_built_without_it():
    # the ridge meets the end wall 2 cm beside a notch
    outline = box(0, 0, 20, 10).difference(box(19.98, 5.0, 20.0, 10.0))

    def gable(x, y):
        return 106 + 0.7 * (5 - np.abs(y - 5))

    found, height = modelled(outline, gable)
    assert found.lod == 2
    assert faults(found.solids[0]) == []
    assert height(10, 2) == pytest.approx(gable(10, 2), abs=0.15)


def test_four_levels_are_cut_twice():
    def squares(x, y):
        return 106 + 5.0 * ((x > 10) ^ (y > 8))

    found, height = modelled(box(0, 0, 20, 16), squares)
    assert found.roof.type == "multilevel"
    assert faults(found.solids[0]) == []
    for x, y in ((4, 4), (4, 12), (16, 4), (16, 12)):
        assert height(x, y) == pytest.approx(squares(x, y), abs=0.1)


def test_a_level_roof_with_high_plant_on_it_is_not_cut():
    def plant(x, y):
        return np.where((np.abs(x - 20) < 2) & (np.abs(y - 8) < 4), 109.0, 106.0)

    found, height = modelled(box(0, 0, 40, 16), plant)
    assert found.roof.type == "flat"
    assert height(5, 5) == pytest.approx(106, abs=0.1)
