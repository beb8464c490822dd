"""Voids go up to the roof beside them where all images show that roof there, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from processes.core.origin import Origin
from processes.core.raster import Grid
from processes.stereo.fuse import Filled, fill
from processes.stereo.housetops import roofed
from processes.stereo.rpc import read_document
from processes.stereo.view import View

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


def voids(lost: NDArray[np.bool_] = LOST) -> Filled:
    """Return a house of 10 m as it is filled where its last columns and a rim are not measured."""
    dsm = np.where(WHOLE, ROOF_M, GROUND_M).astype(np.float32)
    rim = (ROW >= 18) & (ROW < 42) & (COL >= 40) & (COL < 42)
    return fill(np.where(lost | rim, np.float32(np.nan), dsm), cell_m=0.5)


def view(model, roof: NDArray[np.bool_]) -> View:  # type: ignore[no-untyped-def]
    """Return an image of a lawn with tiles where the cells of a roof are seen."""
    image = np.empty((2, 900, 900), np.float32)
    image[:] = np.array(LAWN, np.float32)[:, None, None]
    # thrice as dense as cells, so that no pixel is left out
    row, col = (np.nonzero(np.kron(roof, np.ones((3, 3))))[i] / 3 - 1 / 3 for i in (0, 1))
    r, c = model.project(*TO_DEGREES(*GRID.xy(row, col)), np.full(row.shape, ROOF_M))
    for band in range(2):
        image[band, np.rint(r).astype(int), np.rint(c).astype(int)] = TILES[band]

    def read(row0: int, col0: int, height: int, width: int) -> NDArray[np.float32]:
        return image[:, row0 : row0 + height, col0 : col0 + width]

    return View(model.name, model, (900, 900), read, read)


def completed(
    *roofs: NDArray[np.bool_], lost: NDArray[np.bool_] = LOST
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    filled = voids(lost)
    views = [view(model, roof) for model, roof in zip((LEFT, RIGHT), roofs, strict=True)]
    return roofed(filled, filled.dsm, filled.origin, GRID, views, TO_DEGREES)


def test_a_lost_part_of_a_roof_is_roof_again() -> None:
    assert (voids().dsm[LOST] < GROUND_M + 1).mean() > 0.9
    dsm, roof = completed(WHOLE, WHOLE)
    near = LOST & (COL < 38)
    assert roof[near].mean() > 0.95
    assert dsm[roof] == pytest.approx(ROOF_M)
    assert not roof[~LOST & (COL > 40)].any()


@pytest.mark.parametrize("roofs", [(~LOST & WHOLE,) * 2, (WHOLE, ~LOST & WHOLE)])
def test_what_looks_like_the_roof_in_one_image_or_none_stays_ground(roofs) -> None:  # type: ignore[no-untyped-def]
    dsm, roof = completed(*roofs)
    assert not roof[COL > 34].any()  # images round to pixels beside what was measured
    assert (dsm[~roof] == voids().dsm[~roof]).all()


def test_images_of_another_light_are_as_good() -> None:
    """Twice as bright, the second image differs everywhere, on the roof as in the void."""
    filled = voids()
    left, right = view(LEFT, WHOLE), view(RIGHT, WHOLE)
    brighter = View("bright", RIGHT, right.shape, right.read, lambda *at: 2 * right.read(*at))
    usual = roofed(filled, filled.dsm, filled.origin, GRID, [left, right], TO_DEGREES)[1]
    other = roofed(filled, filled.dsm, filled.origin, GRID, [left, brighter], TO_DEGREES)[1]
    assert (other == usual).all()


def test_without_near_infrared_voids_stay_as_they_are() -> None:
    filled = voids()
    views = [View(m.name, m, (900, 900), view(m, WHOLE).read) for m in (LEFT, RIGHT)]
    dsm, roof = roofed(filled, filled.dsm, filled.origin, GRID, views, TO_DEGREES)
    assert not roof.any()
    assert (dsm == filled.dsm).all()


def test_what_is_known_to_be_a_crown_stays_one() -> None:
    filled = voids()
    origin = np.where(LOST, np.uint8(Origin.CROWN), filled.origin)
    views = [view(model, WHOLE) for model in (LEFT, RIGHT)]
    assert not roofed(filled, filled.dsm, origin, GRID, views, TO_DEGREES)[1][LOST].any()


def test_blocks_that_overlap_agree() -> None:
    filled = voids()
    views = [view(model, WHOLE) for model in (LEFT, RIGHT)]
    whole = roofed(filled, filled.dsm, filled.origin, GRID, views, TO_DEGREES)[1]
    inner = np.s_[5:, 7:]
    x, y = GRID.xy(5, 7)
    corner = Affine(0.5, 0, float(x) - 0.25, 0, -0.5, float(y) + 0.25)
    part = Filled(
        filled.dsm[inner], filled.origin[inner], filled.upper[inner], filled.upper_px[inner]
    )
    grid = Grid(GRID.crs, corner, *part.dsm.shape)
    found = roofed(part, part.dsm, part.origin, grid, views, TO_DEGREES)[1]
    assert (found == whole[inner]).all()
