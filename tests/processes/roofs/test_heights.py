"""Heights under an outline, on rasters whose heights are known."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter
from shapely.affinity import rotate
from shapely.geometry import box

from processes.core.raster import Grid, Raster
from processes.roofs.heights import (
    DEEPEST_M,
    NoHeights,
    inset_of,
    measure,
    under,
    window_over,
)

GRID = Grid("EPSG:32631", Affine(0.5, 0, 431000.0, 0, -0.5, 5290100.0), 200, 200)
HOUSE = box(431020, 5290030, 431032, 5290050)


def raster(values):
    return Raster(np.broadcast_to(np.asarray(values, np.float32), GRID.shape).copy(), GRID)


def scene(roof_m=150.0, ground_m=140.0):
    """Return a surface with a box of known height on HOUSE, and its terrain."""
    x, y = GRID.xy(*np.mgrid[0:200, 0:200])
    inside = (x > 431020) & (x < 431032) & (y > 5290030) & (y < 5290050)
    return raster(np.where(inside, roof_m, ground_m)), raster(ground_m)


def measured(outline, dsm, dtm):
    cells = under(outline, dsm)
    return measure(cells, inset_of(cells), under(outline, dtm))


def test_a_box_has_one_height():
    dsm, dtm = scene(150.0, 140.0)
    heights = measured(HOUSE, dsm, dtm)
    assert (heights.min_m, heights.median_m, heights.max_m, heights.roof_m) == (150,) * 4
    assert heights.ground_m == heights.base_m == 140


def test_blurred_walls_do_not_lower_the_roof():
    dsm, dtm = scene(150.0, 140.0)
    blurred = Raster(gaussian_filter(dsm.values, 1.0), GRID)
    heights = measured(HOUSE, blurred, dtm)
    assert heights.roof_m == pytest.approx(150.0, abs=0.02)
    assert heights.inset_m == 1.0


def test_single_wrong_cells_do_not_set_the_extremes():
    dsm, dtm = scene()
    row, col = (round(float(v)) for v in GRID.rowcol(431026.0, 5290040.0))
    dsm.values[row, col] = 400.0
    assert measured(HOUSE, dsm, dtm).max_m == 150.0


@pytest.mark.parametrize("half_m", [4.0, 6.0, 9.0])
@pytest.mark.parametrize("hip", [False, True])
def test_the_rim_that_is_not_read_counts_as_the_lowest_part_of_a_roof(half_m, hip):
    x, y = GRID.xy(*np.mgrid[0:200, 0:200])
    rise = half_m - np.abs(y - 5290040)
    if hip:
        rise = np.minimum(rise, 11 - np.abs(x - 431026))
    house = box(431015, 5290040 - half_m, 431037, 5290040 + half_m)
    dsm, dtm = raster(150 + 0.7 * rise), scene()[1]
    inside = shapely.contains_xy(house, x, y)
    found = measured(house, dsm, dtm)
    assert found.roof_m == pytest.approx(np.median(dsm.values[inside]), abs=0.2)
    assert found.median_m > found.roof_m + 0.15


def test_a_shed_is_read_without_inset():
    shed = box(431020, 5290030, 431021.8, 5290032)
    dsm, dtm = scene()
    heights = measured(shed, dsm, dtm)
    assert heights.roof_m == 150.0
    assert heights.inset_m < 1.0


def test_a_building_on_a_slope_stands_on_its_lowest_ground():
    x, _ = GRID.xy(*np.mgrid[0:200, 0:200])
    dtm = raster(140 + 0.1 * (x - 431020))
    heights = measured(HOUSE, scene()[0], dtm)
    assert heights.base_m == pytest.approx(140.0, abs=0.05)
    assert heights.ground_m == pytest.approx(140.6, abs=0.01)


@pytest.mark.parametrize(
    "outline", [HOUSE, box(0, 0, 10, 10)], ids=["only voids", "beside the raster"]
)
def test_without_surface_there_is_no_height(outline):
    with pytest.raises(NoHeights, match="surface"):
        inset_of(under(outline, raster(np.nan)))


def test_without_terrain_there_is_no_ground():
    with pytest.raises(NoHeights, match="terrain"):
        measured(HOUSE, scene()[0], raster(np.nan))


@pytest.mark.parametrize("turn", [0.0, 30.0, 101.0])
def test_cells_under_an_outline_know_how_deep_inside_they_lie(turn):
    court = rotate(
        HOUSE.difference(box(431024, 5290036, 431028, 5290044)), turn, origin=(431026, 5290040)
    )
    found = under(court, raster(np.arange(200.0)))
    x, y = GRID.xy(*np.mgrid[0:200, 0:200])
    inside = shapely.contains_xy(court, x, y)
    assert_allclose([found.x, found.y], [x[inside], y[inside]])
    assert_allclose(found.z, np.broadcast_to(np.arange(200.0), (200, 200))[inside])
    away = shapely.distance(court.boundary, shapely.points(found.x, found.y))
    assert_allclose(found.depth_m, np.minimum(away, DEEPEST_M), atol=1e-5)


def test_an_outline_across_the_edge_has_the_cells_that_there_are():
    corner = box(430990, 5290090, 431002, 5290110)
    assert len(under(corner, raster(1.0)).z) == 4 * 20


def test_a_window_holds_every_cell_that_touches():
    assert window_over((431000.1, 5290099.0, 431000.9, 5290099.9), GRID) == (0, 0, 3, 2)
