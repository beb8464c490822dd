"""A pushbroom camera over a made-up town: straight rays, RPC00B coefficients fitted to it, images.

Flight and attitude are steady, so that rows are exactly linear in ground coordinates and columns
are a perspective across the track. A ray ends at the first cell of the lattice that is higher than
it: on top of the cell, or on its wall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray
from town_ground import CELL_M, PAINT, REFLECTANCE, TREE, Lattice

Floats = NDArray[np.float64]
ALTITUDE_M = 700_000.0
SKY = np.array([0.13, 0.17, 0.23, 0.09], np.float32)
"""Light of the open sky beside that of a sun overhead."""
HAZE = np.array([62.0, 92.0, 122.0, 40.0], np.float32)
GAIN = np.array([2900.0, 2700.0, 2650.0, 2150.0], np.float32)
"""Counts of 12 bits: what air adds, and of a white surface under the sun."""
BLOCK = 16
GLASS, LEAF = PAINT["glass"], PAINT["leaf"]


@dataclass(frozen=True)
class Camera:
    """Where each pixel looks; x east, y north, height, metres. Pixel centres are integers."""

    start: Floats
    """Where the satellite is at the middle row."""
    step: Floats
    """How far it flies in a row."""
    across: Floats
    look: Floats
    focal_px: float
    rows: int
    cols: int

    @property
    def normal(self) -> Floats:
        return np.cross(self.look, self.across)

    def project(self, x: Any, y: Any, height: Any) -> tuple[Floats, Floats]:
        """Return (row, col) of ground points."""
        away = np.stack(np.broadcast_arrays(x, y, height), -1) - self.start
        line = away @ self.normal / (self.step @ self.normal)
        away = away - line[..., None] * self.step
        sample = self.focal_px * (away @ self.across) / (away @ self.look)
        return line + (self.rows - 1) / 2, sample + (self.cols - 1) / 2

    def ray(self, row: Any, col: Any) -> tuple[Floats, Floats]:
        """Return where rays begin, and their directions for a metre of fall."""
        row, col = np.broadcast_arrays(np.asarray(row, float), np.asarray(col, float))
        begin = self.start + (row - (self.rows - 1) / 2)[..., None] * self.step
        tilt = ((col - (self.cols - 1) / 2) / self.focal_px)[..., None]
        way = self.look + tilt * self.across
        return begin, way / -way[..., 2:]

    def locate(self, row: Any, col: Any, height: Any) -> tuple[Floats, Floats]:
        """Return (x, y) where pixels meet a height."""
        begin, way = self.ray(row, col)
        ground = begin + way * (begin[..., 2] - height)[..., None]
        return ground[..., 0], ground[..., 1]

    def towards(self) -> Floats:
        """Return the way from the ground to the satellite in the middle, a metre up."""
        return -self.look / -self.look[2]


def camera(
    centre: tuple[float, float, float],
    flight_deg: float,
    along_deg: float,
    across_deg: float,
    gsd_m: float,
    size: tuple[int, int],
) -> Camera:
    """Return a camera that has *centre* in its middle pixel, from so far ahead and to the left."""
    heading = np.radians(flight_deg)
    ahead = np.array([np.sin(heading), np.cos(heading), 0.0])
    # columns grow to the left of the flight: seen from above, rows run down
    left = np.array([-ahead[1], ahead[0], 0.0])
    up = np.array([0.0, 0.0, 1.0])
    to_satellite = (
        np.tan(np.radians(along_deg)) * ahead + np.tan(np.radians(across_deg)) * left + up
    )
    start = np.array(centre) + ALTITUDE_M * to_satellite
    look = -to_satellite / np.linalg.norm(to_satellite)
    across = left - (left @ look) * look
    across /= np.linalg.norm(across)
    focal = ALTITUDE_M * float(np.linalg.norm(to_satellite)) / gsd_m
    return Camera(start, ahead * gsd_m, across, look, focal, *size)


def fitted(row: Floats, col: Floats, ground: Floats) -> dict[str, Any]:
    """Return RPC00B scalars and coefficients by GDAL's names: *ground* is (n, 3) lon, lat, height.

    Linear least squares on the ratio times its denominator, weighed by the last denominator.
    """
    given: dict[str, Any] = {}
    units = []
    for key, values in (("LINE", row), ("SAMP", col), ("LONG", ground[:, 0]),
                        ("LAT", ground[:, 1]), ("HEIGHT", ground[:, 2])):  # fmt: skip
        middle = (values.max() + values.min()) / 2
        scale = (values.max() - values.min()) / 2
        given[f"{key}_OFF"], given[f"{key}_SCALE"] = float(middle), float(scale)
        units.append((values - middle) / scale)
    terms = _terms(units[2], units[3], units[4])
    for key, target in (("LINE", units[0]), ("SAMP", units[1])):
        weight = np.ones(len(target))
        for _ in range(3):
            table = np.hstack([terms, -target[:, None] * terms[:, 1:]]) * weight[:, None]
            ridge = 1e-7 * np.eye(39) * np.sqrt(len(target))
            found, *_ = np.linalg.lstsq(
                np.vstack([table, ridge]), np.r_[target * weight, np.zeros(39)], rcond=None
            )
            below = np.r_[1.0, found[20:]]
            weight = 1.0 / (terms @ below)
        given[f"{key}_NUM_COEFF"], given[f"{key}_DEN_COEFF"] = found[:20], below
    return given


def _terms(x: Floats, y: Floats, h: Floats) -> Floats:
    """Return the twenty terms of RPC00B of normalised longitude, latitude and height."""
    one = np.ones_like(x)
    return np.stack([
        one, x, y, h, x * y, x * h, y * h, x * x, y * y, h * h, x * y * h, x**3, x * y * y,
        x * h * h, x * x * y, y**3, y * h * h, x * x * h, y * y * h, h**3,
    ], -1)  # fmt: skip


@dataclass(frozen=True)
class Light:
    """What lies on each cell of a lattice under one sun."""

    direct: NDArray[np.float32]
    """Sunlight that falls on the cell's top: 1 where the sun is overhead, 0 in shadow."""
    sky: NDArray[np.float32]
    """Share of the sky seen, by metres."""
    sun: Floats
    """Way to the sun, a unit vector."""


