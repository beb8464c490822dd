"""Outlines as features: which are polygons, on which map, and how high."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from processes.accuracy.outlines import matches
from processes.accuracy.pairing import at_points
from processes.core.errors import InvalidInput, NothingToCompare, UnknownCrs
from processes.core.raster import RasterSource

if TYPE_CHECKING:
    import geopandas

HEIGHT_COLUMNS = ("height_m", "measuredHeight", "height", "building_height", "h")
BUILDING_IOU = 0.3
"""Two outlines are one building from here on: its height is asked for, not its corners."""


def polygons(frame: geopandas.GeoDataFrame, name: str) -> geopandas.GeoDataFrame:
    kept = frame[frame.geom_type.isin(["Polygon", "MultiPolygon"])].reset_index(drop=True)
    if not len(kept):
        raise NothingToCompare(f"{name} holds no polygons")
    if kept.crs is None:
        raise UnknownCrs(f"{name} names no reference system: write one into the file")
    return kept


def on_one_map(
    made: geopandas.GeoDataFrame, true: geopandas.GeoDataFrame
) -> tuple[geopandas.GeoDataFrame, geopandas.GeoDataFrame]:
    """Return both in one CRS in metres: the reference's, the product's, or the UTM zone there."""
    for crs in (true.crs, made.crs):
        if crs.is_projected and crs.axis_info[0].unit_name in ("metre", "meter"):
            return made.to_crs(crs), true.to_crs(crs)
    zone = true.estimate_utm_crs()
    return made.to_crs(zone), true.to_crs(zone)


def within(
    area: BaseGeometry, made: NDArray[np.object_], true: NDArray[np.object_]
) -> tuple[NDArray[np.object_], NDArray[np.object_], dict[str, int]]:
    """Return the outlines that an area lets one ask for, and how many it does not.

    True ones lie wholly in it. Of the product those go that lie mostly outside, or mostly on a
    true one that does not lie wholly in it. Raises NothingToCompare.
    """
    shapely.prepare(area)
    whole = shapely.covers(area, true)
    cut = shapely.union_all(true[~whole])
    size = shapely.area(made)
    off = shapely.area(shapely.intersection(made, area)) < 0.5 * size
    off |= shapely.area(shapely.intersection(made, cut)) > 0.5 * size
    if not whole.any():
        raise NothingToCompare("no outline of the reference lies wholly in the area")
    left_out = {"product_not_asked": int(off.sum()), "reference_not_asked": int((~whole).sum())}
    return made[~off], true[whole], left_out


def height_column(frame: geopandas.GeoDataFrame, name: str) -> NDArray[np.float64]:
    for column in HEIGHT_COLUMNS:
        if column in frame:
            return np.asarray(frame[column].to_numpy(dtype=float, na_value=np.nan))
    raise InvalidInput(f"{name} has no heights: name the column height_m")


def matched_heights(
    made: geopandas.GeoDataFrame, true: geopandas.GeoDataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the heights of the buildings that are in both, in one order.

    Raises NothingToCompare.
    """
    height_m = height_column(made, "product")
    truth_m = height_column(true, "reference")
    ours, theirs = on_one_map(made, true)
    pairs = matches(ours.geometry.to_numpy(), theirs.geometry.to_numpy(), BUILDING_IOU)
    if not pairs:
        raise NothingToCompare("no building of the product overlaps one of the reference")
    product = height_m[[pair.product for pair in pairs]]
    return product, truth_m[[pair.reference for pair in pairs]]


def heights_under(made: geopandas.GeoDataFrame, source: RasterSource) -> NDArray[np.float64]:
    """Return the median of a raster of heights one metre inside each outline; NaN off it."""
    if source.grid is None:
        raise InvalidInput("reference has no georeference: give a map, not an image")
    outlines = made.to_crs(source.grid.crs).geometry
    truth_m = np.full(len(outlines), np.nan)
    for row, outline in enumerate(outlines):
        inner = outline.buffer(-1.0)
        area = inner if inner.area >= 4.0 else outline
        xmin, ymin, xmax, ymax = area.bounds
        step = max(source.grid.cell_m, ((xmax - xmin) * (ymax - ymin)) ** 0.5 / 60)
        x, y = np.meshgrid(np.arange(xmin, xmax, step), np.arange(ymin, ymax, step))
        inside = shapely.contains_xy(area, x, y)
        heights = at_points(source, x[inside], y[inside], source.grid.crs)
        if np.isfinite(heights).any():
            truth_m[row] = float(np.nanmedian(heights))
    return truth_m
