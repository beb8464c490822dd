"""Crowns are completed where every image is green, walls and bare ground are left as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from processes.core.raster import Grid
from processes.stereo.canopy import FALL, colour, green, raised, typical_red
from processes.stereo.rpc import read_document
from processes.stereo.view import View

SCENE = Path(__file__).parents[2] / "data/scenes/village"
LEFT, RIGHT = (
    read_document(name, (SCENE / f"truth/{name}_true_RPC.TXT").read_text())
    for name in ("left", "right")
)
MIDDLE = LEFT.locate(450, 450, 145.0)
X, Y = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform(*MIDDLE)
GRID = Grid("EPSG:32631", Affine(0.5, 0, float(X) - 15, 0, -0.5, float(Y) + 15), 60, 60)
TO_DEGREES = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True).transform
TYPICAL = float(np.log(300.0))
GREEN, BARE, NOTHING = (200.0, 800.0), (600.0, 650.0), (np.nan, np.nan)
ROW, COL = np.mgrid[:60, :60]


def view(model, colours: tuple[float, float]) -> View:  # type: ignore[no-untyped-def]
    def read(row0: int, col0: int, height: int, width: int) -> NDArray[np.float32]:
        shape = np.ones((2, height, width), np.float32)
        return shape * np.array(colours, np.float32)[:, None, None]

    return View(model.name, model, (900, 900), read, read)


@pytest.fixture
def tree() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Ground at 145 m, half a crown at 153 m measured, 3 m beside it filled from the ground."""
    dsm = np.full(GRID.shape, 145.0, np.float32)
    dsm[20:30, 20:30] = 153.0
    measured = np.ones(GRID.shape, bool)
    measured[20:30, 30:36] = False
    return dsm, measured


def completed(
    tree: tuple[NDArray[np.float32], NDArray[np.bool_]], *colours: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    views = [view(model, c) for model, c in zip((LEFT, RIGHT), colours, strict=True)]
    return raised(*tree, GRID, views, TO_DEGREES, TYPICAL)


def test_a_green_void_goes_up_to_the_crown_and_falls_off_with_distance(tree) -> None:  # type: ignore[no-untyped-def]
    dsm, crown = completed(tree, GREEN, GREEN)
    assert (crown.sum(axis=0) > 0).nonzero()[0].tolist() == [30, 31, 32, 33]
    assert dsm[25, 30:34] == pytest.approx(145 + 8 * (1 - FALL * np.array([0.5, 1.0, 1.5, 2.0])))
    assert (dsm[~crown] == tree[0][~crown]).all()


def test_what_is_as_bright_as_the_lawns_is_lawn(tree) -> None:  # type: ignore[no-untyped-def]
    """Both images show a dark crown, beside it either the same or a lawn as green but brighter."""
    dark, bright = (100.0, 400.0), (300.0, 1200.0)
    east, north = GRID.xy(np.array([24.5, 25.0]), np.array([32.0, 32.0]))
    lon, lat = TO_DEGREES(east, north)

    def painted(model, beside: tuple[float, float]) -> View:  # type: ignore[no-untyped-def]
        middle = [float(v[0]) for v in model.project(lon, lat, np.full(2, 149.0))]
        image = np.empty((2, 900, 900), np.float32)
        image[:] = np.array(bright, np.float32)[:, None, None]
        r, c = (round(v) for v in middle)
        image[:, r - 12 : r + 13, c - 16 : c + 17] = np.array(beside)[:, None, None]
        image[:, r - 12 : r + 13, c - 16 : c - 3] = np.array(dark)[:, None, None]

        def read(row0: int, col0: int, height: int, width: int) -> NDArray[np.float32]:
            return image[:, row0 : row0 + height, col0 : col0 + width]

        return View(model.name, model, (900, 900), read, read)

    crowns = [
        raised(
            *tree, GRID, [painted(LEFT, beside), painted(RIGHT, beside)], TO_DEGREES, np.log(200.0)
        )[1].sum()
        for beside in (dark, bright)
    ]
    assert crowns[0] > 2 * crowns[1]


@pytest.mark.parametrize("colours", [(GREEN, BARE), (BARE, GREEN), (BARE, BARE), (NOTHING, GREEN)])
def test_a_void_that_is_not_green_to_all_stays_with_the_ground(tree, colours) -> None:  # type: ignore[no-untyped-def]
    dsm, crown = completed(tree, *colours)
    assert not crown.any()
    assert (dsm == tree[0]).all()


def test_the_typical_red_is_that_of_what_is_green() -> None:
    at = [LEFT.locate(*place, 145.0) for place in ((300.0, 300.0), (600.0, 500.0), (-90.0, 0.0))]
    lon, lat = (np.array([float(point[i]) for point in at]) for i in (0, 1))
    for colours, red in ((GREEN, np.log(200.0)), (BARE, None), (NOTHING, None)):
        found = typical_red([view(LEFT, colours), view(RIGHT, BARE)], lon, lat, 145.0)
        assert found == (red and pytest.approx(red))


def test_without_near_infrared_nothing_is_changed(tree) -> None:  # type: ignore[no-untyped-def]
    views = [View(m.name, m, (900, 900), view(m, GREEN).read) for m in (LEFT, RIGHT)]
    assert not raised(*tree, GRID, views, TO_DEGREES, TYPICAL)[1].any()


def test_points_beyond_an_image_are_not_seen_by_it() -> None:
    at = [LEFT.locate(row, 450.0, 145.0) for row in (450.0, -5.0)]
    lon, lat = (np.array([float(point[i]) for point in at]) for i in (0, 1))
    ndvi, red = colour(view(LEFT, GREEN), lon, lat, np.full(2, 145.0, np.float32))
    assert ndvi == pytest.approx([0.6, np.nan], nan_ok=True)
    assert red == pytest.approx([200.0, np.nan], nan_ok=True)


def test_one_of_three_views_may_see_something_else(tree) -> None:  # type: ignore[no-untyped-def]
    def crowns(*colours: tuple[float, float]) -> int:
        views = [view(model, c) for model, c in zip((LEFT, RIGHT, LEFT), colours, strict=True)]
        return int(raised(*tree, GRID, views, TO_DEGREES, TYPICAL)[1].sum())

    assert crowns(GREEN, BARE, GREEN) == crowns(GREEN, GREEN, GREEN) > 0
    assert crowns(GREEN, BARE, BARE) == 0
    assert crowns(GREEN, BARE, NOTHING) == 0


def test_what_a_further_pair_sees_is_crown_where_it_is_green() -> None:
    where = (ROW > 10) & (ROW < 20) & (COL > 10) & (COL < 40)
    heights = np.full(GRID.shape, 153.0, np.float32)

    def leaves(*colours: tuple[float, float]) -> NDArray[np.bool_]:
        views = [view(model, c) for model, c in zip((LEFT, RIGHT), colours, strict=True)]
        return green(where, heights, GRID, views, TO_DEGREES, TYPICAL)

    assert (leaves(GREEN, GREEN) == where).all()
    assert not leaves(GREEN, BARE).any()
