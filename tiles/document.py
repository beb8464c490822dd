"""A tree of tiles as tileset.json: every tile listed, or implicit where the list would be long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles import implicit
from tiles.node import Node, put, uri

NOTHING: dict[str, Any] = {
    "boundingVolume": {"region": [-np.pi, -np.pi / 2, np.pi, np.pi / 2, 0.0, 0.0]},
    "geometricError": 0.0,
    "refine": "REPLACE",
}
"""The root of a tileset without content: somewhere on the globe there is nothing."""


def write_document(
    root: Node | None,
    folder: Path,
    *,
    ending: str = "glb",
    listed: bool = True,
    version: str = "1.1",
    error_m: float = 0.0,
    axes: NDArray[np.float64] | None = None,
    extras: dict[str, Any] | None = None,
) -> Path:
    """Write tileset.json, with its subtrees where it is not *listed*; return its path.

    *error_m* is what is lost where nothing at all is shown, *axes* the (4, 4) matrix from the
    tiles' own metres to geocentric coordinates.
    """
    asset: dict[str, Any] = {"version": version, "generator": "Orograph"}
    document: dict[str, Any] = {"asset": asset | ({"extras": extras} if extras else {})}
    if root is None:
        document |= {"geometricError": 0.0, "root": NOTHING}
    else:
        document["geometricError"] = max(error_m, root.error_m)
        document["root"] = _tree(root, ending) if listed else _implied(root, folder, ending)
        if not listed:
            document["schema"] = implicit.SCHEMA
        if axes is not None:
            document["root"]["transform"] = axes.T.ravel().tolist()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tileset.json"
    path.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
    return path


def _tree(node: Node, ending: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "boundingVolume": {"region": node.region},
        "geometricError": node.error_m,
        "refine": "REPLACE",
        "content": {"uri": uri(node, ending)},
    }
    children = [_tree(child, ending) for child in node.children]
    return found | ({"children": children} if children else {})


def _implied(root: Node, folder: Path, ending: str) -> dict[str, Any]:
    for address, content in implicit.subtrees(root):
        put(folder / address, content)
    return {
        "boundingVolume": {"region": root.region},
        "geometricError": root.error_m,
        "refine": "REPLACE",
        "content": {"uri": f"tiles/{{level}}/{{x}}/{{y}}.{ending}"},
        "implicitTiling": implicit.tiling(root),
    }
