"""From maps to the globe: longitude and latitude, geocentric metres, and a frame on the ground.

Angles are radians, heights metres above the WGS84 ellipsoid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import UnknownCrs

A_M, F = 6378137.0, 1 / 298.257223563
E2 = F * (2 - F)
MARGIN_M = 0.02
"""Added around every region: 16-bit positions may lie half a step outside."""

Floats = NDArray[np.float64]


def on_globe(points: Floats, crs: str) -> Floats:
    """Return longitude, latitude and height of (n, 3) points in *crs*. Raises UnknownCrs.

    Longitudes run on across the antimeridian, so that near points have near numbers.
    """
    return to_globe(crs)(points)


def to_globe(crs: str) -> Callable[[Floats], Floats]:
    """Return `on_globe` for one reference system: to look it up takes longer than many points."""
    from pyproj import CRS, Transformer
    from pyproj.exceptions import CRSError

    try:
        plan = CRS.from_user_input(crs).to_2d()
    except CRSError:
        raise UnknownCrs(f"{crs!r} is no reference system that PROJ knows") from None
    to_wgs84 = Transformer.from_crs(plan, "EPSG:4326", always_xy=True)

    def moved(points: Floats) -> Floats:
        # as lists: of an array of one, pyproj makes a number in a way that NumPy will forbid
        x, y = points[:, :2].T if len(points) > 1 else points[:, :2].T.tolist()
        lon, lat = map(np.asarray, to_wgs84.transform(x, y))
        if len(lon) and np.ptp(lon) > 180:
            lon = lon % 360
        return np.column_stack([np.radians(lon), np.radians(lat), points[:, 2]])

    return moved


def geocentric(globe: Floats) -> Floats:
    """Return X, Y, Z of longitude, latitude and height."""
    lon, lat, height = np.moveaxis(np.asarray(globe), -1, 0)
    prime = A_M / np.sqrt(1 - E2 * np.sin(lat) ** 2)
    across = (prime + height) * np.cos(lat)
    up = (prime * (1 - E2) + height) * np.sin(lat)
    return np.stack([across * np.cos(lon), across * np.sin(lon), up], axis=-1)


def east_north_up(origin: Floats) -> Floats:
    """Return the (4, 4) matrix from local metres at *origin* to geocentric coordinates."""
    lon, lat = origin[:2]
    sin_lon, cos_lon, sin_lat, cos_lat = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
    frame = np.eye(4)
    frame[:3, 0] = -sin_lon, cos_lon, 0
    frame[:3, 1] = -sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat
    frame[:3, 2] = cos_lat * cos_lon, cos_lat * sin_lon, sin_lat
    frame[:3, 3] = geocentric(origin)
    return frame


def y_up(globe: Floats, frame: Floats) -> Floats:
    """Return metres east, up and south of the origin of *frame*, as glTF has its axes."""
    local = (geocentric(globe) - frame[:3, 3]) @ frame[:3, :3]
    return np.asarray(local[:, [0, 2, 1]] * (1, 1, -1))


def margin(latitudes: Floats) -> Floats:
    """Return MARGIN_M in radians of longitude, of latitude, and in metres, where it is widest."""
    narrowest = np.cos(np.abs(latitudes).max(initial=0.0))
    return np.array([MARGIN_M / A_M / max(narrowest, 1e-6), MARGIN_M / A_M, MARGIN_M])


def region(low: Floats, high: Floats) -> list[float]:
    """Return west, south, east, north and the height range, of two corners."""
    (west, south, floor), (east, north, ceiling) = low.tolist(), high.tolist()
    return [_wrapped(west), south, _wrapped(east), north, floor, ceiling]


def _wrapped(longitude: float) -> float:
    return float((longitude + np.pi) % (2 * np.pi) - np.pi)
