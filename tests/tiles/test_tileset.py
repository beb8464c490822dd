"""A tileset against the rules of 3D Tiles 1.1, and against where its buildings are."""

from __future__ import annotations

import json
import math
import struct
from itertools import pairwise

import numpy as np
import pytest
from pyproj import Transformer
from shapely.geometry import box

from processes.core.building import BuildingModel
from processes.core.errors import UnknownCrs
from processes.roofs.extrude import extrude, tidy
from tiles.tileset import write

Y_UP_TO_Z_UP = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])


def town(count, x=431000.0, y=5290000.0, *, seed=3):
    """Return blocks of growing size along rows, in shuffled order."""
    rng = np.random.default_rng(seed)
    models = []
    for i in rng.permutation(count):
        west, south = x + 40 * (i % 20), y + 40 * (i // 20)
        outline = box(west, south, west + 8 + i % 13, south + 8)
        solid = extrude(tidy(outline)[0], 140.0, 146.0 + 0.5 * i)
        models.append(BuildingModel(f"b{i:03}", (solid,), "1.2", {"roof_m": 146.0 + 0.5 * i}))
    return models


def tiles(tile, parent=None):
    yield tile, parent
    for child in tile.get("children", []):
        yield from tiles(child, tile)


def read(path):
    document = json.loads(path.read_text())
    return document, list(tiles(document["root"]))


def content(path):
    """Return (identifiers, geocentric vertices, building of each vertex) before the transform."""
    raw = path.read_bytes()
    length = struct.unpack_from("<I", raw, 12)[0]
    gltf, binary = json.loads(raw[20 : 20 + length]), raw[28 + length :]
    stride = gltf["bufferViews"][0]["byteStride"]
    count, node = gltf["accessors"][0]["count"], gltf["nodes"][0]
    rows = np.frombuffer(binary, np.uint8, count * stride).reshape(count, stride)
    kind, size = ("<u2", 6) if gltf["accessors"][0]["componentType"] == 5123 else ("<f4", 12)
    stored = rows[:, :size].copy().view(kind).astype(float)
    local = stored * node.get("scale", [1, 1, 1]) + node["translation"]
    offset = gltf["accessors"][3]["byteOffset"]
    owner = rows[:, offset : offset + 2].copy().view("<u2")[:, 0]
    table = gltf["extensions"]["EXT_structural_metadata"]["propertyTables"][0]["properties"]["id"]
    names = gltf["bufferViews"][table["values"]]["byteOffset"]
    start = gltf["bufferViews"][table["stringOffsets"]]["byteOffset"]
    ends = np.frombuffer(binary, "<u4", int(owner.max()) + 2, start)
    ids = [binary[names + a : names + b].decode() for a, b in pairwise(ends)]
    return ids, np.column_stack([local, np.ones(count)]) @ Y_UP_TO_Z_UP.T, owner


def on_globe(document, vertices):
    """Return longitude, latitude (radians) and height, by PROJ."""
    transform = np.array(document["root"]["transform"]).reshape(4, 4).T
    geocentric = vertices @ transform.T
    to_globe = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)
    lon, lat, height = to_globe.transform(*geocentric[:, :3].T)
    return np.radians(lon), np.radians(lat), height


