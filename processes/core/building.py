"""A building as a value: solids with shared vertices, and what each face is.

The vocabulary is that of CityJSON, so that a model is written as it stands; 3D Tiles, CityJSON
and the validity checks all read this one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["GroundSurface", "WallSurface", "RoofSurface"]
Ring = tuple[int, ...]
"""Rows of the vertex table, without repeating the first; anticlockwise seen from outside."""
Attribute = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Face:
    """A planar polygon: its outer ring, then its holes, which run clockwise from outside."""

    rings: tuple[Ring, ...]
    kind: Kind


@dataclass(frozen=True, slots=True)
class Solid:
    """A closed shell: a vertex table (n, 3) of x, y and height in metres, and its faces."""

    vertices: NDArray[np.float64]
    faces: tuple[Face, ...]


@dataclass(frozen=True, slots=True)
class BuildingModel:
    """One building: a solid for each separate part of its outline, and what is known of it."""

    id: str
    solids: tuple[Solid, ...]
    lod: str
    """Level of detail after Biljecki et al. (2016): 1.2 is a block, 2.0 a simple roof."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
