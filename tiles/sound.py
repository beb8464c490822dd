"""Which building models can be drawn at all, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from processes.core.building import BuildingModel

FARTHEST_M = 1e8
"""No map of the Earth has larger coordinates; 32-bit floats would overflow far above."""


def sound(models: Sequence[BuildingModel]) -> tuple[list[BuildingModel], dict[str, int]]:
    """Return the models that can be drawn, in order, and how many cannot, by reason."""
    drawn: list[BuildingModel] = []
    left_out: dict[str, int] = {}
    for model in models:
        reason = _fault(model)
        if reason is None:
            drawn.append(model)
        else:
            left_out[reason] = left_out.get(reason, 0) + 1
    return drawn, left_out


def _fault(model: BuildingModel) -> str | None:
    if not any(solid.faces for solid in model.solids):
        return "no solid"
    for solid in model.solids:
        table = solid.vertices
        if not (np.abs(table) < FARTHEST_M).all():  # NaN is not below either
            return "a corner that lies nowhere"
        count = len(table)
        for face in solid.faces:
            for ring in face.rings:
                if len(ring) < 3:
                    return "a face without area"
                if max(ring) >= count or min(ring) < 0:
                    return "a face with a corner that does not exist"
    return None
