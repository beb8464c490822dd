"""Point clouds as 3D Tiles: tiles read back by py3dtiles, boxes and errors by the specification."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from py3dtiles.tileset.content import Pnts
from pyproj import Transformer
from scipy.spatial import KDTree

from processes.core.errors import UnknownCrs
from tiles.octree import SAMPLES, nodes
from tiles.pointcloud import PointTiles

CRS, CORNER, SIDE_M, DEPTH = "EPSG:32631", np.array([431_000.0, 5_290_000.0, 120.0]), 256.0, 3
COUNT = 40_000


@pytest.fixture(scope="module")
def cloud() -> tuple[np.ndarray, np.ndarray]:
    """Places and colours: a slope, whose colour tells the place."""
    rng = np.random.default_rng(4)
    xy = rng.uniform(0, SIDE_M, (COUNT, 2))
    places = np.column_stack([xy, 20 + 0.1 * xy[:, 0]])
    colours = np.column_stack([xy, np.full(COUNT, 77)]).astype(np.uint8)
    return places + CORNER, colours


def written(folder: Path, places: np.ndarray, colours: np.ndarray, **how: Any) -> Path:
    middle = CORNER + np.array([SIDE_M / 2, SIDE_M / 2, 30])
    tiles = PointTiles(folder, CRS, tuple(middle), SIDE_M / SAMPLES, cut=1, **how)
    steps = np.floor((places - CORNER) * 100).astype(np.int64)
    found = nodes(steps, round(SIDE_M * 100), DEPTH)
    for key, begin, end in zip(found.keys, found.begin, found.begin[1:], strict=False):
        own = found.order[begin:end]
        images = np.full(len(own), key[0], np.uint8)
        tiles.write(key, places[own], colours[own], {"images": images})
    return tiles.finish()


@pytest.fixture(scope="module")
def tileset(cloud: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("tiles"), *cloud)


def walk(path: Path, matrix: np.ndarray) -> Iterator[tuple[dict, dict | None, np.ndarray, Path]]:
    """Yield every tile, its parent, its axes and its folder; documents of their own too."""

    def below(tile: dict, above: dict | None) -> Iterator[tuple[dict, dict | None]]:
        yield tile, above
        for child in tile.get("children", []):
            yield from below(child, tile)

    document = json.loads(path.read_text())
    root = document["root"]
    if "transform" in root:
        matrix = matrix @ np.array(root["transform"]).reshape(4, 4).T
    for tile, above in below(root, None):
        yield tile, above, matrix, path.parent
        uri = tile.get("content", {}).get("uri", "")
        if uri.endswith(".json"):
            yield from walk(path.parent / uri, matrix)


def contents(path: Path) -> Iterator[tuple[dict, Pnts, np.ndarray]]:
    for tile, _, matrix, folder in walk(path, np.eye(4)):
        uri = tile.get("content", {}).get("uri", "")
        if uri.endswith(".pnts"):
            yield tile, Pnts.from_bytes((folder / uri).read_bytes()), matrix


def geocentric(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, 3) X, Y, Z and colours of all points."""
    found = [
        (p.get_vertices() @ m[:3, :3].T + m[:3, 3], p.get_colors()) for _, p, m in contents(path)
    ]
    places, colours = zip(*found, strict=True)
    return np.concatenate(places), np.concatenate(colours)


def test_every_point_is_where_the_map_has_it_in_its_colour(
    tileset: Path, cloud: tuple[np.ndarray, np.ndarray]
) -> None:
    xyz, colours = geocentric(tileset)
    to_degrees = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)
    lon, lat, height = to_degrees.transform(*xyz.T)
    x, y = Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(lon, lat)
    apart_m, nearest = KDTree(cloud[0]).query(np.column_stack([x, y, height]))
    assert apart_m.max() < 1e-3
    assert len(np.unique(nearest)) == len(nearest) == COUNT
    assert (colours == cloud[1][nearest]).all()


def test_what_is_known_of_points_comes_with_them(tileset: Path) -> None:
    for tile, content, _ in contents(tileset):
        level = int(tile["content"]["uri"].split("/")[1])
        assert (content.get_extra_field("images") == level).all()


def test_boxes_hold_their_points_and_those_of_their_parents_hold_them(tileset: Path) -> None:
    for tile, content, _ in contents(tileset):
        low, high = corners(tile)
        places = content.get_vertices()
        assert (places >= low).all()
        assert (places <= high).all()
    for tile, above, _, _ in walk(tileset, np.eye(4)):
        if above:
            low, high = corners(tile)
            around = corners(above)
            assert (low >= around[0] - 2e-3).all()
            assert (high <= around[1] + 2e-3).all()


def corners(tile: dict) -> tuple[np.ndarray, np.ndarray]:
    box = np.array(tile["boundingVolume"]["box"])
    half = box[3:].reshape(3, 3).diagonal()
    assert (half > 0).all()
    return box[:3] - half, box[:3] + half


def test_errors_fall_to_nothing_and_tiles_add_to_those_above(tileset: Path) -> None:
    document = json.loads(tileset.read_text())
    assert document["asset"]["version"] == "1.0"
    assert document["geometricError"] > document["root"]["geometricError"]
    for tile, above, _, _ in walk(tileset, np.eye(4)):
        assert tile["refine"] == "ADD"
        if above:
            assert tile["geometricError"] < above["geometricError"]
        if "children" not in tile and tile["content"]["uri"].endswith(".pnts"):
            assert tile["geometricError"] == 0


def test_bytes_are_aligned_as_the_format_wants(tileset: Path) -> None:
    for path in tileset.parent.rglob("*.pnts"):
        content = path.read_bytes()
        sizes = np.frombuffer(content[8:28], "<u4")
        assert content[:4] == b"pnts"
        assert sizes[0] == len(content) == 28 + sizes[1:].sum()
        assert len(content) % 8 == (28 + sizes[1]) % 8 == sizes[2] % 8 == sizes[3] % 8 == 0


def test_cesiums_own_tools_read_the_tree(tileset: Path, cesium_tools) -> None:
    tiles = cesium_tools(tileset)
    files = {str(path.relative_to(tileset.parent)) for path in tileset.parent.rglob("*.pnts")}
    assert {uri for tile in tiles for uri in tile["uris"]} == files


def test_a_long_list_is_cut_and_holds_the_same(
    tileset: Path, cloud: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    cut = written(tmp_path, *cloud, listed=10)
    parts = sorted(path.name for path in tmp_path.glob("part-*.json"))
    assert parts
    assert len(json.loads(cut.read_text())["root"]["children"]) == len(parts)
    for one, other in zip(geocentric(cut), geocentric(tileset), strict=True):
        assert (np.unique(one, axis=0) == np.unique(other, axis=0)).all()


def test_no_points_are_a_tileset_too(tmp_path: Path) -> None:
    tiles = PointTiles(tmp_path, CRS, tuple(CORNER), 2.0, cut=0)
    document = json.loads(tiles.finish().read_text())
    assert "content" not in document["root"]


def test_a_reference_system_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownCrs):
        PointTiles(tmp_path, "EPSG:1", tuple(CORNER), 2.0, cut=0)
