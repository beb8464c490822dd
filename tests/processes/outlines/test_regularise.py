"""Polygons from cells of shapes that are known exactly."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import ndimage
from shapely import affinity

from processes.outlines.arrangement import fit
from processes.outlines.regularise import Taste, drawn, outlined, regularise, separated
from processes.outlines.regularise import polygons as arranged
from processes.outlines.trace import Group, contour, groups, orientation

TASTE = Taste(0.5)
RECTANGLE = shapely.box(-14, -9, 14, 9)
ELL = shapely.Polygon([(-16, -12), (16, -12), (16, 0), (2, 0), (2, 14), (-16, 14)])
COURTYARD = shapely.box(-22, -18, 22, 18) - shapely.box(-9, -7, 9, 7)
TRAPEZOID = shapely.Polygon([(-20, -12), (20, -12), (8, 12), (-12, 12)])
HEXAGON = shapely.Polygon([(15 * np.cos(a), 15 * np.sin(a)) for a in np.arange(6) * np.pi / 3])
CIRCLE = shapely.Point(0, 0).buffer(13, 64)


def cells(*shapes, size=90):
    """Return labels: the cells whose middle lies in the n-th shape are n."""
    row, col = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for number, shape in enumerate(shapes, start=1):
        labels[shapely.contains_xy(shape, col.astype(float), row.astype(float))] = number
    return labels


def placed(shape, angle=0.0):
    return affinity.translate(affinity.rotate(shape, angle, origin=(0, 0)), 44.6, 45.3)


def polygons(labels, taste=TASTE):
    """Return all polygons in the raster's cells, by part of each group."""
    found = []
    for group in groups(labels):
        for shape in regularise(group, taste):
            moved = affinity.translate(shape.polygon, group.col0, group.row0)
            found.append((moved, shape.method))
    return found


def corners(polygon):
    return len(polygon.exterior.coords) - 1 + sum(len(r.coords) - 1 for r in polygon.interiors)


def iou(a, b):
    return a.intersection(b).area / a.union(b).area


@pytest.mark.parametrize("angle", [0, 3.3, 27, 45, 71.5])
@pytest.mark.parametrize(
    ("shape", "count"), [(RECTANGLE, 4), (ELL, 6), (COURTYARD, 8), (TRAPEZOID, 4)]
)
def test_straight_walls_come_back_with_their_corners(shape, count, angle):
    truth = placed(shape, angle)
    ((polygon, _),) = polygons(cells(truth))
    assert polygon.is_valid
    assert corners(polygon) == count
    assert iou(polygon, truth) > 0.95


def test_a_diagonal_house_keeps_its_direction():
    ((polygon, _),) = polygons(cells(placed(RECTANGLE, 31.0)))
    (x0, y0), (x1, y1) = polygon.exterior.coords[:2]
    turn = np.degrees(np.arctan2(y1 - y0, x1 - x0)) % 90
    assert abs(turn - 31.0) < 0.5


def test_a_hexagon_has_six_corners():
    truth = placed(HEXAGON, 8)
    ((polygon, _),) = polygons(cells(truth))
    assert iou(polygon, truth) > 0.95
    assert corners(polygon) == 6


@pytest.mark.parametrize(("side_m", "missing_m2", "count"), [(15, 12, 6), (36, 16, 4)])
def test_a_step_in_the_wall_of_a_house_is_noise_on_a_hall(side_m, missing_m2, count):
    half = side_m / 2 / TASTE.cell_m
    deep = missing_m2 / TASTE.cell_m**2 / half
    notch = shapely.box(0, half - deep, half, half)
    stepped = shapely.box(-half, -half, half, half) - notch
    ((polygon, _),) = polygons(cells(placed(stepped, 12.0)))
    assert corners(polygon) == count


def test_a_circle_is_round():
    truth = placed(CIRCLE)
    ((polygon, method),) = polygons(cells(truth))
    assert method == "circle"
    assert iou(polygon, truth) > 0.97


def test_a_small_courtyard_is_filled_and_a_large_one_kept():
    labels = cells(placed(COURTYARD))
    ((kept, _),) = polygons(labels)
    ((filled, _),) = polygons(labels, Taste(0.5, min_courtyard_m2=100.0))
    assert len(kept.interiors) == 1
    assert len(filled.interiors) == 0


