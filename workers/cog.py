"""Cloud-optimised GeoTIFFs: filled block by block, put in place when they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.shutil import copy
from rasterio.windows import Window

from processes.core.process import Layer
from processes.core.raster import Grid
from workers.rasters import CACHE

TILE_PX = 512


class BlockFile:
    """A GeoTIFF that is filled block by block and then becomes a COG in one atomic step."""

    def __init__(self, path: Path, layer: Layer, grid: Grid, bands: int) -> None:
        self._path, self._layer = path, layer
        self._part = path.with_name(path.name + ".part.tif")
        self._nodata = _nodata(layer)
        self._file = rasterio.open(
            self._part,
            "w",
            driver="GTiff",
            height=grid.height,
            width=grid.width,
            count=bands,
            dtype=layer.dtype,
            crs=grid.crs,
            transform=grid.transform,
            nodata=self._nodata,
            tiled=True,
            blockxsize=TILE_PX,
            blockysize=TILE_PX,
            bigtiff="if_safer",
            **_colours(layer, bands),
        )
        if layer.colours:
            self._file.write_colormap(1, dict(layer.colours))

    def write(self, values: NDArray[Any], row0: int, col0: int) -> None:
        """Write (bands, rows, columns) or (rows, columns) at a place; NaN becomes nodata."""
        stack = values if values.ndim == 3 else values[None]
        wanted = np.dtype(self._layer.dtype)
        # rounding bytes would take them through half floats
        if stack.dtype != wanted and not np.issubdtype(wanted, np.floating):
            stack = np.nan_to_num(stack, nan=self._nodata or 0)
            info = np.iinfo(self._layer.dtype)
            stack = np.clip(np.rint(stack), info.min, info.max)
        window = Window(col0, row0, stack.shape[2], stack.shape[1])
        with rasterio.Env(**CACHE):  # beyond it GDAL keeps what it likes
            self._file.write(stack.astype(wanted, copy=False), window=window)

    def finish(self) -> None:
        """Close, add overviews, and put the COG in place (what is passing stays as it is)."""
        if self._layer.tags:
            self._file.update_tags(**self._layer.tags)
        for index, name in enumerate(self._layer.band_names, 1):
            self._file.set_band_description(index, name)
        self._file.close()
        if self._layer.passing:
            self._part.rename(self._path)
            return
        done = self._path.with_name(self._path.name + ".done.tif")
        write_cog(self._part, done, floating=self._layer.dtype.startswith("float"))
        self._part.unlink()
        done.rename(self._path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def write_cog(source: Path, target: Path, *, floating: bool) -> None:
    """Copy a GeoTIFF into a COG: 512-pixel tiles, deflate, overviews, tags and names kept.

    GDAL's own driver, called directly, takes half the time of rio-cogeo's copy before the copy;
    level 1 a seventh less than level 3 and 1 % more bytes, that a quarter less than level 6 and 2 %
    more. The overviews that it keeps aside meanwhile are not packed: that took as long as all the
    rest.
    """
    resampling = "AVERAGE" if floating else "NEAREST"
    with rasterio.Env(**CACHE, COG_TMP_COMPRESSION="NONE"):
        copy(
            source,
            target,
            driver="COG",
            compress="DEFLATE",
            level=1,
            predictor="YES",
            blocksize=TILE_PX,
            resampling=resampling,
            overview_resampling=resampling,
            bigtiff="IF_SAFER",
            num_threads="ALL_CPUS",
        )


def _colours(layer: Layer, bands: int) -> dict[str, str]:
    """Return what the bands are, for a fourth one of 8 bits is else taken for transparency."""
    if layer.colours:
        return {}
    rgb = bands >= 3 and tuple(layer.band_names[:3]) == ("red", "green", "blue")
    return {"photometric": "RGB" if rgb else "MINISBLACK", "alpha": "NO"}


def _nodata(layer: Layer) -> float:
    if layer.nodata is not None:
        return layer.nodata
    return float("nan") if layer.dtype.startswith("float") else 0.0
