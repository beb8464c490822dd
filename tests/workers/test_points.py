"""Points through the workspace: from blocks to files, in the colours of an ortho."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
import pytest
from affine import Affine
from numpy.testing import assert_array_equal
from py3dtiles.tileset.content import Pnts

from processes.core.errors import InvalidInput
from processes.core.process import COPC, TILESET, Asset, Layer, Outputs, PointLayer
from processes.core.raster import POINT, Grid, Points, Raster
from workers.points import PointFile, _Cube, wkt, write_points
from workers.reader import Reader
from workers.results import finished
from workers.workspace import LocalWorkspace

GRID = Grid("EPSG:32631", Affine(0.5, 0, 431_000, 0, -0.5, 5_290_300), 600, 1100)
"""550 m by 300 m: three squares by two of the octree."""


class Made(Outputs):
    """What a process that makes points gives."""

    points: Asset
    tileset: Asset


def ground(grid: Grid) -> Points:
    """Return a point in the middle of every second cell each way: a plane that rises eastwards."""
    x, y = (v.ravel() for v in grid.xy(*np.indices(grid.shape)))
    row, col = (np.rint(v).astype(int) for v in GRID.rowcol(x, y))
    second = (row % 2 == 0) & (col % 2 == 0)
    found = np.zeros(second.sum(), POINT)
    found["x"], found["y"] = x[second], y[second]
    found["z"] = 100 + 0.1 * (found["x"] - 431_000)
    found["likelihood"], found["images"] = 0.75, 2
    found["error_m"] = np.where(found["x"] < 431_100, np.nan, 0.4)
    return Points(found)


def kernel(grid: Grid) -> tuple[Raster, Points]:
    return Raster(np.zeros(grid.shape, np.float32), grid), ground(grid)


@pytest.fixture
def work(tmp_path: Path) -> LocalWorkspace:
    return LocalWorkspace(tmp_path / "job", Reader(tmp_path / "cache"))


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    """Red grows to the east, green to the south; blue is dark."""
    row, col = np.indices(GRID.shape)
    blue = np.full(GRID.shape, 40)
    return np.stack([1 + 254 * col // 1100, 1 + 254 * row // 600, blue]).astype(np.uint8)


def made(
    work: LocalWorkspace, values: np.ndarray, names: tuple[str, ...], *, block_px: int = 256
) -> Made:
    _, raw = work.map_layers(
        [Layer("flat"), PointLayer("raw")], kernel, grid=GRID, margin_m=10.0, block_px=block_px
    )
    ortho = work.write_raster(Layer("ortho", str(values.dtype), names), Raster(values, GRID))
    points, tileset = work.write_points("points", raw, ortho, tileset="tiles")
    return Made(points=points, tileset=tileset)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, colours: np.ndarray) -> Made:
    folder = tmp_path_factory.mktemp("points")
    work = LocalWorkspace(folder / "job", Reader(folder / "cache"))
    outputs = made(work, colours, ("red", "green", "blue"))
    finished(outputs, folder / "job")
    return outputs


def test_every_point_comes_once_whatever_the_blocks(product: Made) -> None:
    assert product.points.type == COPC
    read = laspy.read(product.points.href)
    row, col = (np.rint(v).astype(int) for v in GRID.rowcol(np.array(read.x), np.array(read.y)))
    seen = np.zeros(GRID.shape, int)
    np.add.at(seen, (row, col), 1)
    assert (seen[::2, ::2] == 1).all()
    assert len(read) == 300 * 550
    assert np.abs(np.array(read.z) - (100 + 0.1 * (np.array(read.x) - 431_000))).max() < 0.0101
    assert (read.likelihood == 75).all()
    assert (read.error_cm == np.where(np.array(read.x) < 431_100, 65535, 40)).all()
    assert (read.images == 2).all()
    assert (read.return_number == 1).all()
    assert (read.number_of_returns == 1).all()


def test_places_have_heights_above_the_ellipsoid_in_the_system_of_the_map(product: Made) -> None:
    with laspy.open(product.points.href) as file:
        crs = file.header.parse_crs()
    assert crs.to_2d().to_authority() == ("EPSG", "32631")
    assert [axis.name for axis in crs.axis_info][-1] == "Ellipsoidal height"


def test_points_have_the_colours_of_their_cells(product: Made, colours: np.ndarray) -> None:
    read = laspy.read(product.points.href)
    assert read.point_format.id == 7
    row, col = (np.rint(v).astype(int) for v in GRID.rowcol(np.array(read.x), np.array(read.y)))
    seen = np.stack([np.array(read[name]) for name in ("red", "green", "blue")])
    assert_array_equal(seen, 257 * colours[:, row, col].astype(np.uint16))


def test_the_tileset_has_the_same_points_in_the_same_colours(product: Made) -> None:
    assert product.tileset.type == TILESET
    folder = Path(product.tileset.href).parent
    tiles = [Pnts.from_bytes(path.read_bytes()) for path in sorted(folder.rglob("*.pnts"))]
    assert sum(tile.get_vertex_count() for tile in tiles) == 300 * 550
    colours = np.sort(np.concatenate([tile.get_colors() for tile in tiles]), axis=0)
    read = laspy.read(product.points.href)
    known = np.stack([np.array(read[name]) // 257 for name in ("red", "green", "blue")], axis=1)
    assert_array_equal(colours, np.sort(known, axis=0))
    assert {field for tile in tiles for field in tile.get_extra_field_names()} == {
        "likelihood",
        "error_cm",
        "images",
    }


def test_the_root_is_an_even_sample_over_all_squares(product: Made) -> None:
    root = Path(product.tileset.href).parent / "points/0/0-0-0.pnts"
    places = Pnts.from_bytes(root.read_bytes()).get_vertices()
    spacing_m = 512 * 0.5 * 4 / 128
    assert len(places) == pytest.approx(550 * 300 / spacing_m**2, rel=0.05)
    assert np.ptp(places[:, 0]) == pytest.approx(550, abs=15)
    assert np.ptp(places[:, 1]) == pytest.approx(300, abs=15)


def test_nothing_but_the_product_is_left(product: Made) -> None:
    folder = Path(product.points.href).parent
    assert sorted(path.name for path in folder.iterdir()) == ["points.copc.laz", "tiles"]


def test_blocks_of_another_size_give_the_same_bytes(
    work: LocalWorkspace, product: Made, colours: np.ndarray
) -> None:
    """Blocks come row by row; within a cell of the octree, order along the curve decides."""
    again = made(work, colours, ("red", "green", "blue"), block_px=700)
    assert Path(again.points.href).read_bytes() == Path(product.points.href).read_bytes()


def test_near_infrared_comes_along_stretched_by_itself(
    work: LocalWorkspace, colours: np.ndarray
) -> None:
    north = np.where(np.arange(600)[:, None] < 300, 2400, 100) + np.zeros(GRID.shape)
    values = np.concatenate([10 * colours.astype(np.uint16), north[None].astype(np.uint16)])
    read = laspy.read(made(work, values, ("red", "green", "blue", "nir"), block_px=700).points.href)
    assert read.point_format.id == 8
    y = np.array(read.y)
    assert (read.nir[y > 5_290_151] == 65535).all()
    assert (read.nir[y < 5_290_149] == 0).all()
    assert np.corrcoef(np.array(read.x), np.array(read.red))[0, 1] > 0.99


def test_a_panchromatic_ortho_makes_grey_points(work: LocalWorkspace, colours: np.ndarray) -> None:
    outputs = made(work, colours[:1], ("pan",), block_px=700)
    read = laspy.read(outputs.points.href)
    assert read.point_format.id == 7
    assert_array_equal(read.red, read.green)
    assert_array_equal(read.red, read.blue)
    assert np.ptp(np.array(read.red)) > 60_000


def test_no_points_make_empty_files(work: LocalWorkspace, colours: np.ndarray) -> None:
    def nothing(grid: Grid) -> tuple[Points]:
        return (Points(np.empty(0, POINT)),)

    (raw,) = work.map_layers([PointLayer("raw")], nothing, grid=GRID)
    ortho = work.write_raster(Layer("ortho", "uint8"), Raster(colours, GRID))
    points, tileset = work.write_points("points", raw, ortho, tileset="tiles")
    assert len(laspy.read(points.href)) == 0
    assert Path(tileset.href).is_file()


def test_a_fault_leaves_no_half_written_points(tmp_path: Path, colours: np.ndarray) -> None:
    file = PointFile(tmp_path / "raw.points", GRID)
    file.write(ground(GRID.window(0, 0, 50, 50)).values, 0, 0)
    file.finish()
    work = LocalWorkspace(tmp_path, Reader(tmp_path / "cache"))
    ortho = work.open_raster(work.write_raster(Layer("ortho", "uint8"), Raster(colours, GRID)))

    def dismissed(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        write_points(
            tmp_path / "raw.points", tmp_path / "p.copc.laz", tmp_path / "t", ortho,
            progress=dismissed,
        )  # fmt: skip
    assert not list(tmp_path.glob("*.laz"))
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:2154", "EPSG:3857"])
def test_any_projection_gets_an_ellipsoidal_height(crs: str) -> None:
    from pyproj import CRS

    whole = CRS.from_wkt(wkt(crs))
    assert whole.to_2d().equals(CRS.from_user_input(crs), ignore_axis_order=True)
    assert len(whole.axis_info) == 3


def test_an_area_too_wide_for_the_octree_is_refused_in_words() -> None:
    facts = {"crs": "EPSG:32631", "transform": [0.5, 0, 0, 0, -0.5, 0], "shape": [9, 3_000_000]}
    with pytest.raises(InvalidInput, match="too wide"):
        _Cube.of(facts | {"heights": [0, 1]})


def test_points_keep_to_the_block_that_their_cell_is_in() -> None:
    outer = ground(GRID.window(-5, -5, 20, 30))
    assert len(outer.within(GRID.window(0, 0, 10, 20)).values) == 50
    edge = Points(outer.values[:1].copy())
    edge.values["x"], edge.values["y"] = 431_005, 5_290_295
    places: list[Callable[[], Grid]] = [
        lambda row=row, col=col: GRID.window(row, col, 10, 10) for row in (0, 10) for col in (0, 10)
    ]
    assert sum(len(edge.within(place()).values) for place in places) == 1
