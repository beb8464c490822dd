"""A tileset against the rules of 3D Tiles 1.1, and against where its buildings are."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from pyproj import Transformer
from shapely.geometry import box

from processes.core.building import BuildingModel, Face
from processes.core.errors import UnknownCrs
from processes.roofs.extrude import extrude, tidy
from processes.roofs.planes import Planes, raise_roof
from tiles import implicit
from tiles.tileset import write

Y_UP_TO_Z_UP = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])


def town(count, x=431000.0, y=5290000.0, *, seed=3):
    """Return blocks and gabled houses (eaves 1 m below, ridge 1 m above `roof_m`), shuffled."""
    rng = np.random.default_rng(seed)
    models = []
    for i in rng.permutation(count):
        west, south = x + 40 * (i % 20), y + 40 * (i // 20)
        outline = box(west, south, west + 8 + i % 13, south + 8)
        part, top = tidy(outline)[0], 146.0 + 0.5 * i
        known = {"roof_m": top}
        if i % 3:
            models.append(BuildingModel(f"b{i:03}", (extrude(part, 140.0, top),), "1.2", known))
        else:
            gable = Planes(np.array([[0, 0.5, top + 1], [0, -0.5, top + 1]]), (west, south + 4.0))
            models.append(
                BuildingModel(f"b{i:03}", (raise_roof(part, 140.0, gable),), "2.0", known)
            )
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
    """A town of blocks and gabled houses, listed."""
    folder = tmp_path_factory.mktemp("tileset")
    models = town(230)
    return models, write(models, "EPSG:32631", folder, most=20)


def leaves(found):
    return [tile for tile, _ in found if "children" not in tile]


def size_m(model):
    return float(np.linalg.norm(np.ptp(model.solids[0].vertices, axis=0)))


def test_the_document_is_a_3d_tiles_1_1_tileset(written):
    document, found = read(written[1])
    assert document["asset"]["version"] == "1.1"
    assert document["asset"]["extras"] == {"buildings": 230, "left_out": {}}
    assert set(document) == {"asset", "geometricError", "root"}
    allowed = {"boundingVolume", "geometricError", "refine", "content", "children", "transform"}
    assert all(set(tile) <= allowed for tile, _ in found)
    assert all(tile["refine"] == "REPLACE" for tile, _ in found)
    assert all((written[1].parent / tile["content"]["uri"]).is_file() for tile, _ in found)


def test_every_building_is_in_one_of_the_finest_tiles(written):
    models, path = written
    finest = leaves(read(path)[1])
    ids = [i for tile in finest for i in content(path.parent / tile["content"]["uri"])[0]]
    assert sorted(ids) == sorted(model.id for model in models)


def test_vertices_lie_in_the_regions_of_all_their_ancestors(written):
    document, found = read(written[1])
    parents = {id(tile): parent for tile, parent in found}
    for tile, _ in found:
        place = on_globe(document, content(written[1].parent / tile["content"]["uri"])[1])
        ancestor = tile
        while ancestor is not None:
            assert holds(ancestor["boundingVolume"]["region"], *place)
            ancestor = parents[id(ancestor)]


def test_tiles_lie_within_their_parents(written):
    for tile, parent in read(written[1])[1]:
        a = tile["boundingVolume"]["region"]
        b = (parent or tile)["boundingVolume"]["region"]
        assert all(inner >= outer for inner, outer in zip(a[:2], b[:2], strict=True))
        assert all(inner <= outer for inner, outer in zip(a[2:4], b[2:4], strict=True))
        assert a[4] >= b[4]
        assert a[5] <= b[5]


def test_the_error_is_what_a_tile_lacks(written):
    """The size of the largest building that is not shown, or what its roof loses as a block."""
    models, path = written
    document, found = read(path)
    size = {model.id: size_m(model) for model in models}
    loss = {model.id: 1.0 if model.lod == "2.0" else 0.0 for model in models}
    assert document["geometricError"] == pytest.approx(max(size.values()))
    for tile, parent in found:
        assert tile["geometricError"] <= (parent or document)["geometricError"]
        shown = set(content(path.parent / tile["content"]["uri"])[0])
        finest = leaves(list(tiles(tile)))
        whole = {i for t in finest for i in content(path.parent / t["content"]["uri"])[0]}
        lacking = max((size[i] for i in whole - shown), default=0.0)
        if "children" in tile:
            least = max(lacking, *(loss[i] for i in shown))
            assert tile["geometricError"] == pytest.approx(least, abs=1e-6)
        else:
            assert tile["geometricError"] == 0


def test_from_afar_houses_are_blocks_of_the_same_volume(written):
    """Each coarse tile's faces: walls and one flat roof, half-way between eaves and ridge."""
    models, path = written
    document, found = read(path)
    known = {model.id: model for model in models}
    seen = 0
    for tile, _ in found:
        if "children" not in tile:
            continue
        ids, vertices, owner = content(path.parent / tile["content"]["uri"])
        height = on_globe(document, vertices)[2]
        for number, ident in enumerate(ids):
            z = known[ident].solids[0].vertices[:, 2]
            top = z.max() - (1.0 if known[ident].lod == "2.0" else 0.0)
            mine = height[owner == number]
            assert np.abs(mine[:, None] - [140.0, top]).min(axis=1).max() < 0.02
            assert (owner == number).sum() == 4 * 5
            seen += 1
    assert seen > 230


