"""Roofs as an orthoimage shows them: one small atlas a tile, and one colour from afar.

A true ortho has each roof in its place, so a roof's corner lies in the picture where it lies on
the map. Of each building the rectangle around its roofs is cut out, and the rectangles are
packed on shelves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiles.blocks import ROOF
from tiles.glb import Picture
from tiles.mesh import Faces, face_sizes, starts
from tiles.picture import MapPicture, jpeg
from tiles.scene import linear

PADDING_PX = 2
"""Of picture around each roof, so that filtering draws nothing from its neighbours."""
LARGEST_PX = 1024
"""Sides of rectangles; larger roofs are shown with every second, third … pixel."""
READ_PX = 4096
"""Windows up to this size are read once for all roofs in them."""

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def roof_picture(
    plan: Floats, roof: NDArray[np.bool_], owner: Numbers, picture: MapPicture
) -> Picture | None:
    """Return the atlas of a tile's roofs, or None where the picture shows none of them.

    *plan* is (n, 2) x and y of the tile's corners in the picture's system, *roof* says which are
    a roof's, and *owner* which building's.
    """
    rows, cols = picture.grid.rowcol(plan[:, 0], plan[:, 1])
    place = np.column_stack([rows, cols])
    rectangles = _rectangles(place[roof], owner[roof], int(owner.max()) + 1, picture.grid.shape)
    cut = _cuts(rectangles, picture)
    if not cut:
        return None
    atlas, corner, step = _packed(cut, len(rectangles))
    inside = (place - rectangles[owner, :2] + 0.5) / step[owner, None] + corner[owner]
    share = inside / atlas.shape[:2]
    share[~roof] = np.nan
    return Picture(jpeg(atlas), share[:, ::-1])


def mean_colours(
    table: Faces, palette: NDArray[np.uint8], picture: MapPicture
) -> NDArray[np.uint8]:
    """Return *palette* with each roof in its mean colour in the picture, where it is seen."""
    sizes = face_sizes(table)
    roofs = np.repeat(table.face_kind == ROOF, sizes)
    model = np.repeat(np.repeat(np.arange(len(table.model_faces)), table.model_faces), sizes)[roofs]
    here = table.vertices[table.corners, :2]
    middle = np.add.reduceat(here, starts(sizes)[:-1], axis=0) / sizes[:, None]
    # half-way from each corner to the middle of its face: well inside the roof
    points = ((here + np.repeat(middle, sizes, axis=0)) / 2)[roofs]
    colours, known = picture.at(points[:, 0], points[:, 1])
    count = np.bincount(model[known], minlength=len(palette))
    total = [np.bincount(model[known], band[known], len(palette)) for band in colours.T]
    mean = np.column_stack(total) / np.maximum(count, 1)[:, None]
    found = palette.copy()
    found[count > 0, ROOF] = linear(np.rint(mean[count > 0]).astype(np.int64))
    return found


def _rectangles(place: Floats, owner: Numbers, count: int, shape: tuple[int, int]) -> Numbers:
    """Return first row and column, and those after the last, around each building's roofs."""
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, owner, place)
    np.maximum.at(high, owner, place)
    found = np.zeros((count, 4), np.int64)
    there = np.isfinite(low).all(axis=1)
    there &= (high > 0).all(axis=1) & (low < shape).all(axis=1)
    found[there, :2] = np.floor(low[there]) - PADDING_PX
    found[there, 2:] = np.ceil(high[there]) + PADDING_PX + 1
    return found


def _cuts(rectangles: Numbers, picture: MapPicture) -> dict[int, tuple[NDArray[np.uint8], int]]:
    """Return for each building the picture of its roofs, and one in how many pixels it has."""
    wanted = np.flatnonzero(rectangles[:, 2] > rectangles[:, 0])
    if not len(wanted):
        return {}
    row0, col0 = rectangles[wanted, :2].min(axis=0).tolist()
    row1, col1 = rectangles[wanted, 2:].max(axis=0).tolist()
    whole = None
    if max(row1 - row0, col1 - col0) <= READ_PX:
        whole = picture.window(row0, col0, row1 - row0, col1 - col0)
    found = {}
    for building in wanted.tolist():
        top, left, bottom, right = rectangles[building].tolist()
        if whole is None:
            colours, known = picture.window(top, left, bottom - top, right - left)
        else:
            part = slice(top - row0, bottom - row0), slice(left - col0, right - col0)
            colours, known = whole[0][part], whole[1][part]
        if known.any():
            step = -(-max(known.shape) // LARGEST_PX)
            found[building] = colours[::step, ::step], step
    return found


def _packed(
    cut: dict[int, tuple[NDArray[np.uint8], int]], count: int
) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """Return the atlas, where each building's picture starts in it (NaN: nowhere), and its step."""
    corner, step = np.full((count, 2), np.nan), np.ones(count)
    order = sorted(cut, key=lambda building: (-cut[building][0].shape[0], building))
    area = sum(colours.shape[0] * colours.shape[1] for colours, _ in cut.values())
    widest = max(colours.shape[1] for colours, _ in cut.values())
    width = max(widest, int(np.ceil(np.sqrt(area * 1.1))))
    row = col = shelf = 0
    for building in order:
        height, across = cut[building][0].shape[:2]
        if col + across > width:
            row, col, shelf = row + shelf, 0, 0
        corner[building] = row, col
        step[building] = cut[building][1]
        col, shelf = col + across, max(shelf, height)
    atlas = np.zeros((row + shelf, width, 3), np.uint8)
    for building in order:
        top, left = corner[building].astype(int)
        colours = cut[building][0]
        atlas[top : top + colours.shape[0], left : left + colours.shape[1]] = colours
    return atlas, corner, step
