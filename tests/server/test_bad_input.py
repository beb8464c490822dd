"""Everything that can be wrong with a request: named by the command line and over HTTP."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import rasterio

from server.cli import main
from server.terminal import BAD_INPUT

LEFT, RIGHT = "left.tif", "right.tif"
PAIR = {"images": [{"href": LEFT}, {"href": RIGHT}]}
FAR = {"type": "Polygon", "coordinates": [[[9, 9], [9.01, 9], [9.01, 9.01], [9, 9]]]}
BARE = {"type": "Feature", "stac_version": "1.1.0", "id": "bare", "properties": {}}
NONE = {"type": "FeatureCollection", "features": []}


@dataclass(frozen=True)
class Fault:
    """What is done to a good pair, what is asked for, and how the answer names the fault."""

    error: str
    spoil: Callable[[Path], object] = lambda folder: None
    inputs: Any = None
    says: str = ""


def edited(pattern: str, replacement: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        path = folder / "right_RPC.TXT"
        text, count = re.subn(pattern, replacement, path.read_text())
        assert count == 1
        path.write_text(text)

    return spoil


def filled(value: int) -> Callable[[Path], object]:
    return lambda folder: rewritten(folder / RIGHT, lambda pixels: np.full_like(pixels, value))


def without_model(folder: Path) -> None:
    (folder / "right_RPC.TXT").unlink()


def truncated(folder: Path) -> None:
    whole = (folder / RIGHT).read_bytes()
    (folder / RIGHT).write_bytes(whole[: len(whole) // 3])


def no_image_at_all(folder: Path) -> None:
    (folder / RIGHT).write_bytes(b"II*\0" + b"\xff" * 60)


def enormous(folder: Path) -> None:
    with rasterio.open(
        folder / RIGHT, "w", driver="GTiff", height=900_000, width=900_000, count=1, dtype="uint8",
        sparse_ok=True, bigtiff="yes", tiled=True, blockxsize=32768, blockysize=32768,
    ):  # fmt: skip
        pass


def nan(folder: Path) -> None:
    profile = {"driver": "GTiff", "height": 900, "width": 900, "count": 1, "dtype": "float32"}
    replaced(folder / RIGHT, np.full((1, 900, 900), np.nan, np.float32), profile)


FAULTS = {
    "no overlap": Fault("NoOverlap", edited(r"LONG_OFF: .*", "LONG_OFF: 5.5")),
    "one image": Fault("TooFewImages", inputs={"images": [{"href": LEFT}]}),
    "no sensor model": Fault("NoRpc", without_model, says="right"),
    "a coefficient is missing": Fault("BrokenRpc", edited(r"LINE_NUM_COEFF_7: .*\n", "")),
    "a coefficient is NaN": Fault("BrokenRpc", edited(r"(SAMP_DEN_COEFF_3): .*", r"\1: nan")),
    "a scale is zero": Fault("BrokenRpc", edited(r"LAT_SCALE: .*", "LAT_SCALE: 0")),
    "an offset is a word": Fault("BrokenRpc", edited(r"LINE_OFF: .*", "LINE_OFF: many")),
    "truncated image": Fault("AssetUnreadable", truncated, says="right.tif"),
    "not an image": Fault("AssetUnreadable", no_image_at_all, says="right.tif"),
    "enormous image": Fault("AssetUnreadable", enormous),
    "unknown system": Fault("UnknownCrs", inputs=PAIR | {"crs": "EPSG:999999"}),
    "a system that is none": Fault("UnknownCrs", inputs=PAIR | {"crs": "somewhere"}),
    "a system in degrees": Fault("UnknownCrs", inputs=PAIR | {"crs": "EPSG:4326"}),
    "area elsewhere": Fault("OutsideArea", inputs=PAIR | {"aoi": FAR}),
    "constant image": Fault("NoTexture", filled(700)),
    "image of nodata": Fault("NoTexture", filled(0)),
    "image of NaN": Fault("NoTexture", nan),
    "item without assets": Fault(
        "EmptyItem", inputs={"images": [BARE, {"href": LEFT}]}, says="bare"
    ),
    "collection without items": Fault("EmptyItem", inputs={"images": NONE}),
}


def rewritten(path: Path, values: Callable[[Any], Any]) -> None:
    with rasterio.open(path) as file:
        profile, pixels = file.profile, file.read()
    replaced(path, values(pixels), profile)


def replaced(path: Path, values: Any, profile: Any) -> None:
    """Write beside and rename: writing over a file would take its sidecars along."""
    new = path.with_name("new.tif")
    with rasterio.open(new, "w", **profile) as file:
        file.write(values)
    new.replace(path)


@pytest.fixture(scope="module")
def good(village, tmp_path_factory):
    """A copy of the bundled pair whose only sensor models are the sidecars."""
    folder = tmp_path_factory.mktemp("good")
    for name in (LEFT, RIGHT):
        shutil.copy(village / name, folder / name)
        rewritten(folder / name, lambda pixels: pixels)
    for name in ("left_RPC.TXT", "right_RPC.TXT"):
        shutil.copy(village / name, folder / name)
    return folder


@pytest.fixture
def pair(good, tmp_path):
    """A copy of it that may be spoilt."""
    return shutil.copytree(good, tmp_path, dirs_exist_ok=True)


# -- on the command line


def answered(folder, capsys, body, process="dsm"):
    """Run a request and return what the user reads."""
    request = folder / "request.json"
    request.write_text(body if isinstance(body, str) else json.dumps({"inputs": body}))
    code = main(["run", process, str(request), "--out", str(folder / "out")])
    said = capsys.readouterr().err
    assert code == BAD_INPUT, said
    assert "Traceback" not in said
    left_behind = list((folder / "out").rglob("*")) if (folder / "out").exists() else []
    assert left_behind == []
    return said


@pytest.mark.parametrize("name", FAULTS)
def test_the_command_line_names_it(name, pair, capsys):
    fault = FAULTS[name]
    fault.spoil(pair)
    said = answered(pair, capsys, fault.inputs or PAIR)
    assert fault.error in said
    assert fault.says in said


def test_a_missing_image(pair, capsys):
    said = answered(pair, capsys, {"images": [{"href": LEFT}, {"href": "gone.tif"}]})
    assert "AssetMissing" in said
    assert "gone.tif" in said


def test_an_area_that_is_no_polygon(pair, capsys):
    aoi = {"type": "Polygon", "coordinates": "here"}
    assert "aoi" in answered(pair, capsys, PAIR | {"aoi": aoi})


@pytest.mark.parametrize("text", ["", "[]", "{", '{"inputs": []}'])
def test_a_request_that_is_none(pair, capsys, text):
    assert "InvalidInput" in answered(pair, capsys, text)


def test_a_request_that_is_no_json_is_told_where(pair, capsys):
    assert "line 2 column" in answered(pair, capsys, '{"inputs":\n {"images": [],}}')


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_request_as_windows_writes_it_is_read(pair, capsys, encoding):
    request = pair / "request.json"
    request.write_bytes(json.dumps({"inputs": {"message": "façade"}}).encode(encoding))
    assert main(["run", "echo", str(request), "--out", str(pair / "out")]) == 0
    assert json.loads(capsys.readouterr().out) == {"message": "façade"}


def test_an_unknown_input_is_named_with_those_there_are(pair, capsys):
    said = answered(pair, capsys, PAIR | {"pixels": 3})
    assert "pixels" in said
    assert "resolution_m" in said


@pytest.mark.parametrize("outputs", ["dsm", 5, {"dms": {}}, ["dms"]])
def test_outputs_that_are_none_are_named_before_anything_is_made(pair, capsys, outputs):
    body = json.dumps({"inputs": PAIR, "outputs": outputs})
    said = answered(pair, capsys, body)
    assert "dsm" in said
    assert "opening images" not in said


def test_an_unknown_device_is_named_with_those_there_are(pair, capsys, monkeypatch):
    monkeypatch.setenv("OROGRAPH_DEVICE", "tpu")
    assert "tpu: there are auto, cpu, cuda" in answered(pair, capsys, PAIR)


def test_an_unknown_process_is_named_with_those_there_are(pair, capsys):
    said = answered(pair, capsys, {}, process="weather")
    assert "weather" in said
    assert "city" in said


# -- over HTTP


def refused(client, idle_worker, place, inputs, process="city"):
    """Order a job that cannot be done; returns its exception, after a look for debris."""
    answer = client.post(
        f"/processes/{process}/execution",
        json={"inputs": inputs},
        headers={"Prefer": "respond-async"},
    )
    if answer.status_code == 201:
        idle_worker.work()
        job = client.get(answer.headers["location"])
        assert job.json()["status"] == "failed", job.text
        assert "Traceback" not in job.text
        answer = client.get(answer.headers["location"] + "/results")
        assert job.json()["exception"] == answer.json()
    assert 400 <= answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    assert answer.json()["status"] == answer.status_code
    assert list((place.data / "jobs").iterdir()) == []
    assert list((place.data / "products").iterdir()) == []
    assert client.get("/stac/search").json()["features"] == []
    with psycopg.connect(str(place.database_url)) as conn:
        assert conn.execute("SELECT count(*) FROM orograph.footprint").fetchone() == (0,)
    return answer.json()


def sent(client, folder, inputs):
    """Return inputs whose local images are uploads, each in an Item with its sensor model."""

    def upload(path):
        body = path.read_bytes()
        href = f"/uploads/{hashlib.sha256(body).hexdigest()}/{path.name}"
        answer = client.put(href, content=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["href"]

    def item(image):
        if "href" not in image:
            return image
        path = folder / image["href"]
        model = path.with_name(f"{path.stem}_RPC.TXT")
        assets = {"image": {"href": upload(path), "roles": ["data"]}}
        if model.exists():
            assets["rpc"] = {"href": upload(model), "roles": ["metadata"]}
        return {"type": "Feature", "id": path.stem, "properties": {}, "assets": assets}

    images = inputs["images"]
    return inputs | {"images": [item(i) for i in images] if isinstance(images, list) else images}


@pytest.mark.parametrize("name", FAULTS)
def test_the_server_names_it(name, pair, client, idle_worker, place):
    fault = FAULTS[name]
    fault.spoil(pair)
    inputs = sent(client, pair, fault.inputs or PAIR)
    said = refused(client, idle_worker, place, inputs)
    assert said["type"] == fault.error
    assert fault.says in said["detail"]


def test_the_server_names_an_image_that_is_not_there(pair, client, idle_worker, place):
    inputs = sent(client, pair, PAIR)
    inputs["images"][1]["assets"]["image"]["href"] = f"http://maps.example/uploads/{'0' * 64}/a.tif"
    said = refused(client, idle_worker, place, inputs)
    assert said["type"] == "AssetMissing"
    assert "a.tif" in said["detail"]
