"""Roof, building and class figures against cases worked out by hand."""

import numpy as np
import pytest

from processes.accuracy.buildings import building_figures
from processes.accuracy.classes import asprs_class, citygml_lod
from processes.accuracy.roofs import pitch_error_deg, roof_figures

NAN = np.nan


def test_a_roof_missed_in_one_cell_and_invented_in_another():
    model = np.array([10.0, 12.0, NAN, 5.0, NAN])
    truth = np.array([10.5, 12.0, 8.0, NAN, NAN])
    ground = np.ones(5)
    f = roof_figures(model, truth, ground)
    assert f.rmse_m == pytest.approx(np.sqrt(0.25 / 2))
    assert f.bias_m == pytest.approx(-0.25)
    # 0.5, 0, 8 − 1 missed, 5 − 1 invented
    assert f.mae_union_m == pytest.approx((0.5 + 0 + 7 + 4) / 4)
    assert (f.common_cells, f.union_cells) == (2, 4)


def test_no_roofs_no_figures():
    f = roof_figures(np.full(3, NAN), np.full(3, NAN), np.zeros(3))
    assert np.isnan(f.rmse_m)
    assert np.isnan(f.mae_union_m)


def test_pitch_errors_weigh_by_area():
    assert pitch_error_deg([30, 40], [33, 40], [100, 200]) == pytest.approx(1)
    assert np.isnan(pitch_error_deg([], [], []))


def test_four_buildings_one_of_them_unknown():
    f = building_figures(np.array([10.0, 5.5, 7.0, NAN]), np.array([9.0, 6.0, 9.0, 8.0]))
    assert f.median_error_m == pytest.approx(1.0)
    assert f.bias_m == pytest.approx(-0.5)
    assert f.within_1m == pytest.approx(2 / 3)
    assert f.compared == 3


@pytest.mark.parametrize(
    ("rmse_m", "class_cm"), [(0.149, 15), (0.15, 15), (0.1501, 16), (0.001, 1)]
)
def test_the_asprs_class_is_the_smallest_that_holds_the_error(rmse_m, class_cm):
    assert asprs_class(rmse_m, 30, direction="vertical").class_cm == class_cm


def test_too_few_check_points_give_no_class():
    refused = asprs_class(0.1, 29, direction="horizontal")
    assert refused.class_cm is None
    assert "30" in refused.reason
    assert asprs_class(NAN, 40, direction="vertical").class_cm is None


@pytest.mark.parametrize(
    ("horizontal_m", "vertical_m", "lod"),
    [(0.4, 0.5, 3), (0.4, 0.6, 2), (2.0, 0.1, 2), (2.1, 5.0, 1), (5.1, 0.1, 0)],
)
def test_a_citygml_level_holds_both_errors(horizontal_m, vertical_m, lod):
    assert citygml_lod(horizontal_m, vertical_m) == lod
