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
WAY, DEEP = np.array([24.0, 14.0]) / np.hypot(24, 14), 12.0
"""Of the second arm of BENT."""


def bent(first, second):
    """Return a strip of two arms: one along x that starts at *first*, one *second* m long."""
    across = DEEP * np.array([-WAY[1], WAY[0]])
    corner, end = np.array([30.0, 0.0]), np.array([30.0, 0.0]) + second * WAY
    inner = corner + across + (DEEP - across[1]) / WAY[1] * WAY
    return Polygon([(first, 0), corner, end, end + across, inner, (first, DEEP)])


BENT, LONGER, ONE_LONGER = bent(0, 28), bent(-30, 58), bent(-30, 28)
U = Polygon([(0, 0), (50, 0), (50, 40), (38, 40), (38, 12), (12, 12), (12, 40), (0, 40)])
WEDGE = Polygon([(0, 0), (50, 5), (20, 40)])
PENTAGON = Polygon([(0, 0), (24, 0), (30, 14), (14, 26), (0, 18)])
SLOPE, STEP_M = 0.7, 0.1


def raised(outline, gables=None):
    """Return the surface of a roof that rises from the walls of *outline*, and the ground.

    It rises as the walls move inwards; where *gables* is a longer outline, its walls do.
    """
    x, y = GRID.xy(*np.mgrid[: GRID.height, : GRID.width])
    inside = shapely.contains_xy(outline, x, y)
    roof = np.where(inside, 150.0, 140.0)
    left = gables or outline
    while inside.any():
        left = left.buffer(-STEP_M, join_style="mitre", mitre_limit=99)
        inside[inside] = shapely.contains_xy(left, x[inside], y[inside])
        roof[inside] += SLOPE * STEP_M
    noise = np.random.default_rng(2).normal(0, 0.1, roof.shape)
    level = np.full(roof.shape, 140.0, np.float32)
    return Raster((roof + noise).astype(np.float32), GRID), Raster(level, GRID)


def stands(found):
    """Say whether a roof was found, as steep as it is, and its one solid is valid."""
    (solid,) = found.solids
    steep = np.degrees(np.arctan(SLOPE))
    assert found.roof is not None
    assert found.roof.pitch_deg == pytest.approx(steep, abs=0.4)
    assert faults(solid) == []
    return [face for face in solid.faces if face.kind == "RoofSurface"]


PLANS = {"block": BLOCK, "skew": SKEW, "pentagon": PENTAGON, "bent": BENT, "U": U, "wedge": WEDGE}


@pytest.mark.parametrize("turn", [0.0, 33.0])
@pytest.mark.parametrize("plan", PLANS)
def test_every_wall_has_its_face(plan, turn):
    turned = rotate(PLANS[plan], turn, origin=(25, 20))
    dsm, dtm = raised(turned)
    found = reconstruct(turned, dsm, dtm, 2)
    assert found.roof is not None
    assert found.roof.type == "hip"
    walls = len(shapely.get_coordinates(turned)) - len(shapely.get_rings(turned))
    assert len(stands(found)) == walls
    assert found.solids[0].vertices[:, 2].max() == pytest.approx(dsm.values.max(), abs=0.5)


@pytest.mark.parametrize(
    ("gables", "kind", "faces"), [(LONGER, "gable", 4), (ONE_LONGER, "hip", 5)]
)
def test_ends_that_do_not_rise_are_gables(gables, kind, faces):
    found = reconstruct(BENT, *raised(BENT, gables), 2)
    assert found.roof is not None
    assert found.roof.type == kind
    assert len(stands(found)) == faces


def test_other_plans_have_no_such_roof():
    dsm, _ = raised(BLOCK)
    cells = seen(under(BLOCK, dsm), 1.0, SHARP)
    for plan in (box(0, 0, 50, 40), shapely.Point(25, 20).buffer(60), shapely.MultiPolygon()):
        assert fit_eaves(plan, cells, 1.0) is None
    level = seen(under(BLOCK, Raster(np.full_like(dsm.values, 150.0), GRID)), 1.0, SHARP)
    assert fit_eaves(BLOCK, level, 1.0) is None