def lit(place: Lattice, sun_azimuth_deg: float, sun_elevation_deg: float) -> Light:
    """Return the light of a sun on a lattice."""
    azimuth, elevation = np.radians(sun_azimuth_deg), np.radians(sun_elevation_deg)
    flat = np.cos(elevation)
    sun = np.array([np.sin(azimuth) * flat, np.cos(azimuth) * flat, np.sin(elevation)])
    surface = place.surface
    direct = np.zeros(surface.shape, np.float32)
    _shine(surface, highest(surface), sun, direct)
    small = cv2.resize(surface, None, fx=CELL_M, fy=CELL_M, interpolation=cv2.INTER_AREA)
    walls = cv2.GaussianBlur(small, (0, 0), 5.0) - small
    return Light(direct, np.clip(1.0 - 0.05 * np.maximum(walls, 0), 0.3, 1.0), sun)


def highest(surface: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the highest cell of each block of BLOCK × BLOCK."""
    rows, cols = (-(-size // BLOCK) for size in surface.shape)
    padded = np.full((rows * BLOCK, cols * BLOCK), -1e9, np.float32)
    padded[: surface.shape[0], : surface.shape[1]] = surface
    return np.asarray(padded.reshape(rows, BLOCK, cols, BLOCK).max((1, 3)))


def image(
    rng: Generator,
    view: Camera,
    place: Lattice,
    bright: NDArray[np.float32],
    light: Light,
    walls: tuple[NDArray[np.uint8], NDArray[np.float32]],
    *,
    over: int = 3,
    blur_px: float = 0.4,
    noise: float = 1.0,
) -> NDArray[np.uint16]:
    """Return what a camera counts, (4, row, col). *walls*: paint and turn by building number."""
    total = np.zeros((view.rows, view.cols, 4), np.float32)
    table = np.vstack([view.start, view.step, view.across, view.look])
    tops = highest(place.surface)
    _render(
        total, over, table, view.focal_px, place.surface, tops, place.classes, place.building,
        place.paint, bright, light.direct, light.sky, light.sun, walls[0], walls[1],
        REFLECTANCE, SKY,
    )  # fmt: skip
    seen = np.stack([cv2.GaussianBlur(band, (0, 0), blur_px) for band in total.transpose(2, 0, 1)])
    counts = seen * GAIN[:, None, None] + HAZE[:, None, None]
    counts += rng.standard_normal(counts.shape, np.float32) * noise * np.sqrt(9 + 0.06 * counts)
    return np.asarray(np.clip(np.rint(counts), 1, 4095), np.uint16)


def hidden(view: Camera, surface: NDArray[np.float32], every: int) -> NDArray[np.bool_]:
    """Return which cells' tops a camera does not see; each *every*-th cell, from the middle."""
    way = view.towards()
    return np.asarray(_hidden(surface, highest(surface), way, every))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc]  # numba is untyped
