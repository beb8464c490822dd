"""Vector files at the edge: what is read, and what hostile files may not do."""

import json
import sqlite3
import struct
from contextlib import closing

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from numpy.testing import assert_array_equal
from shapely.geometry import box

from processes.core.errors import AssetUnreadable
from workers import geoparquet, vectors
from workers.vectors import read_vector, write_geopackage, write_geoparquet

POINT = {"type": "Point", "coordinates": [2.0, 47.0]}
FEATURES = {
    "type": "FeatureCollection",
    "features": [{"type": "Feature", "properties": {"secret": 1}, "geometry": POINT}],
}


@pytest.fixture
def frame():
    return geopandas.GeoDataFrame({"height_m": [3.5]}, geometry=[box(0, 0, 9, 9)], crs=32631)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.geojson"
    path.write_text(json.dumps(FEATURES))
    return path


def test_every_form_is_known_by_its_content(tmp_path, frame):
    write_geoparquet(frame, tmp_path / "parquet")
    write_geopackage(frame, tmp_path / "package.gpkg", "buildings")
    frame.to_file(tmp_path / "shape.shp", driver="ESRI Shapefile")
    (tmp_path / "json").write_text("\ufeff\n " + frame.to_crs(4326).to_json())
    for name in ("parquet", "package.gpkg", "shape.shp", "json"):
        back = read_vector(tmp_path / name, name)
        assert_array_equal(back.height_m, [3.5])
        assert back.crs.to_epsg() == (4326 if name == "json" else 32631)


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.vrt"])
def test_a_vrt_cannot_point_elsewhere(tmp_path, secret, name):
    source = f"<SrcDataSource>{secret}</SrcDataSource><SrcLayer>secret</SrcLayer>"
    layer = f'<OGRVRTLayer name="x">{source}</OGRVRTLayer>'
    (tmp_path / name).write_text(f"<OGRVRTDataSource>{layer}</OGRVRTDataSource>")
    assert len(geopandas.read_file(tmp_path / name)) == 1, "GDAL itself follows it"
    with pytest.raises(AssetUnreadable):
        read_vector(tmp_path / name, name)


def test_a_pipeline_is_not_run(tmp_path, secret):
    path = tmp_path / "a.geojson"
    command = f"gdal vector pipeline ! read {secret}"
    path.write_text(json.dumps({"type": "gdal_streamed_alg", "command_line": command}))
    with pytest.raises(AssetUnreadable):
        read_vector(path, path.name)


@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1", b"{", b"SQLite format 3\0" + bytes(120), b"\x00\x00\x27\x0a" + bytes(200),
     b"id,geometry\n1,POINT (1 2)\n", b"PK\x03\x04" + bytes(100)],
)  # fmt: skip
def test_what_is_damaged_or_unknown_is_named(tmp_path, content):
    path = tmp_path / "a.gpkg"
    path.write_bytes(content)
    with pytest.raises(AssetUnreadable, match=r"a\.gpkg"):
        read_vector(path, path.name)


# -- files that are formed as they should be, and mean harm

SQUARE = box(0, 0, 9, 9).wkb
OPEN_RING = struct.pack("<BIII4d", 1, 3, 1, 2, 0, 0, 1, 1)


def nested(kind, depth):
    """Return a point in a geometry in a geometry …, the point's neighbours first."""
    point = struct.pack("<BI2d", 1, 1, 1.0, 2.0)
    return (struct.pack("<BII", 1, kind, 2) + point) * depth + point


def parquet(path, geometries):
    column = {"encoding": "WKB", "geometry_types": []}
    told = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    table = pa.table({"geometry": geometries})
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(told)}), path)
    return path


@pytest.mark.parametrize(
    "damaged",
    [OPEN_RING, b"junk", b"", struct.pack("<BII", 1, 3, 2**32 - 1), nested(7, 500_000),
     nested(6, 20_000), nested(1007, 20_000), nested(0x80000007, 20_000)],
    ids=["open", "junk", "empty", "endless", "nested", "multi", "iso", "ewkb"],
)  # fmt: skip
def test_a_damaged_geometry_is_absent_and_its_neighbours_are_read(tmp_path, damaged):
    path = parquet(tmp_path / "a.parquet", pa.array([SQUARE, damaged, None, SQUARE], pa.binary()))
    read = read_vector(path, path.name)
    assert read.geometry.isna().tolist() == [False, True, True, False]
    assert read.geometry.iloc[3].area == 81.0


