"""The surface model process: a known scene, whole; and every input that cannot be used."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import box, mapping

from processes.core.errors import (
    BrokenRpc,
    InvalidInput,
    NoOverlap,
    NoRpc,
    NoTexture,
    OrographError,
    OutsideArea,
    TooFewImages,
    UnknownCrs,
)
from processes.core.raster import Grid
from processes.dsm import BLOCK_PX, DSM, LONGEST, DsmOutputs, block_shape
from processes.stereo.rpc import read_document
from workers.reader import Reader
from workers.workspace import LocalWorkspace

SIDES = ("left", "right")
AOI = {
    "type": "Polygon",
    "coordinates": [
        [[2.0815, 47.7620], [2.0845, 47.7620], [2.0845, 47.7638], [2.0815, 47.7638],
         [2.0815, 47.7620]]
    ],
}  # fmt: skip

HOUSES = {
    "type": "Polygon",
    "coordinates": [
        [[2.0820, 47.7625], [2.0832, 47.7625], [2.0832, 47.7633], [2.0820, 47.7633],
         [2.0820, 47.7625]]
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> LocalWorkspace:
    folder = tmp_path_factory.mktemp("dsm")
    return LocalWorkspace(folder / "products", Reader(folder / "cache", files=True))


def surface_model(work: LocalWorkspace, images: list[Path], **inputs: Any) -> DsmOutputs:
    values = {"images": [{"href": str(path)} for path in images], **inputs}
    return DSM.run(DSM.parse(values), work)


@pytest.fixture(scope="module")
def products(work: LocalWorkspace, village: Path) -> DsmOutputs:
    return surface_model(work, [village / "stereo.json"], aoi=AOI)


def band(href: Path | str) -> tuple[NDArray[Any], Any]:
    with rasterio.open(href) as file:
        return file.read(1), file.transform


def against_truth(href: str, village: Path) -> NDArray[np.float32]:
    """Return product less truth where the truth counts, NaN where the product is void."""
    dsm, here = band(href)
    truth, there = band(village / "truth/dsm.tif")
    row = round((there.f - here.f) / 0.5)
    col = round((here.c - there.c) / 0.5)
    part = slice(row, row + dsm.shape[0]), slice(col, col + dsm.shape[1])
    return (dsm - truth[part])[counted(href, village)]


def counted(href: str, village: Path) -> NDArray[np.bool_]:
    """Return which cells of a product the truth says something of."""
    product, here = band(href)
    mask, there = band(village / "truth/mask.tif")
    row = round((there.f - here.f) / 0.5)
    col = round((here.c - there.c) / 0.5)
    return (mask[row : row + product.shape[0], col : col + product.shape[1]] & 32) == 0


def test_the_village_is_measured_without_any_shift(products: DsmOutputs, village: Path) -> None:
    apart = against_truth(products.dsm.href, village)
    known = apart[np.isfinite(apart)]
    nmad = 1.4826 * np.median(np.abs(known - np.median(known)))
    assert nmad < 0.55
    assert np.mean(np.abs(np.nan_to_num(apart, nan=99)) <= 1.0) > 0.75


def test_products_share_a_grid_and_say_where_heights_come_from(products: DsmOutputs) -> None:
    dsm, grid = band(products.dsm.href)
    error_m, same = band(products.confidence.href)
    origin, too = band(products.ortho_mask.href)
    assert grid == same == too
    assert dsm.shape == error_m.shape == origin.shape
    assert (np.isfinite(dsm) == np.isin(origin, (1, 2, 3, 4, 6))).all()
    assert (np.isfinite(error_m) == np.isfinite(dsm)).all()
    assert 0.2 < np.median(error_m[origin == 1]) < 0.6
    assert np.median(error_m[np.isin(origin, (2, 4, 6))]) > 2.0
    assert np.mean(origin == 1) > 0.75


def test_nine_heights_in_ten_are_as_good_as_claimed(products: DsmOutputs, village: Path) -> None:
    apart = against_truth(products.dsm.href, village)
    claimed = band(products.confidence.href)[0][counted(products.confidence.href, village)]
    off = np.abs(apart - np.nanmedian(apart))
    known = np.isfinite(off)
    assert 0.88 < np.mean(off[known] <= claimed[known]) < 0.93
    # and the claims tell good from bad
    sure, unsure = (known & (claimed < 0.4)), (known & (claimed > 2.0))
    assert np.quantile(off[sure], 0.9) < 0.4
    assert np.quantile(off[unsure], 0.9) > 2.0


def test_the_pointing_correction_travels_with_the_product(products: DsmOutputs) -> None:
    with rasterio.open(products.dsm.href) as file:
        tags = file.tags()
        assert file.crs.to_string() == "EPSG:32631"
    shifts = json.loads(tags["OROGRAPH_POINTING"])
    assert [0.0, 0.0] in shifts.values()
    assert max(abs(col) for _, col in shifts.values()) == pytest.approx(1.8, abs=0.15)
    assert float(tags["OROGRAPH_TIE_RESIDUAL_AFTER_PX"]) < 0.3
    assert tags["VERTICAL_REFERENCE"] == "WGS84 ellipsoid"


def test_a_coarse_model_on_the_geoid_lifts_the_scene_to_the_ellipsoid(
    work: LocalWorkspace, village: Path, tmp_path: Path
) -> None:
    from processes.stereo.geoid import undulation_m

    with rasterio.open(village / "dem.tif") as file:
        heights, profile = file.read(1), file.profile
    on_geoid = tmp_path / "srtm.tif"
    with rasterio.open(on_geoid, "w", **profile) as file:
        file.write(heights - np.float32(undulation_m(2.0836, 47.7627)), 1)
    made = surface_model(
        work, [village / "stereo.json"], aoi=AOI, dem={"href": str(on_geoid)}, crs="EPSG:2154"
    )
    with rasterio.open(made.dsm.href) as file:
        assert file.crs.to_string() == "EPSG:2154"
        median = float(np.nanmedian(file.read(1)))
    assert median == pytest.approx(143.0, abs=8.0)  # on the geoid it would stand at 97 m


def test_voids_that_a_coarse_model_does_not_declare_draw_nothing(
    work: LocalWorkspace, village: Path, tmp_path: Path
) -> None:
    with rasterio.open(village / "dem.tif") as file:
        heights, profile = file.read(1), file.profile
    profile["nodata"] = None
    _, col = np.indices(heights.shape)

    def made(name: str, z: NDArray[Any]) -> DsmOutputs:
        with rasterio.open(tmp_path / name, "w", **profile) as file:
            file.write(z.astype(heights.dtype), 1)
        return surface_model(
            work, [village / "stereo.json"], aoi=AOI, dem={"href": str(tmp_path / name)}
        )

    whole = made("whole.tif", heights).dsm.href
    level = float(np.nanmedian(band(whole)[0]))
    holed = made("holed.tif", np.where(col % 8 < 4, 0.0, heights)).dsm.href
    assert float(np.nanmedian(band(holed)[0])) == pytest.approx(level, abs=1.5)
    with rasterio.open(holed) as file:
        assert file.tags()["OROGRAPH_DEM_VOID_M"] == "0"
        assert file.tags()["OROGRAPH_DEM_HEIGHTS"] == "ellipsoid"
    with pytest.raises(InvalidInput, match=r"dem lies .* m below what the images show"):
        made("empty.tif", 0.0 * heights)
    with pytest.raises(InvalidInput, match=r"dem lies .* m above what the images show"):
        made("feet.tif", heights / 0.3048)


def test_control_points_bring_a_scene_that_points_wrongly_to_its_place(
    work: LocalWorkspace, village: Path, tmp_path: Path
) -> None:
    for name in ("left", "right"):
        shutil.copy(village / f"{name}.tif", tmp_path)
        text = (village / f"{name}_RPC.TXT").read_text()
        line = next(line for line in text.splitlines() if line.startswith("LINE_OFF"))
        wrong = f"LINE_OFF: {float(line.split()[1]) + 5.0}"
        (tmp_path / f"{name}_RPC.TXT").write_text(text.replace(line, wrong))
    images = [tmp_path / "left.tif", tmp_path / "right.tif"]
    gcps = control_points(village, tmp_path / "gcps.geojson")
    made = surface_model(work, images, aoi=AOI, gcps={"href": str(gcps)})
    dz = against_truth(made.dsm.href, village)
    assert abs(np.nanmedian(dz)) < 0.3
    assert np.mean(np.abs(dz[np.isfinite(dz)]) <= 1.0) > 0.75
    with rasterio.open(made.dsm.href) as file:
        assert float(file.tags()["OROGRAPH_CONTROL_RESIDUAL_PX"]) < 0.3
        shifts = json.loads(file.tags()["OROGRAPH_POINTING"])
    assert shifts["left"] == pytest.approx([-5.0, 0.0], abs=0.3)


def control_points(village: Path, path: Path) -> Path:
    """Six marks on the ground, as both images see them through their true sensor models."""
    features = []
    rng = np.random.default_rng(2)
    truth = [read_document(n, (village / f"truth/{n}_true_RPC.TXT").read_text()) for n in SIDES]
    for row, col in rng.uniform(250, 650, (6, 2)):
        height = float(rng.uniform(135, 150))
        lon, lat = (float(v) for v in truth[0].locate(row, col, height))
        for name, model in zip(SIDES, truth, strict=True):
            seen = (float(v) for v in model.project(lon, lat, height))
            features.append(
                {
                    "type": "Feature",
                    "geometry": {"type": "Point", "coordinates": [lon, lat, height]},
                    "properties": dict(zip(("image", "row", "col"), (name, *seen), strict=True)),
                }
            )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_control_points_that_cannot_be_used_are_named(
    work: LocalWorkspace, village: Path, tmp_path: Path
) -> None:
    path = control_points(village, tmp_path / "gcps.geojson")
    with pytest.raises(InvalidInput, match="no image is called left; there are"):
        surface_model(work, [village / "stereo.json"], aoi=AOI, gcps={"href": str(path)})
    path.write_text(path.read_text().replace('"col"', '"column"'))
    with pytest.raises(InvalidInput, match="lack col"):
        surface_model(work, [village / "stereo.json"], aoi=AOI, gcps={"href": str(path)})


def test_cells_finer_than_the_images_are_no_less_full(village: Path, tmp_path: Path) -> None:
    work = LocalWorkspace(tmp_path / "fine", Reader(tmp_path / "cache", files=True))
    fine = surface_model(work, [village / "stereo.json"], aoi=HOUSES, resolution_m=0.25)
    origin, grid = band(fine.ortho_mask.href)
    assert grid.a == 0.25
    assert np.mean(origin == 1) > 0.75  # as of cells as wide as the pixels
    with pytest.raises(InvalidInput, match=r"resolution_m 0.1 is finer .* ask for 0.17"):
        surface_model(work, [village / "stereo.json"], aoi=HOUSES, resolution_m=0.1)


# -- bad input: each a named error


Change = Callable[[NDArray[np.uint16]], NDArray[Any]]


def copied(source: Path, folder: Path, name: str, change: Change | None = None) -> Path:
    """Copy an image and its sensor model, changed."""
    folder.mkdir(exist_ok=True)
    with rasterio.open(source) as file:
        pixels, profile, rpcs = file.read(), file.profile, file.tags(ns="RPC")
    if change is not None:
        pixels = change(pixels)
    profile.update(dtype=pixels.dtype, crs=None)
    target = folder / f"{name}.tif"
    with rasterio.open(target, "w", **profile) as file:
        file.write(pixels)
        file.update_tags(ns="RPC", **rpcs)
    shutil.copy(source.with_name(f"{source.stem}_RPC.TXT"), folder / f"{name}_RPC.TXT")
    return target


def refused(
    work: LocalWorkspace, fault: type[OrographError], images: list[Path], **how: Any
) -> str:
    with pytest.raises(fault) as caught:
        surface_model(work, images, **how)
    return str(caught.value)


def test_one_image_is_too_few(work: LocalWorkspace, village: Path) -> None:
    assert "two images" in refused(work, TooFewImages, [village / "left.json"])


def test_an_image_without_sensor_model(work: LocalWorkspace, village: Path, tmp_path: Path) -> None:
    with rasterio.open(village / "right.tif") as file:
        pixels, profile = file.read(), file.profile
    profile.update(crs=None)
    bare = tmp_path / "bare.tif"
    with rasterio.open(bare, "w", **profile) as file:
        file.write(pixels)
    assert "bare has no sensor model" in refused(work, NoRpc, [village / "left.tif", bare])


def test_a_broken_sensor_model_names_its_file(
    work: LocalWorkspace, village: Path, tmp_path: Path
) -> None:
    image = copied(village / "right.tif", tmp_path, "right")
    document = tmp_path / "right_RPC.TXT"
    document.write_text(document.read_text().replace("SAMP_DEN_COEFF_3", "SAMP_DEN_COEFF_99"))
    message = refused(work, BrokenRpc, [village / "left.tif", image])
    assert "right_RPC.TXT: SAMP_DEN_COEFF_3 is missing" in message


def test_images_of_two_places(work: LocalWorkspace, village: Path, tmp_path: Path) -> None:
    image = copied(village / "right.tif", tmp_path, "far")
    document = tmp_path / "far_RPC.TXT"
    document.write_text(document.read_text().replace("LONG_OFF: 2.08", "LONG_OFF: 2.58"))
    assert "share no ground" in refused(work, NoOverlap, [village / "left.tif", image])


def test_the_same_image_twice(work: LocalWorkspace, village: Path) -> None:
    assert "directions" in refused(work, NoOverlap, [village / "left.tif", village / "left.tif"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: np.full_like(p, 700), "constant"),
        (lambda p: np.full(p.shape, np.nan, np.float32), "holds no data"),
    ],
)
def test_images_with_nothing_to_match(
    work: LocalWorkspace, village: Path, tmp_path: Path, change: Change, words: str
) -> None:
    image = copied(village / "right.tif", tmp_path, "right", change)
    assert words in refused(work, NoTexture, [village / "left.tif", image])


def test_noise_without_common_features(work: LocalWorkspace, village: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(2)
    image = copied(
        village / "right.tif",
        tmp_path,
        "right",
        lambda p: noise.integers(1, 4000, p.shape).astype(np.uint16),
    )
    message = refused(work, NoTexture, [village / "left.tif", image])
    assert re.search(r"no common features were found on the 0\.\d+ km² that", message)


def test_an_image_that_is_given_once_more_changes_nothing(
    work: LocalWorkspace, village: Path
) -> None:
    left, right = village / "left.tif", village / "right.tif"
    pair = surface_model(work, [left, right], aoi=HOUSES)
    again = surface_model(work, [left, right, left], aoi=HOUSES)
    apart = band(again.dsm.href)[0] - band(pair.dsm.href)[0]
    assert np.nanquantile(np.abs(apart), 0.9) < 0.2


def test_an_area_as_large_as_the_world_takes_nothing_away(
    work: LocalWorkspace, village: Path
) -> None:
    world = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    aoi = {"type": "Polygon", "coordinates": [world]}
    whole = surface_model(work, [village / "stereo.json"], aoi=aoi, resolution_m=2.0)
    assert np.mean(np.isfinite(band(whole.dsm.href)[0])) > 0.6


def test_a_scene_on_the_antimeridian_is_like_any_other(
    work: LocalWorkspace, village: Path, tmp_path: Path
) -> None:
    for side, turn in (("left", 0.0), ("right", -360.0)):
        shutil.copy(village / f"{side}.tif", tmp_path)
        text = (village / f"{side}_RPC.TXT").read_text()
        lon = read_document("x_RPC.TXT", text).lon_off
        there = f"LONG_OFF: {lon + 177.9174 + turn!r}"
        text = re.sub("LONG_OFF: .*", there, text)
        (tmp_path / f"{side}_RPC.TXT").write_text(text)
    images = [tmp_path / f"{side}.tif" for side in SIDES]
    parts = [
        box(west, 47.7625, east, 47.7633) for west, east in ((179.9994, 180.0), (-180.0, -179.9994))
    ]
    aoi = {"type": "MultiPolygon", "coordinates": [mapping(part)["coordinates"] for part in parts]}
    moved, _ = band(surface_model(work, images, aoi=aoi).dsm.href)
    here = [village / f"{side}.tif" for side in SIDES]
    plain, _ = band(surface_model(work, here, aoi=HOUSES).dsm.href)
    assert np.isfinite(moved).mean() > 0.9
    assert np.nanmedian(moved) == pytest.approx(float(np.nanmedian(plain)), abs=0.2)


def test_an_area_elsewhere(work: LocalWorkspace, village: Path) -> None:
    far = {"type": "Polygon", "coordinates": [[[9, 9], [9.01, 9], [9.01, 9.01], [9, 9]]]}
    refused(work, OutsideArea, [village / "stereo.json"], aoi=far)


@pytest.mark.parametrize(
    "aoi",
    [
        {"type": "Point", "coordinates": [2.08, 47.76]},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[2, 47], [3, 48], [3, 47], [2, 48], [2, 47]]]},
        {"type": "Polygon", "coordinates": "here"},
        {"type": "Polygon", "coordinates": [[[431000, 5290000], [431100, 5290000],
                                             [431100, 5290100], [431000, 5290000]]]},
    ],
)  # fmt: skip
def test_an_area_that_is_no_polygon(work: LocalWorkspace, village: Path, aoi: Any) -> None:
    assert "aoi" in refused(work, InvalidInput, [village / "stereo.json"], aoi=aoi)


def test_an_unknown_reference_system(work: LocalWorkspace, village: Path) -> None:
    refused(work, UnknownCrs, [village / "stereo.json"], crs="EPSG:0")


def test_a_coarse_model_of_another_place(
    work: LocalWorkspace, village: Path, tmp_path: Path
) -> None:
    with rasterio.open(village / "dem.tif") as file:
        heights, profile = file.read(1), file.profile
    profile["transform"] = rasterio.Affine.translation(5, 0) * profile["transform"]
    with rasterio.open(tmp_path / "dem.tif", "w", **profile) as file:
        file.write(heights, 1)
    message = refused(
        work, OutsideArea, [village / "stereo.json"], dem={"href": str(tmp_path / "dem.tif")}
    )
    assert "dem does not cover" in message


def test_no_product_is_left_after_a_fault(work: LocalWorkspace, village: Path) -> None:
    before = sorted(work.folder.rglob("*.tif"))
    refused(work, UnknownCrs, [village / "stereo.json"], crs="EPSG:0")
    assert sorted(work.folder.rglob("*.tif")) == before


@given(rows=st.integers(1, 30_000), cols=st.integers(1, 30_000), margin_m=st.floats(0, 100))
def test_no_block_is_larger_than_memory_allows_nor_are_there_more_than_of_squares(
    rows: int, cols: int, margin_m: float
) -> None:
    grid = Grid("EPSG:32631", Affine(0.5, 0, 0, 0, -0.5, 0), rows, cols)
    margin = int(np.ceil(margin_m / 0.5))
    side = BLOCK_PX + 2 * margin
    height, width = block_shape(grid, 0.5, margin_m)
    wide = min(height + 2 * margin, rows), min(width + 2 * margin, cols)
    assert wide[0] * wide[1] <= side**2
    assert max(wide) <= LONGEST * side
    squares = np.ceil(rows / BLOCK_PX) * np.ceil(cols / BLOCK_PX)
    assert np.ceil(rows / height) * np.ceil(cols / width) <= squares


def test_a_town_a_little_larger_than_a_block_is_cut_once() -> None:
    grid = Grid("EPSG:32631", Affine(0.5, 0, 0, 0, -0.5, 0), 2160, 2164)
    assert block_shape(grid, 0.5, 30.0) == (2160, 1082)
    assert block_shape(grid, 0.25, 30.0) == (720, 722)
