"""Colours of a multispectral image at the resolution of the panchromatic one taken with it.

Smoothing filter-based intensity modulation (Liu, 2000): colour · pan / smoothed pan, where the
smoothed one has the resolution of the colours. A ratio keeps hues and reflectance, needs no
weights of bands, and works window by window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.raster import Grid, RasterSource
from processes.stereo.rpc import RpcModel

Pixels = NDArray[np.float32]
Floats = NDArray[np.float64]

BORDER_PX = 2
MOST_RATIO = 4.0
"""Colours are not made brighter than this many times, where the smoothed image is near black."""


@dataclass(frozen=True, eq=False)
class Sharpened:
    """A `RasterSource` with the bands of the colours and the pixels of the panchromatic image."""

    pan: RasterSource
    colours: RasterSource
    to_colours: Floats
    """Affine (2, 3): row, col, 1 of the panchromatic image → row, col of the colours."""

    @classmethod
    def of(
        cls, pan: RasterSource, pan_model: RpcModel, colours: RasterSource, model: RpcModel
    ) -> Sharpened:
        """Return a bundle whose images are put together by their own sensor models."""
        rows, cols = (np.linspace(0, n - 1, 6) for n in pan.shape[1:])
        row, col = (v.ravel() for v in np.meshgrid(rows, cols, indexing="ij"))
        height = pan_model.height_off
        there = np.stack(model.project(*pan_model.locate(row, col, height), height), axis=1)
        fitted = np.linalg.lstsq(np.stack([row, col, np.ones_like(row)], axis=1), there)[0]
        return cls(pan, colours, np.asarray(fitted.T, np.float64))

    @property
    def grid(self) -> Grid | None:
        return self.pan.grid

    @property
    def origin(self) -> tuple[float, float]:
        return self.pan.origin

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.colours.shape[0], *self.pan.shape[1:]

    @property
    def dtype(self) -> str:
        return self.colours.dtype

    @property
    def band_names(self) -> tuple[str, ...]:
        return self.colours.band_names

    @property
    def tags(self) -> Mapping[str, str]:
        return self.pan.tags

    @property
    def rpc_tags(self) -> Mapping[str, str] | None:
        return self.pan.rpc_tags

    def read(
        self,
        row0: int = 0,
        col0: int = 0,
        height: int | None = None,
        width: int | None = None,
        bands: Sequence[int] | None = None,
    ) -> Pixels:
        """Return a window of sharpened bands; NaN where either image has nothing."""
        height = self.shape[1] - row0 if height is None else height
        width = self.shape[2] - col0 if width is None else width
        ratio = float(np.sqrt(1.0 / abs(np.linalg.det(self.to_colours[:, :2]))))
        rim = int(np.ceil(2 * ratio)) + 1
        sharp = self.pan.read(row0 - rim, col0 - rim, height + 2 * rim, width + 2 * rim)[0]
        inner = slice(rim, rim + height), slice(rim, rim + width)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.minimum(sharp[inner] / smoothed(sharp, ratio)[inner], MOST_RATIO)
        row, col = np.mgrid[row0 : row0 + height, col0 : col0 + width].astype(np.float64)
        y, x = (a * row + b * col + c for a, b, c in self.to_colours)
        top, left = int(np.floor(y.min())) - BORDER_PX, int(np.floor(x.min())) - BORDER_PX
        tall = int(np.ceil(y.max())) + BORDER_PX + 1 - top
        wide = int(np.ceil(x.max())) + BORDER_PX + 1 - left
        coarse = self.colours.read(top, left, tall, wide, bands)
        at = (x - left).astype(np.float32), (y - top).astype(np.float32)
        fine = [
            cv2.remap(band, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for band in coarse
        ]
        return np.asarray(np.stack(fine) * gain, np.float32)


def smoothed(image: Pixels, ratio: float) -> Pixels:
    """Return an image as one of *ratio* times larger pixels shows it, interpolated linearly."""
    # the pixel is a box; linear interpolation between pixels adds the spread of a triangle
    sigma = ratio * float(np.sqrt(1.0 / 12.0 + 1.0 / 6.0))
    known = np.isfinite(image)
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), sigma)
    total = cv2.GaussianBlur(np.where(known, image, np.float32(0)), (0, 0), sigma)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known, total / weight, np.float32(np.nan))
