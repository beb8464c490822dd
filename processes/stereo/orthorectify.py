"""True ortho: what each image saw of each cell of a surface model.

A cell is looked up in an image through that image's sensor model at the cell's own height, so a
roof lies where the building stands. A cell that the image cannot see, because the surface rises
into the line of sight, is left to another image (Amhar et al., 1998, by marching along the line
of sight instead of a z-buffer: no image-sized memory, and blocks need only a margin).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import atan, degrees, hypot
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.float32]

BORDER_PX = 3
TOLERANCE_M = 0.5


class Camera(Protocol):
    """A sensor model: degrees and ellipsoidal metres to row and column of pixel centres."""

    def project(self, lon: Any, lat: Any, height: Any) -> tuple[Any, Any]: ...


ReadWindow = Callable[[int, int, int, int], Pixels]
"""(row0, col0, height, width) → (bands, height, width), NaN where there is nothing."""

ToDegrees = Callable[[Any, Any], tuple[Any, Any]]
"""Ground x, y → longitude, latitude."""


@dataclass(frozen=True)
class View:
    """One image as an orthoimage needs it."""

    camera: Camera
    read: ReadWindow
    gain: Pixels
    """Per band: ortho = gain · image + offset."""
    offset: Pixels


@dataclass(frozen=True)
class Lean:
    """How far the line of sight moves over the ground for each metre that it rises."""

    dx_dh: float
    dy_dh: float

    @property
    def incidence_deg(self) -> float:
        """Angle from the vertical at the ground."""
        return degrees(atan(hypot(self.dx_dh, self.dy_dh)))


def lean(camera: Camera, to_degrees: ToDegrees, x: float, y: float, height_m: float) -> Lean:
    """Return the lean of the line of sight at a ground point, from the sensor model alone."""
    step_m = 10.0
    xs = np.array([x, x + step_m, x, x])
    ys = np.array([y, y, y + step_m, y])
    heights = height_m + np.array([0.0, 0.0, 0.0, step_m])
    row, col = camera.project(*to_degrees(xs, ys), heights)
    by_x, by_y, by_h = ((row[i] - row[0], col[i] - col[0]) for i in (1, 2, 3))
    moves = np.array([[by_x[0], by_y[0]], [by_x[1], by_y[1]]])
    dx_dh, dy_dh = np.linalg.solve(moves, -np.array(by_h))
    return Lean(float(dx_dh), float(dy_dh))


def true_ortho(
    surface: Floats, x: Floats, y: Floats, to_degrees: ToDegrees, views: Sequence[View]
) -> tuple[Pixels, NDArray[np.uint8]]:
    """Return pixels (bands, row, col), NaN where no image sees the cell, and which image served.

    *surface*, *x* and *y* are (row, col) on a north-up lattice. Views are asked in the order
    given: 1 is the first, 0 none. Cells without a height stay empty.
    """
    bands = len(views[0].gain)
    ortho = np.full((bands, *surface.shape), np.nan, np.float32)
    source = np.zeros(surface.shape, np.uint8)
    known = np.isfinite(surface)
    if not known.any():
        return ortho, source
    lon, lat = to_degrees(x, y)
    for number, view in enumerate(views, start=1):
        wanted = known & (source == 0)
        if not wanted.any():
            break
        wanted &= visible(surface, x, y, view.camera, to_degrees)
        if not wanted.any():
            continue
        row, col = view.camera.project(lon[wanted], lat[wanted], surface[wanted])
        pixels = sample(view.read, np.asarray(row), np.asarray(col), bands)
        pixels = pixels * view.gain[:, None] + view.offset[:, None]
        seen = np.isfinite(pixels).all(axis=0)
        rows, cols = (index[seen] for index in np.nonzero(wanted))
        ortho[:, rows, cols] = pixels[:, seen]
        source[rows, cols] = number
    return ortho, source


def visible(
    surface: Floats,
    x: Floats,
    y: Floats,
    camera: Camera,
    to_degrees: ToDegrees,
    *,
    tolerance_m: float = TOLERANCE_M,
) -> NDArray[np.bool_]:
    """Return which cells the camera sees: no other cell rises into their line of sight."""
    finite = surface[np.isfinite(surface)]
    middle = surface.shape[0] // 2, surface.shape[1] // 2
    ray = lean(camera, to_degrees, x[middle], y[middle], float(np.median(finite)))
    cell_x, cell_y = x[0, 1] - x[0, 0], y[1, 0] - y[0, 0]
    return clear(surface, ray.dy_dh / cell_y, ray.dx_dh / cell_x, tolerance_m=tolerance_m)


def sunlit(
    surface: Floats,
    cell_m: float,
    azimuth_deg: float,
    elevation_deg: float,
    *,
    asked: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return which cells of a north-up surface the sun reaches; those not *asked* pass for lit."""
    reach = 1.0 / np.tan(np.radians(elevation_deg)) / cell_m
    azimuth = np.radians(azimuth_deg)
    return clear(surface, -np.cos(azimuth) * reach, np.sin(azimuth) * reach, asked=asked)


