"""Objects judged whole: what a house has and a crown, a cliff or a mound has not.

Used where no colour tells plants from roofs. Five or six weak signs add up, each bounded, so that
none decides alone: it stands above what is around it on all sides, it is wide and large, its
surface is even, and its edge is one of the image too, not dark as crowns are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

LEAST = 1.0
"""Sum of signs from which an object is a house."""
BEYOND = 0.5
"""Weight of what lies beyond the rim of the surface: a house cut by it is one, a hill is not."""


@dataclass(frozen=True)
class Signs:
    """Of each object, numbered from 1; the first row is none."""

    down: Floats
    """Share of what lies 2.5 to 3.5 m outside that is 1.5 m lower; what is not seen is not."""
    width_m: Floats
    area_m2: Floats
    rough_m: Floats
    """Median deviation from a plane."""
    contrast: Floats | None
    """Mean gradient of log brightness along the edge, a cell; None without an image."""
    brightness: Floats | None
    """Median log brightness above that of the ground."""


def likely_houses(
    mask: Mask,
    surface: Floats,
    above_ground: Floats,
    rough: Floats,
    bands: Mapping[str, Floats],
    cell_m: float,
) -> Mask:
    """Return the parts of a mask that are more likely houses than not.

    *rough* is the deviation of the surface from planes, metres, over 3 to 4 m.
    """
    names, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return mask
    keep = evidence(signs(names, count, surface, above_ground, rough, bands, cell_m)) > LEAST
    keep[0] = False
    return np.asarray(keep[names])


def evidence(found: Signs) -> Floats:
    """Return the sum of signs, above nought for a house."""
    total = np.clip((found.down - 0.7) / 0.1, -6.0, 1.5)
    total += np.clip((found.width_m - 5.0) / 1.0, -2.0, 1.5)
    total += np.clip(np.log(0.16 / np.maximum(found.rough_m, 1e-3)) / 0.4, -2.0, 2.0)
    total += np.clip(np.log2(np.maximum(found.area_m2, 1.0) / 35.0), -1.0, 1.5)
    if found.contrast is not None and found.brightness is not None:
        total += np.clip(np.log(np.maximum(found.contrast, 1e-3) / 0.17) / 0.4, -1.5, 1.5)
        total += np.clip((found.brightness + 0.45) / 0.3, -1.0, 0.5)
    return np.asarray(total)


def signs(
    names: NDArray[np.int32],
    count: int,
    surface: Floats,
    above_ground: Floats,
    rough: Floats,
    bands: Mapping[str, Floats],
    cell_m: float,
) -> Signs:
    """Return the signs of objects 0 to *count*."""
    mask = names > 0
    number = np.arange(count + 1)
    inner = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    width = 2 * cell_m * np.asarray(ndimage.maximum(inner, names, number))
    area = np.bincount(names.ravel(), minlength=count + 1) * cell_m**2
    contrast = brightness = None
    if bands:
        contrast, brightness = _pictured(names, number, above_ground, bands)
    return Signs(
        down=_down(names, count, surface, cell_m),
        width_m=width,
        area_m2=area,
        rough_m=_medians(rough, names, number),
        contrast=contrast,
        brightness=brightness,
    )


def _down(names: NDArray[np.int32], count: int, surface: Floats, cell_m: float) -> Floats:
    mask = names > 0
    core = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    core &= np.isfinite(surface)
    if not core.any():
        return np.zeros(count + 1)
    nearest = ndimage.distance_transform_edt(~core, return_distances=False, return_indices=True)
    away_m = ndimage.distance_transform_edt(~mask) * cell_m
    band = (away_m >= 2.5) & (away_m <= 3.5)
    inside = tuple(index[band] for index in nearest)
    owner = names[inside]
    seen = np.isfinite(surface[band])
    asked = np.bincount(owner, np.where(seen, 1.0, BEYOND), minlength=count + 1)
    # NaN, beyond the rim, is not lower
    lower = np.bincount(owner, surface[inside] - surface[band] > 1.5, minlength=count + 1)
    # without any neighbour in reach nothing speaks against it
    return np.asarray(np.where(asked > 0, lower / np.maximum(asked, BEYOND), 0.7))


def _pictured(
    names: NDArray[np.int32],
    number: NDArray[np.int64],
    above_ground: Floats,
    bands: Mapping[str, Floats],
) -> tuple[Floats, Floats]:
    level = np.mean(np.stack(list(bands.values())), axis=0)
    seen = np.isfinite(level) & (level > 0)
    logs = np.log(np.where(seen, level, 1.0)).astype(np.float32)
    ground = seen & (np.nan_to_num(above_ground, nan=np.inf) < 1.0)
    usual = float(np.median(logs[ground if ground.any() else seen])) if seen.any() else 0.0
    logs = np.where(seen, logs, np.float32(usual))
    steepness = np.hypot(cv2.Sobel(logs, cv2.CV_32F, 1, 0), cv2.Sobel(logs, cv2.CV_32F, 0, 1)) / 8
    mask = names > 0
    edge = mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    edge_names = np.where(edge, names, 0)
    contrast = np.asarray(ndimage.mean(steepness, edge_names, number))
    return contrast, _medians(logs - usual, np.where(seen, names, 0), number)


def _medians(values: Floats, names: NDArray[np.int32], number: NDArray[np.int64]) -> Floats:
    known = np.isfinite(values)
    found = ndimage.median(np.where(known, values, 0.0), np.where(known, names, 0), number)
    return np.asarray(np.nan_to_num(np.asarray(found, float)))
