"""One tile of buildings as binary glTF 2.0.

Positions in 16-bit steps (KHR_mesh_quantization), flat normals, a colour for each kind of
surface, the number of the building at each vertex (EXT_mesh_features) and its attributes in a
property table (EXT_structural_metadata). Where there is a picture of the roofs, they are a
second primitive with its coordinates. glTF has y up: x is east, y up and z south of the
tileset's origin; the node's translation, in double precision, brings each tile to its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.core.building import BuildingModel
from tiles import metadata
from tiles.gltf import QUANTISED, Buffer, bounds, glb, placed

MOST_FEATURES = 65535
ROUGH = {"metallicFactor": 0.0, "roughnessFactor": 1.0}


@dataclass(frozen=True)
class Mesh:
    """Triangles of a tile: positions in metres east, up and south of the tileset's origin."""

    positions: NDArray[np.float64]
    normals: NDArray[np.float64]
    colours: NDArray[np.uint8]
    """(n, 4): linear red, green, blue and opacity."""
    features: NDArray[np.int64]
    """Number of the building among those of the tile."""
    triangles: NDArray[np.int64]


@dataclass(frozen=True)
class Picture:
    """A JPEG, and where each corner of a mesh lies in it: 0…1 right and down, NaN outside."""

    jpeg: bytes
    places: NDArray[np.float64]


def tile(
    mesh: Mesh,
    models: Sequence[BuildingModel],
    properties: Sequence[metadata.Property],
    picture: Picture | None = None,
) -> bytes:
    """Return a tile of *models*, whose attributes are *properties*.

    Equal arguments give equal bytes.
    """
    _numbered(len(models))
    buffer = Buffer()
    position, node = placed(mesh.positions)
    columns = {
        "POSITION": position,
        "NORMAL": np.round(mesh.normals * 127).astype(np.int8),
        "COLOR_0": mesh.colours,
        "_FEATURE_ID_0": mesh.features.astype("<u2"),
    }
    features = {"featureCount": len(models), "attribute": 0, "propertyTable": 0}
    extensions = {"EXT_mesh_features": {"featureIds": [features]}}
    primitives = [
        primitive | {"extensions": extensions}
        for primitive in _primitives(buffer, columns, mesh.triangles, picture)
    ]
    table = {prop.id: _column(buffer, *metadata.column(prop, models)) for prop in properties}
    described = {
        "schema": metadata.schema(properties),
        "propertyTables": [
            {
                "name": "buildings",
                "class": metadata.CLASS,
                "count": len(models),
                "properties": table,
            }
        ],
    }
    document = _document(buffer, node, primitives, picture) | {
        "extensionsUsed": ["EXT_mesh_features", "EXT_structural_metadata", QUANTISED],
        "extensionsRequired": [QUANTISED],
        "extensions": {"EXT_structural_metadata": described},
    }
    return glb(document, bytes(buffer.data))


def plain_tile(mesh: Mesh, count: int, picture: Picture | None = None) -> bytes:
    """Return a tile in glTF 2.0 without extensions, for a b3dm: floats, and `_BATCHID`."""
    _numbered(count)
    buffer = Buffer()
    low, _ = bounds(mesh.positions)
    columns = {
        "POSITION": (mesh.positions - low).astype("<f4"),
        "NORMAL": mesh.normals.astype("<f4"),
        "COLOR_0": mesh.colours,
        "_BATCHID": mesh.features.astype("<u2"),
    }
    primitives = _primitives(buffer, columns, mesh.triangles, picture)
    document = _document(buffer, {"translation": low.tolist()}, primitives, picture)
    return glb(document, bytes(buffer.data))


def _primitives(
    buffer: Buffer,
    columns: dict[str, NDArray[Any]],
    triangles: NDArray[np.int64],
    picture: Picture | None,
) -> list[dict[str, Any]]:
    """Append vertices and triangles; those in the picture are a primitive of their own."""
    if picture is None:
        return [_primitive(buffer, columns, triangles, 0)]
    pictured = np.asarray(np.isfinite(picture.places).all(axis=1))
    coloured = triangles[~pictured[triangles[:, 0]]]
    textured = triangles[pictured[triangles[:, 0]]]
    places = np.round(np.clip(np.nan_to_num(picture.places), 0, 1) * 65535).astype("<u2")
    found = []
    if len(coloured):
        found.append(_primitive(buffer, *_only(columns, coloured), 0))
    if len(textured):
        white = np.full_like(columns["COLOR_0"], 255)
        known = columns | {"COLOR_0": white, "TEXCOORD_0": places}
        found.append(_primitive(buffer, *_only(known, textured), 1))
    return found


def _only(
    columns: dict[str, NDArray[Any]], triangles: NDArray[np.int64]
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Return the vertices that *triangles* use, and the triangles of those."""
    used, number = np.unique(triangles, return_inverse=True)
    return {name: column[used] for name, column in columns.items()}, number.reshape(-1, 3)


def _primitive(
    buffer: Buffer, columns: dict[str, NDArray[Any]], triangles: NDArray[np.int64], material: int
) -> dict[str, Any]:
    attributes = buffer.vertices(columns)
    indices = buffer.indices(triangles, len(columns["POSITION"]))
    return {"attributes": attributes, "indices": indices, "material": material, "mode": 4}


def _document(
    buffer: Buffer,
    node: dict[str, Any],
    primitives: list[dict[str, Any]],
    picture: Picture | None,
) -> dict[str, Any]:
    materials: list[dict[str, Any]] = [{"name": "surfaces", "pbrMetallicRoughness": ROUGH}]
    members: dict[str, Any] = {}
    if picture is not None:
        members = textured(buffer, picture.jpeg)
        materials.append(
            {"name": "roofs", "pbrMetallicRoughness": ROUGH | {"baseColorTexture": {"index": 0}}}
        )
    return buffer.document(
        scenes=[{"nodes": [0]}],
        nodes=[{"name": "buildings", "mesh": 0, **node}],
        meshes=[{"name": "buildings", "primitives": primitives}],
        materials=materials,
        **members,
    )


def textured(buffer: Buffer, jpeg: bytes) -> dict[str, Any]:
    """Append a JPEG; return the members of a document that make it texture 0."""
    return {
        "images": [{"bufferView": buffer.view(jpeg), "mimeType": "image/jpeg"}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "textures": [{"source": 0, "sampler": 0}],
    }


def _column(buffer: Buffer, values: bytes, offsets: bytes | None) -> dict[str, Any]:
    column: dict[str, Any] = {"values": buffer.view(values)}
    if offsets is not None:
        column |= {"stringOffsets": buffer.view(offsets), "stringOffsetType": "UINT32"}
    return column


def _numbered(count: int) -> None:
    if count > MOST_FEATURES:
        raise ValueError(f"{count} buildings in one tile: split it, 16 bits number them")
