"""A terrain mesh against the land it was made from: heights, errors, cracks, voids, colours."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc

import numpy as np
import pytest
import shapely
from affine import Affine
from PIL import Image
from pyproj import Transformer

from processes.core.errors import AssetUnreadable
from processes.core.raster import Grid
from tiles.picture import SHARP, map_picture
from tiles.terrain import CELLS, write_terrain

CRS = "EPSG:32631"
Y_UP_TO_Z_UP = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])


class Land:
    """A `RasterSource` without a file: what *of* returns at each place, band by band."""

    dtype = "float32"
    origin = (0.0, 0.0)
    tags: dict[str, str] = {}  # noqa: RUF012  # never written to
    rpc_tags = None

    def __init__(self, grid, of, band_names=("b1",)):
        self.grid, self.of, self.band_names = grid, of, band_names
        self.largest = 0

    @property
    def shape(self):
        return (len(self.band_names), *self.grid.shape)

    def read(self, row0=0, col0=0, height=None, width=None, bands=None):
        height = self.grid.height if height is None else height
        width = self.grid.width if width is None else width
        self.largest = max(self.largest, height * width)
        rows, cols = np.mgrid[row0 : row0 + height, col0 : col0 + width]
        x, y = self.grid.xy(rows, cols)
        values = np.stack([np.asarray(v, np.float32) for v in np.atleast_1d(self.of(x, y))])
        inside = (rows >= 0) & (cols >= 0)
        inside &= (rows < self.grid.height) & (cols < self.grid.width)
        chosen = values if bands is None else values[list(bands)]
        return np.where(inside, chosen, np.nan).astype(np.float32)


def grid(height, width, cell_m=0.5, crs=CRS, x=431000.0, y=5290000.0):
    return Grid(crs, Affine(cell_m, 0, x, 0, -cell_m, y), height, width)


def hill_m(x, y):
    """Height of a hilly land with a quarry that has walls of 12 m."""
    z = 150 + 20 * np.sin((x - 431000) / 90) * np.cos((y - 5290000) / 70)
    return np.where((abs(x - 431300) < 60) & (abs(y - 5289700) < 40), z - 12, z)


def hills(x, y):
    return hill_m(x, y)[None]


def tiles(tile):
    yield tile
    for child in tile.get("children", []):
        yield from tiles(child)


def read(path):
    document = json.loads(path.read_text())
    return document, list(tiles(document["root"]))


def opened(path, document):
    """Return (x, y, height) of vertices, their place in the picture, triangles, the picture."""
    raw = path.read_bytes()
    length = struct.unpack_from("<I", raw, 12)[0]
    gltf, binary = json.loads(raw[20 : 20 + length]), raw[28 + length :]
    position, share, indices = gltf["accessors"]
    stride, node = gltf["bufferViews"][0]["byteStride"], gltf["nodes"][0]
    rows = np.frombuffer(binary, np.uint8, position["count"] * stride).reshape(-1, stride)
    kind, size = ("<u2", 6) if position["componentType"] == 5123 else ("<f4", 12)
    local = rows[:, :size].copy().view(kind) * np.array(node.get("scale", [1, 1, 1]))
    local = np.column_stack([local + node["translation"], np.ones(len(rows))]) @ Y_UP_TO_Z_UP.T
    places = rows[:, share["byteOffset"] :][:, :4].copy().view("<u2") / 65535
    geocentric = local @ np.array(document["root"]["transform"]).reshape(4, 4)
    lon, lat, height = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True).transform(
        *geocentric[:, :3].T
    )
    x, y = Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(lon, lat)
    view = gltf["bufferViews"][indices["bufferView"]]
    kind = {5123: "<u2", 5125: "<u4"}[indices["componentType"]]
    found = np.frombuffer(binary, kind, indices["count"], view["byteOffset"]).reshape(-1, 3)
    view = gltf["bufferViews"][gltf["images"][0]["bufferView"]]
    jpeg = binary[view["byteOffset"] :][: view["byteLength"]]
    picture = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)
    return np.column_stack([x, y, height]), places, found.astype(int), picture, (lon, lat)


def ground(vertices, triangles):
    """Return the triangles that are no skirt: those that are not upright."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    return triangles[normal[:, 2] > 0.02 * np.linalg.norm(normal, axis=1)]


def heights_at(vertices, triangles, x, y):
    """Return the height of the mesh at places, NaN where there is none."""
    corners = vertices[triangles]
    index = shapely.STRtree(shapely.polygons(corners[..., :2]))
    place, triangle = index.query(shapely.points(x, y), predicate="intersects")
    a, b, c = np.moveaxis(corners[triangle], 1, 0)
    normal = np.cross(b - a, c - a)
    apart = np.column_stack([np.asarray(x)[place], np.asarray(y)[place]]) - a[:, :2]
    found = np.full(len(x), np.nan)
    found[place] = a[:, 2] - (apart * normal[:, :2]).sum(axis=1) / normal[:, 2]
    return found


