"""The point cloud process on a piece of the village: against the truth, and against the surface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
import rasterio
from py3dtiles.tileset.content import Pnts
from pyproj import Transformer

from processes.core.errors import InvalidInput, OutsideArea, TooFewImages
from processes.core.process import COPC, TILESET
from processes.dsm import DSM
from processes.pointcloud import POINTCLOUD, PointcloudOutputs
from workers.reader import Reader
from workers.results import finished
from workers.workspace import LocalWorkspace

AOI = {
    "type": "Polygon",
    "coordinates": [
        [[2.0815, 47.7620], [2.0845, 47.7620], [2.0845, 47.7638], [2.0815, 47.7638],
         [2.0815, 47.7620]]
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> LocalWorkspace:
    folder = tmp_path_factory.mktemp("pointcloud")
    return LocalWorkspace(folder / "products", Reader(folder / "cache", files=True))


def made_of(work: LocalWorkspace, images: list[Path], **inputs: Any) -> PointcloudOutputs:
    values = {"images": [{"href": str(path)} for path in images], **inputs}
    return POINTCLOUD.run(POINTCLOUD.parse(values), work)


@pytest.fixture(scope="module")
def products(work: LocalWorkspace, village: Path) -> PointcloudOutputs:
    dem = {"href": str(village / "dem.tif")}
    outputs = made_of(work, [village / "stereo.json"], aoi=AOI, dem=dem)
    finished(outputs, work.folder)
    return outputs


@pytest.fixture(scope="module")
def points(products: PointcloudOutputs) -> laspy.LasData:
    return laspy.read(products.points.href)


def xyz(points: laspy.LasData) -> np.ndarray:
    return np.stack([np.array(points[axis]) for axis in "xyz"], axis=1)


def cells(href: Path | str, places: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return all bands of a raster, and the rows and columns that places lie in."""
    with rasterio.open(href) as file:
        col, row = ~file.transform * places[:, :2].T
        return file.read(), np.floor(row).astype(int), np.floor(col).astype(int)


def test_points_are_as_right_as_the_surface_that_is_made_from_them(
    products: PointcloudOutputs, points: laspy.LasData, village: Path
) -> None:
    places = xyz(points)
    truth, row, col = cells(village / "truth/dsm.tif", places)
    unsure, *_ = cells(village / "truth/mask.tif", places)
    apart = (places[:, 2] - truth[0, row, col])[(unsure[0, row, col] & 32) == 0]
    nmad = 1.4826 * np.median(np.abs(apart - np.median(apart)))
    assert nmad < 0.25
    assert abs(np.median(apart)) < 0.3
    assert np.mean(np.abs(apart) > 1) < 0.06


def test_there_is_about_one_point_for_each_measured_cell_and_none_off_the_surface(
    products: PointcloudOutputs, points: laspy.LasData
) -> None:
    places = xyz(points)
    dsm, row, col = cells(products.dsm.href, places)
    origin, *_ = cells(products.ortho_mask.href, places)
    assert (origin[0, row, col] == 1).mean() > 0.999  # a step of 1 cm may lie beyond the border
    assert 0.85 < len(places) / (origin[0] == 1).sum() < 1.1
    high, low = (reach(dsm[0], how) for how in (np.fmax, np.fmin))
    assert (places[:, 2] < high[row, col] + 1.02).mean() > 0.999
    assert (places[:, 2] > low[row, col] - 1.02).mean() > 0.999


def reach(dsm: np.ndarray, how: np.ufunc) -> np.ndarray:
    """Return the highest or lowest of each cell and its eight neighbours."""
    wide = np.pad(dsm, 1, constant_values=np.nan)
    rows, cols = dsm.shape
    windows = [wide[i : i + rows, j : j + cols] for i in range(3) for j in range(3)]
    return np.asarray(how.reduce(windows))


