"""Buildings as a 3D Tiles tileset: blocks from afar, roofs from near.

What is in which tile, and with what error, is decided in `tree.py`. Up to 10,000 buildings the
tiles are listed in tileset.json; above, they are implicit: the list would be megabytes that
every client has to read first. Bounding volumes are regions.

As `b3dm` the same tree is written for clients from before 3D Tiles 1.1: no extensions, always
listed. Floors are left out: nobody sees them, and CityJSON has the closed solids. Buildings that
no client could draw are left out too, and counted in `asset.extras`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from processes.core.building import BuildingModel
from tiles.b3dm import b3dm
from tiles.blocks import GROUND, blocks
from tiles.document import write_document
from tiles.glb import Picture, plain_tile, tile
from tiles.mesh import faces, joined, select
from tiles.metadata import Property
from tiles.node import put, uri
from tiles.picture import MapPicture
from tiles.roofs import mean_colours, roof_picture
from tiles.scene import Scene, palette, scene
from tiles.survey import Survey, survey
from tiles.tree import Tile, tree

MOST_IN_A_TILE = 1000
LISTED = 10_000
"""Tilesets of more buildings than this are implicit."""
Format = Literal["glb", "b3dm"]
VERSIONS = {"glb": "1.1", "b3dm": "1.0"}


def write(
    models: Sequence[BuildingModel],
    crs: str,
    folder: Path,
    *,
    most: int = MOST_IN_A_TILE,
    listed: int = LISTED,
    form: Format = "glb",
    picture: MapPicture | None = None,
) -> Path:
    """Write tileset.json and a file for each tile into *folder*; return the tileset's path.

    *crs* is that of x and y; heights are above the WGS84 ellipsoid. At most *most* buildings go
    in one tile, and no more than those of two tiles, or of one step of the survey, are held at a
    time: *models* may lie on disk. Up to *listed* tiles are listed. *picture* is what roofs look
    like from above. The same arguments give the same bytes. Raises UnknownCrs.
    """
    town = survey(models, crs, 0.0 if picture is None else picture.error_m)
    extras = {"buildings": len(town.numbers), "left_out": town.left_out}
    version = VERSIONS[form]
    if not len(town.numbers):
        return write_document(None, folder, version=version, extras=extras)
    root = tree(town.reach, town.ids, town.deviation_m, most)
    view: View | None = None
    for part in root.walk():
        # a leaf's details follow its blocks, and are of the same buildings
        if view is None or not view.holds(part.shown):
            view = _view(models, town, part.shown, crs, picture)
        put(folder / uri(part, form), _content(view, part, town.properties, form, picture))
    return write_document(
        root,
        folder,
        ending=form,
        listed=form == "b3dm" or len(town.numbers) <= listed,
        version=version,
        error_m=float(town.reach.size_m.max()),
        axes=town.axes,
        extras=extras,
    )


@dataclass(frozen=True)
class View:
    """Some buildings, near and far."""

    row: dict[int, int]
    """Where each is in what follows, by its number."""
    models: Sequence[BuildingModel]
    scene: Scene
    """The buildings, then the blocks of those that are none themselves."""
    as_block: NDArray[np.int64]
    """Where in the scene each building is as a block."""

    def holds(self, numbers: NDArray[np.int64]) -> bool:
        """Return whether all of these buildings are in it."""
        return self.row.keys() >= set(numbers.tolist())


def _view(
    models: Sequence[BuildingModel],
    town: Survey,
    shown: NDArray[np.int64],
    crs: str,
    picture: MapPicture | None,
) -> View:
    """Read the buildings *shown*, and cut them into triangles: all at once, as arrays."""
    here = [models[number] for number in town.numbers[shown].tolist()]
    table = faces(here)
    colours = palette(here)
    if picture is not None:
        colours = mean_colours(table, colours, picture)
    far = blocks(table)
    every = np.arange(len(here))
    as_block = every.copy()
    as_block[far.models] = len(here) + np.arange(len(far.models))
    both = joined(select(table, table.face_kind != GROUND), far.faces)
    return View(
        row={number: row for row, number in enumerate(shown.tolist())},
        models=here,
        scene=scene(both, colours[np.concatenate([every, far.models])], crs, town.axes),
        as_block=as_block,
    )


def _content(
    view: View,
    part: Tile,
    properties: Sequence[Property],
    form: Format,
    picture: MapPicture | None,
) -> bytes:
    rows = np.array([view.row[number] for number in part.shown.tolist()], np.int64)
    models = [view.models[row] for row in rows.tolist()]
    far = part.content == "blocks"
    seen = view.as_block[rows] if far else rows
    mesh = view.scene.mesh(seen)
    roofs: Picture | None = None
    if picture is not None and not far:
        roofs = roof_picture(*view.scene.places(seen), mesh.features, picture)
    if form == "glb":
        return tile(mesh, models, properties, roofs)
    return b3dm(plain_tile(mesh, len(models), roofs), models, properties)
