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
from tiles import metadata
from tiles.b3dm import b3dm
from tiles.blocks import GROUND, blocks
from tiles.document import put, uri, write_document
from tiles.glb import Picture, plain_tile, tile
from tiles.mesh import Faces, joined, select
from tiles.picture import MapPicture
from tiles.roofs import mean_colours, roof_picture
from tiles.scene import Extents, Scene, extents, frame, palette, scene
from tiles.sound import sound
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
    in one tile, and up to *listed* tiles are listed. *picture* is what roofs look like from
    above. The same arguments give the same bytes. Raises UnknownCrs.
    """
    drawn, table, left_out = sound(models)
    extras = {"buildings": len(drawn), "left_out": left_out}
    version = VERSIONS[form]
    if not drawn:
        return write_document(None, folder, version=version, extras=extras)
    town = _town(drawn, table, crs, picture)
    root = tree(town.reach, [model.id for model in drawn], town.deviation_m, most)
    for part in root.walk():
        put(folder / uri(part, form), _content(town, part, form))
    return write_document(
        root,
        folder,
        ending=form,
        listed=form == "b3dm" or len(drawn) <= listed,
        version=version,
        error_m=float(town.reach.size_m.max()),
        axes=town.axes,
        extras=extras,
    )


@dataclass(frozen=True)
class _Town:
    """All buildings: as they are, as blocks, and what is known of them."""

    scene: Scene
    """The buildings, then the blocks of those that are none themselves."""
    as_block: NDArray[np.int64]
    """Where in the scene each building is as a block."""
    reach: Extents
    deviation_m: NDArray[np.float64]
    axes: NDArray[np.float64]
    properties: list[metadata.Property]
    picture: MapPicture | None


def _town(
    models: Sequence[BuildingModel], table: Faces, crs: str, picture: MapPicture | None
) -> _Town:
    far = blocks(table)
    reach = extents(table, crs)
    axes = frame(reach)
    colours, deviation = palette(models), far.deviation_m
    if picture is not None:
        colours = mean_colours(table, colours, picture)
        deviation = np.maximum(deviation, picture.error_m)
    every = np.arange(len(models))
    as_block = every.copy()
    as_block[far.models] = len(models) + np.arange(len(far.models))
    seen = joined(select(table, table.face_kind != GROUND), far.faces)
    return _Town(
        scene=scene(seen, colours[np.concatenate([every, far.models])], crs, axes),
        as_block=as_block,
        reach=reach,
        deviation_m=deviation,
        axes=axes,
        properties=metadata.properties(models),
        picture=picture,
    )


def _content(town: _Town, part: Tile, form: Format) -> bytes:
    far = part.content == "blocks"
    rows = town.as_block[part.shown] if far else part.shown
    mesh = town.scene.mesh(rows)
    picture: Picture | None = None
    if town.picture is not None and not far:
        picture = roof_picture(*town.scene.places(rows), mesh.features, town.picture)
    if form == "glb":
        return tile(mesh, part.shown, town.properties, picture)
    return b3dm(plain_tile(mesh, len(part.shown), picture), part.shown, town.properties)
