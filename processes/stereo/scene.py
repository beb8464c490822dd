"""What is known of a scene before its images are matched densely, the same in every block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from shapely import contains_xy, get_coordinates, transform, unary_union
from shapely.geometry.base import BaseGeometry

from processes.core.crs import Plane
from processes.stereo.canopy import typical_red
from processes.stereo.coverage import Pair
from processes.stereo.epipolar import EpipolarField
from processes.stereo.greys import Tones
from processes.stereo.sharpness import sharpness
from processes.stereo.tones import tones_of
from processes.stereo.view import View

Floats = NDArray[np.float64]

COMPARABLE = 0.6
"""Pairs whose base is at least this share of the widest are fused; narrower ones only asked."""
SAMPLES = 8
"""Places across and along a scene whose colours are looked at."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known before dense matching: corrected views, pairs, heights, the map plane."""

    views: Sequence[View]
    pairs: Sequence[Pair]
    heights_m: tuple[float, float]
    """Bounds of everything that stands in the scene."""
    height_m: float
    gsd_m: float
    step_m: float
    """How far apart the pixels are that are compared: no further than cells want points."""
    to_plane: Plane
    to_degrees: Plane
    device: str = "cpu"
    """Where heights of pairs are found: "cpu" or "cuda"."""

    @cached_property
    def fields(self) -> tuple[EpipolarField, ...]:
        """The epipolar geometry of each pair, over all its ground."""
        return tuple(
            EpipolarField.over(
                self.views[pair.left].model, self.views[pair.right].model,
                *get_coordinates(pair.ground.minimum_rotated_rectangle)[:-1].T,
                heights_m=self.heights_m, height_m=self.height_m, gsd_m=self.step_m,
            )
            for pair in self.pairs
        )  # fmt: skip

    @cached_property
    def tones(self) -> tuple[Tones | None, ...]:
        """The grey levels of each pair, the same in every block."""
        return tuple(
            tones_of(
                self.views[pair.left], self.views[pair.right], field, pair.ground,
                heights_m=self.heights_m, disparities=disparities,
            )
            for pair, field, disparities in zip(
                self.pairs, self.fields, self.disparities, strict=True
            )
        )  # fmt: skip

    @cached_property
    def typical_red(self) -> float | None:
        """The logarithm of the red of what is green, the same in every block."""
        ground = unary_union([pair.ground for pair in self.pairs])
        west, south, east, north = ground.bounds
        steps = (np.arange(SAMPLES) + 0.5) / SAMPLES
        lon, lat = np.meshgrid(west + steps * (east - west), south + steps * (north - south))
        inside = contains_xy(ground, lon, lat)
        return typical_red(self.views, lon[inside], lat[inside], self.height_m)

    @cached_property
    def sharpness(self) -> float:
        """How sharp the images are, the same in every block."""
        return sharpness(self.views)

    @cached_property
    def disparities(self) -> tuple[tuple[float, float], ...]:
        """The bounds of the disparities of each pair, the same in every block."""
        return tuple(field.disparities(self.heights_m) for field in self.fields)

    @property
    def widest(self) -> float:
        """The largest base-to-height ratio of the pairs."""
        return max(pair.base_to_height for pair in self.pairs)

    @property
    def px_m(self) -> float:
        """How much height a pixel of parallax is, in the pair with the widest base."""
        return self.gsd_m / self.widest

    def narrow(self, pair: Pair) -> bool:
        """Return whether a pair's base is so narrow beside the widest that it is only asked."""
        return pair.base_to_height < COMPARABLE * self.widest


def on_plane(scene: Scene, shape: BaseGeometry) -> BaseGeometry:
    """Return a shape in degrees on the map plane."""

    def moved(lonlat: Floats) -> Floats:
        return np.stack(scene.to_plane(lonlat[:, 0], lonlat[:, 1]), axis=1)

    return transform(shape, moved)
