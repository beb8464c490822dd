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
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from processes.core.building import BuildingModel
from tiles.b3dm import b3dm
from tiles.blocks import GROUND, blocks
from tiles.document import put, uri, write_document
from tiles.glb import Picture, plain_tile, tile
from tiles.mesh import faces, joined, select
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
    in one tile, and no more are held at a time: *models* may lie on disk. Up to *listed* tiles
    are listed. *picture* is what roofs look like from above. The same arguments give the same
    bytes. Raises UnknownCrs.
    """
    town = survey(models, crs, 0.0 if picture is None else picture.error_m)
    extras = {"buildings": len(town.numbers), "left_out": town.left_out}
    version = VERSIONS[form]
    if not len(town.numbers):
        return write_document(None, folder, version=version, extras=extras)
    root = tree(town.reach, town.ids, town.deviation_m, most)
    for part in root.walk():
        shown = [models[number] for number in town.numbers[part.shown].tolist()]
        put(folder / uri(part, form), _content(town, part, shown, crs, form, picture))
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


def _content(
    town: Survey,
    part: Tile,
    models: Sequence[BuildingModel],
    crs: str,
    form: Format,
    picture: MapPicture | None,
) -> bytes:
    far = part.content == "blocks"
    seen, rows = _seen(models, crs, town.axes, picture, far=far)
    mesh = seen.mesh(rows)
    roofs: Picture | None = None
    if picture is not None and not far:
        roofs = roof_picture(*seen.places(rows), mesh.features, picture)
    if form == "glb":
        return tile(mesh, models, town.properties, roofs)
    return b3dm(plain_tile(mesh, len(models), roofs), models, town.properties)


def _seen(
    models: Sequence[BuildingModel],
    crs: str,
    axes: NDArray[np.float64],
    picture: MapPicture | None,
    *,
    far: bool,
) -> tuple[Scene, NDArray[np.int64]]:
    """Return what is seen of *models*, and which part of it each of them is.

    Those that are no blocks themselves are shown as such *far* away.
    """
    table = faces(models)
    colours = palette(models)
    if picture is not None:
        colours = mean_colours(table, colours, picture)
    every = np.arange(len(models))
    if not far:
        return scene(select(table, table.face_kind != GROUND), colours, crs, axes), every
    coarse = blocks(table)
    model = np.repeat(every, table.model_faces)
    whole = select(table, (table.face_kind != GROUND) & ~np.isin(model, coarse.models))
    as_block = every.copy()
    as_block[coarse.models] = len(models) + np.arange(len(coarse.models))
    both = joined(whole, coarse.faces)
    return scene(both, colours[np.concatenate([every, coarse.models])], crs, axes), as_block
