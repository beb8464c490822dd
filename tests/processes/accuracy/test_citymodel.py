"""Buildings read back from CityJSON: their plan, their height, their roofs."""

import json

import numpy as np
import pytest

from processes.accuracy.citymodel import outlines_of, roof_heights
from processes.core.errors import AssetUnreadable
from processes.core.raster import Grid

GRID = Grid.covering((0, 0, 20, 20), 0.5, "EPSG:32631")


def house():
    """Return a house of 10 by 8 m, eaves at 103 m, ridge along x at 105 m, in millimetres."""
    corners = [(x, y, 100.0) for x, y in ((5, 5), (15, 5), (15, 13), (5, 13))]
    eaves = [(x, y, 103.0) for x, y, _ in corners]
    ridge = [(5.0, 9.0, 105.0), (15.0, 9.0, 105.0)]
    vertices = [[round(v * 1000) for v in vertex] for vertex in corners + eaves + ridge]
    faces = [
        ([0, 3, 2, 1], 0),
        ([0, 1, 5, 4], 1),
        ([2, 3, 7, 6], 1),
        ([1, 2, 6, 9, 5], 1),
        ([3, 0, 4, 8, 7], 1),
        ([4, 5, 9, 8], 2),
        ([6, 7, 8, 9], 2),
    ]
    kinds = [{"type": kind} for kind in ("GroundSurface", "WallSurface", "RoofSurface")]
    return {
        "type": "CityJSON",
        "version": "2.0",
        "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/32631"},
        "transform": {"scale": [0.001] * 3, "translate": [0, 0, 0]},
        "vertices": vertices,
        "CityObjects": {
            "h": {
                "type": "Building",
                "geometry": [
                    {
                        "type": "Solid",
                        "lod": "2.0",
                        "boundaries": [[[ring] for ring, _ in faces]],
                        "semantics": {"surfaces": kinds, "values": [[kind for _, kind in faces]]},
                    }
                ],
            }
        },
    }


def test_a_gable_roof_is_drawn_plane_by_plane():
    heights = roof_heights(json.dumps(house()), GRID)
    row, col = np.mgrid[:40, :40]
    x, y = GRID.xy(row, col)
    under = (x > 5) & (x < 15) & (y > 5) & (y < 13)
    np.testing.assert_array_equal(np.isfinite(heights), under)
    np.testing.assert_allclose(heights[under], (105 - abs(y - 9) / 2)[under], atol=1e-3)


def test_a_model_is_moved_as_asked_and_clipped_at_the_rim():
    heights = roof_heights(json.dumps(house()), GRID, move=(-10.0, 0.0, 2.0))
    assert np.isfinite(heights[:, :10]).any()
    assert np.isnan(heights[:, 10:]).all()
    assert np.nanmax(heights) == pytest.approx(107, abs=0.2)


def test_the_plan_is_the_shadow_and_the_height_highest_minus_lowest():
    houses = outlines_of(json.dumps(house()))
    assert houses.crs.to_epsg() == 32631
    assert houses.geometry.area.tolist() == pytest.approx([80])
    assert houses["height_m"].tolist() == pytest.approx([5])


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"vertices": [], "CityObjects": {"a": 1}}'])
def test_what_is_no_cityjson_is_named(text):
    with pytest.raises(AssetUnreadable, match="CityJSON"):
        outlines_of(text)
