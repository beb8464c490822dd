"""Epipolar resampling over sensor models: both images on one grid whose rows are epipolar curves.

The grid lies on the ground, at one reference height. A pixel that sees the ground plane at X sees
X + (h - h0)·a at height h, with the lean a of its own line of sight. So what the left image shows
at X, the right one shows at X + (h - h0)·(a_left - a_right): moving along that difference is
moving along the epipolar curve, and the disparity is zero at h0 and grows with height. Rows
follow the field of these directions over the tile (they bend with it), columns are one ground
sampling distance apart. No affine approximation of the sensor enters: every node of the grid is
projected by the sensor models, pixels between nodes are interpolated.

Working on the ground keeps both images at one scale and orientation, makes tiles independent,
and makes disparity·(height per pixel) the height itself, up to second order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray
from shapely import MultiPoint, get_coordinates

from processes.core.errors import NoOverlap
from processes.stereo.lanes import TAPS, weighted
from processes.stereo.rpc import RpcModel
from processes.stereo.scanline import filled

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

STEP_PX = 16
"""Spacing of the nodes; bilinear interpolation between them is right to 1e-3 px."""
BEND_PX = 256
"""Spacing of the points between which the bend of rows is interpolated."""
NO_BASE = 1e-3
"""Metres of parallax for a metre of height below which two images look from one direction."""
RIM_PX = 4.0
"""What is seen of a piece of ground reaches so far beyond its border."""
_LEAN_M = 20.0
_PHASES = 2048
_KERNEL = 6


@dataclass(frozen=True, eq=False)
class Local:
    """A metric tangent frame: metres east and north of a place, good for tens of kilometres."""

    lon: float
    lat: float

    @property
    def scale(self) -> tuple[float, float]:
        """Metres a degree of longitude and of latitude (WGS84 radii of curvature)."""
        a, e2 = 6378137.0, 6.69437999014e-3
        phi = np.radians(self.lat)
        w = 1.0 - e2 * np.sin(phi) ** 2
        east = a / np.sqrt(w) * np.cos(phi)
        north = a * (1.0 - e2) / w**1.5
        return float(np.radians(1.0) * east), float(np.radians(1.0) * north)

    def metres(self, lon: Floats, lat: Floats) -> Floats:
        """Return (2, …): east, north."""
        kx, ky = self.scale
        return np.stack([(np.asarray(lon) - self.lon) * kx, (np.asarray(lat) - self.lat) * ky])

    def degrees(self, east: Floats, north: Floats) -> tuple[Floats, Floats]:
        kx, ky = self.scale
        return self.lon + np.asarray(east) / kx, self.lat + np.asarray(north) / ky


@dataclass(frozen=True, eq=False)
class Lattice:
    """Image positions at every STEP_PX-th pixel of a rectified grid."""

    row: Floats
    col: Floats

    def at(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        """Return the raw (row, col) of rectified positions, bilinearly; outside, extrapolated."""
        i, j = np.asarray(rows, float) / STEP_PX, np.asarray(cols, float) / STEP_PX
        return _bilinear(self.row, i, j), _bilinear(self.col, i, j)

    @property
    def step_px(self) -> float:
        """Pixels of the image to one of the grid, along its rows and columns together."""
        by_row, by_col = (
            np.array([v[1:, :-1] - v[:-1, :-1], v[:-1, 1:] - v[:-1, :-1]]) / STEP_PX
            for v in (self.row, self.col)
        )
        area = by_row[0] * by_col[1] - by_row[1] * by_col[0]
        return float(np.sqrt(np.abs(np.median(area))))

    def window(self, shape: tuple[int, int], margin: int = 4) -> tuple[int, int, int, int]:
        """Return the part of an image that the nodes touch: row0, col0, height, width."""
        row0 = int(np.clip(np.floor(np.nanmin(self.row)) - margin, 0, shape[0]))
        col0 = int(np.clip(np.floor(np.nanmin(self.col)) - margin, 0, shape[1]))
        row1 = int(np.clip(np.ceil(np.nanmax(self.row)) + margin + 1, 0, shape[0]))
        col1 = int(np.clip(np.ceil(np.nanmax(self.col)) + margin + 1, 0, shape[1]))
        return row0, col0, row1 - row0, col1 - col0


@dataclass(frozen=True, eq=False)
class EpipolarFrame:
    """A rectified grid of a pair: `right[r, c + d]` shows what `left[r, c]` shows.

    Disparity d is in columns, zero at `height_m`, positive above it.
    """

    shape: tuple[int, int]
    height_m: float
    gsd_m: float
    px_per_m: float
    """Disparity of one metre of height at the middle."""
    local: Local
    along: Floats
    """Unit vector (east, north) of the columns' direction; rows run 90° clockwise from it."""
    corner: tuple[float, float]
    """Metres along and across at the centre of pixel (0, 0)."""
    lon: Floats
    lat: Floats
    left: Lattice
    right: Lattice
    rings: tuple[Floats, Floats]
    """Around all that the left and the right image show of the ground and above it: row, col."""

    @cached_property
    def shown(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Pixels, left and right, that may show the ground that it was made for, or what is there.

        Its rows lie askew over a block, and there is room for towers beside it: three pixels in ten
        show nothing but other blocks.
        """
        left, right = (filled([ring], self.shape) for ring in self.rings)
        return left, right

    def position(self, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """Return the fractional (row, col) of points on the reference plane.

        The bend of the rows is left out: it is nought in the middle of the field that the frame was
        cut out of, and a thousandth of a pixel in one cut for a piece of ground.
        """
        here = self.local.metres(lon, lat)
        across = np.array([self.along[1], -self.along[0]])
        s, t = np.tensordot(self.along, here, 1), np.tensordot(across, here, 1)
        return (
            np.asarray((t - self.corner[1]) / self.gsd_m),
            np.asarray((s - self.corner[0]) / self.gsd_m),
        )


def lean(model: RpcModel, local: Local, lon: Floats, lat: Floats, height: float) -> Floats:
    """Return (2, …): metres east and north that a line of sight moves for a metre of height."""
    row, col = model.project(lon, lat, height)
    up = local.metres(*model.locate(row, col, height + _LEAN_M))
    down = local.metres(*model.locate(row, col, height - _LEAN_M))
    return (up - down) / (2.0 * _LEAN_M)


def ground_sampling_m(model: RpcModel, lon: float, lat: float, height: float) -> float:
    """Return the side of the square as large as a pixel's footprint on the level ground."""
    local = Local(lon, lat)
    row, col = model.project(lon, lat, height)
    at = local.metres(*model.locate(row + np.array([0, 1, 0]), col + np.array([0, 0, 1]), height))
    return float(np.sqrt(abs(np.linalg.det(at[:, 1:] - at[:, :1]))))


def base_to_height(left: RpcModel, right: RpcModel, lon: float, lat: float, height: float) -> float:
    """Return the parallax of one metre of height, metres on the ground."""
    local, at = Local(lon, lat), (np.array(lon), np.array(lat))
    apart = lean(left, local, *at, height) - lean(right, local, *at, height)
    return float(np.hypot(*apart))


@dataclass(frozen=True, eq=False)
class EpipolarField:
    """The epipolar directions of a pair over all its ground: frames of its parts are cut out of it.

    Frames that overlap then have the same pixels where they do, so that parts of a scene are
    matched as the whole would be. Metres here are along and across, in the plane at `height_m`.
    """

    left: RpcModel
    right: RpcModel
    height_m: float
    gsd_m: float
    local: Local
    along: Floats
    px_per_m: float
    bend: Floats
    """How far across a row has moved to follow the epipolar curve, at the points of a lattice …"""
    corner: tuple[float, float]
    spacing_m: float
    """… that begins there, with this spacing."""

    @classmethod
    def over(
        cls,
        left: RpcModel,
        right: RpcModel,
        lon: Floats,
        lat: Floats,
        *,
        heights_m: tuple[float, float],
        height_m: float,
        gsd_m: float,
    ) -> EpipolarField:
        """Return the field over a ground (its corners) and all that stands there."""
        local = Local(float(np.mean(lon)), float(np.mean(lat)))
        middle = (np.array(local.lon), np.array(local.lat))
        leans = np.stack([lean(m, local, *middle, height_m) for m in (left, right)])
        parallax = leans[0] - leans[1]
        length = float(np.hypot(*parallax))
        if not length > NO_BASE:
            raise NoOverlap(
                f"{left.name} and {right.name} look from the same direction: no height in this pair"
            )
        along = parallax / length
        s, t = _seen(local, along, leans, lon, lat, heights_m, height_m)
        spacing_m = BEND_PX * gsd_m
        # whole steps from the middle, where the bend is nought
        first = np.floor(np.array([s.min(), t.min()]) / spacing_m).astype(int)
        last = np.ceil(np.array([s.max(), t.max()]) / spacing_m).astype(int)
        last = np.maximum(last, first + 1)
        at_s, at_t = (spacing_m * np.arange(first[k], last[k] + 1) for k in (0, 1))
        bend = _bend(left, right, local, along, at_s, at_t, height_m)
        corner = (float(at_s[0]), float(at_t[0]))
        return cls(
            left, right, height_m, gsd_m, local, along, length / gsd_m, bend, corner, spacing_m
        )

    def frame(
        self, lon: Floats, lat: Floats, heights_m: tuple[float, float], *, step_px: int = 1
    ) -> EpipolarFrame:
        """Return the frame in which everything over a piece of the ground is seen.

        Its corner is a multiple of *step_px* from the field's own middle, so that frames of pieces
        that overlap have pixels, and those of halved images, in common.
        """
        middle = (np.array(self.local.lon), np.array(self.local.lat))
        leans = np.stack(
            [lean(m, self.local, *middle, self.height_m) for m in (self.left, self.right)]
        )
        s, t = _seen(self.local, self.along, leans, lon, lat, heights_m, self.height_m)
        t = t - self._bent(s, t)
        margin = RIM_PX * self.gsd_m
        step_m = step_px * self.gsd_m
        first = [int(np.floor((v.min() - margin) / step_m)) * step_px for v in (s, t)]
        last = [int(np.ceil((v.max() + margin) / self.gsd_m)) for v in (s, t)]
        shape = last[1] - first[1] + 1, last[0] - first[0] + 1
        nodes = tuple(int(np.ceil((n - 1) / STEP_PX)) + 1 for n in shape)
        s_node, t_node = np.broadcast_arrays(
            self.gsd_m * (first[0] + STEP_PX * np.arange(nodes[1])),
            self.gsd_m * (first[1] + STEP_PX * np.arange(nodes[0]))[:, None],
        )
        t_node = t_node + self._bent(s_node, t_node)
        at = np.stack([t / self.gsd_m - first[1], s / self.gsd_m - first[0]], axis=1)
        # as `_seen` has them: by height, by side, point by point
        sides = np.moveaxis(at.reshape(len(heights_m), len(leans), -1, 2), 1, 0)
        across = np.array([self.along[1], -self.along[0]])
        node_lon, node_lat = self.local.degrees(
            *(self.along[:, None, None] * s_node + across[:, None, None] * t_node)
        )
        return EpipolarFrame(
            shape=shape,
            height_m=self.height_m,
            gsd_m=self.gsd_m,
            px_per_m=self.px_per_m,
            local=self.local,
            along=self.along,
            corner=(self.gsd_m * first[0], self.gsd_m * first[1]),
            lon=node_lon,
            lat=node_lat,
            left=Lattice(*self.left.project(node_lon, node_lat, self.height_m)),
            right=Lattice(*self.right.project(node_lon, node_lat, self.height_m)),
            rings=(_around(sides[0]), _around(sides[1])),
        )

    def disparities(self, heights_m: tuple[float, float]) -> tuple[float, float]:
        """Return the least and the greatest disparity of all that stands between two heights."""
        s = self.corner[0] + self.spacing_m * np.arange(self.bend.shape[1])
        t = self.corner[1] + self.spacing_m * np.arange(self.bend.shape[0])[:, None] + self.bend
        across = np.array([self.along[1], -self.along[0]])
        at = self.local.degrees(*(self.along[:, None, None] * s + across[:, None, None] * t))
        seen = self.left.project(*at, self.height_m)
        found = []
        for height in heights_m:
            there = self.right.project(*self.left.locate(*seen, height), height)
            moved = self.local.metres(*self.right.locate(*there, self.height_m))
            found.append((np.tensordot(self.along, moved, 1) - s) / self.gsd_m)
        return float(np.min(found)), float(np.max(found))

    def _bent(self, s: Floats, t: Floats) -> Floats:
        return _bilinear(
            self.bend, (t - self.corner[1]) / self.spacing_m, (s - self.corner[0]) / self.spacing_m
        )


def rectify(
    left: RpcModel,
    right: RpcModel,
    lon: Floats,
    lat: Floats,
    *,
    heights_m: tuple[float, float],
    height_m: float,
    gsd_m: float,
) -> EpipolarFrame:
    """Return the frame in which everything over a piece of ground is seen.

    *lon*, *lat* are the corners of the ground; whatever stands there between *heights_m* is on
    the grid in both images. *gsd_m* is the spacing of the grid.
    """
    field = EpipolarField.over(
        left, right, lon, lat, heights_m=heights_m, height_m=height_m, gsd_m=gsd_m
    )
    return field.frame(lon, lat, heights_m)


def _seen(
    local: Local,
    along: Floats,
    leans: Floats,
    lon: Floats,
    lat: Floats,
    heights_m: tuple[float, float],
    height_m: float,
) -> tuple[Floats, Floats]:
    """Return metres along and across of where a ground and all above it is seen."""
    ground = local.metres(lon, lat)
    seen = np.concatenate(
        [ground - (h - height_m) * a[:, None] for h in heights_m for a in leans], axis=1
    )
    across = np.array([along[1], -along[0]])
    return along @ seen, across @ seen


def _around(points: Floats) -> Floats:
    """Return the convex ring around points (…, 2), RIM_PX from them."""
    ring = MultiPoint(points.reshape(-1, 2)).convex_hull.buffer(RIM_PX)
    return np.asarray(get_coordinates(ring), np.float64)


def _bend(
    left: RpcModel,
    right: RpcModel,
    local: Local,
    along: Floats,
    s: Floats,
    t: Floats,
    height_m: float,
) -> Floats:
    """Return how far a row at *t* must have moved across at *s* to follow the epipolar curve."""
    across = np.array([along[1], -along[0]])
    at = local.degrees(*(along[:, None, None] * s + across[:, None, None] * t[:, None]))
    v = lean(left, local, *at, height_m) - lean(right, local, *at, height_m)
    slope = np.tensordot(across, v, 1) / np.tensordot(along, v, 1)
    steps = 0.5 * (slope[:, 1:] + slope[:, :-1]) * np.diff(s)
    total = np.concatenate([np.zeros((len(t), 1)), np.cumsum(steps, axis=1)], axis=1)
    middle = np.clip(-s[0] / (s[1] - s[0]), 0, len(s) - 1)
    return np.asarray(total - total[:, [round(float(middle))]])


def resample(
    image: Pixels, lattice: Lattice, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)
) -> Pixels:
    """Return an image (bands, row, col) on the rectified grid by a Lanczos kernel of 6×6 pixels.

    *origin* is the row and column of the given window's first pixel. NaN outside the image and
    where the nearest pixel is NaN; a NaN elsewhere under the kernel is left out of the sum.
    """
    before, after = _KERNEL // 2, TAPS - _KERNEL // 2
    # the border goes on outside, so that a kernel always finds its pixels
    beside = ((0, 0), (before, after), (before, after))
    padded = np.pad(np.asarray(image, np.float32), beside, mode="edge")
    out = np.empty((image.shape[0], *shape), np.float32)
    table = _kernel_table().ravel()
    for band, sampled in zip(padded, out, strict=True):
        _resample(
            band.ravel(), band.shape[1], image.shape[1:],
            lattice.row - origin[0], lattice.col - origin[1], table, sampled,
        )  # fmt: skip
    return out