def test_the_file_is_las_with_colours_infrared_and_what_is_known(
    products: PointcloudOutputs, points: laspy.LasData
) -> None:
    assert products.points.type == COPC
    assert (str(points.header.version), points.header.point_format.id) == ("1.4", 8)
    assert points.header.parse_crs().to_2d().to_epsg() == 32631
    assert set(np.unique(points.images)) == {2}
    assert 50 < np.median(points.likelihood) <= 100
    error, row, col = cells(products.confidence.href, xyz(points))
    cell_cm = 100 * error[0, row, col]
    assert (np.abs(points.error_cm - cell_cm) < 0.6).mean() > 0.99  # but for steps over borders
    ortho, row, col = cells(products.ortho.href, xyz(points))
    for band, name in enumerate(("red", "green", "blue", "nir")):
        known = ortho[band, row, col] > 0
        assert known.mean() > 0.99
        pair = ortho[band, row, col][known], np.array(points[name])[known]
        assert np.corrcoef(*pair)[0, 1] > 0.9  # but for what is darker than black


def test_the_tileset_lies_on_the_globe_where_the_map_is(
    products: PointcloudOutputs, points: laspy.LasData
) -> None:
    assert products.point_tileset.type == TILESET
    path = Path(products.point_tileset.href)
    root = json.loads(path.read_text())["root"]
    axes = np.array(root["transform"]).reshape(4, 4).T
    tiles = [Pnts.from_bytes(file.read_bytes()) for file in path.parent.rglob("*.pnts")]
    local = np.concatenate([tile.get_vertices() for tile in tiles])
    assert len(local) == len(points)
    to_degrees = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)
    lon, lat, height = to_degrees.transform(*(local @ axes[:3, :3].T + axes[:3, 3]).T)
    west, south = AOI["coordinates"][0][0]
    east, north = AOI["coordinates"][0][2]
    assert (lon.min(), lon.max()) == pytest.approx((west, east), abs=1e-5)
    assert (lat.min(), lat.max()) == pytest.approx((south, north), abs=1e-5)
    assert np.median(height) == pytest.approx(np.median(xyz(points)[:, 2]), abs=0.02)


def test_nothing_but_products_is_kept(products: PointcloudOutputs, work: LocalWorkspace) -> None:
    files = {path.name for path in work.folder.rglob("*") if path.is_file()}
    tiles = {name for name in files if name.endswith(".pnts")}
    assert files - tiles == {
        "dsm.tif", "confidence.tif", "ortho_mask.tif", "ortho.tif", "ortho_source.tif",
        "points.copc.laz", "tileset.json",
    }  # fmt: skip


# -- bad input is told of as the surface model does


def test_one_image_is_too_few(work: LocalWorkspace, village: Path) -> None:
    with pytest.raises(TooFewImages, match="two images"):
        made_of(work, [village / "left.json"])


def test_a_dem_of_another_place(work: LocalWorkspace, village: Path, tmp_path: Path) -> None:
    with rasterio.open(village / "dem.tif") as file:
        heights, profile = file.read(), file.profile
    profile["transform"] = rasterio.Affine(0.0003, 0, 12.0, 0, -0.0003, 40.0)
    with rasterio.open(tmp_path / "far.tif", "w", **profile) as file:
        file.write(heights)
    with pytest.raises(OutsideArea):
        made_of(work, [village / "stereo.json"], dem={"href": str(tmp_path / "far.tif")})


@pytest.mark.parametrize(
    "inputs",
    [{}, {"images": []}, {"images": "left"}, {"images": {"href": "x"}, "resolution_m": 0.01}],
)
def test_requests_are_refused_in_the_words_of_the_surface_model(inputs: dict[str, Any]) -> None:
    said = []
    for process in (POINTCLOUD, DSM):
        with pytest.raises(InvalidInput) as caught:
            process.parse(inputs)
        said.append(str(caught.value).replace(process.id, "it"))
    assert said[0] == said[1]