def _free(surface, tops, top, x, y, z, wx, wy, wz):  # type: ignore[no-untyped-def]
    """Is the way up from a point, in cells and metres, free? The own cell does not count."""
    rows, cols = surface.shape
    flat = np.sqrt(wx * wx + wy * wy)
    if flat < 1e-9:
        return True
    ux, uy, climb = wx / flat, wy / flat, wz / flat * CELL_M
    own_r, own_c = int(y), int(x)
    away = 0.0
    while True:
        px, py, pz = x + ux * away, y + uy * away, z + climb * away
        if pz > top or px < 0 or py < 0 or px >= cols or py >= rows:
            return True
        r, c = int(py), int(px)
        br, bc = r // BLOCK, c // BLOCK
        if tops[br, bc] <= pz:
            # leave the block
            ex = ((bc + 1) * BLOCK - px) / ux if ux > 0 else (px - bc * BLOCK) / -ux
            ey = ((br + 1) * BLOCK - py) / uy if uy > 0 else (py - br * BLOCK) / -uy
            if ux == 0.0:
                ex = 1e9
            if uy == 0.0:
                ey = 1e9
            away += min(ex, ey) + 0.01
            continue
        if (r != own_r or c != own_c) and surface[r, c] > pz + 0.12:
            return False
        away += 0.5


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc]  # numba is untyped
def _shine(surface, tops, sun, out):  # type: ignore[no-untyped-def]
    rows, cols = surface.shape
    top = tops.max()
    for r in range(1, rows - 1):
        for c in range(1, cols - 1):
            h = surface[r, c]
            # the gentler side: a roof's edge is as bright as the roof
            a, b = surface[r, c + 1] - h, h - surface[r, c - 1]
            gx = (a if abs(a) < abs(b) else b) / CELL_M
            a, b = surface[r - 1, c] - h, h - surface[r + 1, c]
            gy = (a if abs(a) < abs(b) else b) / CELL_M
            facing = (sun[2] - gx * sun[0] - gy * sun[1]) / np.sqrt(1 + gx * gx + gy * gy)
            if facing > 0 and _free(
                surface, tops, top, c + 0.5, r + 0.5, h, sun[0], -sun[1], sun[2]
            ):
                out[r, c] = facing


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc]  # numba is untyped
def _hidden(surface, tops, way, every):  # type: ignore[no-untyped-def]
    rows, cols = surface.shape[0] // every, surface.shape[1] // every
    out = np.zeros((rows, cols), np.bool_)
    top = tops.max()
    for row in range(rows):
        for col in range(cols):
            r, c = row * every + every // 2, col * every + every // 2
            out[row, col] = not _free(
                surface, tops, top, c + 0.5, r + 0.5, surface[r, c], way[0], -way[1], way[2]
            )
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc]  # numba is untyped
def _hit(surface, tops, x, y, z, dx, dy):  # type: ignore[no-untyped-def]
    """Return row, column and height where a falling ray ends; dx, dy in cells a metre of fall."""
    rows, cols = surface.shape
    r, c = int(np.floor(y)), int(np.floor(x))
    while r >= 0 and c >= 0 and r < rows and c < cols:
        br, bc = r // BLOCK, c // BLOCK
        if dx > 0:
            far = ((bc + 1) * BLOCK - x) / dx
        elif dx < 0:
            far = (bc * BLOCK - x) / dx
        else:
            far = 1e9
        if dy > 0:
            far = min(far, ((br + 1) * BLOCK - y) / dy)
        elif dy < 0:
            far = min(far, (br * BLOCK - y) / dy)
        if z - far > tops[br, bc]:
            x, y, z = x + dx * (far + 1e-6), y + dy * (far + 1e-6), z - far
            r, c = int(np.floor(y)), int(np.floor(x))
            continue
        if dx > 0:
            near = (c + 1 - x) / dx
        elif dx < 0:
            near = (c - x) / dx
        else:
            near = 1e9
        if dy > 0:
            near = min(near, (r + 1 - y) / dy)
        elif dy < 0:
            near = min(near, (r - y) / dy)
        if z <= surface[r, c]:
            return r, c, z
        if z - near <= surface[r, c]:
            return r, c, surface[r, c]
        x, y, z = x + dx * (near + 1e-6), y + dy * (near + 1e-6), z - near
        r, c = int(np.floor(y)), int(np.floor(x))
    return -1, -1, 0.0


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc]  # numba is untyped
def _outward(building, r, c, turn):  # type: ignore[no-untyped-def]
    """Return the way out of a building at a cell of its edge, along its own axes where near."""
    rows, cols = building.shape
    own = building[r, c]
    east, north = 0.0, 0.0
    for i in range(max(r - 4, 0), min(r + 5, rows)):
        for j in range(max(c - 4, 0), min(c + 5, cols)):
            if building[i, j] != own:
                east += j - c
                north -= i - r
    angle = np.arctan2(north, east)
    quarter = np.pi / 2
    snapped = turn + np.round((angle - turn) / quarter) * quarter
    if abs(angle - snapped) < 0.35:
        angle = snapped
    return np.cos(angle), np.sin(angle)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc]  # numba is untyped
