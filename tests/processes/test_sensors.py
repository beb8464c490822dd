"""Images as sensors deliver them: bundles, clouds, borders, other number types and samplings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from processes.core.process import Asset
from processes.dsm import DSM, DsmOutputs
from processes.ortho import ORTHO
from workers.reader import Reader
from workers.workspace import LocalWorkspace

NAMES = ("left", "right")
AOI = {
    "type": "Polygon",
    "coordinates": [
        [[2.0815, 47.7620], [2.0845, 47.7620], [2.0845, 47.7638], [2.0815, 47.7638],
         [2.0815, 47.7620]]
    ],
}  # fmt: skip
Pixels = NDArray[np.float32]


@pytest.fixture
def work(tmp_path: Path) -> LocalWorkspace:
    return LocalWorkspace(tmp_path / "products", Reader(tmp_path / "cache", files=True))


def pixels_of(village: Path, name: str) -> Pixels:
    with rasterio.open(village / f"{name}.tif") as file:
        return np.asarray(file.read(), np.float32)


def written(path: Path, pixels: NDArray[Any], **profile: Any) -> Path:
    bands, rows, cols = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=cols, count=bands, dtype=pixels.dtype,
        **profile,
    ) as file:  # fmt: skip
        file.write(pixels)
    return path


def coarser(text: str, times: float) -> str:
    """Return an _RPC.TXT for pixels that many times larger; the first one's centre moves."""
    lines = []
    for line in text.splitlines():
        key, _, value = line.partition(":")
        number = value.split()
        if key in ("LINE_OFF", "SAMP_OFF"):
            line = f"{key}: {(float(number[0]) + 0.5) / times - 0.5:.12f}"
        if key in ("LINE_SCALE", "SAMP_SCALE"):
            line = f"{key}: {float(number[0]) / times:.12f}"
        lines.append(line)
    return "\n".join(lines)


def shrunk(pixels: Pixels, times: float) -> Pixels:
    rows, cols = (int(n / times) for n in pixels.shape[1:])
    whole = pixels[:, : round(rows * times), : round(cols * times)]
    return np.stack([cv2.resize(b, (cols, rows), interpolation=cv2.INTER_AREA) for b in whole])


def scene(
    village: Path, folder: Path, change: Callable[[str, Pixels], NDArray[Any]], **profile: Any
) -> list[Asset]:
    found = []
    for name in NAMES:
        path = written(folder / f"{name}.tif", change(name, pixels_of(village, name)), **profile)
        shutil.copy(village / f"{name}_RPC.TXT", folder)
        found.append(Asset(href=str(path)))
    return found


def model(work: LocalWorkspace, images: list[Asset]) -> DsmOutputs:
    values = {"images": [image.model_dump() for image in images], "aoi": AOI}
    made: DsmOutputs = DSM.run(DSM.parse(values), work)
    return made


def error(made: DsmOutputs, village: Path, cell_m: float = 0.5) -> NDArray[np.float32]:
    """Return product less truth where the truth counts; NaN where the product is void."""
    with rasterio.open(made.dsm.href) as file:
        heights, here = file.read(1), file.transform
    assert here.a == cell_m
    with rasterio.open(village / "truth/dsm.tif") as file:
        truth, there = file.read(1), file.transform
    with rasterio.open(village / "truth/mask.tif") as file:
        unseen = (file.read(1) & 32) != 0
    rows, cols = np.mgrid[: heights.shape[0], : heights.shape[1]]
    row = ((there.f - here.f) + (rows + 0.5) * cell_m) / 0.5 - 0.5
    col = ((here.c - there.c) + (cols + 0.5) * cell_m) / 0.5 - 0.5
    r, c = np.rint(row).astype(int), np.rint(col).astype(int)
    apart = heights - truth[r, c]
    return np.asarray(apart[~unseen[r, c]], np.float32)


def completeness(apart: NDArray[np.float32]) -> float:
    return float(np.mean(np.abs(np.nan_to_num(apart, nan=99.0)) <= 1.0))