@pytest.mark.parametrize("angle", [0, 18, 52])
def test_touching_houses_share_their_wall_exactly(angle):
    left, right = (
        placed(shapely.box(-16, -8, 1, 8), angle),
        placed(shapely.box(1, -8, 18, 8), angle),
    )
    (a, _), (b, _) = polygons(cells(left, right))
    assert a.intersection(b).area == 0.0
    shared = a.boundary.intersection(b.boundary)
    assert shared.length == pytest.approx(16, abs=1.0)
    assert set(a.exterior.coords) & set(b.exterior.coords)
    assert min(iou(a, left), iou(b, right)) > 0.94


def test_a_house_between_two_deeper_ones_touches_both_without_overlap():
    row = [shapely.box(-20, -8, -7, 8), shapely.box(-7, -5, 6, 5), shapely.box(6, -8, 20, 8)]
    truth = [placed(house, 23) for house in row]
    found = [polygon for polygon, _ in polygons(cells(*truth))]
    assert len(found) == 3
    for i, j in ((0, 1), (1, 2), (0, 2)):
        assert found[i].intersection(found[j]).area == 0.0
    assert all(max(iou(t, p) for p in found) > 0.92 for t in truth)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(1.0, 4.0))
def test_any_blob_gives_valid_polygons_that_do_not_overlap(seed, size):
    rng = np.random.default_rng(seed)
    blob = ndimage.gaussian_filter(rng.normal(size=(60, 60)), size)
    labels = np.digitize(blob / blob.std(), [0.3, 1.0]).astype(np.int32)
    found = separated([polygon for polygon, _ in polygons(labels)])
    assert all(p.is_valid and p.geom_type == "Polygon" for p in found)
    union = shapely.union_all(found).area
    assert sum(p.area for p in found) == pytest.approx(union, rel=1e-6)


def test_one_bad_shape_stops_nothing(monkeypatch):
    def broken(group, taste):
        raise ValueError("odd")

    monkeypatch.setattr("processes.outlines.regularise.regularise", broken)
    (group,) = groups(cells(placed(RECTANGLE)))
    (shape,) = outlined(group, TASTE)
    assert shape.method == "cells"
    assert shape.polygon.area == (group.labels > 0).sum()


def test_orientation_is_that_of_the_walls():
    mask = cells(placed(ELL, 12.0)) > 0
    assert np.degrees(orientation(contour(mask))) == pytest.approx(12.0, abs=0.3)


def test_drawing_a_polygon_takes_the_cells_whose_middle_it_holds():
    truth = placed(COURTYARD, 20)
    labels = cells(truth)
    (group,) = groups(labels)
    moved = affinity.translate(truth, -group.col0, -group.row0)

    class Drawn:
        polygon = moved

    np.testing.assert_array_equal(drawn([Drawn], group.labels.shape), group.labels)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_outlines_of_any_cells_between_lines_are_theirs(seed):
    """Polygons cover what `fit` gave their label, overlap nowhere, and are valid."""
    random = np.random.default_rng(seed)
    row, col = np.mgrid[:40, :50]
    labels = np.zeros((40, 50), np.int32)
    for number in range(1, 4):
        turn = random.choice([0.0, 0.3, random.uniform(0, np.pi)])
        x, y = col - random.uniform(12, 38), row - random.uniform(12, 28)
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        labels[(abs(along) < random.uniform(3, 12)) & (abs(across) < random.uniform(3, 9))] = number
    turns = random.choice([0.0, np.pi / 2, 0.3, 0.3 + np.pi / 2, 1.1], 9)
    through = random.uniform([8, 8], [42, 32], (9, 2))
    normals = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    lines = np.column_stack([normals, (normals * through).sum(axis=1)])
    group = Group(labels, 0, 0)
    fitted = fit(labels, lines, 0.0)
    found = arranged(fitted, group)
    every = [polygon for part in found.values() for polygon in part]
    assert all(polygon.is_valid for polygon in every)
    assert shapely.union_all(every).area == pytest.approx(sum(p.area for p in every))
    sides = np.stack([col, row], axis=-1) @ fitted.lines[:, :2].T - fitted.lines[:, 2]
    names = ((sides > 0).astype(np.int64) << np.arange(len(fitted.lines))).sum(axis=-1)
    at = np.minimum(np.searchsorted(fitted.names, names), len(fitted.names) - 1)
    # what lies on a line or in a sliver is either's
    clear = (abs(sides) > 1e-6).all(axis=-1) & (fitted.names[at] == names)
    wanted = fitted.labels[at]
    for part in range(4):
        inside = shapely.contains_xy(shapely.MultiPolygon(found.get(part, [])), col, row)
        assert_array_equal(inside[clear], (wanted == part)[clear] & (part > 0))
