"""Roofs that rise from every wall: blocks around courts, and plans of more than four walls."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from shapely.affinity import rotate
from shapely.geometry import Polygon, box

from processes.core.raster import Grid, Raster
from processes.roofs.blur import SHARP, seen
from processes.roofs.eaves import fit_eaves
from processes.roofs.heights import under
from processes.roofs.reconstruct import reconstruct
from processes.roofs.validity import faults

GRID = Grid("EPSG:32631", Affine(0.5, 0, -20.0, 0, -0.5, 80.0), 200, 200)
BLOCK = Polygon(box(0, 0, 50, 40).exterior, [box(11, 12, 38, 29).exterior])
SKEW = Polygon([(0, 0), (52, 3), (48, 42), (2, 38)], [[(12, 12), (13, 27), (37, 30), (39, 14)]])
PENTAGON = Polygon([(0, 0), (24, 0), (30, 14), (14, 26), (0, 18)])
SLOPE = 0.7


def raised(outline):
    """Return the surface of a roof that rises from every wall of *outline*, and the ground."""
    x, y = GRID.xy(*np.mgrid[: GRID.height, : GRID.width])
    places = shapely.points(x, y)

    def from_walls(ring):
        ends = shapely.get_coordinates(shapely.orient_polygons(Polygon(ring)).exterior)
        way = np.diff(ends, axis=0) / np.hypot(*np.diff(ends, axis=0).T)[:, None]
        return [(x - a) * -v + (y - b) * u for (a, b), (u, v) in zip(ends[:-1], way, strict=True)]

    rise = np.min(from_walls(outline.exterior), axis=0)
    for ring in outline.interiors:
        rise = np.minimum(rise, np.max([-d for d in from_walls(ring)], axis=0))
    roof = np.where(shapely.contains(outline, places), 150 + SLOPE * rise, 140)
    noise = np.random.default_rng(2).normal(0, 0.1, roof.shape)
    level = np.full(roof.shape, 140.0, np.float32)
    return Raster((roof + noise).astype(np.float32), GRID), Raster(level, GRID)


@pytest.mark.parametrize("turn", [0.0, 33.0])
@pytest.mark.parametrize("outline", [BLOCK, SKEW, PENTAGON], ids=["block", "skew", "pentagon"])
def test_every_wall_has_its_face(outline, turn):
    turned = rotate(outline, turn, origin=(25, 20))
    found = reconstruct(turned, *raised(turned), 2)
    assert found.roof is not None
    assert found.roof.type == "hip"
    assert found.roof.pitch_deg == pytest.approx(np.degrees(np.arctan(SLOPE)), abs=0.4)
    (solid,) = found.solids
    assert faults(solid) == []
    faces = sum(face.kind == "RoofSurface" for face in solid.faces)
    assert faces == len(shapely.get_coordinates(outline)) - len(shapely.get_rings(outline))
    assert solid.vertices[:, 2].max() == pytest.approx(raised(turned)[0].values.max(), abs=0.5)


def test_other_plans_have_no_such_roof():
    dsm, _ = raised(BLOCK)
    cells = seen(under(BLOCK, dsm), 1.0, SHARP)
    ell = Polygon([(0, 0), (50, 0), (50, 12), (12, 12), (12, 40), (0, 40)])
    for plan in (ell, box(0, 0, 50, 40), shapely.Point(25, 20).buffer(20)):
        assert fit_eaves(plan, cells, 1.0) is None
    level = seen(under(BLOCK, Raster(np.full_like(dsm.values, 150.0), GRID)), 1.0, SHARP)
    assert fit_eaves(BLOCK, level, 1.0) is None