def clear(
    surface: Floats,
    drow_dh: float,
    dcol_dh: float,
    *,
    tolerance_m: float = TOLERANCE_M,
    asked: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return the cells from which a ray rises freely; it moves so many cells for each metre.

    Cells that are not *asked* pass for free.
    """
    known = np.isfinite(surface)
    if not known.any():
        return np.ones(surface.shape, np.bool_)
    highest_m = float(surface[known].max())
    asked = known if asked is None else known & asked
    free: NDArray[np.bool_] = _march(
        surface.astype(np.float32), asked, drow_dh, dcol_dh, highest_m, tolerance_m
    )
    return free


def sample(read: ReadWindow, row: Floats, col: Floats, bands: int) -> Pixels:
    """Return (bands, n) image values at fractional pixels by Catmull-Rom cubic convolution.

    Missing neighbours give their weight to the present ones; NaN where the nearest is missing.
    """
    row0, col0 = int(np.floor(row.min())) - BORDER_PX, int(np.floor(col.min())) - BORDER_PX
    height = int(np.ceil(row.max())) + BORDER_PX + 1 - row0
    width = int(np.ceil(col.max())) + BORDER_PX + 1 - col0
    window = np.ascontiguousarray(read(row0, col0, height, width), np.float32)
    values = np.empty((bands, row.size), np.float32)
    for band in range(bands):
        values[band] = _cubic(window[band], row - row0, col - col0)
    return values


def match_radiometry(reference: Pixels, other: Pixels) -> tuple[Pixels, Pixels]:
    """Return per-band gain and offset that bring *other* to *reference*; both (bands, n).

    From medians and interquartile ranges of cells that both see: unaffected by the few that
    changed, and by small misregistration, which would flatten a regression.
    """
    low, mid, high = np.percentile(reference, [25, 50, 75], axis=1)
    other_low, other_mid, other_high = np.percentile(other, [25, 50, 75], axis=1)
    spread, other_spread = high - low, other_high - other_low
    steady = (spread > 0) & (other_spread > 0)
    gain = np.where(steady, spread / np.where(steady, other_spread, 1.0), 1.0)
    return gain.astype(np.float32), (mid - gain * other_mid).astype(np.float32)


@njit(cache=True, nogil=True)
def _march(
    surface: Pixels,
    asked: NDArray[np.bool_],
    drow_dh: float,
    dcol_dh: float,
    highest_m: float,
    tolerance_m: float,
) -> NDArray[np.bool_]:
    rows, cols = surface.shape
    seen = np.ones((rows, cols), np.bool_)
    reach = (drow_dh * drow_dh + dcol_dh * dcol_dh) ** 0.5
    if reach < 1e-6:
        return seen
    step_row, step_col, rise_m = drow_dh / reach, dcol_dh / reach, 1.0 / reach
    for row in range(rows):
        for col in range(cols):
            if not asked[row, col]:
                continue
            ray_m = surface[row, col] + tolerance_m
            r, c = float(row), float(col)
            while True:
                ray_m += rise_m
                r += step_row
                c += step_col
                if not ray_m < highest_m:
                    break
                near_row, near_col = int(r + 0.5), int(c + 0.5)
                if r < 0 or c < 0 or near_row >= rows or near_col >= cols:
                    break
                if surface[near_row, near_col] > ray_m:
                    seen[row, col] = False
                    break
    return seen


@njit(cache=True, nogil=True)
def _weights(t: float) -> tuple[float, float, float, float]:
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@njit(cache=True, nogil=True)
def _cubic(image: Pixels, row: Floats, col: Floats) -> Pixels:
    rows, cols = image.shape
    out = np.empty(row.size, np.float32)
    for i in range(row.size):
        top, left = int(np.floor(row[i])), int(np.floor(col[i]))
        near_row, near_col = int(np.floor(row[i] + 0.5)), int(np.floor(col[i] + 0.5))
        out[i] = np.nan
        if top < 1 or left < 1 or top + 2 >= rows or left + 2 >= cols:
            continue
        if np.isnan(image[near_row, near_col]):
            continue
        down, across = _weights(row[i] - top), _weights(col[i] - left)
        total, weight = 0.0, 0.0
        low, high = np.inf, -np.inf
        for a in range(4):
            for b in range(4):
                value = image[top - 1 + a, left - 1 + b]
                if np.isnan(value):
                    continue
                w = down[a] * across[b]
                total += w * value
                weight += w
                low, high = min(low, value), max(high, value)
        # a weight near nought would blow up; overshoot beyond the neighbours is ringing
        if weight < 0.25:
            out[i] = image[near_row, near_col]
        else:
            out[i] = min(max(total / weight, low), high)
    return out