@pytest.fixture(scope="module")
def land():
    return Land(grid(1500, 1300), hills)


@pytest.fixture(scope="module")
def mesh(land, tmp_path_factory):
    return write_terrain(land, tmp_path_factory.mktemp("mesh"), tolerance_m=0.1)


def test_the_finest_tiles_are_the_land_within_the_tolerance(land, mesh):
    document, found = read(mesh)
    rng = np.random.default_rng(1)
    rows, cols = rng.integers(0, 1499, 4000), rng.integers(0, 1299, 4000)
    x, y = land.grid.xy(rows, cols)
    z = np.full(4000, np.nan)
    for tile in found:
        if "children" in tile:
            continue
        assert tile["geometricError"] == 0
        vertices, _, triangles, _, _ = opened(mesh.parent / tile["content"]["uri"], document)
        here = heights_at(vertices, ground(vertices, triangles), x, y)
        z = np.where(np.isfinite(here), here, z)
    assert np.isfinite(z).mean() > 0.99
    # the error of a cut is measured at its middle; those of several cuts may add up
    assert np.nanmax(np.abs(z - hill_m(x, y))) < 0.2
    assert np.nanmedian(np.abs(z - hill_m(x, y))) < 0.05


def test_coarse_tiles_are_as_far_off_as_they_say(land, mesh):
    document, found = read(mesh)
    rng = np.random.default_rng(2)
    x, y = land.grid.xy(rng.integers(0, 1499, 3000), rng.integers(0, 1299, 3000))
    levels = set()
    for tile in found:
        if "children" not in tile:
            continue
        vertices, _, triangles, picture, _ = opened(mesh.parent / tile["content"]["uri"], document)
        here = heights_at(vertices, ground(vertices, triangles), x, y)
        off = np.nanmax(np.abs(here - hill_m(x, y)))
        level = int(tile["content"]["uri"].split("/")[1])
        levels.add(level)
        texel_m = 0.5 * CELLS * 2 ** (2 - level) / len(picture)
        assert tile["geometricError"] >= max(off - 0.05, SHARP * texel_m)
        assert all(child["geometricError"] < tile["geometricError"] for child in tile["children"])
    assert levels == {0, 1}


def test_few_triangles_on_even_land_many_at_the_quarry(land, mesh):
    document, found = read(mesh)
    count = {
        tile["content"]["uri"]: len(opened(mesh.parent / tile["content"]["uri"], document)[2])
        for tile in found
        if "children" not in tile
    }
    assert max(count.values()) < 2 * CELLS * CELLS / 10
    assert count["tiles/2/1/2.glb"] == max(count.values())


def test_skirts_reach_below_the_neighbour_at_any_level(land, mesh):
    """Along the seam of every pair of tiles: no skirt ends above the other's ground."""
    document, found = read(mesh)
    seam = land.grid.xy(0, CELLS)[0]  # between the first and second column of the finest tiles
    y = np.linspace(5289300, 5289990, 300)
    bottoms, tops = [], []
    for tile in found:
        vertices, _, triangles, _, _ = opened(mesh.parent / tile["content"]["uri"], document)
        on = np.abs(vertices[:, 0] - seam) < 0.1
        if not on.any() or tile is found[0]:
            continue
        flat = ground(vertices, triangles)
        top = heights_at(vertices, flat, np.full(300, seam), y)
        walls = on & ~np.isin(np.arange(len(vertices)), flat)
        at = vertices[walls]
        order = np.argsort(at[:, 1])
        there = (y > at[:, 1].min()) & (y < at[:, 1].max())
        bottom = np.where(there, np.interp(y, at[order, 1], at[order, 2]), np.nan)
        bottoms.append(bottom)
        tops.append(top)
    assert len(bottoms) >= 6
    for bottom in bottoms:
        for top in tops:
            both = np.isfinite(bottom) & np.isfinite(top)
            assert (bottom[both] < top[both]).all()


def test_regions_hold_all_vertices_of_all_descendants(mesh):
    document, found = read(mesh)
    for tile in found:
        west, south, east, north, low, high = tile["boundingVolume"]["region"]
        for below in tiles(tile):
            vertices, _, _, _, (lon, lat) = opened(mesh.parent / below["content"]["uri"], document)
            lon, lat = np.radians(lon), np.radians(lat)
            assert west <= lon.min() <= lon.max() <= east
            assert south <= lat.min() <= lat.max() <= north
            assert low <= vertices[:, 2].min() <= vertices[:, 2].max() <= high


def test_all_tiles_please_the_khronos_validator(mesh, khronos):
    found = khronos(sorted(mesh.parent.glob("**/*.glb")))
    assert len(found) > 0
    assert not any(found.values())


