"""Longitudes that go on across the antimeridian.

There 179.999° and -179.999° are neighbours, and some sensor models and maps count to 360°. All
longitudes of a scene are brought within half a turn of one of them, by whole turns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import box, unary_union
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from processes.core.crs import Plane

Floats = NDArray[np.float64]


def near(lon: Any, middle: float) -> Any:
    """Return longitudes within half a turn of *middle*."""
    return lon + 360.0 * np.rint((middle - lon) / 360.0)


def degrees_near(to_degrees: Plane, middle: float) -> Plane:
    """Return a transformation into longitude and latitude that stays near *middle*."""

    def degrees(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        lon, lat = to_degrees(x, y)
        return near(lon, middle), lat

    return degrees


def area_near(area: BaseGeometry, middle: float) -> BaseGeometry:
    """Return an area, and itself a turn further where that lies near *middle* too."""
    around = box(middle - 180.0, -90.0, middle + 180.0, 90.0)
    turned = [translate(area, turn) for turn in (-360.0, 0.0, 360.0)]
    found = [there for there in turned if there.intersects(around)]
    return found[0] if len(found) == 1 else unary_union(found)