def holds(region, lon, lat, height):
    west, south, east, north, low, high = region
    width, along = (east - west) % (2 * math.pi), (lon - west) % (2 * math.pi)
    return (
        (along <= width).all()
        and (south <= lat).all()
        and (lat <= north).all()
        and (low <= height).all()
        and (height <= high).all()
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tileset")
    models = town(230)
    return models, write(models, "EPSG:32631", folder, most=20)


def test_the_document_is_a_3d_tiles_1_1_tileset(written):
    document, found = read(written[1])
    assert document["asset"]["version"] == "1.1"
    assert set(document) == {"asset", "geometricError", "root"}
    allowed = {"boundingVolume", "geometricError", "refine", "content", "children", "transform"}
    assert all(set(tile) <= allowed for tile, _ in found)
    assert all(tile["refine"] == "ADD" for tile, _ in found)
    assert all((written[1].parent / tile["content"]["uri"]).is_file() for tile, _ in found)


def test_every_building_is_in_one_tile(written):
    models, path = written
    ids = [i for tile, _ in read(path)[1] for i in content(path.parent / tile["content"]["uri"])[0]]
    assert sorted(ids) == sorted(model.id for model in models)


def test_vertices_lie_in_the_regions_of_all_their_ancestors(written):
    document, found = read(written[1])
    parents = {id(tile): parent for tile, parent in found}
    for tile, _ in found:
        place = on_globe(document, content(written[1].parent / tile["content"]["uri"])[1])
        assert holds(tile["content"]["boundingVolume"]["region"], *place)
        ancestor = tile
        while ancestor is not None:
            assert holds(ancestor["boundingVolume"]["region"], *place)
            ancestor = parents[id(ancestor)]


def test_children_and_contents_lie_within_their_parents(written):
    for tile, parent in read(written[1])[1]:
        inner = [tile["content"]["boundingVolume"]["region"], tile["boundingVolume"]["region"]]
        outer = [tile["boundingVolume"]["region"], (parent or tile)["boundingVolume"]["region"]]
        for a, b in zip(inner, outer, strict=True):
            assert a[0] >= b[0]
            assert a[1] >= b[1]
            assert a[2] <= b[2]
            assert a[3] <= b[3]
            assert a[4] >= b[4]
            assert a[5] <= b[5]


def test_the_error_is_the_size_of_the_largest_building_not_shown(written):
    models, path = written
    document, found = read(path)
    size = {m.id: float(np.linalg.norm(np.ptp(m.solids[0].vertices, axis=0))) for m in models}
    assert document["geometricError"] == pytest.approx(max(size.values()))
    for tile, parent in found:
        assert tile["geometricError"] <= (parent or document)["geometricError"]
        below = [t for t, _ in tiles(tile)][1:]
        missing = [size[i] for t in below for i in content(path.parent / t["content"]["uri"])[0]]
        assert tile["geometricError"] == pytest.approx(max(missing, default=0.0))


@pytest.mark.parametrize(
    ("crs", "x", "y"),
    [
        ("EPSG:32631", 431000.0, 5290000.0),
        ("EPSG:32760", 818800.0, 8100000.0),
        ("EPSG:3857", 260000.0, 6250000.0),
    ],
    ids=["village", "across the antimeridian", "web mercator"],
)
def test_buildings_are_where_proj_says(tmp_path, crs, x, y):
    models = town(30, x, y)
    document, found = read(write(models, crs, tmp_path, most=10))
    to_globe = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    known = {model.id: model for model in models}
    for tile, _ in found:
        ids, vertices, owner = content(tmp_path / tile["content"]["uri"])
        lon, lat, height = on_globe(document, vertices)
        for number, ident in enumerate(ids):
            table = known[ident].solids[0].vertices
            west, south = np.radians(to_globe.transform(table[:, 0], table[:, 1]))
            mine = owner == number
            apart = (lon[mine, None] - west + math.pi) % (2 * math.pi) - math.pi
            metres = 6378137 * np.hypot(apart * np.cos(south), lat[mine, None] - south)
            distance = np.hypot(metres, height[mine, None] - table[:, 2])
            assert distance.min(axis=1).max() < 0.02
        assert holds(tile["boundingVolume"]["region"], lon, lat, height)


def test_the_antimeridian_region_runs_east(tmp_path):
    path = write(town(30, 818800.0, 8100000.0), "EPSG:32760", tmp_path)
    west, _, east, *_ = read(path)[0]["root"]["boundingVolume"]["region"]
    assert west > 3.1
    assert east < -3.1


def test_a_distant_suburb_keeps_its_millimetres(tmp_path):
    """Wider than 655 m, 16 bits are too coarse, and float32 counts from the tile's own corner."""
    models = town(3) + town(3, 451000.0)
    models = [BuildingModel(f"m{i}", m.solids, m.lod) for i, m in enumerate(models)]
    document, found = read(write(models, "EPSG:32631", tmp_path))
    place = on_globe(document, content(tmp_path / found[0][0]["content"]["uri"])[1])
    assert np.abs(place[2][:, None] - [140.0, 146.0, 146.5, 147.0]).min(axis=1).max() < 0.005


def test_all_tiles_please_the_khronos_validator(written, khronos):
    found = khronos(sorted(written[1].parent.glob("*.glb")))
    assert found
    assert not any(found.values())


def test_the_order_of_buildings_does_not_matter(tmp_path, written):
    models, path = written
    again = write(models[::-1], "EPSG:32631", tmp_path, most=20)
    assert again.read_bytes() == path.read_bytes()
    for tile in path.parent.glob("*.glb"):
        assert (tmp_path / tile.name).read_bytes() == tile.read_bytes()


def test_no_buildings_make_an_empty_tileset(tmp_path):
    document, found = read(write([], "EPSG:32631", tmp_path))
    assert document["geometricError"] == 0
    assert len(found) == 1
    assert "content" not in document["root"]


def test_an_unknown_system_is_named(tmp_path):
    with pytest.raises(UnknownCrs, match="EPSG:999999"):
        write(town(2), "EPSG:999999", tmp_path)
