"""A product as a STAC Item: what others read, checked against the files it speaks of."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from pyproj import Transformer
from shapely import transform
from shapely.geometry import box, shape

from catalog.addresses import ROOT, absolute
from catalog.assets import AssetFacts, in_degrees, measure, measured
from catalog.items import bbox, place, product_item
from catalog.origins import Made, Source
from processes.core.process import TILESET

GOLDEN = Path(__file__).parent / "golden/item.json"
CREATED = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
MADE = Made("city", "3D map", "1.0.0", CREATED, {"lod": 1, "aoi": None, "resolution_m": 0.5})
IMAGES = [
    Source(
        "left",
        "https://images.example/left.json",
        {
            "datetime": "2024-06-14T10:41:54.5Z",
            "platform": "eye-1",
            "instruments": ["cam"],
            "constellation": "eyes",
        },
    ),
    Source(
        "right",
        None,
        {"datetime": "2024-06-14T12:42:30+02:00", "platform": "eye-1", "instruments": ["cam"]},
    ),
]
REPORT = {"ties": 200, "residual_px": 0.12, "pointing": {"left": [0, 0]}, "note": float("nan")}


@pytest.fixture(scope="module")
def facts(product_folder: Path) -> list[AssetFacts]:
    return measured(product_folder, json.loads((product_folder / "results.json").read_text()))


@pytest.fixture(scope="module")
def item(product_folder: Path, facts: list[AssetFacts]) -> dict[str, Any]:
    picture = measure("thumbnail", product_folder, "thumbnail.png", "image/png")
    return product_item(
        product_folder.name,
        MADE,
        facts,
        collection="orograph",
        sources=IMAGES,
        thumbnail=picture,
        report=REPORT,
        facility="Test bench",
    )


def test_the_item_is_valid_stac(item: dict[str, Any]) -> None:
    core = absolute(item, "https://maps.example") | {"stac_extensions": []}
    read = pystac.Item.from_dict(core)
    read.validate()  # core only: schemas of extensions are on the network
    assert read.assets["dsm"].href == f"https://maps.example/products/{item['id']}/dsm.tif"


def test_the_item_is_as_it_was_agreed(item: dict[str, Any]) -> None:
    """Digests and sizes depend on the libraries that wrote the files: their form is checked."""
    kept = json.loads(json.dumps(item))
    for asset in kept["assets"].values():
        assert asset.pop("file:size") > 0
        assert re.fullmatch("1220[0-9a-f]{64}", asset.pop("file:checksum"))
    kept["properties"]["processing:software"]["orograph"] = "0"
    if not GOLDEN.exists():  # remove the file to agree on another item
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    assert kept == json.loads(GOLDEN.read_text())


def test_sizes_and_digests_are_those_of_the_files(
    item: dict[str, Any], product_folder: Path
) -> None:
    for name in ("dsm", "footprints", "thumbnail"):
        asset = item["assets"][name]
        content = (product_folder / asset["href"].rsplit("/", 1)[1]).read_bytes()
        assert asset["file:size"] == len(content)
        assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()


def test_the_grid_is_that_of_the_raster(item: dict[str, Any], product_folder: Path) -> None:
    with rasterio.open(product_folder / "dsm.tif") as file:
        for said in (item["properties"], item["assets"]["dsm"]):
            assert said["proj:code"] == f"EPSG:{file.crs.to_epsg()}"
            assert said["proj:shape"] == [file.height, file.width]
            assert said["proj:transform"] == list(file.transform)[:6]
            assert said["proj:bbox"] == list(file.bounds)
            assert said["gsd"] == 0.5


def test_figures_of_bands_are_of_known_cells(item: dict[str, Any], product_folder: Path) -> None:
    (band,) = item["assets"]["dsm"]["bands"]
    with rasterio.open(product_folder / "dsm.tif") as file:
        values = file.read(1).astype(float)
    known = values[np.isfinite(values)]
    assert (band["nodata"], band["unit"], band["data_type"]) == ("nan", "m", "float32")
    assert band["raster:spatial_resolution"] == 0.5
    assert band["statistics"] == {
        "minimum": pytest.approx(known.min(), abs=1e-4),
        "maximum": pytest.approx(known.max(), abs=1e-4),
        "mean": pytest.approx(known.mean(), abs=1e-4),
        "stddev": pytest.approx(known.std(), abs=1e-4),
        "valid_percent": 90.0,
    }


def test_bands_and_classes_have_their_names(item: dict[str, Any]) -> None:
    assert [b["eo:common_name"] for b in item["assets"]["ortho"]["bands"]] == [
        "red", "green", "blue", "nir",
    ]  # fmt: skip
    (band,) = item["assets"]["ortho_mask"]["bands"]
    assert [(c["value"], c["name"]) for c in band["classification:classes"]] == [
        (0, "outside"), (1, "measured"), (2, "filled_occlusion"),
    ]  # fmt: skip


def test_the_geometry_is_where_there_is_data(item: dict[str, Any]) -> None:
    to_degrees = Transformer.from_crs("EPSG:32631", "OGC:CRS84", always_xy=True)
    back = Transformer.from_crs("OGC:CRS84", "EPSG:32631", always_xy=True)
    known = box(430_020, 5_290_000, 430_200, 5_290_150)
    found = transform(shape(item["geometry"]), lambda xy: np.column_stack(back.transform(*xy.T)))
    assert found.symmetric_difference(known).area < 0.02 * known.area
    assert shape(item["geometry"]).exterior.is_ccw
    corners = to_degrees.transform(*np.array(known.exterior.coords).T)
    around = [*(min(side) for side in corners), *(max(side) for side in corners)]
    assert item["bbox"] == pytest.approx(around, abs=1e-5)
    assert item["bbox"] == list(shape(item["geometry"]).bounds)


def test_time_is_that_of_the_images_in_utc(item: dict[str, Any]) -> None:
    said = item["properties"]
    assert said["datetime"] == said["start_datetime"] == "2024-06-14T10:41:54.500000Z"
    assert said["end_datetime"] == "2024-06-14T10:42:30Z"
    assert said["created"] == "2026-11-21T03:00:00Z"
    assert (said["platform"], said["instruments"]) == ("eye-1", ["cam"])
    assert "constellation" not in said  # one image does not say


def test_without_dates_the_product_is_of_the_time_it_was_made(facts: list[AssetFacts]) -> None:
    said = product_item("k", MADE, facts, collection="c", sources=[Source("a")])["properties"]
    assert said["datetime"] == said["created"]
    assert "start_datetime" not in said


@pytest.mark.parametrize("odd", ["yesterday", 5, {"a": [1]}, ["a"], "0001-01-01T00:00+14:00"])
def test_sources_may_say_anything(facts: list[AssetFacts], odd: Any) -> None:
    names = ("datetime", "platform", "instruments")
    sources = [Source("a", "https://a.example/a.tif", dict.fromkeys(names, odd)), IMAGES[0]]
    made = absolute(
        product_item("k", MADE, facts, collection="c", sources=sources), "https://maps.example"
    )
    known = product_item("k", MADE, facts, collection="c", sources=IMAGES[:1])
    assert made["properties"]["datetime"] == known["properties"]["datetime"]
    (derived, _) = (link for link in made["links"] if link["rel"] == "derived_from")
    assert derived["type"] == "image/tiff; application=geotiff"
    pystac.Item.from_dict(made | {"stac_extensions": []}).validate()


def test_links_lead_to_inputs_tiles_and_features(item: dict[str, Any]) -> None:
    key = item["id"]
    found = {(link["rel"], link["href"].removeprefix(ROOT)) for link in item["links"]}
    raster = f"/raster/{key}/{{}}/tiles/WebMercatorQuad/{{{{z}}}}/{{{{x}}}}/{{{{y}}}}.webp{{}}"
    assert found == {
        ("derived_from", "https://images.example/left.json"),
        ("collection", "/stac/collections/orograph"),
        ("alternate", f"/viewer/#orograph/{key}"),
        ("3d-tiles", f"/3dtiles/{key}/tileset.json"),
        ("xyz", raster.format("ortho", "")),
        ("xyz", raster.format("dsm", "?algorithm=hillshade&buffer=3")),
        ("xyz", raster.format("dtm", "?algorithm=hillshade&buffer=3")),
        ("xyz", raster.format("ndsm", "?rescale=0,25&colormap_name=viridis")),
        ("tilejson", f"/vector/{key}/tilejson.json"),
        ("related", f"/collections/footprints/items?product={key}"),
    }


def test_every_prefix_that_is_used_names_its_schema(item: dict[str, Any]) -> None:
    text = json.dumps(item)
    used = set(re.findall(r'"([a-z]+):[a-z_0-9]+": ', text)) - {"orograph"}
    declared = {
        re.search("/([a-z-]+)/v", schema).group(1)[:4]  # type: ignore[union-attr]
        for schema in item["stac_extensions"]
    }
    assert {prefix[:4] for prefix in used} | {"web-"} == declared


def test_the_report_is_said_as_far_as_it_is_plain(item: dict[str, Any]) -> None:
    said = {k: v for k, v in item["properties"].items() if k.startswith("orograph:")}
    assert said == {"orograph:ties": 200, "orograph:residual_px": 0.12}


def test_absolute_moves_addresses_below_the_root_and_nothing_else(item: dict[str, Any]) -> None:
    moved = absolute(item, "https://maps.example/prefix/")
    text = json.dumps(moved)
    assert ROOT not in text
    assert "https://images.example/left.json" in text
    assert moved["links"][3]["href"] == (
        f"https://maps.example/prefix/3dtiles/{item['id']}/tileset.json"
    )
    assert ROOT in json.dumps(item)


def test_a_product_that_lies_nowhere_is_refused(product_folder: Path) -> None:
    page = measure("report", product_folder, "results.json", "application/json")
    assert place([page]) is None
    with pytest.raises(ValueError, match="nowhere"):
        product_item("k", MADE, [page], collection="c")
    point = {"type": "Point", "coordinates": [2.0, 47.0]}
    given = product_item("k", MADE, [page], collection="c", geometry=point)
    assert given["bbox"] == [2.0, 47.0, 2.0, 47.0]


def test_a_product_of_outlines_alone_lies_where_they_do(product_folder: Path) -> None:
    from processes.core.process import GEOPARQUET

    outlines = measure("footprints", product_folder, "footprints.parquet", GEOPARQUET)
    item = product_item("k", MADE, [outlines], collection="c")
    assert shape(item["geometry"]).is_valid
    assert "proj:code" not in item["properties"]


def mesh(folder: Path, region: list[float] | None) -> AssetFacts:
    """Return the facts of a terrain mesh in *region*: west, south, east, north, degrees."""
    root: dict[str, Any] = {"boundingVolume": {"region": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]}}
    if region is not None:
        root["content"] = {"uri": "tiles/0/0/0.glb"}
        root["boundingVolume"]["region"][:4] = np.radians(region).tolist()
    (folder / "mesh").mkdir(exist_ok=True)
    (folder / "mesh/tileset.json").write_text(json.dumps({"root": root}))
    return measure("mesh", folder, "mesh/tileset.json", TILESET)


def test_a_mesh_alone_lies_where_its_box_is_and_is_linked(tmp_path: Path) -> None:
    facts = mesh(tmp_path, [2.0, 47.0, 2.5, 47.5])
    item = product_item("k", MADE, [facts], collection="c")
    assert item["bbox"] == pytest.approx([2.0, 47.0, 2.5, 47.5])
    (link,) = (link for link in item["links"] if link["rel"] == "3d-tiles")
    assert link["href"] == item["assets"]["mesh"]["href"] == f"{ROOT}/products/k/mesh/tileset.json"
    assert link["title"] == "Terrain"
    across = place([mesh(tmp_path, [179.5, -1.0, -179.5, 1.0])])
    assert across is not None
    assert across["type"] == "MultiPolygon"
    assert shape(across).area == pytest.approx(2.0)
    assert place([mesh(tmp_path, None)]) is None


@pytest.fixture
def cloud(tmp_path: Path) -> list[AssetFacts]:
    """The facts of four points as COPC and as 3D Tiles."""
    from affine import Affine

    from processes.core.process import COPC
    from processes.core.raster import POINT, Grid, Raster
    from workers.points import PointFile, write_points
    from workers.reader import Reader
    from workers.workspace import LocalWorkspace

    grid = Grid("EPSG:32631", Affine(0.5, 0, 430_000, 0, -0.5, 5_290_150), 300, 400)
    points = np.zeros(4, POINT)
    points["x"] = [430_010, 430_020, 430_150, 430_199.5]
    points["y"], points["z"] = 5_290_000.25, [100, 101, 102, 103.5]
    file = PointFile(tmp_path / "raw.points", grid)
    file.write(points, 0, 0)
    file.finish()
    work = LocalWorkspace(tmp_path, Reader(tmp_path))
    picture = work.write_raster("ortho", Raster(np.ones(grid.shape, np.float32), grid))
    path, tiles = tmp_path / "points.copc.laz", tmp_path / "point_tileset"
    write_points(tmp_path / "raw.points", path, tiles, work.open_raster(picture))
    tree = measure("point_tileset", tmp_path, "point_tileset/tileset.json", TILESET)
    return [
        measure("points", tmp_path, path.name, COPC),
        tree,
        measure("ortho", tmp_path, "ortho.tif", "image/tiff"),
    ]


def test_a_point_cloud_is_described_by_the_pointcloud_extension(cloud: list[AssetFacts]) -> None:
    item = product_item("k", MADE, cloud, collection="c")
    asset = item["assets"]["points"]
    assert asset["type"] == "application/vnd.laszip+copc"
    assert asset["roles"] == ["data"]
    assert asset["pc:count"] == item["properties"]["pc:count"] == 4
    assert asset["pc:type"] == item["properties"]["pc:type"] == "eopc"
    assert asset["proj:code"] == "EPSG:32631"
    assert asset["proj:bbox"] == [430_010, 5_290_000.25, 100, 430_199.5, 5_290_000.25, 103.5]
    schemas = {part["name"]: (part["size"], part["type"]) for part in asset["pc:schemas"]}
    assert schemas["X"] == schemas["Z"] == (8, "floating")
    assert schemas["Red"] == schemas["error_cm"] == (2, "unsigned")
    assert schemas["ScanAngle"] == (2, "signed")
    assert schemas["GpsTime"] == (8, "floating")
    assert schemas["ReturnNumber"] == schemas["likelihood"] == schemas["images"] == (1, "unsigned")
    assert (
        "https://stac-extensions.github.io/pointcloud/v2.0.0/schema.json"
        in (item["stac_extensions"])
    )


def test_a_point_cloud_is_linked_as_3d_tiles(cloud: list[AssetFacts]) -> None:
    item = product_item("k", MADE, cloud, collection="c")
    (link,) = (link for link in item["links"] if link["rel"] == "3d-tiles")
    assert link["title"] == "Point cloud"
    assert link["href"] == item["assets"]["point_tileset"]["href"]
    assert link["href"] == f"{ROOT}/products/k/point_tileset/tileset.json"


def test_outlines_say_more_of_a_place_than_the_box_of_their_tiles(product_folder: Path) -> None:
    from processes.core.process import GEOPARQUET

    outlines = measure("footprints", product_folder, "footprints.parquet", GEOPARQUET)
    tiles = measure("tileset", product_folder, "tileset/tileset.json", TILESET)
    assert tiles.footprint is not None
    assert place([tiles, outlines]) == outlines.footprint


def test_a_footprint_has_no_specks_or_pinholes() -> None:
    field = box(430_000, 5_290_000, 430_100, 5_290_100)
    pierced = field.difference(box(430_050, 5_290_050, 430_051, 5_290_051))
    speck = box(430_200, 5_290_000, 430_201, 5_290_001)
    found = in_degrees(pierced.union(speck), "EPSG:32631", tolerance=0.5)
    assert found is not None
    assert found["type"] == "Polygon"
    assert len(found["coordinates"]) == 1
    assert in_degrees(box(0, 0, 0, 0), "EPSG:32631", tolerance=1) is None


def test_a_box_holds_every_kind_of_geometry() -> None:
    line = {"type": "LineString", "coordinates": [[1, 2, 30], [3, -4, 50]]}
    assert bbox(line) == [1, -4, 3, 2]
