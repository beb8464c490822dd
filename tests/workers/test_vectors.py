"""Vector files at the edge: what is read, and what hostile files may not do."""

import json

import geopandas
import pytest
from numpy.testing import assert_array_equal
from shapely.geometry import box

from processes.core.errors import AssetUnreadable
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
