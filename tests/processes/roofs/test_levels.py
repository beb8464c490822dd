"""Towers on podiums and storeys that stand back: two levels with a wall between them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from shapely.affinity import rotate
from shapely.geometry import box

from processes.core.raster import Grid, Raster
from processes.roofs.blur import SHARP, seen
from processes.roofs.extrude import tidy
from processes.roofs.heights import under
from processes.roofs.levels import fit_levels
from processes.roofs.reconstruct import reconstruct
from processes.roofs.stepped import raise_wings
from processes.roofs.validity import faults

PODIUM = box(0, 0, 50, 40)
TOWER, WING = box(12, 10, 27, 26), box(30, -1, 60, 50)
ELL = PODIUM.difference(box(20, 15, 60, 60))
GRID = Grid("EPSG:32631", Affine(0.5, 0, -30.0, 0, -0.5, 90.0), 240, 240)


def surface(outline, upper, turn, step_m=43.0):
    """Return a turned outline and its cells, 147 m high and *step_m* more on its upper part."""
    turned, high = (rotate(shape, turn, origin=(25, 20)) for shape in (outline, upper))
    x, y = GRID.xy(*np.mgrid[: GRID.height, : GRID.width])
    z = np.where(shapely.contains_xy(high, x, y), 147.0 + step_m, 147.0)
    z += np.random.default_rng(3).normal(0, 0.1, z.shape)
    z = np.where(shapely.contains_xy(turned, x, y), z, 140.0)
    cells = under(turned, Raster(z.astype(np.float32), GRID))
    return turned, seen(cells, 1.0, SHARP, whole=True)


def volume(solid):
    """Return the volume under the roof faces, each flat."""
    base = solid.vertices[:, 2].min()
    total = 0.0
    for face in solid.faces:
        if face.kind == "RoofSurface":
            rings = [solid.vertices[list(ring)] for ring in face.rings]
            area = shapely.Polygon(rings[0][:, :2], [ring[:, :2] for ring in rings[1:]]).area
            total += area * (rings[0][0, 2] - base)
    return total


@pytest.mark.parametrize("turn", [0.0, 40.0])
@pytest.mark.parametrize(
    ("outline", "upper", "step_m"),
    [
        (PODIUM, TOWER, 43.0),
        (PODIUM, WING, 6.0),
        (PODIUM, PODIUM.buffer(-2.5, join_style="mitre"), 3.0),
        (ELL, ELL.buffer(-3.0, join_style="mitre"), 3.0),
    ],
    ids=["tower", "higher end", "set back", "set back over an L"],
)
def test_the_higher_level_is_found_and_closed_by_walls(outline, upper, step_m, turn):
    turned, cells = surface(outline, upper, turn, step_m)
    roof = fit_levels(turned, cells, 1.0)
    assert roof is not None
    assert roof.type == "multilevel"
    assert roof.rmse_m < 0.2
    solid = raise_wings(tidy(turned)[0], 140.0, roof.wings)
    assert faults(solid) == []
    whole = outline.area * 7 + outline.intersection(upper).area * step_m
    assert volume(solid) == pytest.approx(whole, rel=0.01)


def test_one_level_and_low_steps_are_no_two_levels():
    turned, cells = surface(PODIUM, TOWER, 10.0, 0.0)
    assert fit_levels(turned, cells, 1.0) is None
    turned, cells = surface(PODIUM, TOWER, 10.0, 1.5)
    assert fit_levels(turned, cells, 1.0) is None


def test_a_high_part_that_is_no_rectangle_is_left_to_others():
    turned, cells = surface(PODIUM, shapely.Polygon([(5, 5), (45, 5), (5, 35)]), 0.0)
    assert fit_levels(turned, cells, 1.0) is None


def test_a_low_corner_of_a_house_is_no_level():
    house = box(0, 0, 14, 10)
    outline, cells = surface(house, house.difference(box(10.5, 6, 15, 11)), 0)
    assert fit_levels(outline, cells, 1.5) is None


def test_a_round_tower_is_no_square_one():
    tower = shapely.Point(24, 19).buffer(8.0)
    turned, cells = surface(PODIUM, tower, 20.0, 30.0)
    roof = fit_levels(turned, cells, 1.0)
    assert roof is not None
    disc = shapely.Polygon(roof.wings[1].corners)
    high = rotate(tower, 20.0, origin=(25, 20))
    assert shapely.area(disc & high) / shapely.area(disc | high) > 0.95
    assert faults(raise_wings(tidy(turned)[0], 140.0, roof.wings)) == []


def test_the_street_is_no_storey_of_a_round_building_drawn_too_large():
    x, y = GRID.xy(*np.mgrid[: GRID.height, : GRID.width])
    z = np.where(np.hypot(x - 25, y - 20) < 13, 165.0, 140.0).astype(np.float32)
    ground = Raster(np.full_like(z, 140.0), GRID)
    found = reconstruct(shapely.Point(25, 20).buffer(15), Raster(z, GRID), ground, 2)
    assert found.roof is None or found.roof.type == "flat"
    assert len(found.solids) == 1
    assert found.solids[0].vertices[:, 2].max() == pytest.approx(165.0, abs=0.1)
