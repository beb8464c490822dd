"""What a height model looks like: hillshade, slope, and heights as colours for terrain engines.

Unlike titiler's of the same names these know how large a pixel is on the ground, so that a slope
looks the same at every zoom and latitude, and keep what is unknown transparent.
"""

from __future__ import annotations

from math import cos, radians, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rio_tiler.models import ImageData
from titiler.core.algorithm import BaseAlgorithm

BUFFER = "buffer"
"""Key of an image's metadata: how many pixels it is wider than asked, on each side."""

Floats = NDArray[np.float64]
ma: Any = np.ma  # numpy's masked arrays have no types


class HillShade(BaseAlgorithm):  # type: ignore[misc]  # follow_imports is skip
    """Light from the north-west, as printed maps have it."""

    title: str = "Hillshade"
    description: str = "Light on the surface, 0…255; flat ground is 255·sin(angle_altitude)."
    azimuth: float = Field(default=315.0, ge=0, le=360, description="Where light is from, degrees.")
    angle_altitude: float = Field(default=45.0, ge=0, le=90, description="Of the sun, degrees.")
    z_exaggeration: float = Field(default=1.0, ge=1e-6, le=1e6)
    input_nbands: int = 1
    output_nbands: int = 1
    output_dtype: str = "uint8"

    def __call__(self, img: ImageData) -> ImageData:
        """Shade the first band."""
        east, north = gradient(img, self.z_exaggeration)
        azimuth, altitude = radians(self.azimuth), radians(self.angle_altitude)
        light = sin(altitude) - cos(altitude) * (sin(azimuth) * east + cos(azimuth) * north)
        light /= np.sqrt(1 + east**2 + north**2)
        return _image(img, [np.rint(255 * np.clip(light, 0, 1)).astype(np.uint8)], ["hillshade"])


class Slope(BaseAlgorithm):  # type: ignore[misc]
    """Steepness of the surface."""

    title: str = "Slope"
    description: str = "Angle between the surface and the horizontal, degrees."
    input_nbands: int = 1
    output_nbands: int = 1
    output_dtype: str = "float32"

    def __call__(self, img: ImageData) -> ImageData:
        """Measure the first band."""
        steepness = np.degrees(np.arctan(np.hypot(*gradient(img))))
        return _image(img, [steepness.astype(np.float32)], ["slope"])


class TerrainRgb(BaseAlgorithm):  # type: ignore[misc]
    """Heights as Mapbox Terrain-RGB: -10000 + 0.1 · (65536 R + 256 G + B) metres."""

    title: str = "Terrain-RGB"
    description: str = "Heights in steps of *interval* above *baseval*, over three bytes."
    interval: float = Field(default=0.1, gt=0.0, le=1.0)
    baseval: float = Field(default=-10000.0, ge=-99999.0, le=99999.0)
    input_nbands: int = 1
    output_nbands: int = 3
    output_dtype: str = "uint8"

    def __call__(self, img: ImageData) -> ImageData:
        """Encode the first band; what is unknown is 0, and masked."""
        steps = np.rint((heights(img).filled(self.baseval) - self.baseval) / self.interval)
        whole = np.clip(steps, 0, 2**24 - 1).astype(np.uint32)
        bands = [(whole >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)]
        return _image(img, bands, ["terrain_r", "terrain_g", "terrain_b"])


class Terrarium(BaseAlgorithm):  # type: ignore[misc]
    """Heights as Mapzen Terrarium: 256 R + G + B / 256 - 32768 metres."""

    title: str = "Terrarium"
    description: str = "Heights in steps of 4 mm above -32768 m, over three bytes."
    input_nbands: int = 1
    output_nbands: int = 3
    output_dtype: str = "uint8"

    def __call__(self, img: ImageData) -> ImageData:
        """Encode the first band; what is unknown is 0, and masked."""
        steps = np.rint((heights(img).filled(-32768.0) + 32768.0) * 256)
        whole = np.clip(steps, 0, 2**24 - 1).astype(np.uint32)
        bands = [(whole >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)]
        return _image(img, bands, ["terrarium_r", "terrarium_g", "terrarium_b"])


ALGORITHMS = {
    "hillshade": HillShade,
    "slope": Slope,
    "terrainrgb": TerrainRgb,
    "terrarium": Terrarium,
}
LOSSLESS = ("terrain_r", "terrarium_r")
"""First bands of images whose values are numbers, not colours."""


def heights(img: ImageData) -> Any:
    """Return the first band, masked where it is unknown."""
    return ma.masked_invalid(img.array[0].astype(np.float64))


def gradient(img: ImageData, exaggeration: float = 1.0) -> tuple[Floats, Floats]:
    """Return how many metres the ground rises for one eastwards and one northwards.

    Flat where a neighbour is unknown.
    """
    values = exaggeration * heights(img).filled(np.nan)
    east_m, north_m = ground_size(img)
    drow, dcol = np.gradient(values)
    return np.nan_to_num(dcol / east_m), np.nan_to_num(-drow / north_m)


def ground_size(img: ImageData) -> tuple[float, float]:
    """Return the size of the middle pixel on the ground, east and north, in metres."""
    from pyproj import Geod
    from rasterio.warp import transform

    if img.bounds is None or img.crs is None:
        return 1.0, 1.0
    left, bottom, right, top = img.bounds
    x, y = (left + right) / 2, (bottom + top) / 2
    dx, dy = (right - left) / img.width, (top - bottom) / img.height
    lons, lats = transform(img.crs, "OGC:CRS84", [x, x + dx, x], [y, y, y + dy])
    geod = Geod(ellps="WGS84")
    _, _, size = geod.inv([lons[0]] * 2, [lats[0]] * 2, lons[1:], lats[1:])
    return float(size[0]), float(size[1])


def _image(img: ImageData, bands: list[NDArray[Any]], names: list[str]) -> ImageData:
    """Return bands as an image, masked as *img* is, cut to what was asked for."""
    unknown = ma.getmaskarray(heights(img))
    cut = int((img.metadata or {}).get(BUFFER, 0))
    rows, cols = slice(cut, img.height - cut), slice(cut, img.width - cut)
    stack = np.stack(bands)[:, rows, cols]
    masked = np.broadcast_to(unknown[rows, cols], stack.shape)
    bounds = img.bounds
    if cut and bounds is not None:
        left, bottom, right, top = bounds
        dx, dy = cut * (right - left) / img.width, cut * (top - bottom) / img.height
        bounds = (left + dx, bottom + dy, right - dx, top - dy)
    return ImageData(
        ma.MaskedArray(stack, masked),
        assets=img.assets,
        crs=img.crs,
        bounds=bounds,
        band_descriptions=names,
    )