@cache
def _kernel_table() -> Pixels:
    """Return the weights of 6 taps for each phase: Lanczos of order 3, summing to one.

    A phase has TAPS columns; the last ones are zero.
    """
    phase = np.arange(_PHASES + 1)[:, None] / _PHASES
    x = phase - np.arange(-2, 4)[None, :]
    table = np.sinc(x) * np.sinc(x / 3.0)
    table[np.abs(x) >= 3.0] = 0.0
    table /= table.sum(axis=1, keepdims=True)
    return np.pad(table, ((0, 0), (0, TAPS - _KERNEL))).astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _resample(image, stride, size, lat_row, lat_col, table, out):  # type: ignore[no-untyped-def]
    """Sample one padded band, its rows *stride* apart."""
    height, width = size
    last_i, last_j = lat_row.shape[0] - 2, lat_row.shape[1] - 2
    for r in range(out.shape[0]):
        i = min(r // STEP_PX, last_i)
        fi = r / STEP_PX - i
        j = -1
        y0 = x0 = dy = dx = 0.0
        for c in range(out.shape[1]):
            if c % STEP_PX == 0 and j < last_j:
                j += 1
                y0 = (1 - fi) * lat_row[i, j] + fi * lat_row[i + 1, j]
                x0 = (1 - fi) * lat_col[i, j] + fi * lat_col[i + 1, j]
                dy = (1 - fi) * lat_row[i, j + 1] + fi * lat_row[i + 1, j + 1] - y0
                dx = (1 - fi) * lat_col[i, j + 1] + fi * lat_col[i + 1, j + 1] - x0
            fj = c / STEP_PX - j
            y, x = y0 + fj * dy, x0 + fj * dx
            out[r, c] = np.nan
            if not (y > -0.5 and x > -0.5 and y < height - 0.5 and x < width - 0.5):
                continue
            # where the kernel begins in the padded image: two pixels before, three further on
            top, left = int(y + 1.0), int(x + 1.0)
            down = int((y + 1.0 - top) * _PHASES + 0.5) * TAPS
            across = int((x + 1.0 - left) * _PHASES + 0.5) * TAPS
            value = weighted(image, top * stride + left, stride, table, down, across)
            if np.isnan(value):
                nearest = image[int(y + 3.5) * stride + int(x + 3.5)]
                if np.isnan(nearest):
                    continue
                value = _beside_gaps(image, top * stride + left, stride, table, down, across)
                if np.isnan(value):
                    value = nearest
            out[r, c] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _beside_gaps(image, at, stride, table, down, across):  # type: ignore[no-untyped-def]
    """Return the sum over the pixels that are there, NaN if they are too few."""
    value = total = np.float32(0.0)
    for a in range(_KERNEL):
        for b in range(_KERNEL):
            pixel = image[at + a * stride + b]
            if not np.isnan(pixel):
                w = table[down + a] * table[across + b]
                total += w
                value += w * pixel
    return value / total if total > 0.25 else np.float32(np.nan)


def _bilinear(nodes: Floats, i: Floats, j: Floats) -> Floats:
    i0 = np.clip(np.floor(i).astype(int), 0, nodes.shape[0] - 2)
    j0 = np.clip(np.floor(j).astype(int), 0, nodes.shape[1] - 2)
    fi, fj = i - i0, j - j0
    upper = (1 - fj) * nodes[i0, j0] + fj * nodes[i0, j0 + 1]
    lower = (1 - fj) * nodes[i0 + 1, j0] + fj * nodes[i0 + 1, j0 + 1]
    return np.asarray((1 - fi) * upper + fi * lower)
