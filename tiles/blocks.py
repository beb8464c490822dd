"""Buildings seen from afar: each a block with a flat roof over its own floor.

The block is the coarse level of a modelled roof. Its height is the mean of that roof over the
plan, so that the block holds the same volume, and its deviation is what is lost by it: how far
the roof's corners lie above or below. Floors are left out: nobody sees them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiles.mesh import KINDS, Faces, columns, face_sizes, following, runs, starts

FLAT_M = 0.001
"""Deviations below this are of the arithmetic."""
GROUND, WALL, ROOF = (KINDS.index(k) for k in ("GroundSurface", "WallSurface", "RoofSurface"))


@dataclass(frozen=True)
class Blocks:
    """Blocks for the models that are none themselves."""

    faces: Faces
    models: NDArray[np.int64]
    """Which models have a block, in the order of *faces*."""


def blocks(table: Faces) -> Blocks:
    """Return a block for each model with more than one flat roof, if it has a floor."""
    top, deviation = _tops(table)
    floors = np.flatnonzero(table.face_kind == GROUND)
    floors = floors[deviation[_model_of(table)[floors]] > 0]
    models = np.unique(_model_of(table)[floors])
    return Blocks(_raised(table, floors, top, models), models)


def deviations(table: Faces) -> NDArray[np.float64]:
    """Return the largest vertical distance between each model's roof and its block's.

    It is 0 for those that have no block.
    """
    model = _model_of(table)[table.face_kind == GROUND]
    floored = np.bincount(model, minlength=len(table.model_faces)) > 0
    return np.where(floored, _tops(table)[1], 0.0)


def _tops(table: Faces) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean height of each model's roof (NaN without one), and its deviation."""
    models = len(table.model_faces)
    face = np.repeat(np.arange(len(table.face_kind)), face_sizes(table))
    first = starts(face_sizes(table))[:-1][face]
    roof = np.flatnonzero(table.face_kind[face] == ROOF)
    place = columns(table.vertices)
    here = place.take(table.corners[roof], axis=1)
    start = place.take(table.corners[first[roof]], axis=1)
    after = place.take(table.corners[following(table)[roof]], axis=1)
    a, b = here - start, after - start
    plan = (a[0] * b[1] - a[1] * b[0]) / 2  # holes run the other way: less area
    height = start[2] + (a[2] + b[2]) / 3
    owner = _model_of(table)[face[roof]]
    area = np.bincount(owner, plan, models)
    with np.errstate(invalid="ignore", divide="ignore"):
        top = np.bincount(owner, plan * height, models) / area
    top[area <= 0] = np.nan
    deviation = np.zeros(models)
    np.maximum.at(deviation, owner, np.abs(here[2] - np.nan_to_num(top[owner])))
    return top, np.where(deviation < FLAT_M, 0.0, deviation)


def _raised(
    table: Faces,
    floors: NDArray[np.int64],
    top: NDArray[np.float64],
    models: NDArray[np.int64],
) -> Faces:
    """Return a roof above each of *floors*, and walls below its rings, for each of *models*."""
    sizes = face_sizes(table)[floors]
    corner = runs(starts(face_sizes(table)), floors)
    ring = runs(starts(table.face_rings), floors)
    ring_sizes = table.ring_sizes[ring]
    model = np.searchsorted(models, _model_of(table)[floors])
    low = table.vertices[table.corners[corner]]
    high = low.copy()
    high[:, 2] = np.repeat(top[models[model]], sizes)
    # two vertices a corner, below and above; a floor runs clockwise from above, its roof not
    vertices = np.stack([low, high], axis=1).reshape(-1, 3)
    number = np.arange(len(low))
    ring_start = starts(ring_sizes)
    within = np.repeat(ring_start[:-1] + ring_start[1:] - 1, ring_sizes)
    roof = 2 * (within - number) + 1
    after = number + 1
    after[ring_start[1:] - 1] = ring_start[:-1]
    outer = _unshared(table.corners[corner], table.corners[corner][after])
    walls = np.stack([2 * after, 2 * number, 2 * number + 1, 2 * after + 1], axis=1)[outer]
    wall_model = np.repeat(model, sizes)[outer]
    # one face a floor, one a wall; each model's together
    face_corners = np.concatenate([sizes, np.full(len(walls), 4)])
    face_rings = np.concatenate([table.face_rings[floors], np.ones(len(walls), np.int64)])
    owner = np.concatenate([model, wall_model])
    kind = np.repeat(np.array([ROOF, WALL], np.uint8), [len(floors), len(walls)])
    order = np.argsort(owner, kind="stable")
    count = len(models)
    return Faces(
        vertices=vertices,
        corners=np.concatenate([roof, walls.ravel()])[runs(starts(face_corners), order)],
        ring_sizes=np.concatenate([ring_sizes, np.full(len(walls), 4)])[
            runs(starts(face_rings), order)
        ],
        face_rings=face_rings[order],
        face_kind=kind[order],
        model_faces=np.bincount(owner, minlength=count),
        model_vertices=np.bincount(model, 2 * sizes, count).astype(np.int64),
    )


def _unshared(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which edges no other edge runs back along: those between two floors have no wall."""
    span = int(max(start.max(initial=0), end.max(initial=0))) + 1
    return ~np.isin(start * span + end, end * span + start)


def _model_of(table: Faces) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(table.model_faces)), table.model_faces)