def test_a_geometry_that_is_only_large_is_read(tmp_path):
    rings = [shapely.Point(20 * n, 0).buffer(5, 30).difference(shapely.Point(20 * n, 0).buffer(1))
             for n in range(20)]  # fmt: skip
    shapes = [shapely.MultiPolygon(rings), shapely.force_3d(shapely.MultiPolygon(rings), 7.0)]
    forms = [shapely.to_wkb(shape, flavor=flavor, byte_order=order,
                          include_srid=flavor == "extended")
             for shape in [shapely.set_srid(shape, 32631) for shape in shapes]
             for flavor in ("iso", "extended") for order in (0, 1)]  # fmt: skip
    assert min(map(len, forms)) > geoparquet.SHALLOW_BYTES
    deep = nested(7, 20_000)
    path = parquet(tmp_path / "a.parquet", pa.array([*forms, deep], pa.binary()))
    read = read_vector(path, path.name)
    assert read.geometry.isna().tolist() == [False] * 8 + [True]
    areas = shapely.area(read.geometry.to_numpy()[:8])
    assert_array_equal(areas.round(3), round(shapes[0].area, 3))


def test_a_damaged_ring_of_geojson_is_absent_too(tmp_path):
    square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    open_ring = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}
    features = [{"type": "Feature", "properties": {}, "geometry": g} for g in (open_ring, square)]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert read_vector(path, path.name).geometry.isna().tolist() == [True, False]


def test_an_outline_without_end_is_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "MOST_CORNERS", 100)
    shapes = [shapely.Point(0, 0).buffer(5, 30), box(0, 0, 9, 9)]
    path = parquet(tmp_path / "a.parquet", pa.array([s.wkb for s in shapes], pa.binary()))
    assert read_vector(path, path.name).geometry.isna().tolist() == [True, False]


@pytest.mark.parametrize("form", [pa.binary(), pa.dictionary(pa.int32(), pa.binary())])
def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path, monkeypatch, form):
    monkeypatch.setattr(geoparquet, "MOST_BYTES", 20_000_000)
    wide = shapely.Point(0, 0).buffer(5, 2000).wkb
    repeated = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(1000, np.int32)), pa.array([wide], pa.binary())
    )
    path = parquet(tmp_path / "a.parquet", repeated.cast(form))
    assert path.stat().st_size < 500_000
    with pytest.raises(AssetUnreadable, match="too large"):
        read_vector(path, path.name)
    monkeypatch.setattr(geoparquet, "MOST_FEATURES", 999)
    with pytest.raises(AssetUnreadable, match="999 at most"):
        read_vector(path, path.name)


def package(path, frame, *commands):
    frame.to_file(path, driver="GPKG", layer="houses")
    with closing(sqlite3.connect(path)) as db:
        for command in commands:
            db.execute(command)
        db.commit()
    return path


ENDLESS = "WITH RECURSIVE n(fid) AS (SELECT 1 UNION ALL SELECT fid + 1 FROM n) SELECT n.fid"


@pytest.mark.parametrize(
    "commands",
    [
        [f"CREATE VIEW v AS {ENDLESS}, houses.geom FROM n, houses",
         "UPDATE gpkg_contents SET table_name = 'v', identifier = 'v'",
         "UPDATE gpkg_geometry_columns SET table_name = 'v'"],
        ["ALTER TABLE houses ADD COLUMN z BLOB GENERATED ALWAYS AS (zeroblob(900000000)) VIRTUAL"],
        ["ALTER TABLE gpkg_contents RENAME TO kept",
         f"CREATE VIEW gpkg_contents AS {ENDLESS}, kept.* FROM n, kept"],
        ["DELETE FROM gpkg_contents"],
    ],
    ids=["view", "computed", "contents", "none"],
)  # fmt: skip
def test_a_geopackage_runs_no_program(tmp_path, frame, commands):
    path = package(tmp_path / "a.gpkg", frame, "PRAGMA foreign_keys=OFF", *commands)
    with pytest.raises(AssetUnreadable):
        read_vector(path, path.name)


def test_a_geopackage_with_a_view_beside_its_layer_is_read(tmp_path, frame):
    path = package(tmp_path / "a.gpkg", frame, f"CREATE VIEW v AS {ENDLESS} FROM n")
    assert_array_equal(read_vector(path, path.name).height_m, [3.5])


def test_a_table_without_geometries_is_named(tmp_path, frame):
    path = package(tmp_path / "a.gpkg", frame, "DELETE FROM gpkg_geometry_columns")
    with pytest.raises(AssetUnreadable, match="not a readable"):
        read_vector(path, path.name)
