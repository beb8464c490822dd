"""Check points: surveyed places with heights, from a table or from features."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import InvalidInput, NothingToCompare, UnknownCrs

if TYPE_CHECKING:
    import geopandas

X_COLUMNS = ("x", "easting", "e", "lon", "longitude")
Y_COLUMNS = ("y", "northing", "n", "lat", "latitude")
Z_COLUMNS = ("z", "height", "elevation", "h", "alt")

Column = NDArray[np.float64]


def csv_points(text: str) -> tuple[Column, Column, Column]:
    """Return x, y and z of a CSV table with a header."""
    rows = csv.DictReader(io.StringIO(text))
    header = {name.strip().lower(): name for name in rows.fieldnames or ()}
    columns = [
        next((header[name] for name in names if name in header), None)
        for names in (X_COLUMNS, Y_COLUMNS, Z_COLUMNS)
    ]
    if None in columns:
        raise InvalidInput("the CSV needs columns x, y and z")
    try:
        table = [[float(row[name]) for name in columns if name] for row in rows]
    except (TypeError, ValueError):
        raise InvalidInput("the CSV holds something that is not a number") from None
    if not table:
        raise NothingToCompare("the CSV holds no points")
    x, y, z = np.array(table, float).T
    return x, y, z


def vector_points(frame: geopandas.GeoDataFrame) -> tuple[Column, Column, Column, str]:
    """Return x, y and z of point features, and the CRS of x and y."""
    frame = frame[frame.geom_type == "Point"]
    if not len(frame):
        raise NothingToCompare("reference holds no points")
    if frame.crs is None:
        raise UnknownCrs("reference names no reference system: write one into the file")
    points = frame.geometry
    if points.has_z.all():
        z = points.z.to_numpy(float)
    else:
        column = next((name for name in Z_COLUMNS if name in frame), None)
        if column is None:
            raise InvalidInput("the check points have no heights: add a z or a column z")
        z = frame[column].to_numpy(dtype=float, na_value=np.nan)
    return points.x.to_numpy(), points.y.to_numpy(), z, frame.crs.to_string()
