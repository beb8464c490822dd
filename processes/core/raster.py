"""Rasters as values: numbers on a grid, and the door to an opened file.

Rows run south, columns east. `Grid.transform` follows GDAL: it maps the *corner* of a cell.
Row and column numbers elsewhere are of cell *centres*: (0, 0) is the middle of the first cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from processes.core.errors import GridMismatch, InvalidInput


@dataclass(frozen=True)
class Grid:
    """Where cells lie: a north-up lattice in a projected reference system."""

    crs: str
    transform: Affine
    height: int
    width: int

    @classmethod
    def covering(cls, bounds: tuple[float, float, float, float], cell_m: float, crs: str) -> Grid:
        """Return the grid of *cell_m* whose edges are multiples of it and that holds *bounds*."""
        xmin, ymin, xmax, ymax = bounds
        # 5e-7: bounds that miss the lattice by rounding alone get no extra cell
        left, top = np.floor(xmin / cell_m + 5e-7) * cell_m, np.ceil(ymax / cell_m - 5e-7) * cell_m
        width = int(np.ceil((xmax - left) / cell_m - 5e-7))
        height = int(np.ceil((top - ymin) / cell_m - 5e-7))
        transform = Affine(cell_m, 0.0, float(left), 0.0, -cell_m, float(top))
        return cls(crs, transform, max(height, 1), max(width, 1))

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def cell_m(self) -> float:
        """Cell size along x, in units of the CRS (metres for every product)."""
        return float(self.transform.a)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Outer edges: xmin, ymin, xmax, ymax."""
        xmin, ymax = self.transform @ (0, 0)
        xmax, ymin = self.transform @ (self.width, self.height)
        return float(xmin), float(ymin), float(xmax), float(ymax)

    def meets(self, bounds: Sequence[float]) -> bool:
        """Say whether a rectangle (xmin, ymin, xmax, ymax) in its system shares ground with it."""
        xmin, ymin, xmax, ymax = self.bounds
        return xmin < bounds[2] and bounds[0] < xmax and ymin < bounds[3] and bounds[1] < ymax

    def xy(self, row: Any, col: Any) -> tuple[Any, Any]:
        """Return ground coordinates of cell centres."""
        t = self.transform
        col, row = np.add(col, 0.5), np.add(row, 0.5)
        return t.c + col * t.a + row * t.b, t.f + col * t.d + row * t.e

    def rowcol(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return fractional cells; integers are cell centres."""
        t = ~self.transform
        x, y = np.asarray(x, float), np.asarray(y, float)
        return t.f + x * t.d + y * t.e - 0.5, t.c + x * t.a + y * t.b - 0.5

    def first(self, every: int) -> tuple[int, int]:
        """Return the first of every so many rows and columns, the same in grids that overlap."""
        left, top = round(self.transform.c / self.cell_m), round(-self.transform.f / self.cell_m)
        return -top % every, -left % every

    def window(self, row0: int, col0: int, height: int, width: int) -> Grid:
        """Return the part of the lattice that starts at a cell; it may stick out."""
        return Grid(self.crs, self.transform @ Affine.translation(col0, row0), height, width)


@dataclass(frozen=True)
class Raster:
    """Numbers on a grid: (row, col) or (band, row, col). Absent is NaN in floats, 0 in masks."""

    values: NDArray[Any]
    grid: Grid


POINT = np.dtype(
    [
        ("x", "<f8"),
        ("y", "<f8"),
        ("z", "<f8"),
        ("likelihood", "<f4"),
        ("error_m", "<f4"),
        ("images", "u1"),
    ]
)
"""A measured point: its place in a grid's reference system, how likely it is right (0 to 1), the
error that nine in ten stay below (metres; NaN where unknown), and how many images show it."""


@dataclass(frozen=True)
class Points:
    """Measured points, an array of POINT."""

    values: NDArray[Any]

    def within(self, grid: Grid) -> Points:
        """Return those that lie in the cells of a grid."""
        row, col = (np.rint(v) for v in grid.rowcol(self.values["x"], self.values["y"]))
        inside = (row >= 0) & (col >= 0) & (row < grid.height) & (col < grid.width)
        return Points(self.values[inside])


class RasterSource(Protocol):
    """An opened raster file. Nothing is read until it is asked for."""

    @property
    def grid(self) -> Grid | None:
        """Its lattice, or None for an image in sensor geometry."""

    @property
    def origin(self) -> tuple[float, float]:
        """Row and column of its first pixel in the acquisition it was cut from, else (0, 0)."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""

    @property
    def dtype(self) -> str:
        """Name of the stored number type."""

    @property
    def band_names(self) -> tuple[str, ...]:
        """Lower-case common names where known (red, green, blue, nir, pan), else b1, b2, …"""

    @property
    def tags(self) -> Mapping[str, str]:
        """Metadata of the file, as text."""

    @property
    def rpc_tags(self) -> Mapping[str, str] | None:
        """RPC metadata of a GeoTIFF in GDAL's names, or None."""

    def read(
        self,
        row0: int = 0,
        col0: int = 0,
        height: int | None = None,
        width: int | None = None,
        bands: Sequence[int] | None = None,
    ) -> NDArray[np.float32]:
        """Return a window (bands, rows, columns); NaN where there is no data or no file."""


@dataclass(frozen=True)
class Image:
    """One acquisition in sensor geometry with everything known about it."""

    id: str
    raster: RasterSource
    rpc_documents: Sequence[tuple[str, str]] = ()
    """Sensor models found beside the image: (file name, text)."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """STAC properties: datetime, gsd, view:off_nadir, …; empty for a bare GeoTIFF."""
    colours: Image | None = None
    """The multispectral image that was taken with a panchromatic one."""

    @property
    def sun(self) -> tuple[float, float] | None:
        """Azimuth and elevation of the sun, degrees; None where the STAC Item does not tell."""
        angles = [self.properties.get(f"view:sun_{name}") for name in ("azimuth", "elevation")]
        known = [float(angle) for angle in angles if isinstance(angle, int | float)]
        return (known[0], known[1]) if len(known) == 2 else None


def offset(source: RasterSource, lattice: Grid) -> tuple[int, int]:
    """Return the rows and columns to add to go from *lattice* to the source's own cells.

    Raises InvalidInput for a source without georeference, GridMismatch for one of other cells.
    """
    own = source.grid
    if own is None:
        raise InvalidInput("a raster without georeference cannot be combined with a map")
    row, col = (float(at) for at in own.rowcol(*lattice.xy(0, 0)))
    whole = abs(row - round(row)) < 0.01 and abs(col - round(col)) < 0.01
    if own.crs != lattice.crs or not np.isclose(own.cell_m, lattice.cell_m) or not whole:
        raise GridMismatch("rasters differ in CRS, cell size or origin: resample one to the other")
    return round(row), round(col)


def together(source: RasterSource, lattice: Grid) -> tuple[int, int]:
    """As `offset`, for rasters of one place. Raises GridMismatch where they share no ground too."""
    at = offset(source, lattice)
    assert source.grid is not None  # `offset` has refused it
    if not source.grid.meets(lattice.bounds):
        raise GridMismatch("rasters share no ground: give those of one place")
    return at
