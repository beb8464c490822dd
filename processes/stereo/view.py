"""An image as stereo sees it: what it shows of points, and on an epipolar frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.stereo.epipolar import EpipolarFrame, resample
from processes.stereo.rpc import RpcModel

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Piece = tuple[Floats, Floats]
"""Longitudes and latitudes of the corners of a piece of ground."""

FINER = 1.2
"""An image with more pixels than this to one of the frame is smoothed first: it would alias."""


@dataclass(frozen=True)
class View:
    """One image as stereo needs it: its sensor model and a way to read it."""

    id: str
    model: RpcModel
    shape: tuple[int, int]
    read: Callable[[int, int, int, int], Pixels]
    """(row0, col0, height, width) → (bands, height, width), NaN where there is nothing."""
    spectral: Callable[[int, int, int, int], Pixels] | None = None
    """The same for red and near infrared alone; None where the image has not both."""
    sun: tuple[float, float] | None = None
    """Azimuth and elevation, degrees, of the sun; None where it is not known."""


class Glance(NamedTuple):
    """What an image shows of points, read in one window with a pixel around each."""

    inside: NDArray[np.bool_]
    """Which points it shows."""
    bands: Pixels
    at: tuple[NDArray[np.intp], NDArray[np.intp]]
    """Row and column in the window of those that it shows."""


def glance(
    view: View,
    read: Callable[[int, int, int, int], Pixels],
    lon: Floats,
    lat: Floats,
    height: Pixels | Floats,
) -> Glance | None:
    """Return what *read* (one of the view's) gives around points; None if it shows none of them."""
    row, col = view.model.project(lon, lat, height)
    rows, cols = view.shape
    inside = (row >= 0) & (col >= 0) & (row <= rows - 1) & (col <= cols - 1)
    if not inside.any():
        return None
    r, c = np.rint(row[inside]).astype(int), np.rint(col[inside]).astype(int)
    top, left = int(r.min()) - 1, int(c.min()) - 1
    bands = read(top, left, int(r.max()) - top + 2, int(c.max()) - left + 2)
    return Glance(inside, bands, (r - top, c - left))


def rectified(view: View, frame: EpipolarFrame, side: str) -> Pixels:
    """Return a view's luminance, the mean of its bands, on a frame; *side* is "left" or "right"."""
    lattice = frame.left if side == "left" else frame.right
    row0, col0, height, width = lattice.window(view.shape)
    if height <= 0 or width <= 0:
        return np.full(frame.shape, np.nan, np.float32)
    bands = view.read(row0, col0, height, width)
    grey = bands.mean(axis=0, dtype=np.float32)[None]
    if (coarser := lattice.step_px) > FINER:
        grey = low_passed(grey[0], coarser)[None]
    return np.asarray(resample(grey, lattice, frame.shape, (row0, col0))[0])


def low_passed(image: Pixels, coarser: float) -> Pixels:
    """Return what an image shows at pixels *coarser* times larger; NaN stays where it is."""
    sigma = 0.5 * float(np.sqrt(coarser**2 - 1.0))
    known = np.isfinite(image)
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), sigma)
    total = cv2.GaussianBlur(np.where(known, image, np.float32(0)), (0, 0), sigma)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known, total / weight, np.float32(np.nan))
