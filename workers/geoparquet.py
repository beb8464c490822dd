"""GeoParquet as others wrote it: within bounds, and without what no reader could take.

A file of kilobytes may hold gigabytes (values that repeat are stored once), and a geometry that is
nested a million times ends the program that reads it. So a file is read in batches and counted
before anything is made of it; geometries that are damaged are absent, not the end of the others.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

MOST_FEATURES = 5_000_000
MOST_BYTES = 2 * 2**30
BATCH_ROWS = 256
SHALLOW_BYTES, DEEPEST = 9_000, 10
"""Less cannot be nested so deeply that reading it is a danger; more may be nested so often."""
PARTS = {4, 5, 6, 7}
"""Geometries of geometries: each begins with a byte order, a type and how many there are."""


class TooMuch(ValueError):
    """A file that holds more than can be kept in memory."""


def read_geoparquet(path: Path) -> geopandas.GeoDataFrame:
    """Return the file's features. Raises TooMuch, ValueError or pyarrow.ArrowException."""
    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows > MOST_FEATURES:
            raise TooMuch(f"{file.metadata.num_rows} features: {MOST_FEATURES} at most")
        table = _bounded(file)
    mended = _mended(table)
    if mended is table:
        return geopandas.read_parquet(path)
    sink = pa.BufferOutputStream()
    pq.write_table(mended, sink)
    return geopandas.read_parquet(io.BytesIO(sink.getvalue()))


def _bounded(file: pq.ParquetFile) -> pa.Table:
    """Return the table with all that repeats written out. Raises TooMuch."""
    held, parts = 0, []
    for batch in file.iter_batches(BATCH_ROWS):
        plain = pa.table(
            [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch],
            names=batch.schema.names,
        )
        held += plain.nbytes
        if held > MOST_BYTES:
            raise TooMuch(f"more than {MOST_BYTES >> 30} GiB")
        parts.append(plain)
    table = pa.concat_tables(parts) if parts else file.schema_arrow.empty_table()
    return table.replace_schema_metadata(file.schema_arrow.metadata)


def _mended(table: pa.Table) -> pa.Table:
    """Return the table without geometries that cannot be read; itself where there are none."""
    told = (table.schema.metadata or {}).get(b"geo")
    columns = json.loads(told).get("columns", {}) if told else {}
    for name, facts in columns.items():
        if name not in table.column_names or facts.get("encoding") != "WKB":
            continue
        stored = table[name].to_numpy()
        readable = _readable(stored)
        if not readable.all():
            kept = [value if good else None for value, good in zip(stored, readable, strict=True)]
            place = table.column_names.index(name)
            table = table.set_column(place, name, pa.array(kept, pa.large_binary()))
    return table


def _readable(stored: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Say which values are geometries, or absent."""
    absent = np.array([value is None for value in stored], bool)
    safe = np.array(
        [value if value is not None and is_shallow(value) else None for value in stored], object
    )
    return np.asarray(absent | ~shapely.is_missing(shapely.from_wkb(safe, on_invalid="ignore")))


def is_shallow(wkb: bytes) -> bool:
    """Say whether geometries are nested in a geometry no deeper than DEEPEST.

    What is malformed is shallow: whoever reads it will say so.
    """
    if len(wkb) <= SHALLOW_BYTES:
        return True
    at, left = 0, [1]
    try:
        while left:
            if left[-1] == 0:
                left.pop()
                continue
            left[-1] -= 1
            order = "<" if wkb[at] else ">"
            kind, count = struct.unpack_from(f"{order}II", wkb, at + 1)
            at += 9
            if kind & 0x20000000:  # PostGIS puts a reference system in between
                (count,) = struct.unpack_from(f"{order}I", wkb, at)
                at += 4
            if kind % 1000 in PARTS or kind & 0xFF in PARTS:
                left.append(count)
                if len(left) > DEEPEST:
                    return False
            else:
                at = _behind(wkb, at, kind, count, order)
    except (struct.error, IndexError):
        return True
    return True


def _behind(wkb: bytes, at: int, kind: int, count: int, order: str) -> int:
    """Return where a point, a line or a polygon ends; *count* is what followed its type."""
    flags, iso = (kind >> 30) & 3, kind % 10_000 // 1000
    size = 8 * (2 + (flags.bit_count() if flags else (0, 1, 1, 2)[iso & 3]))
    simple = kind & 0xFF if flags else kind % 1000
    if simple == 1:
        return at - 4 + size
    if simple == 2:
        return at + count * size
    for _ in range(count):
        (corners,) = struct.unpack_from(f"{order}I", wkb, at)
        at += 4 + corners * size
    return at
