"""Reference systems: which ones a product may have, and where a place lies in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import InvalidInput, UnknownCrs
from processes.core.raster import Grid, RasterSource

if TYPE_CHECKING:
    from pyproj import CRS

Floats = NDArray[np.float64]
Plane = Callable[[Floats, Floats], tuple[Floats, Floats]]


def known(crs: str, refused: str) -> CRS:
    """Return a reference system. Raises UnknownCrs, which says *refused*."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_user_input(crs)
    except CRSError:
        raise UnknownCrs(refused) from None


def metric_crs(text: str) -> str:
    """Return a projected, metric reference system in its shortest form. Raises UnknownCrs."""
    crs = known(text, f"crs {text[:60]!r} is unknown: give one such as EPSG:32631")
    crs = crs.to_2d() if len(crs.axis_info) == 3 else crs
    if not crs.is_projected or any(axis.unit_name != "metre" for axis in crs.axis_info):
        raise UnknownCrs(f"crs {text[:60]!r} is not a projection in metres: use one such as UTM")
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())


def utm_zone(lon: float, lat: float) -> str:
    """Return the UTM zone of a place."""
    zone = min(int((lon + 180.0) % 360.0 // 6) + 1, 60)
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"


def map_of(dsm: RasterSource) -> tuple[Grid, CRS]:
    """Return the lattice of a surface model and its reference system.

    Raises InvalidInput where it has none, UnknownCrs.
    """
    if dsm.grid is None:
        raise InvalidInput("dsm has no georeference: give a map, not an image in sensor geometry")
    refused = "the CRS of dsm is unknown to PROJ: reproject it to a UTM zone"
    return dsm.grid, known(dsm.grid.crs, refused)


def metric_grid(dsm: RasterSource) -> Grid:
    """Return the lattice of a surface model of one band, in metres.

    Raises InvalidInput, UnknownCrs.
    """
    grid, crs = map_of(dsm)
    if dsm.shape[0] != 1:
        raise InvalidInput(f"dsm has {dsm.shape[0]} bands: give one band of heights")
    if not crs.is_projected or crs.axis_info[0].unit_name not in ("metre", "meter"):
        raise UnknownCrs(f"{crs.name} is not in metres: reproject dsm to a UTM zone")
    return grid


def for_arrays(transform: Plane) -> Plane:
    """Return a transformation that takes an array of one point for an array, not for a number."""

    def plane(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        if np.ndim(x) == 0 or np.size(x) != 1:
            return transform(x, y)
        first, second = transform(np.repeat(x, 2), np.repeat(y, 2))
        return first[:1].reshape(np.shape(x)), second[:1].reshape(np.shape(x))

    return plane