def bundle(village: Path, folder: Path, name: str) -> Path:
    """Write a panchromatic image and its colours at a quarter of the resolution, as one Item."""
    colours = pixels_of(village, name)
    pan = colours.mean(axis=0, keepdims=True)
    written(folder / f"{name}_P.tif", np.rint(pan).astype(np.uint16))
    small = shrunk(colours, 4)
    written(folder / f"{name}_MS.tif", np.rint(small).astype(np.uint16))
    text = (village / f"{name}_RPC.TXT").read_text()
    (folder / f"{name}_P_RPC.TXT").write_text(text)
    (folder / f"{name}_MS_RPC.TXT").write_text(coarser(text, 4))
    assets: dict[str, Any] = {
        "ms": {"href": f"{name}_MS.tif", "roles": ["data"],
               "bands": [{"name": b} for b in ("red", "green", "blue", "nir")]},
        "pan": {"href": f"{name}_P.tif", "roles": ["data"], "bands": [{"name": "pan"}]},
        "rpc1": {"href": f"{name}_MS_RPC.TXT", "roles": ["metadata"]},
        "rpc2": {"href": f"{name}_P_RPC.TXT", "roles": ["metadata"]},
    }  # fmt: skip
    item = {"type": "Feature", "id": name, "properties": {}, "assets": assets}
    (folder / f"{name}.json").write_text(json.dumps(item))
    return folder / f"{name}.json"


def test_a_bundle_is_matched_on_pan_and_its_ortho_is_sharp_and_coloured(
    work: LocalWorkspace, village: Path, tmp_path: Path
) -> None:
    items = [Asset(href=str(bundle(village, tmp_path, name))) for name in NAMES]
    made = model(work, items)
    assert completeness(error(made, village)) > 0.75
    inputs = ORTHO.inputs(images=[items[0]], dsm=made.dsm)
    sharp = work.open_raster(ORTHO.run(inputs, work).ortho)
    assert sharp.band_names == ("red", "green", "blue", "nir")
    got = sharp.read()

    other = LocalWorkspace(tmp_path / "true", Reader(tmp_path / "cache", files=True))
    inputs = ORTHO.inputs(images=[Asset(href=str(village / "left.json"))], dsm=made.dsm)
    true = other.open_raster(ORTHO.run(inputs, other).ortho).read()
    small = shrunk(pixels_of(village, "left"), 4)
    blurred = np.stack([cv2.resize(b, None, fx=4, fy=4) for b in small])
    path = written(tmp_path / "blurred.tif", np.rint(blurred).astype(np.uint16))
    shutil.copy(village / "left_RPC.TXT", tmp_path / "blurred_RPC.TXT")
    third = LocalWorkspace(tmp_path / "blur", Reader(tmp_path / "cache", files=True))
    inputs = ORTHO.inputs(images=[Asset(href=str(path))], dsm=made.dsm)
    dull = third.open_raster(ORTHO.run(inputs, third).ortho).read()

    known = np.isfinite(got).all(axis=0) & np.isfinite(true).all(axis=0)
    known &= np.isfinite(dull).all(axis=0)
    assert known.mean() > 0.7

    def rmse(image: Pixels) -> float:
        return float(np.sqrt(np.mean((image - true)[:, known] ** 2)))

    assert rmse(got) < 0.5 * rmse(dull)
    for band in range(4):
        assert np.mean(got[band][known]) == pytest.approx(np.mean(true[band][known]), rel=0.01)


def test_the_bundle_of_a_shifted_sensor_model_is_put_together_by_both(
    village: Path, tmp_path: Path
) -> None:
    from processes.stereo.pansharpen import Sharpened
    from processes.stereo.rpc import read_document
    from workers.rasters import RasterFile

    bundle(village, tmp_path, "left")
    # the colours begin two of their pixels later
    cut = pixels_of(village, "left")[:, 8:, 12:]
    written(tmp_path / "cut.tif", shrunk(cut, 4))
    text = coarser((village / "left_RPC.TXT").read_text(), 4)
    colours = read_document("c_RPC.TXT", text).shifted(2.0, 3.0)
    pan = read_document("p_RPC.TXT", (tmp_path / "left_P_RPC.TXT").read_text())
    made = Sharpened.of(
        RasterFile(tmp_path / "left_P.tif", "p"),
        pan,
        RasterFile(tmp_path / "cut.tif", "c"),
        colours,
    )
    assert made.to_colours == pytest.approx(
        np.array([[0.25, 0, -0.375 - 2], [0, 0.25, -0.375 - 3]]), abs=1e-6
    )
    true = pixels_of(village, "left")[:, 200:300, 200:330]
    apart = made.read(200, 200, 100, 130) - true
    assert np.sqrt(np.mean(apart**2)) < 0.25 * true.std()


