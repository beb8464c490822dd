"""A tile of buildings as Batched 3D Model, for clients from before 3D Tiles 1.1.

The glTF inside uses no extension; attributes are the batch table, texts and numbers as JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

from processes.core.building import BuildingModel
from tiles import metadata

HEADER_BYTES = 28


def b3dm(
    content: bytes, models: Sequence[BuildingModel], properties: Sequence[metadata.Property]
) -> bytes:
    """Return a GLB whose vertices carry `_BATCHID` with the attributes of *models*."""
    features = _padded({"BATCH_LENGTH": len(models)}, HEADER_BYTES)
    batch = _padded({prop.name: metadata.plain(prop, models) for prop in properties}, 0)
    total = HEADER_BYTES + len(features) + len(batch) + len(content)
    header = struct.pack("<4s6I", b"b3dm", 1, total, len(features), 0, len(batch), 0)
    return header + features + batch + content


def _padded(value: object, before: int) -> bytes:
    """Return JSON that ends on eight bytes when it starts *before* bytes after such a place."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return text + b" " * (-(before + len(text)) % 8)
