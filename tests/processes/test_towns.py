"""A tiny made-up town, seen through its cameras: their models are exact, and it is found again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from processes.dsm import DSM
from processes.stereo.rpc import read_document
from workers.reader import Reader
from workers.workspace import LocalWorkspace

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A street of houses, 100 m wide; the right image's model is off by two pixels."""
    sys.path.insert(0, BENCHMARKS)
    try:
        from town_plan import Style
        from towns import Sitting, scene
    finally:
        sys.path.remove(BENCHMARKS)
    sitting = Sitting(
        "tiny", Style({"houses": 1.0}, block_m=(60.0, 70.0), district_m=180.0), seed=3,
        size_px=220, margin_m=10.0, bias=((2.0, 0.0),),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("town")
    scene(sitting, folder)
    return folder


def band(path: Path | str) -> tuple[np.ndarray, rasterio.Affine]:  # type: ignore[type-arg]
    with rasterio.open(path) as file:
        return file.read(1), file.transform


def test_sensor_models_are_exact_and_the_published_one_is_off_by_its_bias(town: Path) -> None:
    said = json.loads((town / "truth" / "meta.json").read_text())
    assert max(said["rpc_misfit_px"].values()) < 1e-4
    true, published = (
        read_document("right_RPC.TXT", (town / part / "right_RPC.TXT").read_text())
        if part != "truth"
        else read_document("x_RPC.TXT", (town / part / "right_true_RPC.TXT").read_text())
        for part in ("truth", ".")
    )
    lon, lat = true.locate(100.0, 50.0, 130.0)
    row, col = published.project(lon, lat, 130.0)
    assert (row, col) == pytest.approx((102.0, 50.0), abs=1e-4)


def test_roofs_planes_cover_each_outline_once(town: Path) -> None:
    outlines = geopandas.read_file(town / "truth" / "footprints.gpkg")
    planes = geopandas.read_file(town / "truth" / "roof_planes.gpkg")
    assert len(outlines) >= 3
    for outline in outlines.itertuples():
        parts = planes.geometry[planes.building_id == outline.id]
        assert shapely.union_all(parts.to_numpy()).symmetric_difference(outline.geometry).area < 1
        assert parts.area.sum() == pytest.approx(outline.geometry.area, abs=1)


def test_the_roof_raster_follows_its_planes(town: Path) -> None:
    roof, where = band(town / "truth" / "roof.tif")
    planes = geopandas.read_file(town / "truth" / "roof_planes.gpkg")
    apart = []
    for plane in planes[planes.area > 15].itertuples():
        spot = plane.geometry.representative_point()
        col, row = (int(v) for v in ~where @ (spot.x, spot.y))
        x, y = where @ (col + 0.5, row + 0.5)
        if (
            0 <= row < roof.shape[0]
            and 0 <= col < roof.shape[1]
            and plane.geometry.buffer(-0.3).contains(shapely.Point(x, y))
        ):
            high = plane.ref_z + plane.dz_de * (x - plane.ref_e) + plane.dz_dn * (y - plane.ref_n)
            apart.append(roof[row, col] - high)
    assert len(apart) >= 6
    assert np.abs(apart).max() < 0.01


def test_the_surface_is_found_again(town: Path, tmp_path: Path) -> None:
    work = LocalWorkspace(tmp_path / "products", Reader(tmp_path / "cache", files=True))
    made = DSM.run(DSM.parse({"images": [{"href": str(town / "stereo.json")}]}), work)
    dsm, here = band(made.dsm.href)
    truth, there = band(town / "truth" / "dsm.tif")
    mask, _ = band(town / "truth" / "mask.tif")
    row, col = round((there.f - here.f) / 0.5), round((here.c - there.c) / 0.5)
    part = slice(row, row + dsm.shape[0]), slice(col, col + dsm.shape[1])
    dz = (dsm - truth[part])[(mask[part] & 32) == 0]
    dz -= np.nanmedian(dz)
    assert np.isfinite(dz).mean() > 0.97
    assert np.nanmedian(np.abs(dz)) < 0.15
    assert (np.abs(dz) < 1.0).mean() > 0.85
