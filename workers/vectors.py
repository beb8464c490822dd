"""Vector files at the edge: GeoParquet and GeoPackage out, those, GeoJSON and Shapefile in.

A geometry that is damaged, or has more corners than anything drawn, is absent; the others are read.
"""

from __future__ import annotations

import sqlite3
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import geopandas
import numpy as np
import pyarrow
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from processes.core.errors import AssetUnreadable
from workers.geoparquet import MOST_FEATURES, TooMuch, read_geoparquet

GEOPACKAGES = (b"GPKG", b"GP10", b"GP11")
"""Application ids of version 1.2 and above, 1.0 and 1.1."""
SHAPEFILE = b"\x00\x00\x27\x0a"
MOST_CORNERS = 100_000
"""Of one geometry: no building, no parcel has so many."""
MOST_STEPS = 50_000_000
"""Of SQLite, to find out what is in a GeoPackage."""
UNDATED = "1970-01-01T00:00:00.000Z"


def read_vector(path: Path, shown: str) -> geopandas.GeoDataFrame:
    """Return the file's features. Raises AssetUnreadable; *shown* is its name in messages."""
    try:
        found = _address(path)
        with np.errstate(invalid="ignore"):  # of corners that lie nowhere: others say so
            frame = read_geoparquet(path) if found is None else _read(*found)
    except TooMuch as fault:
        raise AssetUnreadable(f"{shown} is too large: {fault}") from None
    except (
        DataSourceError, DataLayerError, FeatureError, sqlite3.Error, pyarrow.ArrowException,
        ValueError,
    ):  # fmt: skip
        raise AssetUnreadable(
            f"{shown} is not a readable vector file: GeoParquet, GeoPackage or GeoJSON is expected"
        ) from None
    endless = shapely.get_num_coordinates(frame.geometry.to_numpy()) > MOST_CORNERS
    if endless.any():
        frame.loc[endless, frame.geometry.name] = None
    return frame


def _read(address: str, layer: str | None) -> geopandas.GeoDataFrame:
    """Return what GDAL reads, at most MOST_FEATURES. Raises TooMuch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of what is absent then
        frame = geopandas.read_file(
            address, layer=layer, rows=MOST_FEATURES + 1, on_invalid="ignore", engine="pyogrio"
        )
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise ValueError("a table without geometries")
    if len(frame) > MOST_FEATURES:
        raise TooMuch(f"more than {MOST_FEATURES} features")
    return frame


def _address(path: Path) -> tuple[str, str | None] | None:
    """Return what GDAL shall open and which layer, None for GeoParquet.

    GDAL goes by content: a VRT, a GDALG pipeline and others, whatever they are called, may name
    any file or address. So only formats that hold their own features get to it. Raises ValueError
    for what else there is.
    """
    with path.open("rb") as file:
        start = file.read(128)
    if start.startswith(b"PAR1"):
        return None
    if start.startswith(b"SQLite format 3\0") and start[68:72] in GEOPACKAGES:
        return str(path), _layer(path)
    if start.startswith(SHAPEFILE):
        return str(path), None
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return f"GeoJSON:{path}", None
    raise ValueError


def _layer(path: Path) -> str:
    """Return the first layer of a GeoPackage that is a table. Raises ValueError, sqlite3.Error.

    A view, a virtual table or a column that is computed is a program: it may never end, or fill
    the memory.
    """
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as db:
        db.set_progress_handler(lambda: 1, MOST_STEPS)
        kinds = {
            str(name).lower(): "table" if kind == "table" and not virtual else "program"
            for name, kind, virtual in db.execute(
                "SELECT name, type, sql LIKE 'CREATE VIRTUAL%' FROM sqlite_master"
                " WHERE type IN ('table', 'view')"
            )
        }
        if any(kind == "program" and name.startswith("gpkg_") for name, kind in kinds.items()):
            raise ValueError
        named = db.execute("SELECT table_name FROM gpkg_contents WHERE data_type = 'features'")
        for (name,) in named.fetchall():
            columns = db.execute("SELECT hidden FROM pragma_table_xinfo(?)", [name]).fetchall()
            if kinds.get(str(name).lower()) == "table" and not any(hidden for (hidden,) in columns):
                return str(name)
    raise ValueError


def write_geoparquet(frame: geopandas.GeoDataFrame, path: Path) -> None:
    """Write GeoParquet 1.1 with a bounding box column, so that readers can skip row groups."""
    part = path.with_name(path.name + ".part")
    frame.to_parquet(
        part, index=False, compression="zstd", write_covering_bbox=True, schema_version="1.1.0"
    )
    part.rename(path)


def write_geopackage(frame: geopandas.GeoDataFrame, path: Path, layer: str) -> None:
    """Write a GeoPackage of one layer, with a spatial index; equal tables give equal bytes."""
    part = path.with_name(path.stem + ".part.gpkg")
    part.unlink(missing_ok=True)
    kinds = set(frame.geom_type.dropna())
    if kinds <= {"Polygon", "MultiPolygon"}:
        kind = "Polygon" if kinds <= {"Polygon"} else "MultiPolygon"
    else:
        kind = "Unknown"
    # GDAL writes the time of writing into the file, unless it is told another one
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": UNDATED})
    try:
        pyogrio.write_dataframe(
            _storable(frame), part, layer=layer, driver="GPKG", geometry_type=kind,
            promote_to_multi=kind == "MultiPolygon", dataset_options={"VERSION": "1.3"},
        )  # fmt: skip
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
    part.rename(path)


def _storable(frame: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Return the table as SQLite can hold it.

    Names differ by more than case, and cells that are no plain value are text.
    """
    from collections import Counter

    names: list[str] = []
    used: Counter[str] = Counter({"fid": 1, "geom": 1})
    shape = frame.geometry.name
    for name in map(str, frame.columns):
        plain = name.lower()
        used[plain] += name != shape
        names.append(name if used[plain] <= 1 or name == shape else f"{name}_{used[plain]}")
    table = frame.set_axis(names, axis=1).set_geometry(shape)
    for name in table.columns:
        if name != shape and table[name].dtype == object:
            table[name] = table[name].map(_text).astype("string")
    return table


def _text(value: Any) -> str | None:
    import pandas as pd

    return None if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)
