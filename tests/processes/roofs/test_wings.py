"""Houses with wings, annexes and courtyards: known again from their cells, closed as solids."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shapely.affinity import rotate, translate
from shapely.geometry import Polygon, box

from processes.roofs.blur import points
from processes.roofs.extrude import tidy
from processes.roofs.planes import Planes, RoofUnfit
from processes.roofs.plans import rectangles
from processes.roofs.stepped import raise_wings
from processes.roofs.validity import faults
from processes.roofs.wings import Wing, fit_wings

L = box(0, 0, 18, 9).union(box(0, 0, 7, 20))
T = box(0, 0, 20, 8).union(box(7, 0, 13, 16))
RING = box(0, 0, 40, 30).difference(box(11, 11, 29, 19))
SLOPE = 0.6


def surface(outline, turn, kind="gable", annex=None, noise_m=0.1):
    """Return half-metre cells of *outline*, turned, under a roof as `Rectangle` defines it."""
    rng = np.random.default_rng(2)
    xmin, ymin, xmax, ymax = outline.bounds
    x, y = np.meshgrid(np.arange(xmin + 0.25, xmax, 0.5), np.arange(ymin + 0.25, ymax, 0.5))
    x, y = x.ravel(), y.ravel()
    inside = shapely.contains_xy(outline, x, y)
    x, y = x[inside], y[inside]
    z = np.full(len(x), -np.inf)
    for wing in rectangles(outline):
        inside = shapely.intersects_xy(Polygon(wing.corners), x, y)
        z = np.where(inside, np.maximum(z, wing.planes(kind, 150, SLOPE).lowest(x, y)), z)
    if annex is not None:
        z = np.where(shapely.contains_xy(annex, x, y), 147.0, z)
    z += rng.normal(0, noise_m, len(z))
    angle, c = np.radians(turn), np.array([3.0, 4.0])
    xy = (np.column_stack([x, y]) - c) @ np.array(
        [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    ) + c
    return rotate(outline, turn, origin=(3, 4)), points(xy[:, 0], xy[:, 1], z)


def volume(solid):
    """Return the volume of a closed shell, by its faces as fans about the first corner."""
    total = 0.0
    for face in solid.faces:
        for ring in face.rings:
            corners = solid.vertices[list(ring)] - solid.vertices[0]
            fan = np.cross(corners[1:-1], corners[2:])
            total += float((corners[0] * fan).sum()) / 6
    return total


@pytest.mark.parametrize("turn", [0.0, 28.0, 111.0])
@pytest.mark.parametrize(("outline", "count"), [(L, 2), (T, 2), (RING, 4)])
@pytest.mark.parametrize("kind", ["gable", "hip"])
def test_wings_are_known_again_and_closed(outline, count, kind, turn):
    turned, cells = surface(outline, turn, kind)
    roof = fit_wings(turned, cells, 1.0)
    assert roof is not None
    assert (roof.type, len(roof.wings)) == (kind, count)
    assert roof.pitch_deg == pytest.approx(np.degrees(np.arctan(SLOPE)), abs=0.5)
    solid = raise_wings(tidy(turned)[0], 140.0, roof.wings)
    assert faults(solid) == []
    above = cells.z.mean() - 140.0
    assert volume(solid) == pytest.approx(turned.area * above, rel=0.01)


def test_a_flat_annex_has_its_own_height_and_a_wall_above_it():
    annex = box(20, 2, 25, 6)
    turned, cells = surface(box(0, 0, 20, 8).union(annex), 17.0, annex=annex)
    roof = fit_wings(turned, cells, 1.0)
    assert roof is not None
    assert [len(wing.planes.coefficients) for wing in roof.wings] == [2, 1]
    solid = raise_wings(tidy(turned)[0], 140.0, roof.wings)
    assert faults(solid) == []
    roofs = [solid.vertices[list(f.rings[0]), 2] for f in solid.faces if f.kind == "RoofSurface"]
    assert [z.mean() == pytest.approx(147, abs=0.1) for z in roofs if np.ptp(z) == 0] == [True]
    assert solid.vertices[:, 2].min() == 140.0


def test_outlines_without_right_angles_and_single_houses_have_no_wings():
    assert rectangles(Polygon([(0, 0), (20, 0), (10, 17)])) == []
    assert len(rectangles(box(0, 0, 12, 8))) == 1
    _, cells = surface(box(0, 0, 12, 8), 0.0)
    assert fit_wings(box(0, 0, 12, 8), cells, 1.0) is None


@pytest.mark.parametrize("gap", [-1e-9, 0.0, 1e-9])
def test_roofs_that_cross_above_a_wall_they_share_by_rounding_alone_are_closed(gap):
    """It overlapped by a billionth of a metre, so a lesser roof took the place of the best."""
    left, right = box(0, 0, 10, 8), box(10 + gap, 0, 20, 8)
    wings = [
        Wing(
            shapely.get_coordinates(area)[:4], Planes(np.array([[0.0, slope, 150.0]]), (10.0, 4.0))
        )
        for area, slope in ((left, 0.3), (right, -0.3))
    ]
    solid = raise_wings(tidy(box(0, 0, 20, 8))[0], 140.0, wings)
    assert faults(solid) == []
    assert volume(solid) == pytest.approx(20 * 8 * 10, rel=1e-6)


def test_flat_wings_of_one_height_are_one_roof():
    x, y = np.meshgrid(np.arange(0.25, 18, 0.5), np.arange(0.25, 20, 0.5))
    inside = shapely.contains_xy(L, x, y)
    z = np.full(inside.sum(), 150.0)
    z += np.random.default_rng(0).normal(0, 0.05, z.size)
    assert fit_wings(L, points(x[inside], y[inside], z), 1.0) is None


@settings(max_examples=25, deadline=None)
@given(
    long=st.floats(10, 30),
    deep=st.floats(6, 12),
    wing=st.floats(4, 9),
    out=st.floats(3, 12),
    at=st.floats(0, 1),
    turn=st.floats(0, 180),
    kind=st.sampled_from(["gable", "hip"]),
)
@example(long=10.0, deep=6.25, wing=6.28125, out=4.0, at=0.5, turn=0.0, kind="gable")
def test_whatever_is_raised_over_two_wings_is_closed(long, deep, wing, out, at, turn, kind):
    start = at * (long - wing) if long > wing else 0.0
    turned, cells = surface(
        box(0, 0, long, deep).union(box(start, 0, start + wing, deep + out)), turn, kind
    )
    roof = fit_wings(turned, cells, 1.0)
    if roof is None:
        return
    try:
        solid = raise_wings(tidy(turned)[0], 140.0, roof.wings)
    except RoofUnfit:
        return
    assert faults(solid) == []


def level(area, height_m):
    """Return a flat wing over an area without courts."""
    corners = shapely.get_coordinates(area.exterior)[:-1]
    return Wing(corners, Planes(np.array([[0.0, 0.0, height_m]]), (0.0, 0.0)))


def test_a_step_that_passes_a_corner_of_the_outline_at_a_slant_stays_one():
    # for 20 cm it lies within 2 cm of the wall, which it never crosses there
    ring = [(0, 0), (20, 0), (20, 10), (9.5, 10), (9.99, 1.5), (6, 2), (5, 10), (0, 10)]
    outline = Polygon(ring)
    low, high = box(0, 0, 10, 10), box(10, 0, 20, 10)
    solid = raise_wings(tidy(outline)[0], 0.0, [level(low, 5.0), level(high, 9.0)])
    assert faults(solid) == []
    left, right = (outline.intersection(side).area for side in (low, high))
    assert volume(solid) == pytest.approx(5 * left + 9 * right, rel=0.001)


def test_a_storey_on_a_block_far_from_the_origin_is_built():
    # GEOS 3.14 takes the line around this block, made 2 cm wide, for the whole block
    block = Polygon([(11.431, 51.563), (0.071, 6.826), (23.681, 0.83), (35.042, 45.568)])
    high = Polygon([(7.357, 30.823), (29.848, 25.112), (35.042, 45.568), (12.552, 51.279)])
    outline, storey = (translate(area, 448390.0, 5411310.0) for area in (block, high))
    around = level(shapely.envelope(outline), 63.0)
    solid = raise_wings(tidy(outline)[0], 50.0, [around, level(storey, 65.0)])
    assert faults(solid) == []
    assert volume(solid) == pytest.approx(13 * outline.area + 2 * storey.area, rel=0.001)
