"""Points on disk: as they come, block by block, and then as COPC and 3D Tiles.

Neither needs more memory for a larger area. Blocks are written down as they come, cut into squares
of SQUARE_CELLS; then one square after another, whole by then, gets its colours and its place in
the octree. Cells of it that are larger than a square are put aside until all squares are done.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from processes.core.errors import InvalidInput
from processes.core.raster import POINT, Grid, RasterSource
from tiles.copc import CopcFile, Extra, point_format
from tiles.octree import DEEPEST, SAMPLES, Key, nodes
from tiles.picture import MapPicture, infrared, map_picture
from tiles.pointcloud import PointTiles

SQUARE_CELLS = 512
BELOW = 2
"""Levels of the octree within a square: the samples of the last are the cells of the map."""
STEP_M = 0.01
RECORD = np.dtype(
    [
        ("x", "<i4"),
        ("y", "<i4"),
        ("z", "<i4"),
        ("likelihood", "u1"),
        ("error_cm", "<u2"),
        ("images", "u1"),
    ]
)
"""Steps from the south-west corner of the map and from zero height; likelihood in per cent."""
EXTRAS = (
    Extra("likelihood", "that it is right, per cent"),
    Extra("error_cm", "that nine in ten stay below", "uint16"),
    Extra("images", "in which it was measured"),
)
UNKNOWN_CM = 65535
ONLY_RETURN = 0x11
"""Number one, of one."""
ELLIPSOID = 'VERT_CS["Ellipsoid",VERT_DATUM["Ellipsoid",2002],UNIT["metre",1],AXIS["Up",UP]]'
TO_16_BITS = 257

Group = tuple[int, ...]


class Heap:
    """Records of one kind, put down group by group in one file and got back whole groups."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.path, self._dtype = path, dtype
        self._file = path.open("wb+")
        self._runs: dict[Group, list[tuple[int, int]]] = {}
        self._end = 0

    @classmethod
    def opened(cls, path: Path, dtype: np.dtype[Any]) -> tuple[Heap, dict[str, Any]]:
        """Return a heap that was closed, and what was said of it."""
        heap = cls.__new__(cls)
        heap.path, heap._dtype, heap._file = path, dtype, path.open("rb+")
        heap._file.seek(-8, 2)
        (length,) = struct.unpack("<Q", heap._file.read(8))
        heap._end = heap._file.seek(-8 - length, 2)
        said = json.loads(heap._file.read(length))
        heap._runs = {tuple(group): [(at, n) for at, n in runs] for group, runs in said["runs"]}
        return heap, said["facts"]

    @property
    def groups(self) -> list[Group]:
        return sorted(self._runs)

    def put(self, group: Group, records: NDArray[Any]) -> None:
        self._file.seek(self._end)
        self._file.write(records.tobytes())
        self._runs.setdefault(group, []).append((self._end, len(records)))
        self._end += records.nbytes

    def get(self, group: Group) -> NDArray[Any]:
        """Return the records of one group, in the order in which they came."""
        found = []
        for at, count in self._runs[group]:
            self._file.seek(at)
            found.append(self._file.read(count * self._dtype.itemsize))
        return np.frombuffer(b"".join(found), self._dtype)

    def close(self, facts: Mapping[str, Any]) -> None:
        """Close the file for good, with something to say of it."""
        said = json.dumps({"runs": list(self._runs.items()), "facts": facts}).encode()
        self._file.seek(self._end)
        self._file.write(said + struct.pack("<Q", len(said)))
        self._file.close()

    def remove(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class PointFile:
    """Points as they come: `write` takes blocks as a raster does, `finish` keeps them."""

    def __init__(self, path: Path, grid: Grid) -> None:
        self._grid = grid
        self._heap = Heap(path, RECORD)
        self._low = self._high = 0
        self._empty = True

    def write(self, points: NDArray[Any], row0: int, col0: int) -> None:
        """Put down the points of a block, an array of POINT."""
        if points.dtype != POINT:
            raise TypeError(f"points are records of {POINT}, not of {points.dtype}")
        if not len(points):
            return
        grid = self._grid
        west, south, _, _ = grid.bounds
        found = np.empty(len(points), RECORD)
        # of a point on the outer edge, half a step less
        found["x"] = np.clip(_steps(points["x"] - west), 0, _steps(grid.width * grid.cell_m) - 1)
        found["y"] = np.clip(_steps(points["y"] - south), 0, _steps(grid.height * grid.cell_m) - 1)
        found["z"] = _steps(points["z"])
        found["likelihood"] = np.rint(100 * points["likelihood"])
        error_cm = np.nan_to_num(np.rint(100 * points["error_m"]), nan=UNKNOWN_CM)
        found["error_cm"] = np.clip(error_cm, 0, UNKNOWN_CM)
        found["images"] = points["images"]
        low, high = int(found["z"].min()), int(found["z"].max())
        self._low = low if self._empty else min(self._low, low)
        self._high = high if self._empty else max(self._high, high)
        self._empty = False
        side = _square_steps(grid)
        across = grid.width // SQUARE_CELLS + 1
        number = (found["y"] // side) * across + found["x"] // side
        for square in np.unique(number).tolist():
            north, east = divmod(square, across)
            self._heap.put((east, north), found[number == square])

    def finish(self) -> None:
        grid = self._grid
        self._heap.close(
            {
                "crs": grid.crs,
                "transform": list(grid.transform)[:6],
                "shape": list(grid.shape),
                "heights": [self._low, self._high],
            }
        )

    def abandon(self) -> None:
        self._heap.remove()


def write_points(
    raw: Path,
    copc: Path,
    folder: Path,
    ortho: RasterSource,
    *,
    progress: Callable[[float], None] = lambda share: None,
) -> Path:
    """Write the points of a `PointFile` as COPC and as a tileset in *folder*; return the latter.

    Colours are those of the ortho's cell that a point lies in. Raises AssetUnreadable, UnknownCrs.
    """
    with ExitStack() as stack:
        heap, facts = Heap.opened(raw, RECORD)
        stack.callback(heap.remove)
        picture, warm = map_picture(ortho), infrared(ortho)
        form, cube = point_format(EXTRAS, infrared=warm is not None), _Cube.of(facts)
        within = cube.depth - BELOW  # the level whose cells are squares
        tiles = PointTiles(folder, cube.crs, cube.middle, cube.spacing_m, cut=within)
        aside = Heap(copc.with_suffix(".part"), form.dtype())
        stack.callback(aside.remove)
        file = CopcFile(
            copc, form, wkt(cube.crs), STEP_M, cube.corner, cube.side * STEP_M, cube.spacing_m
        )
        stack.push(lambda fault, *_: file.abandon() if fault else None)

        def written(key: Key, records: NDArray[Any]) -> None:
            colours = np.stack([records[name] for name in ("red", "green", "blue")], axis=1)
            known = {extra.name: records[extra.name] for extra in EXTRAS}
            file.write(key, records)
            tiles.write(key, cube.places(records), (colours // TO_16_BITS).astype(np.uint8), known)

        for done, group in enumerate(heap.groups, start=1):
            records = _coloured(heap.get(group), cube, form.dtype(), picture, warm)
            for key, part in _cells(records, cube):
                if key[0] < within:
                    aside.put(key, part)
                else:
                    written(key, part)
            progress(done / len(heap.groups))
        for group in aside.groups:
            level, x, y, z = group
            written((level, x, y, z), aside.get(group))
        file.finish()
        return tiles.finish()


def wkt(crs: str) -> str:
    """Return a projection with heights above its ellipsoid, as LAS 1.4 wants it: WKT 1."""
    from pyproj import CRS

    plane = CRS.from_user_input(crs).to_2d()
    return f'COMPD_CS["{plane.name} + ellipsoid",{plane.to_wkt("WKT1_GDAL")},{ELLIPSOID}]'


@dataclass(frozen=True)
class _Cube:
    """The root of the octree."""

    crs: str
    corner: tuple[float, float, float]
    """South, west and below of everything, in *crs*."""
    low: int
    """Height of the corner, in steps."""
    side: int
    """In steps."""
    depth: int
    middle: tuple[float, float, float]
    """Of all points."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> _Cube:
        grid = Grid(facts["crs"], Affine(*facts["transform"]), *facts["shape"])
        low, high = facts["heights"]
        west, south, east, north = grid.bounds
        square = _square_steps(grid)
        widest = max(_steps(east - west), _steps(north - south), high - low + 1)
        above = ceil(log2(max(widest / square, 1.0)))
        if above + BELOW > DEEPEST:
            raise InvalidInput(f"{widest * STEP_M / 1000:.0f} km of points are too wide for COPC")
        return cls(
            grid.crs,
            (west, south, low * STEP_M),
            low,
            square << above,
            above + BELOW,
            ((west + east) / 2, (south + north) / 2, (low + high) / 2 * STEP_M),
        )

    @property
    def spacing_m(self) -> float:
        """Between the samples of the root."""
        return self.side * STEP_M / SAMPLES

    def places(self, records: NDArray[Any]) -> NDArray[np.float64]:
        """Return the places of LAS records in *crs*."""
        steps = np.stack([records[axis] for axis in "XYZ"], axis=1)
        return np.asarray(steps * STEP_M + self.corner)


def _coloured(
    found: NDArray[Any],
    cube: _Cube,
    dtype: np.dtype[Any],
    picture: MapPicture,
    warm: MapPicture | None,
) -> NDArray[Any]:
    """Return points as LAS records."""
    records = np.zeros(len(found), dtype)
    records["X"], records["Y"], records["Z"] = found["x"], found["y"], found["z"] - cube.low
    for extra in EXTRAS:
        records[extra.name] = found[extra.name]
    records["bit_fields"] = ONLY_RETURN
    x, y, _ = cube.places(records).T
    colours, _ = picture.at(x, y)
    for name, values in zip(("red", "green", "blue"), colours.T, strict=True):
        records[name] = TO_16_BITS * values.astype(np.uint16)
    if warm is not None:
        records["nir"] = TO_16_BITS * warm.at(x, y)[0][:, 0].astype(np.uint16)
    return records


def _cells(records: NDArray[Any], cube: _Cube) -> Iterator[tuple[Key, NDArray[Any]]]:
    """Yield the points of a square, cell by cell of the octree."""
    place = np.stack([records[axis] for axis in "XYZ"], axis=1).astype(np.int64)
    cells = nodes(place, cube.side, cube.depth)
    for key, begin, end in zip(cells.keys, cells.begin, cells.begin[1:], strict=False):
        yield key, records[cells.order[begin:end]]


def _square_steps(grid: Grid) -> int:
    return int(_steps(SQUARE_CELLS * grid.cell_m))


def _steps(metres: Any) -> Any:
    return np.rint(np.asarray(metres) / STEP_M).astype(np.int64)
