"""Items, collections and bare GeoTIFFs all lead to images with their sensor models."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from geopandas import GeoDataFrame
from shapely.geometry import box

from processes.buildings import BUILDINGS
from processes.core.errors import AssetMissing, AssetUnreadable, EmptyItem
from processes.core.process import Asset, StacObject
from workers.acquisitions import MOST_IMAGES, MOST_MASKS, acquisitions, is_stac
from workers.rasters import RasterFile
from workers.reader import Reader
from workers.workspace import LocalWorkspace


@pytest.fixture
def reader(tmp_path):
    return Reader(cache=tmp_path / "cache", files=True)


def tiff(path, bands=1, **profile):
    values = np.arange(bands * 64, dtype=np.uint16).reshape(bands, 8, 8)
    profile = {"crs": "EPSG:32631", "transform": Affine(1, 0, 9, 0, -1, 9)} | profile
    with rasterio.open(
        path, "w", driver="GTiff", height=8, width=8, count=bands, dtype="uint16", **profile
    ) as file:
        file.write(values)
    return path


def item(**assets):
    return {"type": "Feature", "id": "left", "properties": {"gsd": 0.5}, "assets": assets}


def test_an_item_collection_gives_one_acquisition_an_item(village, reader):
    found = acquisitions(Asset(href=str(village / "stereo.json")), reader, None)
    assert [a.image.name for a in found] == ["left.tif", "right.tif"]
    image = found[0].opened()
    assert image.raster.band_names == ("red", "green", "blue", "nir")
    assert image.rpc_documents[0][0] == "left_RPC.TXT"
    assert image.properties["gsd"] == 0.5


def test_a_bare_geotiff_brings_the_model_beside_it(village, reader):
    (found,) = acquisitions(Asset(href=str(village / "left.tif")), reader, None)
    assert [path.name for path in found.rpc_files] == ["left_RPC.TXT"]


def test_the_panchromatic_asset_comes_first(tmp_path, reader):
    tiff(tmp_path / "ms.tif", 4)
    tiff(tmp_path / "pan.tif")
    stac = item(
        ms={"href": "ms.tif", "roles": ["data"], "bands": [{"name": n} for n in "rgbn"]},
        pan={"href": "pan.tif", "roles": ["data"], "bands": [{"eo:common_name": "pan"}]},
    )
    (tmp_path / "item.json").write_text(json.dumps(stac))
    (found,) = acquisitions(Asset(href=str(tmp_path / "item.json")), reader, None)
    assert found.image.name == "pan.tif"


def test_an_item_without_image_is_named(reader):
    with pytest.raises(EmptyItem, match="left"):
        acquisitions(StacObject.model_validate(item()), reader, None)


@pytest.mark.parametrize("assets", [5, [1], {"a": 5}, {"a": {"href": "a.tif", "roles": 5}}])
def test_an_item_may_hold_anything(reader, assets):
    stac = {"type": "Feature", "assets": assets}
    with pytest.raises(EmptyItem):
        acquisitions(StacObject.model_validate(stac), reader, None)


def test_bands_and_roles_may_be_anything(tmp_path, reader):
    tiff(tmp_path / "a.tif")
    image = {"href": "a.tif", "roles": ["data", {"a": 1}], "bands": 5, "eo:bands": "many"}
    stac = StacObject.model_validate(item(image=image, other={"href": "b.xml", "roles": "data"}))
    (found,) = acquisitions(stac, reader, str(tmp_path / "request.json"))
    assert found.image == tmp_path / "a.tif"
    features = StacObject.model_validate({"type": "FeatureCollection", "features": 5})
    assert acquisitions(features, reader, None) == []


def test_footprints_in_geojson_are_no_images(village, tmp_path, reader):
    outlines = GeoDataFrame({"id": ["a"]}, geometry=[box(2, 47, 2.1, 47.1)], crs=4326)
    path = tmp_path / "footprints.geojson"
    path.write_text(outlines.to_json())
    assert not is_stac(path)
    assert is_stac(village / "stereo.json")
    rasters = {name: {"href": str(tiff(tmp_path / f"{name}.tif"))} for name in ("dsm", "dtm")}
    inputs = BUILDINGS.parse(rasters | {"footprints": {"href": str(path)}})
    first = LocalWorkspace(tmp_path / "job", reader).key(BUILDINGS, inputs)
    path.write_text(outlines.translate(1).to_json())
    assert LocalWorkspace(tmp_path / "job", reader).key(BUILDINGS, inputs) != first


def test_an_item_whose_image_is_gone_is_named(tmp_path, reader):
    stac = item(image={"href": "gone.tif", "roles": ["data"]})
    (tmp_path / "item.json").write_text(json.dumps(stac))
    with pytest.raises(AssetMissing, match=r"gone\.tif"):
        acquisitions(Asset(href="item.json"), reader, str(tmp_path / "request.json"))


@pytest.mark.parametrize("text", ["{", '{"type": "Catalog"}', "{" * 100_000])
def test_a_document_that_is_no_item_is_refused(tmp_path, reader, text):
    (tmp_path / "item.json").write_text(text)
    with pytest.raises(AssetUnreadable):
        acquisitions(Asset(href=str(tmp_path / "item.json")), reader, None)


@pytest.mark.parametrize("name", ["a\\u0000b", "a\\ud800b"])
def test_text_that_no_database_keeps_is_refused(tmp_path, reader, name):
    (tmp_path / "item.json").write_text(f'{{"type": "Feature", "id": "{name}"}}')
    with pytest.raises(AssetUnreadable, match=r"zero byte|not valid"):
        acquisitions(Asset(href=str(tmp_path / "item.json")), reader, None)


def test_numbers_beyond_every_range_are_not_known(tmp_path, reader):
    tiff(tmp_path / "a.tif")
    stac = item(image={"href": "a.tif", "roles": ["data"], "nodata": 10**400})
    stac["properties"] = {
        "gsd": float("nan"),
        "view:off_nadir": float("inf"),
        "cloud": 0.5,
        "rows": 10**30,
    }
    text = json.dumps(stac).replace('"cloud"', '"beyond": 1e999, "cloud"')
    (tmp_path / "item.json").write_text(text)
    (found,) = acquisitions(Asset(href=str(tmp_path / "item.json")), reader, None)
    assert found.nodata is None
    assert found.properties == {
        "gsd": None, "view:off_nadir": None, "beyond": None, "cloud": 0.5, "rows": None
    }  # fmt: skip


def test_a_collection_of_more_images_than_can_be_open_is_refused(tmp_path, reader):
    tiff(tmp_path / "a.tif")
    one = item(image={"href": str(tmp_path / "a.tif"), "roles": ["data"]})
    many = {"type": "FeatureCollection", "features": [one] * (MOST_IMAGES + 1)}
    with pytest.raises(AssetUnreadable, match=f"{MOST_IMAGES} at most"):
        acquisitions(StacObject.model_validate(many), reader, None)
    each = [StacObject.model_validate(one)] * (MOST_IMAGES + 1)
    with pytest.raises(AssetUnreadable, match=f"{MOST_IMAGES} at most"):
        LocalWorkspace(tmp_path / "job", reader).images(each)
    mask = {"href": str(tmp_path / "a.tif"), "roles": ["cloud"]}
    masked = one["assets"] | {f"mask{n}": mask for n in range(MOST_MASKS + 1)}
    with pytest.raises(AssetUnreadable, match=f"{MOST_MASKS} at most"):
        acquisitions(StacObject.model_validate(one | {"assets": masked}), reader, None)


def test_nodata_of_the_item_counts_where_the_file_is_silent(tmp_path, reader):
    tiff(tmp_path / "a.tif")
    stac = item(image={"href": "a.tif", "roles": ["data"], "bands": [{"name": "b", "nodata": 0}]})
    (tmp_path / "item.json").write_text(json.dumps(stac))
    (found,) = acquisitions(Asset(href=str(tmp_path / "item.json")), reader, None)
    values = found.opened().raster.read()
    assert np.isnan(values[0, 0, 0])
    assert values[0, 0, 1] == 1


def test_a_window_may_stick_out(tmp_path):
    source = RasterFile(tiff(tmp_path / "a.tif"), "a.tif")
    window = source.read(-2, 6, 4, 4)
    assert window.shape == (1, 4, 4)
    assert np.isnan(window[0, :2]).all()
    np.testing.assert_array_equal(window[0, 2, :2], [6, 7])
    assert np.isnan(window[0, 2, 2:]).all()


def test_a_truncated_image_is_named(tmp_path):
    path = tiff(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[:-80])
    with pytest.raises(AssetUnreadable, match=r"a\.tif"):
        RasterFile(path, "a.tif").read()


def test_an_enormous_header_is_refused_before_a_pixel_is_read(tmp_path):
    path = tmp_path / "huge.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=900_000, width=900_000, count=1, dtype="uint8",
        crs="EPSG:32631", transform=Affine(1, 0, 9, 0, -1, 9), sparse_ok=True, bigtiff="yes",
        tiled=True, blockxsize=32768, blockysize=32768,
    ):  # fmt: skip
        pass
    with pytest.raises(AssetUnreadable, match="900000"):
        RasterFile(path, "huge.tif")


def test_text_that_calls_itself_tiff_is_refused(tmp_path):
    (tmp_path / "a.tif").write_text("not a tiff")
    with pytest.raises(AssetUnreadable):
        RasterFile(tmp_path / "a.tif", "a.tif")


def test_a_vrt_cannot_point_elsewhere(tmp_path):
    inner = tiff(tmp_path / "secret.tif")
    (tmp_path / "a.tif").write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{inner}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(AssetUnreadable):
        RasterFile(tmp_path / "a.tif", "a.tif")
