"""Cells beside walls are of the roof where all images show it there, of the ground elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from processes.core.origin import Origin
from processes.core.raster import Grid
from processes.stereo.fuse import Filled, fill
from processes.stereo.rpc import read_document
from processes.stereo.view import View
from processes.stereo.walls import sided

SCENE = Path(__file__).parents[2] / "data/scenes/village"
LEFT, RIGHT = (
    read_document(name, (SCENE / f"truth/{name}_true_RPC.TXT").read_text())
    for name in ("left", "right")
)
X, Y = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform(
    *LEFT.locate(450, 450, 145.0)
)
GRID = Grid("EPSG:32631", Affine(0.5, 0, float(X) - 15, 0, -0.5, float(Y) + 15), 60, 60)
TO_DEGREES = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True).transform
GROUND_M, ROOF_M = 145.0, 152.0
TILES, LAWN = (900.0, 1000.0), (300.0, 600.0)
ROW, COL = np.mgrid[:60, :60]
WHOLE = (ROW >= 20) & (ROW < 40) & (COL >= 20) & (COL < 40)
LOST = WHOLE & (COL >= 34)
WIDER = (ROW >= 20) & (ROW < 40) & (COL >= 20) & (COL < 42)

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def voids(lost: Mask = LOST) -> Filled:
    """Return a house of 10 m as it is filled where its last columns and a rim are not measured."""
    dsm = np.where(WHOLE, ROOF_M, GROUND_M).astype(np.float32)
    rim = (ROW >= 18) & (ROW < 42) & (COL >= 40) & (COL < 42)
    return fill(np.where(lost | rim, np.float32(np.nan), dsm), cell_m=0.5)


def carried_out() -> Filled:
    """Return the house as if its roof had been matched two cells out over the street."""
    return fill(np.where(WIDER, ROOF_M, GROUND_M).astype(np.float32), cell_m=0.5)


def view(model, roof: Mask = WHOLE) -> View:  # type: ignore[no-untyped-def]
    """Return an image of a lawn with tiles where the cells of a roof are seen."""
    image = np.empty((2, 900, 900), np.float32)
    image[:] = np.array(LAWN, np.float32)[:, None, None]
    # thrice as dense as cells, so that no pixel is left out
    row, col = (np.nonzero(np.kron(roof, np.ones((3, 3))))[i] / 3 - 1 / 3 for i in (0, 1))
    r, c = model.project(*TO_DEGREES(*GRID.xy(row, col)), np.full(row.shape, ROOF_M))
    for band in range(2):
        image[band, np.rint(r).astype(int), np.rint(c).astype(int)] = TILES[band]

    def read(row0: int, col0: int, height: int, width: int) -> Floats:
        return image[:, row0 : row0 + height, col0 : col0 + width]

    return View(model.name, model, (900, 900), read)


def seen_as(view: View, change: Callable[[Floats], Floats]) -> View:
    """Return the view with what it reads changed."""
    return replace(view, read=lambda *at: change(view.read(*at)))


VIEWS = [view(LEFT), view(RIGHT)]


def nothing(where: Mask, _: Floats) -> Mask:
    return np.zeros_like(where)


def judged(
    filled: Filled, views: list[View], grid: Grid = GRID, green: Callable[..., Mask] = nothing
) -> tuple[Floats, NDArray[np.uint8]]:
    return sided(filled.dsm, filled.origin, filled, grid, 0.5, views, TO_DEGREES, green)


def test_a_lost_part_of_a_roof_is_roof_again() -> None:
    assert (voids().dsm[LOST] < GROUND_M + 1).mean() > 0.9
    dsm, origin = judged(voids(), VIEWS)
    near, roof = LOST & (COL < 38), origin == Origin.FILLED_GAP
    assert roof[near].mean() > 0.95
    assert dsm[roof] == pytest.approx(ROOF_M)
    assert not (dsm[COL > 40] > GROUND_M + 1).any()


@pytest.mark.parametrize("roofs", [(~LOST & WHOLE,) * 2, (WHOLE, ~LOST & WHOLE)])
def test_what_looks_like_the_roof_in_one_image_or_none_stays_ground(roofs) -> None:  # type: ignore[no-untyped-def]
    views = [view(model, roof) for model, roof in zip((LEFT, RIGHT), roofs, strict=True)]
    dsm, origin = judged(voids(), views)
    beyond = COL > 34  # images round to pixels beside what was measured
    assert (dsm[beyond] == voids().dsm[beyond]).all()
    assert (origin[beyond] == voids().origin[beyond]).all()


def test_a_roof_that_was_matched_out_over_the_street_ends_where_images_show_its_end() -> None:
    dsm, origin = judged(carried_out(), VIEWS)
    street = (COL == 41) & (ROW > 21) & (ROW < 38)  # images round to pixels beside the true end
    assert dsm[street] == pytest.approx(GROUND_M)
    assert (origin[street] == Origin.FILLED_OCCLUSION).all()
    assert (dsm[WHOLE] == ROOF_M).all()


def test_a_roof_as_wide_as_images_show_it_stays() -> None:
    views = [view(model, WIDER) for model in (LEFT, RIGHT)]
    dsm, origin = judged(carried_out(), views)
    assert (dsm == carried_out().dsm).all()
    assert (origin == Origin.SEEN).all()


def test_crowns_may_look_like_anything() -> None:
    dsm, _ = judged(carried_out(), VIEWS, green=lambda where, _: where)
    assert (dsm == carried_out().dsm).all()


@pytest.mark.parametrize("filled", [voids(), carried_out()])
def test_images_of_another_light_or_of_other_bands_are_as_good(filled: Filled) -> None:
    usual = judged(filled, VIEWS)[0]
    brighter = seen_as(VIEWS[1], lambda bands: 2 * bands)
    assert (judged(filled, [VIEWS[0], brighter])[0] == usual).all()
    grey = [seen_as(view, lambda bands: bands.mean(axis=0, keepdims=True)) for view in VIEWS]
    for views in ([VIEWS[0], grey[1]], grey):
        assert (judged(filled, views)[0] == usual).mean() > 0.99


def test_an_image_that_shows_none_of_it_changes_nothing() -> None:
    elsewhere = View("far", LEFT.corrected(5000.0, 0.0), (900, 900), VIEWS[0].read)
    usual, found = judged(voids(), VIEWS), judged(voids(), [*VIEWS, elsewhere])
    assert all((one == other).all() for one, other in zip(usual, found, strict=True))
    dsm, _ = judged(voids(), [VIEWS[0], elsewhere])
    assert (dsm == voids().dsm).all()


def test_what_is_known_to_be_a_crown_stays_one() -> None:
    filled = voids()
    origin = np.where(LOST, np.uint8(Origin.CROWN), filled.origin)
    dsm, _ = judged(filled._replace(origin=origin), VIEWS)
    assert (dsm[LOST] == filled.dsm[LOST]).all()


@pytest.mark.parametrize("filled", [voids(), carried_out()])
def test_blocks_that_overlap_agree(filled: Filled) -> None:
    whole = judged(filled, VIEWS)[0]
    inner = np.s_[5:, 7:]
    x, y = GRID.xy(5, 7)
    corner = Affine(0.5, 0, float(x) - 0.25, 0, -0.5, float(y) + 0.25)
    part = Filled(*(layer[inner] for layer in filled))
    found = judged(part, VIEWS, Grid(GRID.crs, corner, *part.dsm.shape))[0]
    assert (found == whole[inner]).all()
