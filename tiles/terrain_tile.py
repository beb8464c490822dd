"""One tile of a terrain mesh: its skirts, its picture, and both as binary glTF 2.0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.glb import textured
from tiles.gltf import QUANTISED, Buffer, glb, placed
from tiles.picture import Bytes, jpeg
from tiles.rtin import Surface

STEP_M = 0.05
"""Coarsest step of positions in 16 bits, at the finest level; twice as much a level above."""
UNLIT = "KHR_materials_unlit"
SUN = np.array([-0.5, 0.5, 0.71])
"""Direction of the light of a shaded relief: east, north, up; from the north-west."""

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def skirted(
    shape: Surface, heights: Floats, drop_m: float
) -> tuple[Numbers, Numbers, Floats, Numbers]:
    """Return rows, columns, heights and triangles of a square with a skirt along its border.

    Each edge on the border gets a wall that is *drop_m* high, seen from both sides.
    """
    top = heights[shape.rows, shape.cols]
    edges = _border(shape, len(heights) - 1)
    used, number = np.unique(edges, return_inverse=True)
    a, b = number.reshape(-1, 2).T + len(top)
    upper_a, upper_b = edges.T
    walls = np.concatenate(
        [np.stack([upper_a, a, upper_b], axis=1), np.stack([upper_b, a, b], axis=1)]
    )
    return (
        np.concatenate([shape.rows, shape.rows[used]]),
        np.concatenate([shape.cols, shape.cols[used]]),
        np.concatenate([top, top[used] - drop_m]),
        np.concatenate([shape.triangles, walls]),
    )


def content(places: Floats, share: Floats, triangles: Numbers, colours: Bytes, step: int) -> bytes:
    """Return a tile: *places* are metres east, up and south, *share* 0…1 right and down."""
    buffer = Buffer()
    position, node = placed(places, coarsest_m=STEP_M * step)
    columns = {
        "POSITION": position,
        "TEXCOORD_0": np.round(np.clip(share, 0, 1) * 65535).astype("<u2"),
    }
    attributes = buffer.vertices(columns)
    indices = buffer.indices(triangles, len(places))
    primitive = {"attributes": attributes, "indices": indices, "material": 0, "mode": 4}
    quantised = [QUANTISED] if position.dtype == np.uint16 else []
    material: dict[str, Any] = {
        "name": "ground",
        "doubleSided": True,  # for the skirts
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "baseColorTexture": {"index": 0}},
        "extensions": {UNLIT: {}},
    }
    document = buffer.document(
        scenes=[{"nodes": [0]}],
        nodes=[{"name": "terrain", "mesh": 0, **node}],
        meshes=[{"name": "terrain", "primitives": [primitive]}],
        materials=[material],
        extensionsUsed=[UNLIT, *quantised],
        **({"extensionsRequired": quantised} if quantised else {}),
        **textured(buffer, jpeg(colours)),
    )
    return glb(document, bytes(buffer.data))


def relief(heights: Floats, cell_m: float) -> Bytes:
    """Return the shaded relief of (n + 1, n + 1) samples: n² grey pixels, 128 where unknown."""
    down = (heights[1:, :-1] - heights[:-1, :-1] + heights[1:, 1:] - heights[:-1, 1:]) / 2
    right = (heights[:-1, 1:] - heights[:-1, :-1] + heights[1:, 1:] - heights[1:, :-1]) / 2
    normal = np.stack([-right / cell_m, down / cell_m, np.ones_like(down)], axis=-1)
    light = (normal @ SUN) / np.linalg.norm(normal, axis=-1) / np.linalg.norm(SUN)
    grey = np.nan_to_num(255 * np.clip(light, 0.15, 1), nan=128)
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=-1)


def _border(shape: Surface, last: int) -> Numbers:
    """Return (n, 2) corners of the edges that lie on the border of the square."""
    sides = shape.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    on = np.zeros(len(sides), bool)
    for axis in (shape.rows, shape.cols):
        for border in (0, last):
            on |= (axis[sides] == border).all(axis=1)
    return np.asarray(sides[on])
