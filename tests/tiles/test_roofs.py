"""Roofs in the colours of an orthoimage, read back from the tiles' own JPEGs."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from shapely.geometry import box

from processes.core.building import BuildingModel
from processes.core.errors import AssetUnreadable
from processes.core.process import Layer
from processes.core.raster import Grid, Raster
from processes.roofs.extrude import extrude, tidy
from tiles.picture import SHARP, map_picture
from tiles.tileset import write
from workers.reader import Reader
from workers.workspace import LocalWorkspace

CRS = "EPSG:32631"
WEST, NORTH, CELL_M = 431000.0, 5290200.0, 0.5
GRID = Grid(CRS, Affine(CELL_M, 0, WEST, 0, -CELL_M, NORTH), 400, 600)
HOUSES = [box(WEST + x, NORTH - 100 - y, WEST + x + 20, NORTH - 88 - y) for x, y in
          ((20, 0), (60, 20), (120, 60), (240, 80))]  # fmt: skip
SRGB = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40)]
GROUND = (90, 90, 90)


def colours():
    """Return bytes (3, rows, columns): grey ground, each house's roof in its colour."""
    x, y = GRID.xy(*np.indices(GRID.shape))
    picture = np.empty((3, *GRID.shape), np.float32)
    picture[:] = np.array(GROUND)[:, None, None]
    for house, colour in zip(HOUSES, SRGB, strict=True):
        west, south, east, north = house.bounds
        inside = (x > west) & (x < east) & (y > south) & (y < north)
        picture[:, inside] = np.array(colour)[:, None]
    return picture


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    return LocalWorkspace(folder / "out", Reader(folder / "cache", files=True))


def ortho(work, values, dtype="uint8", bands=("red", "green", "blue"), name="ortho"):
    return work.open_raster(work.write_raster(Layer(name, dtype, bands), Raster(values, GRID)))


@pytest.fixture(scope="module")
def tileset(work, tmp_path_factory):
    models = [
        BuildingModel(f"h{i}", (extrude(tidy(house)[0], 100.0, 110.0),), "1.2", {})
        for i, house in enumerate(HOUSES)
    ]
    picture = map_picture(ortho(work, colours()))
    folder = tmp_path_factory.mktemp("pictured")
    return write(models, CRS, folder, most=4, picture=picture)


def opened(path):
    raw = path.read_bytes()
    length = struct.unpack_from("<I", raw, 12)[0]
    return json.loads(raw[20 : 20 + length]), raw[28 + length :]


def vertices(gltf, binary, primitive, name):
    """Return the numbers of an attribute of one primitive."""
    accessor = gltf["accessors"][primitive["attributes"][name]]
    view = gltf["bufferViews"][accessor["bufferView"]]
    kind = {5121: "u1", 5123: "<u2", 5126: "<f4"}[accessor["componentType"]]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor["type"]]
    rows = np.frombuffer(binary, np.uint8, view["byteLength"], view["byteOffset"])
    rows = rows.reshape(-1, view["byteStride"])[:, accessor["byteOffset"] :]
    return rows[:, : np.dtype(kind).itemsize * width].copy().view(kind)


def details(path):
    return sorted(path.parent.glob("tiles/1/**/*.glb"))


def test_each_roof_shows_its_own_part_of_the_picture(tileset):
    seen = set()
    for path in details(tileset):
        gltf, binary = opened(path)
        (roofs,) = (p for p in gltf["meshes"][0]["primitives"] if p["material"] == 1)
        view = gltf["bufferViews"][gltf["images"][0]["bufferView"]]
        jpeg = binary[view["byteOffset"] :][: view["byteLength"]]
        atlas = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)
        place = vertices(gltf, binary, roofs, "TEXCOORD_0") / 65535 * (atlas.shape[1::-1])
        owner = vertices(gltf, binary, roofs, "_FEATURE_ID_0")[:, 0]
        for house in np.unique(owner):
            left, top = place[owner == house].min(axis=0)
            right, bottom = place[owner == house].max(axis=0)
            assert (right - left, bottom - top) == pytest.approx((40, 24), abs=0.1)
            middle = atlas[int(top) + 3 : int(bottom) - 3, int(left) + 3 : int(right) - 3]
            colour = np.median(middle.reshape(-1, 3), axis=0)
            around = atlas[int(top + 0.5) - 2, int((left + right) / 2)]
            assert np.abs(around - GROUND).max() < 40, "cut beside the roof"
            distance = np.abs(np.array(SRGB) - colour).max(axis=1)
            assert distance.min() < 12
            seen.add(int(distance.argmin()))
    assert seen == {0, 1, 2, 3}


