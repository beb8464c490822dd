"""What the ground looks like from above: colours as bytes, read from an orthoimage in windows.

An image of more than eight bits is stretched so that 2 % of it is black and 2 % white, as the
raster tiles are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import AssetUnreadable
from processes.core.raster import Grid, RasterSource

SAMPLED = 8
"""Windows a side that the stretch is measured in, and the pixels of each."""
SAMPLE_PX = 64
RANGE_PERCENT = (2, 98)
BLOCK_PX = 512
JPEG_QUALITY = 85
SHARP = 8
"""A texel counts as an error of so many times its size: at the 16 pixels that clients allow by
default it is then drawn two pixels wide."""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MapPicture:
    """An orthoimage as red, green and blue."""

    source: RasterSource
    grid: Grid
    bands: tuple[int, int, int]
    low: Floats
    """Value of each of the three that is black, and how much more is white."""
    span: Floats
    mean: Bytes
    """Colour where the image has none."""

    @property
    def error_m(self) -> float:
        """What is lost where this picture is not shown."""
        return SHARP * self.grid.cell_m

    def meets(self, area: Grid) -> bool:
        """Say whether the image shares ground with another raster."""
        west, south, east, north = area.bounds
        x, y = np.array([west, east, west, east]), np.array([south, south, north, north])
        x, y = _moved(x, y, area.crs, self.grid.crs)
        return self.grid.meets((x.min(), y.min(), x.max(), y.max()))

    def window(
        self, row0: int, col0: int, height: int, width: int
    ) -> tuple[Bytes, NDArray[np.bool_]]:
        """Return (height, width, 3) colours and where they are known; it may stick out."""
        return self._shown(self.source.read(row0, col0, height, width, bands=self.bands))

    def _shown(self, values: NDArray[np.float32]) -> tuple[Bytes, NDArray[np.bool_]]:
        """Return the colours of (3, …) values, and where they are known."""
        # a zero that marks absence in one band alone is a dark colour
        known = np.asarray(np.isfinite(values).any(axis=0))
        colours = _stretched(values, self.low, self.span)
        colours[~known] = self.mean
        return colours, known

    def at(self, x: Floats, y: Floats) -> tuple[Bytes, NDArray[np.bool_]]:
        """Return (n, 3) colours at places on the ground, and where they are known."""
        rows, cols = (np.rint(v).astype(np.int64) for v in self.grid.rowcol(x, y))
        colours = np.broadcast_to(self.mean, (len(rows), 3)).copy()
        known = (rows >= 0) & (cols >= 0) & (rows < self.grid.height) & (cols < self.grid.width)
        inside = np.flatnonzero(known)
        across = -(-self.grid.width // BLOCK_PX)
        number = (rows[inside] // BLOCK_PX) * across + cols[inside] // BLOCK_PX
        order = np.argsort(number, kind="stable")
        squares, first = np.unique(number[order], return_index=True)
        for square, part in zip(squares.tolist(), np.split(order, first[1:]), strict=False):
            row0, col0 = (BLOCK_PX * n for n in divmod(square, across))
            values = self.source.read(row0, col0, BLOCK_PX, BLOCK_PX, bands=self.bands)
            chosen = inside[part]
            seen = values[:, rows[chosen] - row0, cols[chosen] - col0]
            colours[chosen], known[chosen] = self._shown(seen)
        return colours, known

    def over(self, area: Grid, side_px: int) -> Bytes:
        """Return (side_px, side_px, 3) colours of a square piece of ground."""
        if area.crs != self.grid.crs:
            side_m = area.cell_m * area.height / side_px
            fine = Grid.covering(area.bounds, side_m, area.crs)
            rows, cols = np.indices((side_px, side_px)).reshape(2, -1)
            x, y = _moved(*fine.xy(rows, cols), area.crs, self.grid.crs)
            return self.at(x, y)[0].reshape(side_px, side_px, 3)
        west, _, _, north = area.bounds
        row, col = self.grid.rowcol(west, north)  # of a corner: half a cell before its cell
        height, width = (
            max(round(n * area.cell_m / self.grid.cell_m), 1) for n in (area.height, area.width)
        )
        top, left = round(float(row) + 0.5), round(float(col) + 0.5)
        colours, _ = self.window(top, left, height, width)
        return _resized(colours, side_px)


def map_picture(source: RasterSource) -> MapPicture:
    """Return *source* as a picture. Raises AssetUnreadable where it has no georeference."""
    names = list(source.band_names)
    rgb = [names.index(name) for name in ("red", "green", "blue") if name in names]
    if len(rgb) != 3:
        rgb = [0, 1, 2] if source.shape[0] in (3, 4) else [0, 0, 0]
    return _picture(source, (rgb[0], rgb[1], rgb[2]))


def infrared(source: RasterSource) -> MapPicture | None:
    """Return the near infrared of *source* as a grey picture, or None where it has none."""
    if "nir" not in source.band_names:
        return None
    band = list(source.band_names).index("nir")
    return _picture(source, (band, band, band))


def _picture(source: RasterSource, bands: tuple[int, int, int]) -> MapPicture:
    if source.grid is None:
        raise AssetUnreadable("the ortho has no georeferencing: give one on a projected grid")
    sample = _sample(source, bands)
    low, span = np.zeros(3), np.full(3, 255.0)
    if source.dtype != "uint8" and sample.size:
        low, high = np.percentile(sample, RANGE_PERCENT, axis=1)
        span = np.maximum(high - low, 1e-6)
    mean = _stretched(sample.mean(axis=1)[:, None, None], low, span) if sample.size else None
    grey = np.full(3, 128, np.uint8)
    return MapPicture(source, source.grid, bands, low, span, grey if mean is None else mean[0, 0])


def jpeg(colours: Bytes) -> bytes:
    """Return (height, width, 3) red, green and blue as a JPEG."""
    import cv2

    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, content = cv2.imencode(".jpg", np.ascontiguousarray(colours[..., ::-1]), quality)
    if not done:
        raise ValueError(f"a picture of {colours.shape[1]} × {colours.shape[0]} cannot be encoded")
    return bytes(content)


def _sample(source: RasterSource, bands: tuple[int, int, int]) -> Floats:
    """Return (3, n) values from windows all over the image."""
    _, rows, cols = source.shape
    found = []
    for row in np.linspace(0, max(rows - SAMPLE_PX, 0), SAMPLED).astype(int).tolist():
        for col in np.linspace(0, max(cols - SAMPLE_PX, 0), SAMPLED).astype(int).tolist():
            values = source.read(row, col, min(SAMPLE_PX, rows), min(SAMPLE_PX, cols), bands=bands)
            known = np.isfinite(values).all(axis=0)
            found.append(values[:, known].astype(np.float64))
    return np.concatenate(found, axis=1)


def _stretched(values: NDArray[np.floating], low: Floats, span: Floats) -> Bytes:
    """Return (…, 3) bytes of (3, …) values; NaN becomes 0."""
    share = (np.moveaxis(values, 0, -1) - low) / span
    return np.rint(255 * np.clip(np.nan_to_num(share), 0, 1)).astype(np.uint8)


def _moved(x: Floats, y: Floats, source: str, target: str) -> tuple[Floats, Floats]:
    from pyproj import Transformer

    moved = Transformer.from_crs(source, target, always_xy=True).transform(x, y)
    return np.asarray(moved[0]), np.asarray(moved[1])


def _resized(colours: Bytes, side_px: int) -> Bytes:
    if colours.shape[:2] == (side_px, side_px):
        return colours
    import cv2

    how = cv2.INTER_AREA if colours.shape[0] > side_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(colours, (side_px, side_px), interpolation=how), np.uint8)
