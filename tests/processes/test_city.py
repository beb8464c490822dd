"""The whole line on the bundled village, from two images to a validated map."""

from __future__ import annotations

import json

import geopandas
import laspy
import numpy as np
import pytest
import rasterio
from rasterio.windows import from_bounds

from processes.accuracy.expected import expected
from processes.accuracy.heights import height_figures
from processes.accuracy.outlines import outline_figures
from processes.city import _page
from server.cli import main
from server.terminal import DONE
from workers.rasters import RasterFile

OUTPUTS = {
    "dsm", "confidence", "ortho_mask", "dtm", "ndsm", "ortho", "footprints", "cityjson", "tileset",
    "geopackage", "mesh", "points", "point_tileset", "report", "page",
}  # fmt: skip


@pytest.fixture(scope="module")
def city(village, tmp_path_factory):
    """The products of `orograph run city` on the village: folder and results."""
    out = tmp_path_factory.mktemp("city")
    request = out / "request.json"
    inputs = {"images": {"href": str(village / "stereo.json")}, "point_cloud": True}
    request.write_text(json.dumps({"inputs": inputs}))
    assert main(["run", "city", str(request), "--out", str(out)]) == DONE
    return out, json.loads((out / "results.json").read_text())


def test_every_product_is_there_and_said_to_be(city):
    out, results = city
    assert set(results) == OUTPUTS
    for result in results.values():
        assert (out / result["href"]).is_file()
        assert result["type"]


def test_rasters_share_one_lattice_in_the_utm_zone_of_the_scene(city):
    out, results = city
    lattices = set()
    for name in ("dsm", "confidence", "ortho_mask", "dtm", "ndsm", "ortho"):
        with rasterio.open(out / results[name]["href"]) as file:
            lattices.add((file.crs.to_epsg(), file.transform, file.shape))
    assert len(lattices) == 1
    assert next(iter(lattices))[0] == 32631


def test_heights_agree_with_the_truth(city, village):
    out, results = city
    with rasterio.open(village / "truth/dsm.tif") as file:
        truth, bounds = file.read(1), file.bounds
    with rasterio.open(out / results["dsm"]["href"]) as file:
        ours = file.read(1, window=from_bounds(*bounds, file.transform), boundless=True)
    with rasterio.open(village / "truth/mask.tif") as file:
        inside = (file.read(1) & 32) == 0
    figures = height_figures(ours - truth, inside)
    assert figures.completeness_1m >= 0.70
    assert figures.nmad_m <= 0.55


def test_walls_stand_nearer_to_the_true_ones_than_the_surface_tells(city, village, tmp_path):
    out, results = city
    names = ("dsm", "dtm", "ortho", "ortho_mask")
    inputs = {name: {**results[name], "href": str(out / results[name]["href"])} for name in names}
    (tmp_path / "request.json").write_text(json.dumps({"inputs": inputs}))
    request = str(tmp_path / "request.json")
    assert main(["run", "footprints", request, "--out", str(tmp_path)]) == DONE
    truth = geopandas.read_file(village / "truth/footprints.gpkg").geometry.to_numpy()
    blind, sighted = (
        outline_figures(geopandas.read_parquet(path).geometry.to_numpy(), truth)
        for path in (tmp_path / "footprints.parquet", out / results["footprints"]["href"])
    )
    assert sighted.matches == blind.matches
    assert sighted.mean_iou > blind.mean_iou + 0.003
    assert sighted.mean_polis_m < blind.mean_polis_m - 0.01


