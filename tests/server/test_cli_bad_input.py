"""Everything that can be wrong with a request on the command line: named, exit 2, no debris."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import rasterio

from server.cli import main
from server.terminal import BAD_INPUT

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

LEFT, RIGHT = "left.tif", "right.tif"
FAR = {"type": "Polygon", "coordinates": [[[9, 9], [9.01, 9], [9.01, 9.01], [9, 9]]]}


@pytest.fixture
def pair(village, tmp_path):
    """A copy of the bundled pair that may be spoilt; its only sensor models are the sidecars."""
    for name in (LEFT, RIGHT):
        shutil.copy(village / name, tmp_path / name)
        with rasterio.open(village / name) as file:
            values = file.read()
        rewritten(tmp_path / name, lambda profile, values=values: values)
    for name in ("left_RPC.TXT", "right_RPC.TXT"):
        shutil.copy(village / name, tmp_path / name)
    return tmp_path


def answered(folder, capsys, inputs, process="dsm"):
    """Run a request and return what the user reads."""
    request = folder / "request.json"
    request.write_text(inputs if isinstance(inputs, str) else json.dumps({"inputs": inputs}))
    code = main(["run", process, str(request), "--out", str(folder / "out")])
    said = capsys.readouterr().err
    assert code == BAD_INPUT, said
    assert "Traceback" not in said
    left_behind = list((folder / "out").rglob("*")) if (folder / "out").exists() else []
    assert left_behind == []
    return said


def images(*names):
    return [{"href": name} for name in names]


def rewritten(path, values):
    with rasterio.open(path) as file:
        profile = file.profile
    replaced(path, values(profile), profile)


def replaced(path, values, profile):
    """Write beside and rename: writing over a file would take its sidecars along."""
    new = path.with_name("new.tif")
    with rasterio.open(new, "w", **profile) as file:
        file.write(values)
    new.replace(path)


def edited(path, pattern, replacement):
    text, count = re.subn(pattern, replacement, path.read_text())
    assert count == 1
    path.write_text(text)


def test_images_that_do_not_overlap(pair, capsys):
    edited(pair / "right_RPC.TXT", r"LONG_OFF: .*", "LONG_OFF: 5.5")
    assert "NoOverlap" in answered(pair, capsys, {"images": images(LEFT, RIGHT)})


def test_one_image(pair, capsys):
    assert "TooFewImages" in answered(pair, capsys, {"images": images(LEFT)})


def test_no_sensor_model(pair, capsys):
    (pair / "right_RPC.TXT").unlink()
    said = answered(pair, capsys, {"images": images(LEFT, RIGHT)})
    assert "NoRpc" in said
    assert "right" in said


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"LINE_NUM_COEFF_7: .*\n", ""),
        (r"SAMP_DEN_COEFF_3: .*", "SAMP_DEN_COEFF_3: nan"),
        (r"LAT_SCALE: .*", "LAT_SCALE: 0"),
        (r"LINE_OFF: .*", "LINE_OFF: many"),
    ],
)
def test_a_broken_sensor_model(pair, capsys, pattern, replacement):
    edited(pair / "right_RPC.TXT", pattern, replacement)
    assert "BrokenRpc" in answered(pair, capsys, {"images": images(LEFT, RIGHT)})


def test_a_truncated_image(pair, capsys):
    whole = (pair / RIGHT).read_bytes()
    (pair / RIGHT).write_bytes(whole[: len(whole) // 3])
    said = answered(pair, capsys, {"images": images(LEFT, RIGHT)})
    assert "AssetUnreadable" in said
    assert "right.tif" in said


def test_an_enormous_image(pair, capsys):
    with rasterio.open(
        pair / RIGHT, "w", driver="GTiff", height=900_000, width=900_000, count=1, dtype="uint8",
        sparse_ok=True, bigtiff="yes", tiled=True, blockxsize=32768, blockysize=32768,
    ):  # fmt: skip
        pass
    assert "AssetUnreadable" in answered(pair, capsys, {"images": images(LEFT, RIGHT)})


def test_a_missing_image(pair, capsys):
    said = answered(pair, capsys, {"images": images(LEFT, "gone.tif")})
    assert "AssetMissing" in said
    assert "gone.tif" in said


@pytest.mark.parametrize("crs", ["EPSG:999999", "somewhere", "EPSG:4326"])
def test_an_unknown_or_unmetric_reference_system(pair, capsys, crs):
    said = answered(pair, capsys, {"images": images(LEFT, RIGHT), "crs": crs})
    assert "UnknownCrs" in said


def test_an_area_outside_the_images(pair, capsys):
    said = answered(pair, capsys, {"images": images(LEFT, RIGHT), "aoi": FAR})
    assert "OutsideArea" in said


def test_an_area_that_is_no_polygon(pair, capsys):
    aoi = {"type": "Polygon", "coordinates": "here"}
    said = answered(pair, capsys, {"images": images(LEFT, RIGHT), "aoi": aoi})
    assert "aoi" in said


def test_a_constant_image(pair, capsys):
    rewritten(pair / RIGHT, lambda p: np.full((p["count"], p["height"], p["width"]), 700, "uint16"))
    assert "NoTexture" in answered(pair, capsys, {"images": images(LEFT, RIGHT)})


def test_an_image_of_nothing(pair, capsys):
    rewritten(pair / RIGHT, lambda p: np.zeros((p["count"], p["height"], p["width"]), "uint16"))
    assert "NoTexture" in answered(pair, capsys, {"images": images(LEFT, RIGHT)})


def test_an_image_of_nan(pair, capsys):
    profile = {"driver": "GTiff", "height": 900, "width": 900, "count": 1, "dtype": "float32"}
    replaced(pair / RIGHT, np.full((1, 900, 900), np.nan, np.float32), profile)
    assert "NoTexture" in answered(pair, capsys, {"images": images(LEFT, RIGHT)})


def test_an_item_without_assets(pair, capsys):
    item = {"type": "Feature", "stac_version": "1.1.0", "id": "bare", "properties": {}}
    said = answered(pair, capsys, {"images": [item, {"href": LEFT}]})
    assert "EmptyItem" in said
    assert "bare" in said


def test_an_empty_collection(pair, capsys):
    none = {"type": "FeatureCollection", "features": []}
    assert "EmptyItem" in answered(pair, capsys, {"images": none})


@pytest.mark.parametrize("text", ["", "[]", "{", '{"inputs": []}'])
def test_a_request_that_is_none(pair, capsys, text):
    assert "InvalidInput" in answered(pair, capsys, text)


def test_an_unknown_input_is_named_with_those_there_are(pair, capsys):
    said = answered(pair, capsys, {"images": images(LEFT, RIGHT), "pixels": 3})
    assert "pixels" in said
    assert "resolution_m" in said


def test_an_unknown_process_is_named_with_those_there_are(pair, capsys):
    said = answered(pair, capsys, {}, process="weather")
    assert "weather" in said
    assert "city" in said
