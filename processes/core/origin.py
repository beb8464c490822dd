"""Where heights come from: what `dsm` writes in `ortho_mask`, `dtm` in `terrain_mask`."""

from __future__ import annotations

from enum import IntEnum


class Origin(IntEnum):
    """Where the height of a cell comes from, or why it has none."""

    OUTSIDE = 0
    SEEN = 1
    FILLED_OCCLUSION = 2
    FILLED_GAP = 3
    INTERPOLATED = 4
    EMPTY = 5
    CROWN = 6


class Ground(IntEnum):
    """Where the height of the terrain comes from."""

    OUTSIDE = 0
    SEEN = 1
    UNDER_OBJECT = 2
    UNDER_BRIDGE = 3
    VOID = 4
    WATER = 5
