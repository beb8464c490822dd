"""Where heights come from: what process dsm writes in `ortho_mask`, and others read there."""

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