def test_models_that_pass_by_some_at_a_time_make_the_same_tileset(written, tmp_path, monkeypatch):
    """Regions and frame may differ by the arithmetic of their margin: a thousandth of a millimetre.

    Where models lie on disk, no more are held.
    """
    models, path = written
    monkeypatch.setattr("tiles.survey.AT_ONCE", 7)
    again = write(models, "EPSG:32631", tmp_path, most=20)
    (one, tiles_one), (other, tiles_other) = read(path), read(again)
    assert one["asset"] == other["asset"]
    for (a, _), (b, _) in zip(tiles_one, tiles_other, strict=True):
        assert a["content"] == b["content"]
        assert a["geometricError"] == b["geometricError"]
        assert a["boundingVolume"]["region"] == pytest.approx(
            b["boundingVolume"]["region"], abs=1e-12
        )
        here, there = (content(p.parent / a["content"]["uri"]) for p in (path, again))
        assert here[0] == there[0]
        np.testing.assert_allclose(here[1], there[1], atol=1e-5)


class Read(Sequence):
    """Models that remember which of them were asked for."""

    def __init__(self, models):
        self.models, self.asked = models, []

    def __len__(self):
        return len(self.models)

    def __getitem__(self, number):
        part = [number] if isinstance(number, int) else range(len(self))[number]
        self.asked += part
        return self.models[number]


def test_models_are_read_twice_however_many_tiles_show_them(tmp_path):
    """To be surveyed, and for the blocks and all four quarters of their leaf together."""
    models = Read(town(40))
    path = write(models, "EPSG:32631", tmp_path, most=40)
    assert len(read(path)[1]) > 2
    assert sorted(models.asked) == sorted([*range(40)] * 2)


