"""Where lines of sight meet: ground coordinates from disparities, or from any set of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.stereo.epipolar import STEP_PX, EpipolarFrame, Local
from processes.stereo.rpc import RpcModel

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

ToPlane = Callable[[Floats, Floats], tuple[Floats, Floats]]
"""Longitude, latitude → x, y of the output reference system."""


@dataclass(frozen=True, eq=False)
class RayTable:
    """x, y and height along the left line of sight as cubics of the disparity, node by node.

    `coefficients` has shape (3, 4, node rows, node columns); x and y are less `origin`.
    """

    coefficients: Floats
    origin: tuple[float, float]
    across_px: float
    """Largest distance between the right image's epipolar curve and its row."""
    disparities: tuple[float, float]
    """Smallest and largest disparity between the heights that the table was made for."""

    def points(self, disparity: Pixels) -> tuple[Floats, Floats, Floats]:
        """Return x, y, height for each pixel of a left disparity map; NaN where it is NaN."""
        x = np.empty(disparity.shape)
        y = np.empty(disparity.shape)
        z = np.empty(disparity.shape)
        _points(disparity, self.coefficients, self.origin[0], self.origin[1], x, y, z)
        return x, y, z


def ray_table(
    frame: EpipolarFrame,
    left: RpcModel,
    right: RpcModel,
    heights_m: tuple[float, float],
    to_plane: ToPlane,
) -> RayTable:
    """Return the ray table of a frame for the heights between which its disparities lie.

    Each node's left line of sight is followed through five heights; what the right camera makes
    of these points gives their disparities. Between them a cubic is right to a millimetre.
    """
    low, high = heights_m
    high = max(high, low + 10.0)
    layers = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(np.pi * np.arange(5) / 4)[::-1]
    lon, lat = left.locate(frame.left.row[None], frame.left.col[None], layers[:, None, None])
    row, col = right.project(lon, lat, layers[:, None, None])
    on_plane = right.locate(row, col, frame.height_m)
    node_col = np.arange(frame.lon.shape[1]) * STEP_PX
    disparity = frame.position(*on_plane)[1] - node_col
    x, y = to_plane(lon, lat)
    origin = (float(np.mean(x)), float(np.mean(y)))
    z = np.broadcast_to(layers[:, None, None], x.shape)
    coefficients = _fit(disparity, np.stack([x - origin[0], y - origin[1], z]))
    rows_apart = _across(frame, on_plane)
    return RayTable(
        coefficients, origin, rows_apart, (float(disparity.min()), float(disparity.max()))
    )


def _fit(d: Floats, values: Floats) -> Floats:
    """Return cubics through values (quantity, layer, …) at abscissae (layer, …)."""
    scale = np.abs(d).max() + 1e-9
    powers = (d[None] / scale) ** np.arange(4).reshape(4, 1, 1, 1)
    normal = np.einsum("pkij,qkij->ijpq", powers, powers)
    right = np.einsum("pkij,vkij->ijpv", powers, values)
    solved = np.linalg.solve(normal, right)
    unscale = scale ** -np.arange(4.0)
    return np.ascontiguousarray(np.transpose(solved, (3, 2, 0, 1)) * unscale[:, None, None])


def _across(frame: EpipolarFrame, on_plane: tuple[Floats, Floats]) -> float:
    """Return how far (pixels) the points' right positions lie off their own grid row."""
    across = np.array([frame.along[1], -frame.along[0]])
    t = np.tensordot(across, frame.local.metres(*on_plane), 1)
    node_t = np.tensordot(across, frame.local.metres(frame.lon, frame.lat), 1)
    cols = frame.position(*on_plane)[1] / STEP_PX
    far = 0.0
    for k in range(t.shape[0]):
        for i in range(t.shape[1]):
            inside = (cols[k, i] >= 0) & (cols[k, i] <= t.shape[2] - 1)
            expected = np.interp(cols[k, i], np.arange(t.shape[2]), node_t[i])
            off = np.abs(t[k, i] - expected)[inside]
            far = max(far, float(off.max(initial=0.0)))
    return far / frame.gsd_m


