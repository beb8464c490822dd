"""Mask edges put where colour changes: a stereo surface is blurred at walls, the image is not.

Each cell near the edge of the mask is asked whether its colour is more like the sure roof around
it or the sure ground around it: two kernel densities over nearby cells, compared (as bilateral
filters do; Tomasi & Manduchi, 1998). The surface decides which cells are sure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Doubt:
    """How far the surface is trusted, metres, and what colours are alike."""

    inside_m: float = 2.0
    """Mask cells nearer to the edge are not sure; in narrow parts 60 % of their half width."""
    outside_m: float = 0.5
    radius_m: float = 4.0
    spread_m: float = 3.0
    colour: float = 0.25
    """Standard deviation of log brightness, all bands together."""
    strange: float = 0.002
    """Density from which a colour counts as known at all."""


def sharpened(
    mask: Mask, bands: Mapping[str, Floats], cell_m: float, doubt: Doubt | None = None
) -> Mask:
    """Return the mask with its edges moved to those of the image; unchanged without bands."""
    doubt = doubt or Doubt()
    if not bands or not mask.any():
        return mask
    logs = _logs(bands)
    inside = ndimage.distance_transform_edt(mask) * cell_m
    outside = ndimage.distance_transform_edt(~mask) * cell_m
    names, count = ndimage.label(mask)
    deepest = np.zeros(count + 1)
    np.maximum.at(deepest, names.ravel(), np.where(mask, inside, 0.0).ravel())
    roof = mask & (inside > np.minimum(doubt.inside_m, 0.6 * deepest[names]))
    ground = ~mask & (outside > doubt.outside_m)
    unsure = ~roof & (mask | ~ground) & np.isfinite(logs).all(axis=0)
    share = _share(
        logs,
        roof,
        ground,
        unsure,
        round(doubt.radius_m / cell_m),
        doubt.spread_m / cell_m,
        doubt.colour,
        doubt.strange,
    )
    share = np.where(unsure, share, mask)
    return np.asarray(cv2.GaussianBlur(share.astype(np.float32), (0, 0), 0.7) > 0.5)


def _logs(bands: Mapping[str, Floats]) -> NDArray[np.float32]:
    """Return log brightness (bands, row, col), NaN where dark or unseen."""
    values = np.stack(list(bands.values())).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(np.where(values > 0, values, np.nan)))


@njit(cache=True, nogil=True)
def _share(
    logs: NDArray[np.float32],
    roof: Mask,
    ground: Mask,
    unsure: Mask,
    radius: int,
    spread: float,
    colour: float,
    strange: float,
) -> Floats:
    """Return the likelihood of roof against ground, 0 to 1, for the unsure cells."""
    bands, rows, cols = logs.shape
    share = np.zeros((rows, cols))
    for row in range(rows):
        for col in range(cols):
            if not unsure[row, col]:
                continue
            alike = np.zeros(2)
            asked = np.zeros(2)
            for r in range(max(row - radius, 0), min(row + radius + 1, rows)):
                for c in range(max(col - radius, 0), min(col + radius + 1, cols)):
                    if not (roof[r, c] or ground[r, c]):
                        continue
                    apart = 0.0
                    for band in range(bands):
                        apart += (logs[band, r, c] - logs[band, row, col]) ** 2
                    if np.isnan(apart):
                        continue
                    near = np.exp(-((r - row) ** 2 + (c - col) ** 2) / (2 * spread * spread))
                    kind = 0 if roof[r, c] else 1
                    asked[kind] += near
                    alike[kind] += near * np.exp(-apart / (2 * colour * colour))
            first = strange + (alike[0] / asked[0] if asked[0] > 0 else 0.0)
            second = strange + (alike[1] / asked[1] if asked[1] > 0 else 0.0)
            share[row, col] = first / (first + second)
    return share