# -- more buildings than a list should have


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The same town, implicit, with subtrees so small that there are some below the first."""
    models = town(230)
    folder = tmp_path_factory.mktemp("implicit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(implicit, "MOST_LEVELS", 3)
        return models, write(models, "EPSG:32631", folder, most=1, listed=100)


def test_two_hundred_thousand_buildings_need_one_subtree(many, tmp_path):
    """Seven levels: each further subtree would be one more request before anything is seen."""
    path = write(many[0], "EPSG:32631", tmp_path, most=1, listed=100)
    assert len(list(tmp_path.glob("subtrees/**/*.subtree"))) == 1
    tiling = read(path)[0]["root"]["implicitTiling"]
    assert tiling["subtreeLevels"] == tiling["availableLevels"] <= 7


def subtree(path):
    """Return the parts of a subtree: its JSON and a function from a bit field to set bits."""
    raw = path.read_bytes()
    magic, version, length, binary = struct.unpack_from("<4sIQQ", raw)
    assert (magic, version) == (b"subt", 1)
    assert len(raw) == 24 + length + binary
    assert length % 8 == binary % 8 == 0
    document, body = json.loads(raw[24 : 24 + length]), raw[24 + length :]

    def bits(field, count):
        if "constant" in field:
            return set(range(count)) if field["constant"] else set()
        view = document["bufferViews"][field["bitstream"]]
        assert view["byteOffset"] % 8 == 0
        part = np.frombuffer(body, np.uint8, view["byteLength"], view["byteOffset"])
        found = set(np.flatnonzero(np.unpackbits(part, bitorder="little")).tolist())
        assert len(found) == field["availableCount"]
        return found

    return document, bits


def test_a_city_is_implicit_and_says_so_in_few_bytes(many):
    document, found = read(many[1])
    assert len(found) == 1
    assert many[1].stat().st_size < 2500
    root = document["root"]
    assert root["content"]["uri"] == "tiles/{level}/{x}/{y}.glb"
    assert root["implicitTiling"]["subdivisionScheme"] == "QUADTREE"
    assert root["implicitTiling"]["subtrees"]["uri"] == "subtrees/{level}/{x}/{y}.subtree"
    assert document["schema"]["classes"]["tile"]["properties"]["region"]["count"] == 6


def test_bits_of_all_subtrees_name_the_files_that_are_there(many):
    """Availability, read as the specification has it: Morton order, x in the even bits."""
    folder = many[1].parent
    levels = read(many[1])[0]["root"]["implicitTiling"]["subtreeLevels"]
    waiting, files, opened = [(0, 0, 0)], set(), set()
    while waiting:
        level, x, y = waiting.pop()
        name = f"subtrees/{level}/{x}/{y}.subtree"
        opened.add(name)
        document, bits = subtree(folder / name)
        inner = (4**levels - 1) // 3
        there = bits(document["tileAvailability"], inner)
        assert there == bits(document["contentAvailability"][0], inner)
        assert document["propertyTables"][0]["count"] == len(there)

        def place(depth, morton, origin=(level, x, y)):
            dx = sum((morton >> 2 * bit & 1) << bit for bit in range(depth))
            dy = sum((morton >> 2 * bit + 1 & 1) << bit for bit in range(depth))
            level, x, y = origin
            return level + depth, (x << depth) + dx, (y << depth) + dy

        for depth in range(levels):
            first = (4**depth - 1) // 3
            for number in there & set(range(first, first + 4**depth)):
                files.add("tiles/{}/{}/{}.glb".format(*place(depth, number - first)))
        below = bits(document["childSubtreeAvailability"], 4**levels)
        waiting += [place(levels, number) for number in below]
    assert files == {str(p.relative_to(folder)) for p in folder.glob("tiles/**/*.glb")}
    assert opened == {str(p.relative_to(folder)) for p in folder.glob("subtrees/**/*.subtree")}
    assert len(opened) > 1


def test_cesium_finds_the_same_tiles_implicit_as_listed(many, cesium_tools, tmp_path):
    """Same contents, same regions, same errors, whichever way the tree is written."""
    models, path = many
    listed = write(models, "EPSG:32631", tmp_path, most=1)
    implied, explicit = cesium_tools(path), cesium_tools(listed)
    assert len(implied) == len(explicit) > 230

    def facts(found):
        return {tile["uris"][0]: (tile["region"], tile["geometricError"]) for tile in found}

    assert facts(implied) == facts(explicit)
    assert {tile["refine"] for tile in implied} == {"REPLACE"}
    for uri in facts(implied):
        assert (path.parent / uri).read_bytes() == (tmp_path / uri).read_bytes()


# -- clients from before 3D Tiles 1.1


def test_b3dm_holds_the_same_buildings_without_extensions(cesium_tools, khronos, tmp_path):
    models = [replace(m, attributes={**m.attributes, "name": "Hôtel"}) for m in town(60)]
    path = write(models, "EPSG:32631", tmp_path / "old", most=20, listed=10, form="b3dm")
    document = read(path)[0]
    assert document["asset"]["version"] == "1.0"
    assert "implicitTiling" not in document["root"]
    inner = []
    for tile in cesium_tools(path):
        (batch,) = tile["batches"]
        raw = base64.b64decode(batch["glb"])
        length = struct.unpack_from("<I", raw, 12)[0]
        gltf = json.loads(raw[20 : 20 + length])
        assert "extensionsUsed" not in gltf
        accessor = gltf["accessors"][gltf["meshes"][0]["primitives"][0]["attributes"]["_BATCHID"]]
        assert accessor["componentType"] == 5123
        count = batch["features"]["BATCH_LENGTH"]
        assert {len(values) for values in batch["batch"].values()} == {count}
        assert set(batch["batch"]["name"]) == {"Hôtel"}
        inner.append(tmp_path / f"{len(inner)}.glb")
        inner[-1].write_bytes(raw)
        size = (path.parent / tile["uris"][0]).stat().st_size
        assert size % 8 == 0
    assert not any(khronos(inner).values())
    assert len(inner) > 4


# -- what no client could draw


def test_degenerate_buildings_are_left_out_and_counted(tmp_path, khronos):
    good = town(5)
    solid = good[0].solids[0]
    lost = replace(solid, vertices=solid.vertices * np.nan)
    torn = replace(solid, faces=(Face(((0, 1, 99),), "RoofSurface"),))
    thin = replace(solid, faces=(Face(((0, 1),), "WallSurface"), *solid.faces))
    flat = replace(solid, vertices=solid.vertices * (1, 1, 0))  # no height: odd, but drawn
    broken = [
        BuildingModel("none", (), "1.2"),
        *(BuildingModel(f"x{i}", (s,), "1.2") for i, s in enumerate((lost, torn, thin, flat))),
    ]
    path = write([*good, *broken], "EPSG:32631", tmp_path)
    assert read(path)[0]["asset"]["extras"] == {
        "buildings": 6,
        "left_out": {
            "no solid": 1,
            "a corner that lies nowhere": 1,
            "a face with a corner that does not exist": 1,
            "a face without area": 1,
        },
    }
    assert not any(khronos(sorted(tmp_path.glob("**/*.glb"))).values())


def test_buildings_without_floors_are_shown_as_they_are_at_every_level(tmp_path):
    """Nothing to raise a block on: the coarse tile holds the details instead."""
    models = [
        replace(
            m, solids=(replace(s, faces=tuple(f for f in s.faces if f.kind != "GroundSurface")),)
        )
        for m in town(12)
        for s in m.solids
    ]
    path = write(models, "EPSG:32631", tmp_path, most=4)
    for tile, _ in read(path)[1]:
        assert len(content(tmp_path / tile["content"]["uri"])[1])


def test_a_thousand_buildings_in_one_place_are_one_tile(tmp_path):
    models = [BuildingModel(f"m{i}", m.solids, m.lod) for i, m in enumerate(town(1) * 50)]
    path = write(models, "EPSG:32631", tmp_path, most=4)
    finest = leaves(read(path)[1])
    assert sum(len(content(tmp_path / t["content"]["uri"])[0]) for t in finest) == 50


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
    found = [(tile, None) for tile in leaves(found)]
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
    found = khronos(sorted(written[1].parent.glob("**/*.glb")))
    assert found
    assert not any(found.values())


def test_the_order_of_buildings_does_not_matter(tmp_path, written):
    models, path = written
    again = write(models[::-1], "EPSG:32631", tmp_path, most=20)
    assert again.read_bytes() == path.read_bytes()
    for tile in path.parent.glob("**/*.glb"):
        assert (tmp_path / tile.relative_to(path.parent)).read_bytes() == tile.read_bytes()


def test_no_buildings_make_an_empty_tileset(tmp_path):
    document, found = read(write([], "EPSG:32631", tmp_path))
    assert document["geometricError"] == 0
    assert len(found) == 1
    assert "content" not in document["root"]


def test_an_unknown_system_is_named(tmp_path):
    with pytest.raises(UnknownCrs, match="EPSG:999999"):
        write(town(2), "EPSG:999999", tmp_path)