def test_clouds_are_neither_matched_nor_shown(
    work: LocalWorkspace, village: Path, tmp_path: Path
) -> None:
    items = []
    for name in NAMES:
        pixels = pixels_of(village, name)
        cloud = np.zeros((1, pixels.shape[1] // 2, pixels.shape[2] // 2), np.uint8)
        if name == "left":
            cloud[0, 180:260, 180:300] = 1
            pixels[:, 360:520, 360:600] = 9000
        written(tmp_path / f"{name}.tif", pixels.astype(np.uint16))
        written(tmp_path / f"{name}_cloud.tif", cloud)
        shutil.copy(village / f"{name}_RPC.TXT", tmp_path)
        assets = {
            "image": {"href": f"{name}.tif", "roles": ["data"]},
            "cloud": {"href": f"{name}_cloud.tif", "roles": ["cloud"]},
        }
        item = {"type": "Feature", "id": name, "properties": {}, "assets": assets}
        (tmp_path / f"{name}.json").write_text(json.dumps(item))
        items.append(Asset(href=str(tmp_path / f"{name}.json")))
    made = model(work, items)
    origin = work.open_raster(made.ortho_mask).read()[0]
    assert 0.5 < np.mean(origin == 1) < 0.93
    apart = error(made, village)
    assert np.mean(np.abs(apart[np.isfinite(apart)]) <= 1.0) > 0.75
    inputs = ORTHO.inputs(images=[items[0]], dsm=made.dsm)
    ortho = work.open_raster(ORTHO.run(inputs, work).ortho).read()
    assert np.nanmax(ortho) < 8000
    assert np.isnan(ortho).all(axis=0).mean() > 0.05


def black_border(name: str, pixels: Pixels) -> NDArray[np.uint16]:
    pixels[:, :2], pixels[:, -2:], pixels[:, :, :2], pixels[:, :, -2:] = 0, 0, 0, 0
    return pixels.astype(np.uint16)


def test_a_black_border_is_no_image(village: Path, tmp_path: Path) -> None:
    from workers.acquisitions import acquisitions

    image, _ = scene(village, tmp_path, black_border)
    (found,) = acquisitions(image, Reader(tmp_path / "cache", files=True), None)
    values = found.opened().raster.read()
    assert np.isnan(values[:, :2]).all()
    assert np.isnan(values[:, :, -2:]).all()
    assert np.isfinite(values[:, 2:-2, 2:-2]).all()


@pytest.mark.parametrize(
    "change",
    [
        black_border,
        lambda name, pixels: np.clip(pixels / 6.0, 1, 255).astype(np.uint8),
        lambda name, pixels: (pixels / 10_000.0).astype(np.float32),
        lambda name, pixels: (pixels - 3000.0).astype(np.int16),
    ],
    ids=["black border", "8 bit", "reflectance", "signed"],
)
def test_number_types_and_borders_make_no_difference(
    work: LocalWorkspace, village: Path, tmp_path: Path, change: Callable[[str, Pixels], Any]
) -> None:
    made = model(work, scene(village, tmp_path, change))
    assert completeness(error(made, village)) > 0.8


def test_images_of_two_resolutions_are_matched(
    work: LocalWorkspace, village: Path, tmp_path: Path
) -> None:
    text = (village / "right_RPC.TXT").read_text()
    (tmp_path / "right_RPC.TXT").write_text(coarser(text, 2.5))
    small = shrunk(pixels_of(village, "right"), 2.5)
    right = written(tmp_path / "right.tif", np.rint(small).astype(np.uint16))
    made = model(work, [Asset(href=str(village / "left.tif")), Asset(href=str(right))])
    with rasterio.open(made.dsm.href) as file:
        cell_m = file.transform.a
    assert cell_m == 0.9
    assert completeness(error(made, village, cell_m)) > 0.77  # 0.765 without the low-pass