@njit(cache=True, nogil=True)
def _points(disparity, coef, x0, y0, x, y, z):  # type: ignore[no-untyped-def]
    last_i, last_j = coef.shape[2] - 2, coef.shape[3] - 2
    w = np.empty(4)
    for r in range(disparity.shape[0]):
        i = min(r // STEP_PX, last_i)
        fi = r / STEP_PX - i
        for c in range(disparity.shape[1]):
            d = disparity[r, c]
            if np.isnan(d):
                x[r, c] = y[r, c] = z[r, c] = np.nan
                continue
            j = min(c // STEP_PX, last_j)
            fj = c / STEP_PX - j
            w[0], w[1] = (1 - fi) * (1 - fj), (1 - fi) * fj
            w[2], w[3] = fi * (1 - fj), fi * fj
            for q in range(3):
                value = 0.0
                for k in range(3, -1, -1):
                    table = coef[q, k]
                    at = (
                        w[0] * table[i, j]
                        + w[1] * table[i, j + 1]
                        + w[2] * table[i + 1, j]
                        + w[3] * table[i + 1, j + 1]
                    )
                    value = value * d + at
                if q == 0:
                    x[r, c] = x0 + value
                elif q == 1:
                    y[r, c] = y0 + value
                else:
                    z[r, c] = value


def intersect(
    models: Sequence[RpcModel], rows: Floats, cols: Floats, height_m: Floats | float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return lon, lat, height and the residuals of rays met by least squares in the images.

    *rows*, *cols* have shape (view, point), NaN where a view has no observation; *height_m* is a
    first guess. Residuals (view, 2, point) are observed less projected, in pixels. Gauss-Newton,
    all points at once (Grodecki & Dial, 2003), with the slopes of the first guess.
    """
    height = np.broadcast_to(np.asarray(height_m, float), rows.shape[1:]).copy()
    seen = np.isfinite(rows)
    first = np.argmax(seen, axis=0)
    lon, lat = np.full(height.shape, np.nan), np.full(height.shape, np.nan)
    for v, model in enumerate(models):
        mine = first == v
        lon[mine], lat[mine] = model.locate(rows[v, mine], cols[v, mine], height[mine])
    residuals = np.full((len(models), 2, height.size), np.nan)
    # lines of sight hardly turn over the metres that are left
    slopes = [jacobian(model, lon, lat, height) for model in models]
    for turn in range(8):
        normal = np.zeros((height.size, 3, 3))
        right = np.zeros((height.size, 3))
        for v, model in enumerate(models):
            by = slopes[v]
            row, col = model.project(lon, lat, height)
            off = np.stack([rows[v] - row, cols[v] - col])
            residuals[v] = off
            use = np.where(seen[v], 1.0, 0.0)
            off = np.where(seen[v], off, 0.0)
            normal += np.einsum("ain,bin,n->nab", by, by, use)
            right += np.einsum("ain,in,n->na", by, off, use)
        if turn == 7:
            break
        normal += 1e-9 * np.eye(3)
        step = np.linalg.solve(normal, right[..., None])[..., 0]
        kx, ky = Local(float(np.nanmean(lon)), float(np.nanmean(lat))).scale
        lon, lat, height = lon + step[:, 0] / kx, lat + step[:, 1] / ky, height + step[:, 2]
        if np.nanmax(np.abs(step), initial=0.0) < 1e-6:
            break
    return lon, lat, height, residuals


def jacobian(model: RpcModel, lon: Floats, lat: Floats, height: Floats) -> Floats:
    """Return d(row, col)/d(east, north, up) in pixels a metre, shape (3, 2, point)."""
    kx, ky = Local(float(np.nanmean(lon)), float(np.nanmean(lat))).scale
    steps = ((1.0 / kx, 0.0, 0.0), (0.0, 1.0 / ky, 0.0), (0.0, 0.0, 1.0))
    out = []
    for dlon, dlat, dh in steps:
        plus = model.project(lon + dlon, lat + dlat, height + dh)
        minus = model.project(lon - dlon, lat - dlat, height - dh)
        out.append(np.stack([(p - m) / 2.0 for p, m in zip(plus, minus, strict=True)]))
    return np.stack(out)
