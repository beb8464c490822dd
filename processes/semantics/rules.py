"""The five classes by thresholds, without weights.

Buildings as footprints have them; vegetation is what else is raised and green or, where no colour
tells, raised at all; water is dark, level and, with near infrared, darker there than in green;
roads are grey, level, dark or bright of one tone, and long or wide; the rest is ground. Without
colour no water or road is told from ground.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from processes.outlines.segment import (
    Limits,
    Rules,
    Sample,
    building_mask,
    buildings_only,
    greenness,
    without_small_parts,
)
from processes.semantics.stack import BUILDING, COLOURS, GROUND, ROAD, VEGETATION, WATER

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

RAISED_M, LEVEL_M = 1.2, 0.8
"""Vegetation stands at least so high above ground, roads and water at most."""
MIN_WATER_M2, MIN_ROAD_M2 = 25.0, 60.0
GREY, BARE = 0.35, 0.12
"""Most that the colours of a road differ, as a share of their mean; most that its NDVI is."""


def classes_by_rules(
    sample: Sample, cell_m: float, limits: Limits, rules: Rules
) -> NDArray[np.uint8]:
    """Return the class of each cell."""
    above = np.nan_to_num(sample.above_ground, nan=0.0)
    mask = building_mask(sample, cell_m, limits, rules)
    built = buildings_only(mask, sample, cell_m) if mask.any() else mask
    green = greenness(sample.bands)[1]
    leafy = (
        np.ones(built.shape, np.bool_) if green is None else np.nan_to_num(green) > limits.greenness
    )
    level = np.abs(above) < LEVEL_M
    water = level & _wet(sample.bands, built.shape)
    water = without_small_parts(_calm(water), cell_m, MIN_WATER_M2)
    road = level & ~water & ~leafy & _grey(sample.bands, built.shape)
    road = without_small_parts(_calm(road), cell_m, MIN_ROAD_M2)
    found = np.full(built.shape, GROUND, np.uint8)
    found[road] = ROAD
    found[water] = WATER
    found[(above > RAISED_M) & leafy] = VEGETATION
    found[built] = BUILDING
    return found


def _wet(bands: Mapping[str, Floats], shape: tuple[int, ...]) -> Mask:
    """Return cells darker in near infrared than in green: the water index of McFeeters (1996)."""
    if not {"green", "nir"} <= bands.keys():
        return np.zeros(shape, np.bool_)
    green, nir = bands["green"], bands["nir"]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((green - nir) / (green + nir) > 0.15)


def _grey(bands: Mapping[str, Floats], shape: tuple[int, ...]) -> Mask:
    if not set(COLOURS) <= bands.keys():
        return np.zeros(shape, np.bool_)
    colours = np.stack([bands[name] for name in COLOURS])
    with np.errstate(invalid="ignore", divide="ignore"):
        grey = np.ptp(colours, axis=0) / colours.mean(axis=0) < GREY
        if "nir" in bands:
            grey &= (bands["nir"] - bands["red"]) / (bands["nir"] + bands["red"]) < BARE
    return np.asarray(grey)


def _calm(mask: Mask) -> Mask:
    """Return a mask without specks and pinholes."""
    return np.asarray(ndimage.median_filter(mask, 5))
