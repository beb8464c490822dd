"""What must be known of all buildings before the first tile is cut: a few numbers of each.

The models pass by, some at a time; where they lie on disk, memory holds no more of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processes.core.building import BuildingModel
from tiles import metadata
from tiles.blocks import deviations
from tiles.mesh import faces
from tiles.scene import Extents, extents, frame
from tiles.sound import sound

AT_ONCE = 1000
"""Models that are held at a time."""


@dataclass(frozen=True)
class Survey:
    """The buildings that can be drawn, and what is known of them."""

    numbers: NDArray[np.int64]
    """Where each is among the models."""
    ids: list[str]
    reach: Extents
    deviation_m: NDArray[np.float64]
    """What is lost where it is shown as a block."""
    axes: NDArray[np.float64]
    """The (4, 4) matrix from the tiles' own metres to geocentric coordinates."""
    properties: list[metadata.Property]
    left_out: dict[str, int]
    """How many buildings no client could draw, by reason."""


def survey(models: Sequence[BuildingModel], crs: str, least_m: float) -> Survey:
    """Return what is known of *models*, whose x and y are in *crs*. Raises UnknownCrs.

    *least_m* is what is lost of each building where it is shown as a block.
    """
    numbers, ids, reach, deviation = [], [], [], []
    left_out: Counter[str] = Counter()
    attributes = metadata.Attributes()
    for first in range(0, len(models), AT_ONCE):
        part = models[first : first + AT_ONCE]
        table = faces(part)
        drawn, faults = sound(table)
        left_out.update(faults)
        if faults:
            part = [model for model, fit in zip(part, drawn.tolist(), strict=True) if fit]
            table = faces(part)
        attributes.add(part)
        numbers.append(first + np.flatnonzero(drawn))
        ids += [model.id for model in part]
        reach.append(extents(table, crs))
        deviation.append(deviations(table))
    every = np.concatenate([np.empty(0, np.int64), *numbers])
    around = _together(reach)
    return Survey(
        numbers=every,
        ids=ids,
        reach=around,
        deviation_m=np.maximum(np.concatenate([np.empty(0), *deviation]), least_m),
        axes=frame(around),
        properties=attributes.properties(),
        left_out=dict(left_out),
    )


def _together(parts: Sequence[Extents]) -> Extents:
    """Return how far all buildings reach; longitudes run on across the antimeridian."""
    low = np.concatenate([np.empty((0, 3)), *(part.low for part in parts)])
    high = np.concatenate([np.empty((0, 3)), *(part.high for part in parts)])
    if len(low) and np.ptp(low[:, 0]) > np.pi:
        low[:, 0] %= 2 * np.pi
        high[:, 0] %= 2 * np.pi
    return Extents(low, high, np.concatenate([np.empty(0), *(part.size_m for part in parts)]))
