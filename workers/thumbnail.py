"""A small picture of a product: its ortho image or classes, or its heights lit from north-west."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning

SIZE_PX = 512
SUN_AZIMUTH_DEG, SUN_ELEVATION_DEG = 315.0, 45.0

Floats = NDArray[np.floating]


def thumbnail(source: Path, target: Path) -> None:
    """Write *source*, a raster of heights, of classes in colours, or an image, as a small PNG.

    What the raster does not know is transparent.
    """
    with rasterio.open(source) as file:
        scale = max(file.height, file.width) / SIZE_PX
        shape = (max(1, round(file.height / scale)), max(1, round(file.width / scale)))
        bands = [1, 2, 3] if file.count >= 3 else [1]
        colours = file.colormap(1) if ColorInterp.palette in file.colorinterp else None
        how = Resampling.mode if colours else Resampling.average
        values = file.read(bands, out_shape=(len(bands), *shape), resampling=how, masked=True)
        cell_m = abs(file.transform.a) * file.width / shape[1]
    known = ~np.broadcast_to(values.mask, values.shape).any(axis=0)
    numbers = values.filled(np.nan).astype(np.float64) if values.dtype.kind == "f" else values.data
    known &= np.isfinite(numbers).all(axis=0)
    picture: NDArray[Any]
    if colours:
        picture = np.moveaxis(np.array([colours[n][:3] for n in range(256)])[numbers[0]], 2, 0)
    elif values.dtype.kind == "f" and len(bands) == 1:
        picture = hillshade(numbers[0], cell_m)
    else:
        picture = stretched(numbers, known)
    rgba = np.empty((4, *shape), np.uint8)
    rgba[:3] = np.nan_to_num(picture)
    rgba[3] = np.where(known, 255, 0)
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.open(
            target, "w", driver="PNG", width=shape[1], height=shape[0], count=4, dtype="uint8"
        ) as png,
    ):
        png.write(rgba)


def hillshade(heights: Floats, cell_m: float) -> Floats:
    """Return the light (0…255) on a surface in metres, seen from above."""
    filled = np.where(np.isfinite(heights), heights, np.nanmedian(heights))
    drow, dcol = np.gradient(filled, cell_m)
    azimuth, elevation = np.radians(SUN_AZIMUTH_DEG), np.radians(SUN_ELEVATION_DEG)
    east, north, up = (
        np.sin(azimuth) * np.cos(elevation),
        np.cos(azimuth) * np.cos(elevation),
        np.sin(elevation),
    )
    # the normal is (-dz/dx, -dz/dy, 1); rows run south
    light = (-dcol * east + drow * north + up) / np.sqrt(1 + drow**2 + dcol**2)
    return np.asarray(255 * np.clip(light, 0, 1))


def stretched(bands: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return bands stretched from their 2nd to 98th percentile to 0…255."""
    if not known.any():
        return np.zeros(bands.shape)
    low, high = np.percentile(bands[:, known].astype(float), (2, 98))
    return np.asarray(np.clip((bands - low) / max(high - low, 1e-9), 0, 1) * 255)
