"""Masks: discs, what is near them, and their connected parts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def disc(radius_px: float) -> NDArray[np.uint8]:
    """Return a structuring element of at least one cell's radius."""
    size = 2 * max(1, round(radius_px)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def grown(mask: Mask, radius_px: float) -> Mask:
    """Return *mask* and what is so near to it."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc(radius_px)) > 0)


def larger(mask: Mask, cells: float, *, connectivity: int = 8) -> Mask:
    """Return the connected parts of *mask* of at least so many cells."""
    _, label, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=connectivity
    )
    large = stats[:, cv2.CC_STAT_AREA] >= cells
    large[0] = False
    return np.asarray(large[label])


def open_parts(
    mask: Mask, into: Mask, share: float, *, reach_px: float = 1.0
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return a label for each connected part of *mask*, and whether its rim is mostly *into*.

    The rim is what is so near; label 0 is no part.
    """
    count, label = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    around = cv2.dilate(label.astype(np.float32), disc(reach_px)).astype(np.int32)
    rim = (around > 0) & (label == 0)
    cells = np.bincount(around[rim], minlength=count)
    open_cells = np.bincount(around[rim & into], minlength=count)
    found = open_cells >= share * cells
    found[0] = False
    return np.asarray(label, np.int32), found
