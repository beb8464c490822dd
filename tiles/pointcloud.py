"""Points as a 3D Tiles tileset: the cells of an octree, each adding detail to those above it.

Contents are `pnts`, which clients of 3D Tiles 1.0 and 1.1 draw. Places are metres in a frame that
stands on the ground in the middle of the cloud, so four-byte numbers are right to a millimetre
over 10 km. Long lists are cut: a cell of level *cut* then comes with a document of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from py3dtiles.points import Points
from py3dtiles.tileset.content import Pnts

from tiles.document import NOTHING
from tiles.globe import east_north_up, geocentric, to_globe
from tiles.node import put
from tiles.octree import Key, parent

LISTED = 2000
"""Tilesets of more cells than this are cut."""
SHARP = 16
"""The gaps between points count as an error of so many times their size: at the 16 pixels that
clients allow by default there is a point in every pixel then."""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(eq=False)
class PointTiles:
    """A tileset that is being written, cell by cell. Raises UnknownCrs."""

    folder: Path
    crs: str
    middle: tuple[float, float, float]
    """Where the frame of the tiles stands, in *crs*; heights are above the ellipsoid."""
    spacing_m: float
    """Between the points of the root; half of it in every further level."""
    cut: int
    """The level whose cells get documents of their own, where all in one would be too long."""
    listed: int = LISTED
    _globe: Callable[[Floats], Floats] = field(init=False)
    _axes: Floats = field(init=False)
    _boxes: dict[Key, Floats] = field(init=False, default_factory=dict)
    """Lowest and highest place in each cell that has points: (2, 3)."""

    def __post_init__(self) -> None:
        self._globe = to_globe(self.crs)
        self._axes = east_north_up(self._globe(np.array([self.middle]))[0])
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(
        self, key: Key, places: Floats, colours: Bytes, facts: Mapping[str, NDArray[Any]]
    ) -> None:
        """Write the points of one cell: (n, 3) places in the reference system, and red to blue.

        *facts* are further numbers of each point, by name. Each cell comes once.
        """
        globe = self._globe(places)
        local = ((geocentric(globe) - self._axes[:3, 3]) @ self._axes[:3, :3]).astype(np.float32)
        known = {name: np.ascontiguousarray(values) for name, values in facts.items()}
        content = Pnts.from_points(Points(local, np.ascontiguousarray(colours), known))
        put(self.folder / _uri(key), content.to_array().tobytes())
        self._boxes[key] = np.stack([local.min(axis=0), local.max(axis=0)]).astype(np.float64)

    def finish(self) -> Path:
        """Write tileset.json, and what it is cut into; return its path."""
        tree = _Tree.of(self._boxes)
        if not tree.reach:
            return self._document("tileset.json", NOTHING | {"refine": "ADD"}, 0.0)
        first = (0, 0, 0, 0)
        cuts = (
            set() if len(tree.reach) <= self.listed else {k for k in tree.reach if k[0] == self.cut}
        )
        for key in cuts - {first}:
            self._document(_part(key), self._tile(tree, key, set()), self._error_m(key[0] - 1))
        root = self._tile(tree, first, cuts - {first})
        root["transform"] = self._axes.T.ravel().tolist()
        return self._document("tileset.json", root, self._error_m(-1))

    def _document(self, name: str, root: dict[str, Any], error_m: float) -> Path:
        asset = {"version": "1.0", "generator": "Orograph"}
        document = {"asset": asset, "geometricError": error_m, "root": root}
        put(self.folder / name, json.dumps(document, separators=(",", ":")).encode())
        return self.folder / name

    def _tile(self, tree: _Tree, key: Key, cuts: set[Key]) -> dict[str, Any]:
        children = tree.children.get(key, [])
        found: dict[str, Any] = {
            "boundingVolume": {"box": _box(tree.reach[key])},
            "geometricError": self._error_m(key[0]) if children else 0.0,
            "refine": "ADD",
        }
        if key in cuts:
            return found | {"content": {"uri": _part(key)}}
        if key in self._boxes:
            # documents of their own lie beside tileset.json: addresses are the same
            found["content"] = {"uri": _uri(key)}
        if children:
            found["children"] = [self._tile(tree, child, cuts) for child in sorted(children)]
        return found

    def _error_m(self, level: int) -> float:
        return SHARP * self.spacing_m / 2.0**level


@dataclass(frozen=True)
class _Tree:
    """All cells with points in or below them."""

    reach: dict[Key, Floats]
    children: dict[Key, list[Key]]

    @classmethod
    def of(cls, boxes: Mapping[Key, Floats]) -> _Tree:
        reach = dict(boxes)
        children: dict[Key, list[Key]] = {}
        for level in range(max((key[0] for key in boxes), default=0), 0, -1):
            for key in [key for key in reach if key[0] == level]:
                above = parent(key)
                children.setdefault(above, []).append(key)
                both = np.stack([reach[key], reach.get(above, reach[key])])
                reach[above] = np.stack([both[:, 0].min(axis=0), both[:, 1].max(axis=0)])
        return cls(reach, children)


def _uri(key: Key) -> str:
    return "points/{}/{}-{}-{}.pnts".format(*key)


def _part(key: Key) -> str:
    return "part-{}-{}-{}-{}.json".format(*key)


def _box(reach: Floats) -> list[float]:
    """Return centre and half axes; a box without width is no volume."""
    middle = reach.mean(axis=0)
    half = np.maximum(np.ptp(reach, axis=0) / 2, 0.01)
    return [round(v, 3) for v in (*middle.tolist(), *np.diag(half + 0.001).ravel().tolist())]
