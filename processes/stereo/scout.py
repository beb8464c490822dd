"""A quick look at a scene: heights of a pair, matched at half resolution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from processes.stereo.epipolar import rectify
from processes.stereo.match import match
from processes.stereo.pyramid import halve
from processes.stereo.triangulate import ray_table
from processes.stereo.view import Piece, View, rectified

Floats = NDArray[np.float64]


def scout(
    left: View,
    right: View,
    pieces: Sequence[Piece],
    heights_m: tuple[float, float],
    gsd_m: float,
) -> tuple[Floats, Floats, Floats]:
    """Return longitude, latitude and height of what two views show, matched at half resolution.

    Quick, and evenly spread, unlike tie points, which sit on corners and edges.
    """
    found = []
    for piece in pieces:
        frame = rectify(
            left.model, right.model, *piece,
            heights_m=heights_m, height_m=float(np.mean(heights_m)), gsd_m=gsd_m,
        )  # fmt: skip
        rays = ray_table(frame, left.model, right.model, heights_m, lambda lon, lat: (lon, lat))
        images = [halve(rectified(v, frame, s)) for v, s in ((left, "left"), (right, "right"))]
        if not all(np.isfinite(image).any() for image in images):
            continue
        low, high = (0.5 * d for d in rays.disparities)
        half = match(images[0], images[1], low, high).disparity
        half = half[: frame.shape[0] // 2, : frame.shape[1] // 2]
        whole = np.full(frame.shape, np.nan, np.float32)
        whole[: 2 * half.shape[0] : 2, : 2 * half.shape[1] : 2] = 2.0 * half
        known = np.isfinite(whole)
        found.append(np.stack([values[known] for values in rays.points(whole)]))
    if not found:
        return np.empty(0), np.empty(0), np.empty(0)
    lon, lat, height = np.concatenate(found, axis=1)
    return lon, lat, height
