"""Vector files at the edge: GeoParquet and GeoPackage out, those, GeoJSON and Shapefile in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import pyarrow
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from processes.core.errors import AssetUnreadable

GEOPACKAGES = (b"GPKG", b"GP10", b"GP11")
"""Application ids of version 1.2 and above, 1.0 and 1.1."""
SHAPEFILE = b"\x00\x00\x27\x0a"
UNDATED = "1970-01-01T00:00:00.000Z"


def read_vector(path: Path, shown: str) -> geopandas.GeoDataFrame:
    """Return the file's features. Raises AssetUnreadable; *shown* is its name in messages."""
    try:
        address = _address(path)
        return geopandas.read_file(address) if address else geopandas.read_parquet(path)
    except (DataSourceError, DataLayerError, pyarrow.ArrowException, ValueError):
        raise AssetUnreadable(
            f"{shown} is not a readable vector file: GeoParquet, GeoPackage or GeoJSON is expected"
        ) from None


def _address(path: Path) -> str | None:
    """Return what GDAL shall open, None for GeoParquet. Raises ValueError for what else there is.

    GDAL goes by content: a VRT, a GDALG pipeline and others, whatever they are called, may name
    any file or address. So only formats that hold their own features get to it.
    """
    with path.open("rb") as file:
        start = file.read(128)
    if start.startswith(b"PAR1"):
        return None
    if start.startswith(b"SQLite format 3\0") and start[68:72] in GEOPACKAGES:
        return str(path)
    if start.startswith(SHAPEFILE):
        return str(path)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return f"GeoJSON:{path}"
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
