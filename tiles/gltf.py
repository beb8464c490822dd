"""Binary glTF 2.0, written directly: a buffer that grows, and the container around it."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

COARSEST_STEP_M = 0.01
"""Where 16 bits would be coarser than this, positions are written as 32-bit floats."""
FINEST_STEP_M = 1e-4
COMPONENT = {"|i1": 5120, "|u1": 5121, "<u2": 5123, "<u4": 5125, "<f4": 5126}
"""glTF's numbers for stored types."""
NORMALISED = ("NORMAL", "COLOR_0", "TEXCOORD_0")
"""Attributes whose integers stand for 0…1, or -1…1."""
QUANTISED = "KHR_mesh_quantization"


class Buffer:
    """The binary of a GLB as it grows, its views and its accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, content: bytes, **members: int) -> int:
        """Append *content* where eight bytes start; return the number of its view."""
        content = content or b"\0"  # a view may not be empty; offsets still say it is unused
        self.views.append(
            {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content), **members}
        )
        self.data += content + b"\0" * (-len(content) % 8)
        return len(self.views) - 1

    def vertices(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, int]:
        """Append attributes, interleaved; return the accessor of each."""
        # a row of each as one value without meaning: copied whole, not number by number
        rows = {name: _rows(column) for name, column in columns.items()}
        offsets, stride = {}, 0
        for name, column in rows.items():
            offsets[name] = stride
            stride += -(-column.itemsize // 4) * 4  # each attribute starts on four bytes
        layout: Any = {
            "names": list(rows),
            "formats": [column.dtype for column in rows.values()],
            "offsets": list(offsets.values()),
            "itemsize": stride,
        }
        packed: NDArray[Any] = np.zeros(len(columns["POSITION"]), np.dtype(layout))
        for name, column in rows.items():
            packed[name] = column
        view = self.view(packed.tobytes(), target=34962, byteStride=stride)
        return {
            name: self._accessor(view, columns[name], name, offset)
            for name, offset in offsets.items()
        }

    def indices(self, triangles: NDArray[np.int64], vertices: int) -> int:
        """Append corner numbers in the smallest type; return their accessor.

        None at all are written as one triangle without area: an accessor may not be empty.
        """
        triangles = triangles if len(triangles) else np.zeros((1, 3), np.int64)
        # 65535 is the restart value, never an index
        packed = triangles.astype("<u2" if vertices < 65535 else "<u4").ravel()
        view = self.view(packed.tobytes(), target=34963)
        return self._accessor(view, packed, "", None)

    def _accessor(self, view: int, column: NDArray[Any], name: str, offset: int | None) -> int:
        kind = {(3,): "VEC3", (4,): "VEC4", (2,): "VEC2", (): "SCALAR"}[column.shape[1:]]
        component = COMPONENT[column.dtype.str]
        accessor = {
            "bufferView": view,
            "componentType": component,
            "count": len(column),
            "type": kind,
        }
        if offset is not None:
            accessor["byteOffset"] = offset
        if name in NORMALISED and component != COMPONENT["<f4"]:
            accessor["normalized"] = True
        if name == "POSITION":
            low, high = bounds(column)
            accessor |= {"min": low.tolist(), "max": high.tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def document(self, **members: Any) -> dict[str, Any]:
        """Return a glTF document over this buffer; the other *members* are the caller's."""
        return {
            "asset": {"version": "2.0", "generator": "Orograph"},
            "scene": 0,
            **members,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.data)}],
        }


def bounds(points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the least and the largest of each column of (n, 3), one column at a time.

    NumPy takes fifteen times as long for all at once: a row of three is a short loop.
    """
    columns = points.T
    return np.array([c.min() for c in columns]), np.array([c.max() for c in columns])


def _rows(column: NDArray[Any]) -> NDArray[Any]:
    packed = np.ascontiguousarray(column).reshape(len(column), -1)
    return packed.view(f"V{packed.shape[1] * packed.itemsize}")[:, 0]


def placed(
    positions: NDArray[np.float64], *, coarsest_m: float = COARSEST_STEP_M
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return stored positions and the node members that bring them back to metres.

    16 bits a number, and 32-bit floats where the step would exceed *coarsest_m*.
    """
    low, high = bounds(positions)
    step = max(float((high - low).max()) / 65535, FINEST_STEP_M)
    if step > coarsest_m:
        return (positions - low).astype("<f4"), {"translation": low.tolist()}
    stored = np.round((positions - low) / step).astype("<u2")
    return stored, {"translation": low.tolist(), "scale": [step, step, step]}


def glb(document: Mapping[str, Any], binary: bytes) -> bytes:
    """Return the container of a document and its binary, both on eight bytes."""
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
