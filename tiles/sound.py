"""Which building models can be drawn at all, and why the others cannot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiles.mesh import KINDS, Faces, face_sizes, starts

FARTHEST_M = 1e8
"""No map of the Earth has larger coordinates; 32-bit floats would overflow far above."""
GROUND = KINDS.index("GroundSurface")


def sound(table: Faces) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return which models can be drawn, and how many cannot, by reason.

    Floors alone are nothing to be drawn.
    """
    left_out: dict[str, int] = {}
    lost = np.zeros(len(table.model_faces), bool)
    for reason, which in _faults(table).items():
        count = int((which & ~lost).sum())
        left_out |= {reason: count} if count else {}
        lost |= which
    return ~lost, left_out


def _faults(table: Faces) -> dict[str, NDArray[np.bool_]]:
    count = len(table.model_faces)
    model = np.repeat(np.arange(count), table.model_faces)
    face = np.repeat(np.arange(len(model)), table.face_rings)
    corner = np.repeat(model, face_sizes(table))
    first = starts(table.model_vertices)
    vertex = np.repeat(np.arange(count), table.model_vertices)

    def some(owner: NDArray[np.int64], wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(np.bincount(owner[wrong], minlength=count) > 0)

    return {
        "no solid": ~some(model, table.face_kind != GROUND),
        "a corner that lies nowhere": some(  # NaN is not below either
            vertex, np.asarray(~(np.abs(table.vertices) < FARTHEST_M).all(axis=1))
        ),
        "a face without area": some(model, table.face_rings == 0)
        | some(model[face], table.ring_sizes < 3),
        "a face with a corner that does not exist": some(
            corner, (table.corners < first[corner]) | (table.corners >= first[corner + 1])
        ),
    }
