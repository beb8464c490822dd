"""Points as COPC: a LAZ file whose chunks are the cells of an octree, read piece by piece.

LAS 1.4, point format 7, or 8 where there is near infrared. What is known of a point beside its
place and colour are extra bytes. Any reader of LAZ reads it; one that knows COPC (PDAL, QGIS,
Potree, laspy) fetches just the cells it draws. No package writes COPC under a free licence that is
kept up with Python, and it is little on top of LAZ: https://copc.io/copc-specification-1.0.pdf.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import laspy
import lazrs
import numpy as np
from laspy.vlrs.known import LasZipVlr, WktCoordinateSystemVlr
from laspy.vlrs.vlr import VLR
from laspy.vlrs.vlrlist import VLRList
from numpy.typing import NDArray

from tiles.octree import Key, parent

INFO_BYTES, ENTRY = 160, struct.Struct("<4iQ2i")


@dataclass(frozen=True)
class Extra:
    """A further number of each point; LAS has room for 32 bytes of description."""

    name: str
    description: str
    type: str = "uint8"


def point_format(extras: Sequence[Extra], *, infrared: bool) -> laspy.PointFormat:
    """Return the point format with near infrared or without; `dtype()` is that of its records."""
    form = laspy.PointFormat(8 if infrared else 7)
    for extra in extras:
        form.add_extra_dimension(
            laspy.ExtraBytesParams(extra.name, extra.type, description=extra.description)
        )
    return form


@dataclass(eq=False)
class CopcFile:
    """A COPC file that is being written, cell by cell."""

    path: Path
    form: laspy.PointFormat
    crs_wkt: str
    step_m: float
    origin: tuple[float, float, float]
    """The corner of the root cube, which the whole numbers of places count from."""
    side_m: float
    spacing_m: float
    """Between the points of the root."""
    _file: BinaryIO = field(init=False)
    _header: laspy.LasHeader = field(init=False)
    _laz: Any = field(init=False)
    _entries: dict[Key, tuple[int, int, int]] = field(init=False, default_factory=dict)
    _count: int = field(init=False, default=0)
    _low: NDArray[np.int64] = field(init=False)
    _high: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._low = np.full(3, np.iinfo(np.int32).max, np.int64)
        self._high = np.full(3, np.iinfo(np.int32).min, np.int64)
        form = self.form
        laz = lazrs.LazVlr.new_for_compression(form.id, form.num_extra_bytes, True)
        header = laspy.LasHeader(version="1.4", point_format=form)
        header.generating_software = header.system_identifier = "Orograph"
        header.scales, header.offsets = np.full(3, self.step_m), np.array(self.origin)
        header.global_encoding.wkt = True
        header.are_points_compressed = True
        extra_bytes = header.vlrs.extract("ExtraBytesVlr")
        header.vlrs = VLRList(
            [
                VLR("copc", 1, "COPC info VLR", bytes(INFO_BYTES)),
                LasZipVlr(laz.record_data()),
                WktCoordinateSystemVlr(self.crs_wkt),
                *extra_bytes,
            ]
        )
        self._header = header
        self._file = self.path.open("wb+")
        header.write_to(self._file)
        self._laz = lazrs.LasZipCompressor(self._file, laz)
        self._laz.reserve_offset_to_chunk_table()
        self._file.seek(0, 2)

    def write(self, key: Key, records: NDArray[Any]) -> None:
        """Write the points of one cell, records of the point format. Each cell comes once."""
        begin = self._file.tell()
        self._laz.compress_many(np.frombuffer(records.tobytes(), np.uint8))
        self._laz.finish_current_chunk()
        self._entries[key] = (begin, self._file.tell() - begin, len(records))
        self._count += len(records)
        places = np.stack([records[axis] for axis in "XYZ"]).astype(np.int64)
        self._low = np.minimum(self._low, places.min(axis=1))
        self._high = np.maximum(self._high, places.max(axis=1))

    def finish(self) -> None:
        """Write what is known at the end only: where all cells are, counts and bounds."""
        self._laz.done()
        file, header = self._file, self._header
        file.seek(0, 2)
        table = b"".join(
            ENTRY.pack(*key, *entry) for key, entry in sorted(_with_parents(self._entries).items())
        )
        header.start_of_first_evlr, header.number_of_evlrs = file.tell(), 1
        file.write(struct.pack("<H16sHQ32s", 0, b"copc", 1000, len(table), b"COPC hierarchy"))
        info = self._info(file.tell(), len(table))
        file.write(table)
        header.point_count = self._count
        header.number_of_points_by_return[0] = self._count
        if self._count:
            header.mins = self._low * self.step_m + header.offsets
            header.maxs = self._high * self.step_m + header.offsets
        header.vlrs[0].record_data = info
        file.seek(0)
        header.write_to(file, ensure_same_size=True)
        file.close()

    def abandon(self) -> None:
        """Remove what was written."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _info(self, table_at: int, table_bytes: int) -> bytes:
        half = self.side_m / 2
        centre = [corner + half for corner in self.origin]
        said = struct.pack(
            "<5d2Q2d", *centre, half, self.spacing_m, table_at, table_bytes, 0.0, 0.0
        )
        return said.ljust(INFO_BYTES, b"\0")


def _with_parents(entries: dict[Key, tuple[int, int, int]]) -> dict[Key, tuple[int, int, int]]:
    """Return the cells and all above them: readers come from the root."""
    found = dict(entries)
    for key in entries:
        while key[0] > 0:
            key = parent(key)
            if key in found:
                break
            found[key] = (0, 0, 0)
    return found or {(0, 0, 0, 0): (0, 0, 0)}
