"""Footprint figures on squares and L shapes worked out by hand, and on real outlines."""

import geopandas
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import MultiPolygon, Polygon, box

from processes.accuracy.outlines import (
    corner_count,
    matches,
    orientation_deg,
    orientation_error_deg,
    outline_figures,
    polis,
)

SQUARE = box(0, 0, 10, 10)
ELL = Polygon([(0, 0), (10, 0), (10, 4), (4, 4), (4, 10), (0, 10)])


def test_three_houses_of_which_one_is_moved_and_one_missed():
    reference = [SQUARE, box(20, 0, 30, 10), box(40, 0, 50, 10)]
    product = [SQUARE, box(22, 0, 32, 10), box(90, 90, 95, 95), box(80, 0, 83, 3)]
    f = outline_figures(product, reference)
    assert (f.product, f.reference, f.matches) == (4, 3, 2)
    assert f.precision == pytest.approx(2 / 4)
    assert f.recall == pytest.approx(2 / 3)
    assert f.f1 == pytest.approx(4 / 7)
    # moved by 2 of 10: 80 common of 120 in all
    assert f.mean_iou == pytest.approx((1 + 80 / 120) / 2)
    assert f.mean_c_iou == pytest.approx(f.mean_iou)
    assert f.vertex_ratio == 1
    assert f.orientation_error_deg == pytest.approx(0, abs=1e-9)


def test_corners_that_are_too_many_cost_c_iou():
    notched = Polygon([(0, 0), (10, 0), (10, 9), (9, 9), (9, 10), (0, 10)])
    f = outline_figures([notched], [SQUARE])
    assert f.mean_iou == pytest.approx(0.99)
    assert f.mean_c_iou == pytest.approx(0.99 * (1 - 2 / 10))
    assert f.vertex_ratio == pytest.approx(6 / 4)


def test_polis_of_a_shifted_square():
    # two corners lie on the other boundary's line and 1 m beyond an end, two 1 m inside
    assert polis(SQUARE, affinity.translate(SQUARE, 1, 0)) == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert polis(SQUARE, box(1, 1, 9, 9)) == pytest.approx((np.sqrt(2) + 1) / 2)


def test_points_on_a_straight_wall_are_no_corners():
    dense = SQUARE.segmentize(0.7)
    assert len(dense.exterior.coords) > 50
    assert corner_count(dense) == 4
    assert corner_count(ELL) == 6
    assert corner_count(SQUARE - box(2, 2, 5, 5)) == 8


@given(st.floats(0, 89.9), st.floats(0.2, 3))
def test_orientation_turns_with_the_building(angle, stretch):
    turned = affinity.rotate(affinity.scale(ELL, stretch, 1), angle, origin=(0, 0))
    off = abs(orientation_deg(turned) - angle) % 90
    assert min(off, 90 - off) < 1e-6


def test_orientation_error_is_modulo_a_right_angle():
    assert orientation_error_deg(ELL, affinity.rotate(ELL, 92)) == pytest.approx(2)
    assert orientation_error_deg(ELL, affinity.rotate(ELL, -47)) == pytest.approx(43)


def test_a_match_is_one_to_one_and_the_best_there_is():
    # overlapping product outlines both fit the first reference; one alone fits the second
    reference = [box(0, 0, 10, 10), box(0, 6, 10, 16)]
    product = [box(0, 1, 10, 11), box(0, 3, 10, 13)]
    found = matches(product, reference, 0.3)
    assert [(m.product, m.reference) for m in found] == [(0, 0), (1, 1)]


def test_several_parts_and_broken_rings_are_taken_as_they_are():
    parts = MultiPolygon([box(0, 0, 4, 4), box(6, 0, 10, 4)])
    bowtie = Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])
    assert outline_figures([parts], [parts]).mean_iou == pytest.approx(1)
    assert outline_figures([bowtie], [bowtie]).f1 == 1


def test_nothing_against_something():
    f = outline_figures([], [SQUARE])
    assert (f.recall, f.f1, f.matches) == (0, 0, 0)
    assert np.isnan(f.precision)
    assert np.isnan(f.mean_iou)
    assert np.isnan(outline_figures([], []).f1)


@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_figures_are_symmetric_where_they_should_be(dx, dy):
    moved = affinity.translate(ELL, dx, dy)
    there, back = outline_figures([moved], [ELL]), outline_figures([ELL], [moved])
    assert there.f1 == back.f1
    assert there.mean_polis_m == pytest.approx(back.mean_polis_m, nan_ok=True)
    assert there.mean_c_iou == pytest.approx(back.mean_c_iou, nan_ok=True)


def test_real_outlines_of_two_hands(shared_data):
    folder = shared_data / "footprints/atlanta/eval_vector"
    name = "10_104005000FDC8300.geojson"
    product = geopandas.read_file(folder / "preds" / name).to_crs(32631)
    reference = geopandas.read_file(folder / "gt" / name).to_crs(32631)
    f = outline_figures(product.geometry, reference.geometry)
    again = outline_figures(product.geometry, product.geometry)
    assert f.matches <= min(len(product), len(reference))
    assert f.f1 == pytest.approx(
        2 * f.precision * f.recall / (f.precision + f.recall) if f.matches else 0
    )
    assert (again.f1, again.vertex_ratio) == (1, 1)
    assert again.mean_polis_m == pytest.approx(0)