def test_the_ortho_lies_where_it_belongs_at_every_level(tmp_path):
    """Stripes of 64 m: the colour under each vertex is that of its place."""

    def stripes(x, y):
        red = np.where((x - 431000) % 128 < 64, 4000, 1000)
        green = np.where((y - 5290000) % 128 < 64, 4000, 1000)
        return np.stack([green, red, np.full(x.shape, 1000), np.full(x.shape, 500)])

    # finer cells than the terrain's, another corner, its bands in another order
    ortho = Land(grid(3200, 3300, 0.25, x=430990.0, y=5290010.0), stripes,
                 ("green", "red", "blue", "nir"))  # fmt: skip
    path = write_terrain(
        Land(grid(1100, 1100), hills), tmp_path, picture=map_picture(ortho), tolerance_m=0.5
    )
    document, found = read(path)
    right = total = 0
    for tile in found:
        vertices, places, _, picture, _ = opened(tmp_path / tile["content"]["uri"], document)
        side = len(picture)
        assert side == 1024
        x, y = vertices[:, 0] - 431000, vertices[:, 1] - 5290000
        clear = (np.abs(x % 64 - 32) < 20) & (np.abs(y % 64 - 32) < 20)  # not at the border
        col, row = np.minimum(places[clear] * side, side - 1).astype(int).T
        seen = picture[row, col] > 128
        right += ((x[clear] % 128 < 64) == seen[:, 0]).sum()
        right += ((y[clear] % 128 < 64) == seen[:, 1]).sum()
        total += 2 * clear.sum()
    assert total > 2000
    assert right == total


def test_voids_stay_open_and_nothing_makes_an_empty_tileset(tmp_path):
    def holed(x, y):
        known = np.hypot(x - 431150, y - 5289850) > 40
        return np.where(known, hill_m(x, y), np.nan)[None]

    path = write_terrain(Land(grid(600, 600), holed), tmp_path / "holed")
    document, found = read(path)
    for tile in found:
        vertices, _, triangles, _, _ = opened(path.parent / tile["content"]["uri"], document)
        flat = ground(vertices, triangles)
        assert np.isnan(heights_at(vertices, flat, [431150.0], [5289850.0])).all()
        assert (np.hypot(*(vertices[:, :2] - (431150, 5289850)).T) > 37).all()
    empty = write_terrain(Land(grid(600, 600), lambda x, y: np.nan * x[None]), tmp_path / "empty")
    assert "content" not in read(empty)[0]["root"]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 700), (513, 513), (514, 1), (3, 2)])
def test_any_size_of_raster_is_fine(height, width, tmp_path, khronos):
    path = write_terrain(Land(grid(height, width), hills), tmp_path)
    document, _ = read(path)
    assert ("content" in document["root"]) == (min(height, width) > 1)
    # viewers show nothing of what says that nothing is lost without it
    assert (document["geometricError"] > 0) == ("content" in document["root"])
    if "content" in document["root"]:
        assert not any(khronos(sorted(tmp_path.glob("**/*.glb"))).values())


def test_land_across_the_antimeridian_has_regions_that_run_east(tmp_path):
    place = grid(1100, 1100, 0.5, "EPSG:32760", 819000.0, 8100000.0)
    land = Land(place, lambda x, y: (50 + (x - 819000) / 20)[None])
    document, found = read(write_terrain(land, tmp_path))
    west, _, east, *_ = document["root"]["boundingVolume"]["region"]
    assert west > 3.1
    assert east < -3.1
    assert (east - west) % (2 * np.pi) < 0.001
    assert len(found) > 4


def test_many_tiles_are_implicit_and_little_is_in_memory(tmp_path, cesium_tools, monkeypatch):
    """Four times the land needs no more memory; Cesium's tools find every tile."""
    peaks = []
    for side in (1025, 2049):
        land = Land(grid(side, side, 2.0), lambda x, y: (x / 50 + y / 90)[None])
        folder = tmp_path / str(side)
        tracemalloc.start()
        write_terrain(land, folder)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert land.largest == (CELLS + 1) ** 2
    assert peaks[1] < 1.3 * peaks[0]
    monkeypatch.setattr("tiles.terrain.LISTED", 10)
    path = write_terrain(land, tmp_path / "implicit")
    listed, implied = cesium_tools(tmp_path / "2049/tileset.json"), cesium_tools(path)

    def facts(found):
        return {tile["uris"][0]: (tile["region"], tile["geometricError"]) for tile in found}

    assert "implicitTiling" in json.loads(path.read_text())["root"]
    assert len(implied) == 16 + 4 + 1
    assert facts(listed) == facts(implied)


def test_a_raster_without_a_place_is_refused(tmp_path):
    land = Land(grid(10, 10), hills)
    land.grid = None
    with pytest.raises(AssetUnreadable, match="georeferencing"):
        write_terrain(land, tmp_path)
