"""A square of a quadtree of tiles, and the files that hold what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

AnyNode = TypeVar("AnyNode", bound="Node")


@dataclass(frozen=True)
class Node:
    """One square of a quadtree, whose children replace it.

    *x* runs east, *y* north, 0 … 2^level - 1.
    """

    level: int
    x: int
    y: int
    region: list[float]
    """Of all that is in it and below it: west, south, east, north (radians), heights."""
    error_m: float
    """What it lacks against the finest tiles below it."""
    children: tuple[Any, ...]
    """Nodes of the next level, at most four."""

    def walk(self: AnyNode) -> Iterator[AnyNode]:
        """Yield this node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def uri(node: Node, ending: str) -> str:
    """Return the address of a node's content, from the tileset's folder."""
    return f"tiles/{node.level}/{node.x}/{node.y}.{ending}"


def put(path: Path, content: bytes) -> None:
    """Write a file, and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
