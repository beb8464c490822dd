"""Raster files that others wrote: opened without trust, read by windows, masked."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from processes.core.errors import AssetUnreadable
from processes.core.raster import Grid

# A VRT or WMS description may point anywhere, so only formats that hold their own pixels are read.
DRIVERS = ("GTiff", "JP2OpenJPEG", "SRTMHGT", "PNG", "JPEG")
MAX_SIDE = 1_000_000
MAX_PIXELS_PER_BYTE = 4000
CACHE = {"GDAL_CACHEMAX": 128 * 2**20}
"""Bytes of decoded tiles that are kept: by default GDAL takes a twentieth of the machine."""


class RasterFile:
    """A `RasterSource` over a local file. Threads may share it."""

    def __init__(
        self,
        path: Path,
        shown: str,
        *,
        band_names: Sequence[str] | None = None,
        nodata: float | None = None,
    ) -> None:
        """Open *path*; *shown* is its name in messages. Raises AssetUnreadable."""
        self._shown = shown
        self._lock = threading.Lock()
        with rasterio.Env(**CACHE), _quiet():
            try:
                self._file = DatasetReader(str(path), driver=list(DRIVERS), sharing=False)
            except RasterioIOError:
                raise AssetUnreadable(
                    f"{shown} is not a readable raster (GeoTIFF or JPEG 2000): is it complete?"
                ) from None
        _refuse_enormous(self._file, path, shown)
        self._opened_with = (path.resolve(), shown, band_names, nodata)
        self._nodata = nodata if self._file.nodata is None else self._file.nodata
        self._names = tuple(band_names or _band_names(self._file))
        # the only value that is none is looked for below; asking GDAL takes as long as reading
        marks = [MaskFlags.all_valid, *([MaskFlags.nodata] if self._file.count == 1 else [])]
        self._gaps = any(not set(flags) & set(marks) for flags in self._file.mask_flag_enums)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what opens it again: another process has its own handle on the file."""
        return _opened, self._opened_with

    @property
    def grid(self) -> Grid | None:
        file = self._file
        if file.crs is None or file.transform.is_identity:
            return None
        code = file.crs.to_epsg()
        crs = f"EPSG:{code}" if code else file.crs.to_wkt()
        return Grid(crs, file.transform, file.height, file.width)

    @property
    def origin(self) -> tuple[float, float]:
        move = self._file.transform
        unit = (move.a, move.b, move.d, abs(move.e)) == (1.0, 0.0, 0.0, 1.0)
        return (move.f, move.c) if self._file.crs is None and unit else (0.0, 0.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._file.count, self._file.height, self._file.width

    @property
    def dtype(self) -> str:
        return str(self._file.dtypes[0])

    @property
    def band_names(self) -> tuple[str, ...]:
        return self._names

    @property
    def tags(self) -> Mapping[str, str]:
        return dict(self._file.tags())

    @property
    def rpc_tags(self) -> Mapping[str, str] | None:
        return dict(self._file.tags(ns="RPC")) or None

    def read(
        self,
        row0: int = 0,
        col0: int = 0,
        height: int | None = None,
        width: int | None = None,
        bands: Sequence[int] | None = None,
    ) -> NDArray[np.float32]:
        count, rows, cols = self.shape
        height = rows - row0 if height is None else height
        width = cols - col0 if width is None else width
        chosen = list(range(count)) if bands is None else list(bands)
        top, bottom = max(row0, 0), min(row0 + height, rows)
        left, right = max(col0, 0), min(col0 + width, cols)
        found = np.empty((len(chosen), 0, 0), np.float32)
        if top < bottom and left < right:
            window = Window(left, top, right - left, bottom - top)
            found = self._known(window, [band + 1 for band in chosen])
        if found.shape[1:] == (height, width):
            return found
        out = np.full((len(chosen), height, width), np.nan, np.float32)
        if found.size:
            out[:, top - row0 : bottom - row0, left - col0 : right - col0] = found
        return out

    def _known(self, window: Window, indexes: list[int]) -> NDArray[np.float32]:
        try:
            with self._lock, rasterio.Env(**CACHE):
                stored = self._file.read(indexes, window=window)
                masks = self._file.read_masks(indexes, window=window) if self._gaps else None
        except RasterioIOError:
            raise AssetUnreadable(
                f"{self._shown} is truncated or damaged: fetch it again"
            ) from None
        absent = [] if masks is None else [masks == 0]
        if self._nodata is not None and not np.isnan(self._nodata):
            # a pixel is absent only when all its bands are: a black band alone is a colour
            absent.append((stored == self._nodata).all(axis=0))
        values: NDArray[np.float32] = stored.astype(np.float32, copy=False)
        for pixels in absent:
            np.copyto(values, np.nan, where=pixels)  # by index it takes up to ten times as long
        return values


@dataclass(frozen=True)
class Masked:
    """A raster without the pixels that masks take away: clouds, or what holds no data.

    A mask has one band over the same ground, with the raster's pixels or whole multiples of them.
    """

    raster: RasterFile
    masks: Sequence[tuple[RasterFile, bool]]
    """A mask, and whether its pixels that are not nought are kept (else those are taken away)."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["raster"], name)

    def read(
        self,
        row0: int = 0,
        col0: int = 0,
        height: int | None = None,
        width: int | None = None,
        bands: Sequence[int] | None = None,
    ) -> NDArray[np.float32]:
        values = self.raster.read(row0, col0, height, width, bands)
        rows, cols = (
            np.arange(first, first + n)
            for first, n in zip((row0, col0), values.shape[1:], strict=True)
        )
        for mask, kept in self.masks:
            coarse = [
                at * theirs // ours
                for at, theirs, ours in zip(
                    (rows, cols), mask.shape[1:], self.raster.shape[1:], strict=True
                )
            ]
            first = [int(at[0]) for at in coarse]
            size = [int(at[-1]) - int(at[0]) + 1 for at in coarse]
            # nodata of a mask is its nought
            there = np.nan_to_num(mask.read(first[0], first[1], size[0], size[1], [0])[0]) != 0
            known = there[np.ix_(coarse[0] - first[0], coarse[1] - first[1])]
            values[:, known != kept] = np.nan
        return values


def has_collar(raster: RasterFile) -> bool:
    """Say whether a whole edge of an image is nought in all bands: a border, not what was seen."""
    _, rows, cols = raster.shape
    edges = ((0, 0, 1, cols), (rows - 1, 0, 1, cols), (0, 0, rows, 1), (0, cols - 1, rows, 1))
    return any(not np.any(raster.read(*edge)) for edge in edges)


def _opened(
    path: Path, shown: str, band_names: Sequence[str] | None, nodata: float | None
) -> RasterFile:
    return RasterFile(path, shown, band_names=band_names, nodata=nodata)


def _band_names(file: Any) -> list[str]:
    known = {"red", "green", "blue", "nir", "pan", "alpha"}
    names = []
    for index in range(file.count):
        described = (file.descriptions[index] or "").strip().lower()
        colour = file.colorinterp[index].name.lower()
        fallback = colour if colour in known and file.count > 1 else f"b{index + 1}"
        names.append(described or ("pan" if file.count == 1 and not described else fallback))
    return names


def _refuse_enormous(file: Any, path: Path, shown: str) -> None:
    pixels = file.width * file.height * file.count
    if (
        max(file.width, file.height) > MAX_SIDE
        or pixels > path.stat().st_size * MAX_PIXELS_PER_BYTE
    ):
        size = f"{file.width} × {file.height}"
        file.close()
        raise AssetUnreadable(f"{shown} claims {size} pixels, more than its bytes can hold")


@contextmanager
def _quiet() -> Iterator[None]:
    """Sensor images have no map transform: that is normal here and not worth a warning."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
