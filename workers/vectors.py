"""Vector files at the edge: GeoParquet out; GeoParquet, GeoPackage, GeoJSON and Shapefile in."""

from __future__ import annotations

from pathlib import Path

import geopandas
import pyarrow
from pyogrio.errors import DataLayerError, DataSourceError

from processes.core.errors import AssetUnreadable


def read_vector(path: Path, shown: str) -> geopandas.GeoDataFrame:
    """Return the file's features. Raises AssetUnreadable; *shown* is its name in messages."""
    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    try:
        return geopandas.read_parquet(path) if parquet else geopandas.read_file(path)
    except (DataSourceError, DataLayerError, pyarrow.ArrowException, ValueError):
        raise AssetUnreadable(
            f"{shown} is not a readable vector file: GeoParquet, GeoPackage or GeoJSON is expected"
        ) from None


def write_geoparquet(frame: geopandas.GeoDataFrame, path: Path) -> None:
    """Write GeoParquet 1.1 with a bounding box column, so that readers can skip row groups."""
    part = path.with_name(path.name + ".part")
    frame.to_parquet(
        part, index=False, compression="zstd", write_covering_bbox=True, schema_version="1.1.0"
    )
    part.rename(path)