def _render(  # type: ignore[no-untyped-def]
    out, over, table, focal, surface, tops, classes, building, paint, bright, direct, sky, sun,
    wall_paint, wall_turn, reflectance, sky_light,
):  # fmt: skip
    """Add up the light of over × over rays a pixel."""
    rows, cols = out.shape[0], out.shape[1]
    high = tops.max() + 1.0
    start, step, across, look = table[0], table[1], table[2], table[3]
    size_m = surface.shape[0] * CELL_M
    share = 1.0 / (over * over)
    for i in range(rows * over):
        line = (i + 0.5) / over - 0.5 - (rows - 1) / 2
        bx, by, bz = start[0] + line * step[0], start[1] + line * step[1], start[2] + line * step[2]
        for j in range(cols * over):
            tilt = ((j + 0.5) / over - 0.5 - (cols - 1) / 2) / focal
            fall, vz = bz - high, look[2] + tilt * across[2]
            sx, sy = -(look[0] + tilt * across[0]) / vz, -(look[1] + tilt * across[1]) / vz
            x = (bx + sx * fall) / CELL_M
            y = (size_m - (by + sy * fall)) / CELL_M
            r, c, z = _hit(surface, tops, x, y, high, sx / CELL_M, -sy / CELL_M)
            if r < 0:
                continue
            kind, colour = classes[r, c], paint[r, c]
            sun_on, tone = direct[r, c], bright[r, c]
            open_sky = sky[
                min(int(r * CELL_M), sky.shape[0] - 1), min(int(c * CELL_M), sky.shape[1] - 1)
            ]
            below = surface[r, c] - z
            if below > 0.5 and building[r, c] > 0 and kind != TREE:
                own = building[r, c]
                east, north = _outward(building, r, c, wall_turn[own])
                ax, ay = c + 0.5 + 2.0 * east, r + 0.5 - 2.0 * north
                facing = east * sun[0] + north * sun[1]
                sun_on = np.float32(0.0)
                if facing > 0 and _free(surface, tops, high, ax, ay, z, sun[0], -sun[1], sun[2]):
                    sun_on = np.float32(facing)
                open_sky, tone = np.float32(0.45), np.float32(1.0)
                colour = wall_paint[own]
                along = -(c * north + r * east) * CELL_M
                floor, bay = (below - 0.5) / 3.0, along / 2.6
                floor, bay = floor - np.floor(floor), bay - np.floor(bay)
                if 0.2 < floor < 0.68 and 0.25 < bay < 0.7:
                    colour = GLASS
            elif below > 0.5 and kind == TREE:
                sun_on, open_sky = sun_on * np.float32(0.35), np.float32(0.5)
                colour = LEAF
            for b in range(4):
                out[i // over, j // over, b] += (
                    share * reflectance[colour, b] * tone * (sun_on + sky_light[b] * open_sky)
                )
