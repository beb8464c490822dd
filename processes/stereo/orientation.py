"""Orientation: sensor models that agree with each other, with control and with a coarse model.

Pairs are matched at a few hundred features (`pointing`), all images are corrected together
(`adjust`), and what two images cannot tell, how high the whole scene stands, comes from ground
control points or else from an elevation model where one is given (`elevation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from processes.core.errors import InvalidInput, NoTexture, OutsideArea
from processes.core.raster import RasterSource
from processes.stereo import adjust, coverage, elevation, pointing
from processes.stereo.adjust import Control, Pointing
from processes.stereo.coverage import Pair
from processes.stereo.elevation import HIGHEST_M, LOWEST_M
from processes.stereo.epipolar import Local
from processes.stereo.geoid import undulation_m
from processes.stereo.scout import scout
from processes.stereo.view import View

if TYPE_CHECKING:
    import geopandas

FEWEST_GCPS = 3
BELOW_M, ABOVE_M = 40.0, 200.0
"""How far pits and towers may lie beyond the tie points; the matcher finds its own way there."""


def control_of(frame: geopandas.GeoDataFrame, views: Sequence[View]) -> Control:
    """Return ground control points as the adjustment takes them. Raises InvalidInput."""
    missing = {"image", "row", "col"} - set(frame.columns)
    if missing:
        raise InvalidInput(f"input gcps: its points lack {', '.join(sorted(missing))}")
    points = frame.geometry
    if not (points.geom_type == "Point").all() or not points.has_z.all():
        raise InvalidInput("input gcps: give points with a height, [longitude, latitude, height]")
    if frame.crs is None or len(frame) < FEWEST_GCPS:
        raise InvalidInput(f"input gcps: give {FEWEST_GCPS} points or more, with their system")
    number = {view.id: v for v, view in enumerate(views)}
    unknown = sorted(set(map(str, frame["image"])) - set(number))
    if unknown:
        raise InvalidInput(
            f"input gcps: no image is called {unknown[0]}; there are {', '.join(number)}"
        )
    at = points.to_crs("EPSG:4326")
    row, col = (np.asarray(frame[name], float) for name in ("row", "col"))
    heights = np.asarray(points.z, float)
    if not (np.isfinite(row) & np.isfinite(col) & np.isfinite(heights)).all():
        raise InvalidInput("input gcps: a row, column or height is not a number")
    return Control(
        view=np.array([number[str(name)] for name in frame["image"]]),
        row=row,
        col=col,
        lon=np.asarray(at.x, float),
        lat=np.asarray(at.y, float),
        height_m=heights,
    )


def tie(
    views: Sequence[View],
    dem: RasterSource | None,
    dem_heights: Literal["auto", "ellipsoid", "geoid"],
    area: Any,
    control: Control | None = None,
) -> tuple[Pointing, tuple[float, float]]:
    """Return sensor models that agree, and the bounds of the heights in the scene."""
    low = max(LOWEST_M, max(v.model.height_off - v.model.height_scale for v in views))
    high = min(HIGHEST_M, min(v.model.height_off + v.model.height_scale for v in views))
    if low >= high:
        low, high = LOWEST_M, HIGHEST_M
    pairs, (low, high) = coverage.pairs_of(views, list(np.linspace(low, high, 9)), area)
    possible = low, high
    if dem is not None:
        low, high = _narrowed(dem, dem_heights, pairs, low, high)
    middle = 0.5 * (low + high)
    at = pairs[0].ground.centroid
    gsd_m = coverage.sampling_m(views, at.x, at.y, middle)
    looked = [
        (p.left, p.right, coverage.pieces(p.ground, pointing.WINDOW_PX * gsd_m))
        for p in pairs[: coverage.MOST_PAIRS]
    ]
    ties = pointing.ties_of(views, looked, heights_m=(low, high), gsd_m=gsd_m)
    if ties.count < adjust.ENOUGH and (low, high) != possible:  # dem may be of another place
        ties = pointing.ties_of(views, looked, heights_m=possible, gsd_m=gsd_m)
        middle = 0.5 * sum(possible)
    if ties.count < adjust.ENOUGH:
        shared_km2 = 1e-6 * pairs[0].ground.area * np.prod(Local(at.x, at.y).scale)
        raise NoTexture(
            f"no common features were found on the {shared_km2:.2g} km² that the "
            "images share: are they cloud-free, of one season, and is that enough?"
        )
    models = [v.model for v in views]
    tied = adjust.adjust(models, ties, height_m=middle, control=control)
    if dem is not None and control is None:
        tied = _lifted(views, tied, dem, dem_heights, pairs[0], gsd_m)
    return tied, _bounds(tied)


def _bounds(tied: Pointing) -> tuple[float, float]:
    """Return heights between which all of a scene stands: tie points miss towers and pits."""

    bottom, top = np.quantile(tied.height_m, (0.005, 0.995))
    return float(bottom) - BELOW_M, float(top) + ABOVE_M


def _lifted(
    views: Sequence[View],
    tied: Pointing,
    dem: RasterSource,
    dem_heights: Literal["auto", "ellipsoid", "geoid"],
    pair: Pair,
    gsd_m: float,
) -> Pointing:
    """Return the pointing that also agrees with a coarse elevation model."""
    left, right = (replace(views[i], model=tied.models[i]) for i in (pair.left, pair.right))
    pieces = coverage.pieces(pair.ground, pointing.WINDOW_PX * gsd_m)
    lon, lat, height = scout(left, right, pieces, _bounds(tied), gsd_m)
    ground = elevation.heights_at(dem, lon, lat)
    void_m = elevation.void_of(ground, height)
    if void_m is not None:
        ground = elevation.heights_at(dem, lon, lat, void_m)
    if np.isfinite(ground).sum() < elevation.ENOUGH_POINTS:
        return tied
    reference = dem_heights
    if reference == "auto":
        reference = elevation.stated_reference(dem) or elevation.likely_reference(
            height, ground, lon, lat
        )
    geoid = reference == "geoid"
    level = ground + undulation_m(lon, lat) if geoid else ground
    px_per_m = pair.base_to_height / gsd_m
    even = bool(np.nanmin(ground) == np.nanmax(ground))
    elevation.require_credible(height, level, px_per_m, tied.off_px, even=even)
    beside = elevation.offset(dem, lon, lat, height, geoid=geoid, void_m=void_m)
    if beside.moves:
        tied = elevation.beside(tied, beside.east_m, beside.north_m)
        local = Local(float(np.mean(lon)), float(np.mean(lat)))
        east, north = local.metres(lon, lat)
        lon, lat = local.degrees(east + beside.east_m, north + beside.north_m)
        ground = elevation.heights_at(dem, lon, lat, void_m)
        level = ground + undulation_m(lon, lat) if geoid else ground
    lift = elevation.lift_m(height, level, px_per_m, tied.off_px)
    told = {"OROGRAPH_DEM_HEIGHTS": reference, "OROGRAPH_DEM_LIFT_M": f"{lift:.3f}"}
    if void_m is not None:
        told["OROGRAPH_DEM_VOID_M"] = f"{void_m:g}"
    return replace(elevation.lifted(tied, lift), told=told)


def _narrowed(
    dem: RasterSource, dem_heights: str, pairs: Sequence[Pair], low: float, high: float
) -> tuple[float, float]:
    """Return the heights that a coarse model leaves possible, with room for what stands on it."""
    xmin, ymin, xmax, ymax = pairs[0].ground.bounds
    lon, lat = np.meshgrid(np.linspace(xmin, xmax, 40), np.linspace(ymin, ymax, 40))
    ground = elevation.heights_at(dem, lon, lat)
    if not np.isfinite(ground).any():
        raise OutsideArea("dem does not cover the images: give another, or none")
    shift = undulation_m(lon, lat)
    possible = {"auto": (np.minimum(shift, 0), np.maximum(shift, 0)), "geoid": (shift, shift)}
    down, up = possible.get(dem_heights, (0.0, 0.0))
    bottom = float(np.nanmin(ground + down)) - 150.0
    top = float(np.nanmax(ground + up)) + 350.0
    if max(low, bottom) >= min(high, top):
        return low, high
    return max(low, bottom), min(high, top)