def test_the_accuracy_it_predicts_is_near_the_true_one(city, village):
    out, results = city
    said = json.loads((out / results["report"]["href"]).read_text())["predicted"]
    with rasterio.open(village / "truth/dsm.tif") as file:
        truth, bounds = file.read(1), file.bounds
    with rasterio.open(out / results["dsm"]["href"]) as file:
        ours = file.read(1, window=from_bounds(*bounds, file.transform), boundless=True)
    with rasterio.open(village / "truth/mask.tif") as file:
        dz = np.where((file.read(1) & 32) == 0, ours - truth, np.nan)
    figures = height_figures(dz - np.nanmedian(dz))
    assert said["rmse_m"] == pytest.approx(figures.rmse_m, rel=0.4)
    assert said["nmad_m"] == pytest.approx(figures.nmad_m, rel=0.5)
    assert said["completeness_1m"] == pytest.approx(1 - np.nanmean(np.abs(dz) > 1), abs=0.1)
    assert said["asprs_vertical"].startswith("predicted")
    assert said["level_error_m"] > abs(np.nanmedian(dz)) / 3
    page = (out / results["page"]["href"]).read_text()
    assert "predicted from the confidence" in page
    assert "data:image/" in page


def test_buildings_have_heights_and_stand_on_the_ground(city):
    out, results = city
    houses = geopandas.read_parquet(out / results["footprints"]["href"])
    assert len(houses) > 80
    assert houses.geometry.is_valid.all()
    assert houses.id.is_unique
    assert (houses.height_m.dropna() > 1).all()
    assert (houses.roof_m.dropna() > houses.ground_m.dropna()).all()


def test_buildings_stand_on_the_mesh_with_roofs_from_the_ortho(city):
    """The mesh reaches as far as they do and as low as their feet; their tiles hold pictures."""
    out, results = city
    west, south, east, north, low, high = region(out / results["mesh"]["href"])
    houses = out / results["tileset"]["href"]
    left, bottom, right, top, feet, ridges = region(houses)
    assert west < left < right < east
    assert south < bottom < top < north
    assert low < feet < high
    assert feet < ridges < high + 40
    details = [p for p in houses.parent.glob("tiles/**/*.glb") if b"image/jpeg" in p.read_bytes()]
    assert details


def region(tileset):
    return json.loads(tileset.read_text())["root"]["boundingVolume"]["region"]


def test_points_lie_on_the_surface_that_was_made_from_them(city):
    out, results = city
    points = laspy.read(out / results["points"]["href"])
    with rasterio.open(out / results["dsm"]["href"]) as file:
        col, row = ~file.transform * (np.array(points.x), np.array(points.y))
        heights = file.read(1)[np.floor(row).astype(int), np.floor(col).astype(int)]
    assert len(points) > 500_000
    assert np.nanmedian(np.abs(np.array(points.z) - heights)) < 0.05
    assert "transform" in json.loads((out / results["point_tileset"]["href"]).read_text())["root"]


def test_the_report_says_what_was_made_from_what(city):
    out, results = city
    report = json.loads((out / results["report"]["href"]).read_text())
    assert len(report["images"]) == 2
    assert report["pointing"]["residual_after_px"] < 0.3
    assert report["surface"]["share"]["measured"] > 0.55
    assert sum(report["surface"]["share"].values()) == pytest.approx(1)
    assert report["buildings"]["count"] > 80


def test_the_page_counts_what_two_images_see_and_speaks_words(city):
    """Corners of the raster that no image shows made two thirds of what nine tenths were."""
    out, results = city
    page = (out / results["page"]["href"]).read_text()
    share = json.loads((out / results["report"]["href"]).read_text())["surface"]["share"]
    assert f"{100 * share['measured'] / (1 - share['outside']):.1f}\u202f%" in page
    assert "outside" not in page
    assert ">LOD2<" in page
    assert "asprs" not in page


def test_the_page_is_written_where_an_image_drifts(city):
    out, results = city
    figures = json.loads((out / results["report"]["href"]).read_text())
    shifts = figures["pointing"]["shift_row_col_px"]
    shifts[next(iter(shifts))] = [1.25, -2.5, 0.1, 0.2, 0.3, 0.4]
    path = out / results["confidence"]["href"]
    page = _page(figures, expected(RasterFile(path, path.name)))
    assert "1.25" in page
    assert "-2.5" in page
