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

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.errors import NoOverlap
from processes.stereo.rpc import RpcModel

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

STEP_PX = 16
"""Spacing of the nodes; bilinear interpolation between them is right to 1e-3 px."""
_LEAN_M = 20.0
_PHASES = 2048


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

    def position(self, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """Return the fractional (row, col) of points on the reference plane.

        The bend of the rows, a thousandth of a pixel, is left out of the row.
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
    local = Local(float(np.mean(lon)), float(np.mean(lat)))
    middle = (np.array(local.lon), np.array(local.lat))
    leans = np.stack([lean(m, local, *middle, height_m) for m in (left, right)])
    parallax = leans[0] - leans[1]
    length = float(np.hypot(*parallax))
    if not length > 1e-3:
        raise NoOverlap(
            f"{left.name} and {right.name} look from the same direction: no height in this pair"
        )
    along = parallax / length
    across = np.array([along[1], -along[0]])

    ground = local.metres(lon, lat)
    seen = np.concatenate(
        [ground - (h - height_m) * a[:, None] for h in heights_m for a in leans], axis=1
    )
    s, t = along @ seen, across @ seen
    margin = 4.0 * gsd_m
    s0, t0 = s.min() - margin, t.min() - margin
    shape = (
        int(np.ceil((t.max() + margin - t0) / gsd_m)) + 1,
        int(np.ceil((s.max() + margin - s0) / gsd_m)) + 1,
    )
    nodes = tuple(int(np.ceil((n - 1) / STEP_PX)) + 1 for n in shape)
    t_node = t0 + gsd_m * STEP_PX * np.arange(nodes[0])[:, None] * np.ones(nodes[1])
    s_node = s0 + gsd_m * STEP_PX * np.arange(nodes[1]) * np.ones((nodes[0], 1))
    t_node = t_node + _bend(left, right, local, along, across, s_node, t_node, height_m)

    node_lon, node_lat = local.degrees(
        *(along[:, None, None] * s_node + across[:, None, None] * t_node)
    )
    return EpipolarFrame(
        shape=shape,
        height_m=height_m,
        gsd_m=gsd_m,
        px_per_m=length / gsd_m,
        local=local,
        along=along,
        corner=(float(s0), float(t0)),
        lon=node_lon,
        lat=node_lat,
        left=Lattice(*left.project(node_lon, node_lat, height_m)),
        right=Lattice(*right.project(node_lon, node_lat, height_m)),
    )


def _bend(
    left: RpcModel,
    right: RpcModel,
    local: Local,
    along: Floats,
    across: Floats,
    s: Floats,
    t: Floats,
    height_m: float,
) -> Floats:
    """Return how far each node must move across for its row to follow the epipolar curve."""
    rows, cols = np.arange(s.shape[0]), np.arange(s.shape[1])
    rows, cols = np.unique(np.r_[rows[::4], rows[-1]]), np.unique(np.r_[cols[::4], cols[-1]])
    pick = np.ix_(rows, cols)
    at = local.degrees(*(along[:, None, None] * s[pick] + across[:, None, None] * t[pick]))
    v = lean(left, local, *at, height_m) - lean(right, local, *at, height_m)
    slope = np.tensordot(across, v, 1) / np.tensordot(along, v, 1)
    fine = np.stack([np.interp(np.arange(s.shape[1]), cols, line) for line in slope])
    fine = np.stack([np.interp(np.arange(s.shape[0]), rows, line) for line in fine.T], axis=1)
    ds = s[0, 1] - s[0, 0] if s.shape[1] > 1 else 0.0
    steps = 0.5 * (fine[:, 1:] + fine[:, :-1]) * ds
    total = np.concatenate([np.zeros((s.shape[0], 1)), np.cumsum(steps, axis=1)], axis=1)
    return np.asarray(total - total[:, [s.shape[1] // 2]])


def resample(
    image: Pixels, lattice: Lattice, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)
) -> Pixels:
    """Return an image (bands, row, col) on the rectified grid by a Lanczos kernel of 6×6 pixels.

    *origin* is the row and column of the given window's first pixel. NaN outside the image and
    where the nearest pixel is NaN; a NaN elsewhere under the kernel is left out of the sum.
    """
    out = np.empty((image.shape[0], *shape), np.float32)
    _resample(
        np.ascontiguousarray(image, np.float32),
        lattice.row - origin[0],
        lattice.col - origin[1],
        _kernel_table(),
        out,
    )
    return out


def _kernel_table() -> Pixels:
    """Return the weights of 6 taps for each phase: Lanczos of order 3, summing to one."""
    phase = np.arange(_PHASES + 1)[:, None] / _PHASES
    x = phase - np.arange(-2, 4)[None, :]
    table = np.sinc(x) * np.sinc(x / 3.0)
    table[np.abs(x) >= 3.0] = 0.0
    return np.asarray(table / table.sum(axis=1, keepdims=True), np.float32)


@njit(cache=True, nogil=True)
def _resample(image, lat_row, lat_col, table, out):  # type: ignore[no-untyped-def]
    bands, height, width = image.shape
    acc = np.empty(bands, np.float32)
    for r in range(out.shape[1]):
        i = min(r // STEP_PX, lat_row.shape[0] - 2)
        fi = r / STEP_PX - i
        for c in range(out.shape[2]):
            j = min(c // STEP_PX, lat_row.shape[1] - 2)
            fj = c / STEP_PX - j
            w00, w01 = (1 - fi) * (1 - fj), (1 - fi) * fj
            w10, w11 = fi * (1 - fj), fi * fj
            y = (
                w00 * lat_row[i, j]
                + w01 * lat_row[i, j + 1]
                + w10 * lat_row[i + 1, j]
                + w11 * lat_row[i + 1, j + 1]
            )
            x = (
                w00 * lat_col[i, j]
                + w01 * lat_col[i, j + 1]
                + w10 * lat_col[i + 1, j]
                + w11 * lat_col[i + 1, j + 1]
            )
            if not (y > -0.5 and x > -0.5 and y < height - 0.5 and x < width - 0.5):
                out[:, r, c] = np.nan
                continue
            yn, xn = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
            if np.isnan(image[0, yn, xn]):
                out[:, r, c] = np.nan
                continue
            y0, x0 = int(np.floor(y)), int(np.floor(x))
            py = int((y - y0) * _PHASES + 0.5)
            px = int((x - x0) * _PHASES + 0.5)
            acc[:] = 0.0
            total = np.float32(0.0)
            for a in range(6):
                yy = min(max(y0 + a - 2, 0), height - 1)
                wy = table[py, a]
                for b in range(6):
                    xx = min(max(x0 + b - 2, 0), width - 1)
                    if np.isnan(image[0, yy, xx]):
                        continue
                    w = wy * table[px, b]
                    total += w
                    for k in range(bands):
                        acc[k] += w * image[k, yy, xx]
            for k in range(bands):
                out[k, r, c] = acc[k] / total if total > 0.25 else image[k, yn, xn]


def _bilinear(nodes: Floats, i: Floats, j: Floats) -> Floats:
    i0 = np.clip(np.floor(i).astype(int), 0, nodes.shape[0] - 2)
    j0 = np.clip(np.floor(j).astype(int), 0, nodes.shape[1] - 2)
    fi, fj = i - i0, j - j0
    upper = (1 - fj) * nodes[i0, j0] + fj * nodes[i0, j0 + 1]
    lower = (1 - fj) * nodes[i0 + 1, j0] + fj * nodes[i0 + 1, j0 + 1]
    return np.asarray((1 - fi) * upper + fi * lower)
