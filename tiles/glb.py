"""One tile of buildings as binary glTF 2.0, written directly.

One mesh, one draw call: positions in 16-bit steps (KHR_mesh_quantization), flat normals, a
colour for each kind of surface, the number of the building at each vertex (EXT_mesh_features)
and its attributes in a property table (EXT_structural_metadata). glTF has y up: x is east,
y up and z south of the tileset's origin; the node's translation, in double precision, brings
each tile to its place.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.core.building import BuildingModel
from tiles import metadata

COARSEST_STEP_M = 0.01
"""Where 16 bits would be coarser than this, positions are written as 32-bit floats."""
MOST_FEATURES = 65535
COMPONENT = {"|i1": 5120, "|u1": 5121, "<u2": 5123, "<u4": 5125, "<f4": 5126}
"""glTF's numbers for stored types."""


@dataclass(frozen=True)
class Mesh:
    """Triangles of a tile: positions in metres east, up and south of the tileset's origin."""

    positions: NDArray[np.float64]
    normals: NDArray[np.float64]
    colours: NDArray[np.uint8]
    """(n, 4): linear red, green, blue and opacity."""
    features: NDArray[np.int64]
    """Row of the building in the property table."""
    triangles: NDArray[np.int64]


def glb(
    mesh: Mesh, models: Sequence[BuildingModel], properties: Sequence[metadata.Property]
) -> bytes:
    """Return a tile. The same arguments give the same bytes."""
    if len(models) > MOST_FEATURES:
        raise ValueError(f"{len(models)} buildings in one tile: split it, 16 bits number them")
    binary = _Binary()
    position, node = _placed(mesh.positions)
    vertices, view = _interleaved(position, mesh), len(binary.views)
    binary.add(vertices.tobytes(), target=34962, byteStride=vertices.dtype.itemsize)
    indices = mesh.triangles.astype("<u2" if len(vertices) < 65535 else "<u4")
    index_view = binary.add(indices.tobytes(), target=34963)
    table = {prop.id: _column(binary, *metadata.column(prop, models)) for prop in properties}
    accessors = [
        _accessor(view, vertices.dtype, name, len(vertices)) for name in vertices.dtype.names or ()
    ]
    accessors[0] |= {"min": position.min(axis=0).tolist(), "max": position.max(axis=0).tolist()}
    accessors.append(
        {
            "bufferView": index_view,
            "componentType": COMPONENT[indices.dtype.str],
            "count": indices.size,
            "type": "SCALAR",
        }
    )
    features = {"featureCount": len(models), "attribute": 0, "propertyTable": 0}
    primitive = {
        "attributes": {name: i for i, name in enumerate(vertices.dtype.names or ())},
        "indices": len(accessors) - 1,
        "material": 0,
        "mode": 4,
        "extensions": {"EXT_mesh_features": {"featureIds": [features]}},
    }
    quantised = ["KHR_mesh_quantization"]
    document = {
        "asset": {"version": "2.0", "generator": "Orograph"},
        "extensionsUsed": ["EXT_mesh_features", "EXT_structural_metadata", *quantised],
        "extensionsRequired": quantised,
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "buildings", "mesh": 0, **node}],
        "meshes": [{"name": "buildings", "primitives": [primitive]}],
        "materials": [
            {
                "name": "surfaces",
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
            }
        ],
        "accessors": accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
        "extensions": {
            "EXT_structural_metadata": {
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
        },
    }
    return _container(document, bytes(binary.data))


class _Binary:
    """The buffer of a GLB as it grows; every view starts on eight bytes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []

    def add(self, content: bytes, **members: int) -> int:
        content = content or b"\0"  # a view may not be empty; offsets still say it is unused
        self.views.append(
            {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content), **members}
        )
        self.data += content + b"\0" * (-len(content) % 8)
        return len(self.views) - 1


def _column(binary: _Binary, values: bytes, offsets: bytes | None) -> dict[str, Any]:
    column: dict[str, Any] = {"values": binary.add(values)}
    if offsets is not None:
        column |= {"stringOffsets": binary.add(offsets), "stringOffsetType": "UINT32"}
    return column


def _placed(positions: NDArray[np.float64]) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return stored positions and the node members that bring them back to metres."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    step = max(float((high - low).max()) / 65535, 1e-4)
    if step > COARSEST_STEP_M:
        return (positions - low).astype("<f4"), {"translation": low.tolist()}
    stored = np.round((positions - low) / step).astype("<u2")
    return stored, {"translation": low.tolist(), "scale": [step, step, step]}


def _interleaved(position: NDArray[Any], mesh: Mesh) -> NDArray[Any]:
    layout = np.dtype(
        {
            "names": ["POSITION", "NORMAL", "COLOR_0", "_FEATURE_ID_0"],
            "formats": [(position.dtype, 3), ("i1", 3), ("u1", 4), "<u2"],
            "offsets": np.cumsum([0, -(-3 * position.itemsize // 4) * 4, 4, 4]).tolist(),
            "itemsize": -(-3 * position.itemsize // 4) * 4 + 12,
        }
    )
    vertices = np.zeros(len(position), layout)
    vertices["POSITION"] = position
    vertices["NORMAL"] = np.round(mesh.normals * 127).astype(np.int8)
    vertices["COLOR_0"] = mesh.colours
    vertices["_FEATURE_ID_0"] = mesh.features
    return vertices


def _accessor(view: int, layout: np.dtype[Any], name: str, count: int) -> dict[str, Any]:
    component, offset = layout[name], layout.fields[name][1] if layout.fields else 0
    accessor = {
        "bufferView": view,
        "byteOffset": offset,
        "componentType": COMPONENT[component.base.str],
        "count": count,
        "type": {(3,): "VEC3", (4,): "VEC4", (): "SCALAR"}[component.shape],
    }
    return accessor | ({"normalized": True} if name in ("NORMAL", "COLOR_0") else {})


def _container(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    # 20 bytes of headers before and 8 after: the binary then starts on eight bytes too
    text += b" " * ((4 - len(text)) % 8)
    total = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        (
            struct.pack("<4sII", b"glTF", 2, total),
            struct.pack("<I4s", len(text), b"JSON") + text,
            struct.pack("<I4s", len(binary), b"BIN\0") + binary,
        )
    )
