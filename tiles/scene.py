"""Buildings as triangles in one frame on the globe: what tiles are cut from.

Positions are in the east-north-up frame at the middle of all buildings, taken through geocentric
coordinates, so there is no flat-earth error at any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processes.core.building import BuildingModel
from tiles import globe
from tiles.glb import Mesh
from tiles.mesh import KINDS, Faces, face_sizes, normals, runs, starts, triangulate

PITCHED_SRGB, FLAT_SRGB = (176, 96, 74), (158, 158, 162)
SURFACE_SRGB = {"GroundSurface": (112, 108, 104), "WallSurface": (224, 216, 202)}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Extents:
    """How far each building reaches, with a margin, and how large it is."""

    low: Floats
    """(n, 3) least longitude and latitude (radians) and height."""
    high: Floats
    size_m: Floats
    """Longest diagonal."""


@dataclass(frozen=True)
class Scene:
    """Buildings with their triangles; runs of corners and triangles, one a building."""

    positions: Floats
    """Of every corner: metres east, up and south of the middle of the scene."""
    plan: Floats
    """(n, 2) of every corner: x and y in the system of the map."""
    roof: NDArray[np.bool_]
    """Which corners are a roof's."""
    normals: Floats
    colours: NDArray[np.uint8]
    triangles: NDArray[np.int64]
    first_corner: NDArray[np.int64]
    first_triangle: NDArray[np.int64]

    def mesh(self, buildings: NDArray[np.int64]) -> Mesh:
        """Return the triangles of some buildings, numbered as they come."""
        corners = runs(self.first_corner, buildings)
        counts = self.first_corner[buildings + 1] - self.first_corner[buildings]
        triangles = runs(self.first_triangle, buildings)
        moved = starts(counts)[:-1] - self.first_corner[buildings]
        per_building = self.first_triangle[buildings + 1] - self.first_triangle[buildings]
        return Mesh(
            positions=self.positions.take(corners, axis=0),
            normals=self.normals.take(corners, axis=0),
            colours=self.colours.take(corners, axis=0),
            features=np.repeat(np.arange(len(buildings)), counts),
            triangles=self.triangles.take(triangles, axis=0)
            + np.repeat(moved, per_building)[:, None],
        )

    def places(self, buildings: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return x and y of the corners of `mesh`, and which of them are a roof's."""
        corners = runs(self.first_corner, buildings)
        return self.plan[corners], self.roof[corners]


def extents(table: Faces, crs: str) -> Extents:
    """Return how far the models of *table* reach. Raises UnknownCrs."""
    first = starts(table.model_vertices)[:-1]
    places = globe.on_globe(table.vertices, crs)
    low, high = _ranges(places, first)
    plan_low, plan_high = _ranges(table.vertices, first)
    around = globe.margin(places[:, 1])
    return Extents(low - around, high + around, np.linalg.norm(plan_high - plan_low, axis=1))


def frame(reach: Extents) -> Floats:
    """Return the (4, 4) matrix from metres east, north and up to geocentric coordinates."""
    if not len(reach.low):
        return np.eye(4)
    return globe.east_north_up((reach.low.min(axis=0) + reach.high.max(axis=0)) / 2)


def scene(table: Faces, palette: NDArray[np.uint8], crs: str, axes: Floats) -> Scene:
    """Return the faces of models as triangles in the frame *axes*.

    *palette* is (models, kinds, 4): the linear colour of each kind of surface of each model.
    """
    positions = globe.y_up(globe.on_globe(table.vertices, crs), axes)
    sizes = face_sizes(table)
    face_normal = normals(table, positions)
    triangles = triangulate(table, positions, face_normal=face_normal)
    model = np.repeat(np.arange(len(table.model_faces)), table.model_faces)
    return Scene(
        positions=positions.take(table.corners, axis=0),
        plan=table.vertices[:, :2].take(table.corners, axis=0),
        roof=np.repeat(table.face_kind == KINDS.index("RoofSurface"), sizes),
        normals=np.repeat(face_normal, sizes, axis=0),
        colours=np.repeat(palette[model, table.face_kind], sizes, axis=0),
        triangles=triangles.corners,
        first_corner=starts(sizes)[starts(table.model_faces)],
        first_triangle=triangles.starts,
    )


def palette(models: Sequence[BuildingModel]) -> NDArray[np.uint8]:
    """Return linear colours of each model's surfaces; pitched roofs are tiled, flat ones grey."""
    pitched = [str(m.attributes.get("roof_type") or "flat") != "flat" for m in models]
    ground, wall = (SURFACE_SRGB[name] for name in KINDS[:2])
    table = linear(np.array([[ground, wall, FLAT_SRGB], [ground, wall, PITCHED_SRGB]]))
    return np.asarray(table[np.array(pitched, int)])


def linear(srgb: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return colours as glTF's vertices have them: linear, and opaque."""
    share = np.asarray(srgb) / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    opaque = np.full((*share.shape[:-1], 1), 255)
    return np.concatenate([np.round(light * 255), opaque], axis=-1).astype(np.uint8)


def _ranges(rows: Floats, first: NDArray[np.int64]) -> tuple[Floats, Floats]:
    if not len(first):
        return rows[:0], rows[:0]
    return np.minimum.reduceat(rows, first), np.maximum.reduceat(rows, first)
