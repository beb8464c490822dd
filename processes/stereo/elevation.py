"""A coarse elevation model beside the images: where to look for heights, and how high they are.

Two images alone cannot tell a pointing error along the epipolar lines from height: it lifts or
sinks the whole scene, by metres. A coarse model is wrong by metres too, but its median over a
scene much less, so the two are weighed against each other.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from processes.core.errors import InvalidInput
from processes.core.raster import RasterSource
from processes.stereo import coregister
from processes.stereo.adjust import Pointing
from processes.stereo.antimeridian import near
from processes.stereo.epipolar import Local
from processes.stereo.geoid import undulation_m

Floats = NDArray[np.float64]
Reference = Literal["ellipsoid", "geoid"]

ENOUGH_POINTS = 1000
POINTING_PX = 2.0
"""How far a satellite's pointing along the epipolar line is off, one standard deviation, unless \
tie points show that it is further off across."""
LOWEST_M, HIGHEST_M = -450.0, 9000.0
"""Between which the Earth's surface lies: what a model says beyond is a void it does not declare.
"""
PLATEAU, VOID_M = 0.02, 20.0
"""Share of the points that the voids of a model take at least, and how far off they stand."""
INCREDIBLE = 20.0
"""Standard deviations beyond which a model is not one of this place, or not in metres."""
DEM_M = 1.5
"""How far the median of a coarse model over a scene is off, one standard deviation."""


def heights_at(dem: RasterSource, lon: Floats, lat: Floats, void_m: float | None = None) -> Floats:
    """Return the model's own heights at degrees, bilinearly; NaN outside and at voids.

    *void_m* is a value that marks voids which the model does not declare.
    """
    grid = dem.grid
    if grid is None:
        raise InvalidInput("dem has no georeference: give a map-projected or geographic raster")
    x, y = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(lon, lat)
    if CRS.from_user_input(grid.crs).is_geographic:
        x = near(x, 0.5 * (grid.bounds[0] + grid.bounds[2]))
    row, col = grid.rowcol(x, y)
    keep = np.isfinite(row) & np.isfinite(col)
    keep &= (row > -1) & (col > -1) & (row < grid.height) & (col < grid.width)
    out = np.full(np.shape(lon), np.nan)
    if not keep.any():
        return out
    row, col = row[keep], col[keep]
    row0, col0 = int(np.floor(row.min())), int(np.floor(col.min()))
    tall, wide = int(np.ceil(row.max())) - row0 + 2, int(np.ceil(col.max())) - col0 + 2
    z = dem.read(row0, col0, tall, wide, bands=[0])[0].astype(np.float64)
    z[(z < LOWEST_M) | (z > HIGHEST_M) | (z == void_m)] = np.nan
    i, j = np.floor(row - row0).astype(int), np.floor(col - col0).astype(int)
    fi, fj = row - row0 - i, col - col0 - j
    corners = np.stack([z[i, j], z[i, j + 1], z[i + 1, j], z[i + 1, j + 1]])
    weights = np.stack([(1 - fi) * (1 - fj), (1 - fi) * fj, fi * (1 - fj), fi * fj])
    weights = np.where(np.isfinite(corners), weights, 0.0)
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (np.nan_to_num(corners) * weights).sum(axis=0) / total
    out[keep] = np.where(total > 0.49, value, np.nan)
    return out


def void_of(ground: Floats, height: Floats) -> float | None:
    """Return the value by which a model marks voids without saying so, or None.

    *ground* are its own heights at points, *height* what the images show there. Voids are a plateau
    far from the images' heights where the rest of the model is near them, whatever the level of
    both: pointing moves all alike. A lake, or a plain in whole metres, is a plateau that is not.
    """
    apart = ground - height
    known = np.isfinite(apart)
    values, counts = np.unique(ground[known], return_counts=True)
    if not counts.size or counts.max() < PLATEAU * known.sum():
        return None
    void = float(values[counts.argmax()])
    on, off = apart[known & (ground == void)], apart[known & (ground != void)]
    if off.size < ENOUGH_POINTS:
        return None
    middle = float(np.median(off))
    scatter = 1.4826 * float(np.median(np.abs(off - middle)))
    return void if abs(float(np.median(on)) - middle) > max(VOID_M, 5.0 * scatter) else None


def stated_reference(dem: RasterSource) -> Reference | None:
    """Return what the model's reference system says its heights stand on, or None."""
    crs = CRS.from_user_input(dem.grid.crs) if dem.grid else None
    if crs is None or not (crs.is_compound or len(crs.axis_info) == 3):
        return None
    return "geoid" if crs.is_compound else "ellipsoid"


def likely_reference(heights: Floats, above_dem: Floats, lon: Floats, lat: Floats) -> Reference:
    """Return which reference brings a model nearer to measured ellipsoidal heights."""
    plain = abs(float(np.nanmedian(heights - above_dem)))
    lifted = abs(float(np.nanmedian(heights - above_dem - undulation_m(lon, lat))))
    return "geoid" if lifted < plain else "ellipsoid"