def test_walls_keep_their_plain_colour(tileset):
    for path in details(tileset):
        gltf, _ = opened(path)
        plain, roofs = gltf["meshes"][0]["primitives"]
        assert "TEXCOORD_0" not in plain["attributes"]
        count = [gltf["accessors"][p["indices"]]["count"] for p in (plain, roofs)]
        assert count[0] == 4 * count[1]  # four walls to one roof


def test_from_afar_a_roof_has_its_mean_colour(tileset):
    gltf, binary = opened(tileset.parent / "tiles/0/0/0.glb")
    assert "images" not in gltf
    (primitive,) = gltf["meshes"][0]["primitives"]
    colour = vertices(gltf, binary, primitive, "COLOR_0")
    position = vertices(gltf, binary, primitive, "POSITION")
    up = vertices(gltf, binary, primitive, "_FEATURE_ID_0")[:, 0]
    reds = {}
    for house in range(4):
        mine = up == house
        unique, count = np.unique(colour[mine], axis=0, return_counts=True)
        roof = unique[count.argmin()] / 255  # four corners against sixteen of walls
        reds[house] = np.where(roof < 0.0031, roof * 12.92, 1.055 * roof ** (1 / 2.4) - 0.055)
    found = {tuple(np.rint(255 * rgb[:3]).astype(int).tolist()) for rgb in reds.values()}
    for expected in SRGB:
        assert min(max(abs(np.array(f) - expected)) for f in found) <= 3, (expected, found)
    assert len(position) == 4 * 20


def test_what_is_lost_without_the_picture_is_an_error(tileset):
    root = json.loads(tileset.read_text())["root"]
    assert root["geometricError"] == pytest.approx(SHARP * CELL_M)


def test_pictured_tiles_please_the_khronos_validator(tileset, khronos):
    assert not any(khronos(sorted(tileset.parent.glob("**/*.glb"))).values())


def test_a_picture_elsewhere_changes_nothing_but_stops_nothing(work, tmp_path):
    far = [box(x, 5300000, x + 9, 5300009) for x in (500000, 500020)]
    models = [
        BuildingModel(str(i), (extrude(tidy(f)[0], 1.0, 5.0),), "1.2") for i, f in enumerate(far)
    ]
    picture = map_picture(ortho(work, colours(), name="elsewhere"))
    path = write(models, CRS, tmp_path, picture=picture)
    for tile in path.parent.glob("**/*.glb"):
        assert len(opened(tile)[0]["meshes"][0]["primitives"]) == 1


def test_sixteen_bits_are_stretched_as_the_map_shows_them(work):
    grey = colours().mean(axis=0) * 40
    grey[:, :20] = np.nan
    picture = map_picture(ortho(work, grey, "float32", ("pan",), name="pan"))
    seen, known = picture.window(0, 0, *GRID.shape)
    assert (known.sum(axis=1) == 580).all()
    assert (seen[..., 0] == seen[..., 2]).all()
    assert seen.min() == 0
    assert seen.max() == 255
    assert (seen[:, :20] == picture.mean).all()
    sticking, there = picture.window(-10, -10, 20, 20)
    assert sticking.shape == (20, 20, 3)
    assert not there.any()


def test_a_picture_without_a_place_is_refused(work, village):
    from processes.core.process import Asset

    image = next(village.glob("*left*.tif"), None) or next(village.glob("*.tif"))
    with pytest.raises(AssetUnreadable, match="georeferencing"):
        map_picture(work.open_raster(Asset(href=str(image))))
