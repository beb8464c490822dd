"""A tree of tiles as implicit tiling: instead of a list of tiles, bits that say which exist.

Subtrees hold the bits, and a row for each tile with its own tight region and its
own error, which would otherwise be guessed from the root's (semantics `TILE_BOUNDING_REGION` and
`TILE_GEOMETRIC_ERROR`).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.node import Node

MOST_LEVELS = 7
"""Of one subtree: 5461 tiles at most, whose bits and rows take 300 kB where all exist."""
URI = "subtrees/{level}/{x}/{y}.subtree"
SCHEMA: dict[str, Any] = {
    "id": "orograph_tiles",
    "classes": {
        "tile": {
            "name": "Tile",
            "properties": {
                "region": {
                    "type": "SCALAR",
                    "componentType": "FLOAT64",
                    "array": True,
                    "count": 6,
                    "required": True,
                    "semantic": "TILE_BOUNDING_REGION",
                },
                "error": {
                    "type": "SCALAR",
                    "componentType": "FLOAT64",
                    "required": True,
                    "semantic": "TILE_GEOMETRIC_ERROR",
                },
            },
        }
    },
}


def tiling(root: Node) -> dict[str, Any]:
    """Return the member `implicitTiling` of the root of a tileset."""
    return {
        "subdivisionScheme": "QUADTREE",
        "subtreeLevels": _levels(root),
        "availableLevels": max(tile.level for tile in root.walk()) + 1,
        "subtrees": {"uri": URI},
    }


def subtrees(root: Node) -> Iterator[tuple[str, bytes]]:
    """Yield the address and content of every subtree from *root* down."""
    levels, waiting = _levels(root), [root]
    while waiting:
        top = waiting.pop()
        tiles, below = _within(top, levels)
        yield URI.format(level=top.level, x=top.x, y=top.y), _subtree(top, tiles, below, levels)
        waiting += below


def _levels(root: Node) -> int:
    """Return how many levels a subtree has: as few subtrees as may be, all about as deep."""
    levels = max(tile.level for tile in root.walk()) + 1
    return -(-levels // -(-levels // MOST_LEVELS))


def _within(root: Node, levels: int) -> tuple[list[Node], list[Node]]:
    """Return the tiles of the subtree of *root*, and the roots of those below."""
    tiles, level = [], [root]
    for _ in range(levels):
        tiles += level
        level = [child for tile in level for child in tile.children]
    return tiles, level


def _subtree(root: Node, tiles: Sequence[Node], below: Sequence[Node], levels: int) -> bytes:
    place = {_place(root, tile): tile for tile in tiles}
    rows = [place[number] for number in sorted(place)]
    binary = bytearray()
    views: list[dict[str, int]] = []

    def view(content: bytes) -> int:
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(content)})
        binary.extend(content + b"\0" * (-len(content) % 8))
        return len(views) - 1

    def available(numbers: list[int], count: int) -> dict[str, int]:
        if len(numbers) in (0, count):
            return {"constant": int(bool(numbers))}
        return {"bitstream": view(_bits(numbers, count)), "availableCount": len(numbers)}

    first = (4**levels - 1) // 3
    there = available(sorted(place), first)
    document = {
        "buffers": [{"byteLength": 0}],
        "bufferViews": views,
        "tileAvailability": there,
        "contentAvailability": [there],  # every tile shows something
        "childSubtreeAvailability": available(
            sorted(_place(root, tile) - first for tile in below), 4**levels
        ),
        "propertyTables": [
            {
                "class": "tile",
                "count": len(rows),
                "properties": {
                    "region": {"values": view(np.array([t.region for t in rows], "<f8").tobytes())},
                    "error": {"values": view(np.array([t.error_m for t in rows], "<f8").tobytes())},
                },
            }
        ],
        "tileMetadata": 0,
    }
    document["buffers"] = [{"byteLength": len(binary)}]
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<4sIQQ", b"subt", 1, len(text), len(binary)) + text + bytes(binary)


def _place(root: Node, tile: Node) -> int:
    """Return the number of *tile* among those of the subtree: level by level, Morton order."""
    depth = tile.level - root.level
    x, y = tile.x - (root.x << depth), tile.y - (root.y << depth)
    morton = sum(((x >> bit & 1) | (y >> bit & 1) << 1) << (2 * bit) for bit in range(depth))
    return int((4**depth - 1) // 3 + morton)


def _bits(numbers: list[int], count: int) -> bytes:
    bits: NDArray[np.uint8] = np.zeros(count, np.uint8)
    bits[numbers] = 1
    return np.packbits(bits, bitorder="little").tobytes()