def offset(
    dem: RasterSource,
    lon: Floats,
    lat: Floats,
    height: Floats,
    *,
    geoid: bool,
    void_m: float | None = None,
) -> coregister.Offset:
    """Return how far points of a scene must move east and north to stand where the model does."""
    local = Local(float(np.mean(lon)), float(np.mean(lat)))

    def ground(east: Floats, north: Floats) -> Floats:
        at = local.degrees(east, north)
        return heights_at(dem, *at, void_m) + (undulation_m(*at) if geoid else 0.0)

    return coregister.offset(local.metres(lon, lat), height, ground, spacing_m(dem, local))


def spacing_m(dem: RasterSource, local: Local) -> float:
    """Return the side of the square as large as a cell of the model at a place."""
    assert dem.grid is not None  # `heights_at` has refused such a model
    to_degrees = Transformer.from_crs(dem.grid.crs, "EPSG:4326", always_xy=True)
    from_degrees = Transformer.from_crs("EPSG:4326", dem.grid.crs, always_xy=True)
    row, col = dem.grid.rowcol(
        *(np.array([v]) for v in from_degrees.transform(local.lon, local.lat))
    )
    corners = dem.grid.xy(row + np.array([0, 0, 1]), col + np.array([0, 1, 0]))
    at = local.metres(*to_degrees.transform(*corners))
    return float(np.sqrt(abs(np.linalg.det(at[:, 1:] - at[:, :1]))))


def require_credible(
    height_m: Floats, ground_m: Floats, px_per_m: float, off_px: float, *, even: bool
) -> None:
    """Refuse a model whose heights neither pointing nor its own errors can bring to the images'.

    A model that is one value everywhere, *even*, is a void sooner than that. Raises InvalidInput.
    """
    middle, pointing, model = _weighed(height_m, ground_m, px_per_m, off_px)
    if abs(middle) > (VOID_M if even else INCREDIBLE * sqrt(pointing + model)):
        side = "above" if middle > 0 else "below"
        raise InvalidInput(
            f"dem lies {abs(middle):.0f} m {side} what the images show: "
            "give one of this place, in metres, with its voids declared as nodata, or none"
        )


def lift_m(height_m: Floats, ground_m: Floats, px_per_m: float, off_px: float = 0.0) -> float:
    """Return how much higher the scene should stand, given a coarse model's heights beside its own.

    The median difference, weighed by how well pointing and model are known: 0 where there are
    too few points to tell. *off_px* is how far pointing was seen to be off across the epipolar
    lines: along them it is taken to be off as far.
    """
    middle, pointing, model = _weighed(height_m, ground_m, px_per_m, off_px)
    return middle * pointing / (pointing + model)


def _weighed(
    height_m: Floats, ground_m: Floats, px_per_m: float, off_px: float
) -> tuple[float, float, float]:
    """Return by how much a model stands higher, and the variances of pointing and of the model."""
    difference = ground_m - height_m
    difference = difference[np.isfinite(difference)]
    if difference.size < ENOUGH_POINTS:
        return 0.0, 0.0, DEM_M**2
    middle = float(np.median(difference))
    scatter = 1.4826 * float(np.median(np.abs(difference - middle)))
    return (
        middle,
        (max(POINTING_PX, off_px) / px_per_m) ** 2,
        DEM_M**2 + (0.2 * scatter) ** 2,
    )


def lifted(tied: Pointing, lift: float) -> Pointing:
    """Return the pointing whose rays meet *lift* metres higher along those of the first image."""
    first = tied.models[0]
    row, col = first.project(tied.lon, tied.lat, tied.height_m)
    lon, lat = first.locate(row, col, tied.height_m + lift)
    return _moved(tied, lon, lat, tied.height_m + lift)


def beside(tied: Pointing, east_m: float, north_m: float) -> Pointing:
    """Return the pointing whose rays meet so much further east and north."""
    local = Local(float(np.mean(tied.lon)), float(np.mean(tied.lat)))
    lon, lat = local.degrees(np.array(east_m), np.array(north_m))
    return _moved(tied, tied.lon + lon - local.lon, tied.lat + lat - local.lat, tied.height_m)


def _moved(tied: Pointing, lon: Floats, lat: Floats, height: Floats) -> Pointing:
    """Return the pointing whose rays meet at other places than those of *tied*."""
    models, added = [], []
    for model, (row0, col0, *tilt) in zip(tied.models, tied.corrections_px, strict=True):
        was = model.project(tied.lon, tied.lat, tied.height_m)
        now = model.project(lon, lat, height)
        drow, dcol = (round(float(np.median(a - b)), 6) for a, b in zip(was, now, strict=True))
        models.append(model.corrected(drow, dcol) if drow or dcol else model)
        added.append((row0 + drow, col0 + dcol, *tilt))
    return replace(
        tied,
        models=tuple(models),
        corrections_px=tuple(added),
        lon=lon,
        lat=lat,
        height_m=height,
    )
