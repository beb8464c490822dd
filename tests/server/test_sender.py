"""Files that travel ahead of a request: what they mean here they mean on the server."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest
import rasterio
from affine import Affine

from processes.core.errors import AssetMissing
from processes.core.process import Asset, StacObject
from server.sender import Sender
from server.settings import Settings
from workers.acquisitions import Acquisition, acquisitions
from workers.reader import Reader


@pytest.fixture
def folder(village: Path, tmp_path: Path) -> Path:
    """A folder with the bundled scene, and room for more."""
    shutil.copytree(village, tmp_path / "scene", ignore=shutil.ignore_patterns("truth"))
    return tmp_path / "scene"


@pytest.fixture
def sender(server: str, folder: Path, tmp_path: Path) -> Iterator[Sender]:
    """Sends what a request in the folder names."""
    with httpx.Client() as client:
        reader = Reader(cache=tmp_path / "here", files=True)
        yield Sender(client, server, reader, str(folder / "request.json"))


@pytest.fixture
def there(server: str, place: Settings, tmp_path: Path) -> Reader:
    """The reader of a worker of the server."""
    uploads = {f"{server}/uploads": place.data / "uploads"}
    return Reader(cache=tmp_path / "there", own=uploads)


def facts(found: Acquisition | None) -> Any:
    """Return all that an acquisition says, files by content, since their names may change."""
    if found is None:
        return None
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in found.files]
    masks = [kept for _, kept in found.masks]
    return (
        *(found.id, digests, dict(found.properties), found.band_names, found.nodata, masks),
        facts(found.colours),
    )


def documents(found: Acquisition) -> list[str]:
    return [path.read_text() for path in found.rpc_files]


def test_a_local_item_travels_with_its_image_and_sensor_model(
    sender: Sender, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = sender.sent({"href": "left.json", "type": "application/geo+json"})
    assert "sending left.tif" in capsys.readouterr().err
    item = httpx.get(sent["href"]).json()
    original = json.loads((folder / "left.json").read_text())
    assert item["id"] == original["id"]
    assert item["properties"] == original["properties"]
    (image,) = (asset for asset in item["assets"].values() if "data" in asset["roles"])
    (model,) = (asset for asset in item["assets"].values() if "rpc" in asset["roles"])
    image_url, model_url = (urljoin(sent["href"], asset["href"]) for asset in (image, model))
    assert httpx.get(image_url).content == (folder / "left.tif").read_bytes()
    assert httpx.get(model_url).text == (folder / "left_RPC.TXT").read_text()
    sender.sent({"href": "left.json"})
    assert "sending" not in capsys.readouterr().err, "the server has it already"


def bundle(folder: Path) -> None:
    """A panchromatic image with a multispectral one, clouds, and a DIMAP-like naming."""
    for name, bands in (("IMG_P_R1", 1), ("IMG_MS_R1", 3), ("clouds", 1)):
        values = np.full((bands, 16, 16), len(name), np.uint16)
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", height=16, width=16, count=bands,
            dtype="uint16", transform=Affine(1, 0, 9, 0, -1, 9), crs="EPSG:32631",
        ) as file:  # fmt: skip
            file.write(values)
    model = (folder / "left_RPC.TXT").read_text()
    for name in ("P", "MS"):
        (folder / f"RPC_{name}.XML").write_text(f"<!-- {name} -->{model}")
    assets = {
        "ms": {"href": "IMG_MS_R1.tif", "bands": [{"name": n} for n in ("red", "green", "blue")]},
        "pan": {"href": "IMG_P_R1.tif", "bands": [{"name": "pan", "nodata": 7}]},
        "clouds": {"href": "clouds.tif", "roles": ["cloud"]},
        "preview": {"href": "dem.tif", "roles": ["overview"]},
    }
    for name in ("ms", "pan"):
        assets[name] |= {"roles": ["data"], "type": "image/tiff"}
    item = {"type": "Feature", "id": "both", "properties": {"gsd": 0.5}, "assets": assets}
    (folder / "bundle.json").write_text(json.dumps(item))


def worldview(folder: Path) -> None:
    """An image whose bands and sun stand in the file beside it."""
    (folder / "left.IMD").write_text(
        "BEGIN_GROUP = BAND_B\nEND_GROUP\nBEGIN_GROUP = BAND_G\nEND_GROUP\n"
        "BEGIN_GROUP = BAND_R\nEND_GROUP\nBEGIN_GROUP = BAND_N\nEND_GROUP\n"
        "meanSunEl = 61.5;\nfirstLineTime = 2024-05-01T10:00:00.0Z;\n"
    )


@pytest.mark.parametrize("href", ["left.json", "stereo.json", "left.tif", "bundle.json"])
def test_whatever_is_sent_means_the_same_there(
    sender: Sender, folder: Path, there: Reader, href: str
) -> None:
    bundle(folder)
    worldview(folder)
    base = str(folder / "request.json")
    here = acquisitions(Asset(href=href), Reader(cache=folder, files=True), base)
    sent = sender.sent({"images": [{"href": href}]})["images"]
    refs = [StacObject(**ref) if "assets" in ref else Asset(**ref) for ref in sent]
    found = [one for ref in refs for one in acquisitions(ref, there, None)]
    assert [facts(one) for one in found] == [facts(one) for one in here]
    assert [documents(one) for one in found] == [documents(one) for one in here]
    if href == "bundle.json":
        assert found[0].colours is not None
        assert documents(found[0].colours)[0].startswith("<!-- MS -->")


def test_an_item_known_elsewhere_says_where(sender: Sender, folder: Path) -> None:
    item = json.loads((folder / "left.json").read_text())
    known = {"rel": "self", "href": "https://images.example/left.json"}
    (folder / "left.json").write_text(json.dumps(item | {"links": [known, {"href": "left.tif"}]}))
    assert sender.sent({"href": "left.json"})["links"] == [known]


def test_weights_travel_with_their_item(sender: Sender, folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"numbers")
    assets = {"model": {"href": "weights.safetensors", "roles": ["mlm:model"]}}
    item = {"type": "Feature", "id": "net", "properties": {}, "assets": assets}
    (folder / "net.json").write_text(json.dumps(item))
    sent = sender.sent({"weights": {"href": "net.json"}})["weights"]
    href = httpx.get(sent["href"]).json()["assets"]["model"]["href"]
    assert httpx.get(urljoin(sent["href"], href)).content == b"numbers"


def test_what_is_elsewhere_stays_there_and_other_files_travel(sender: Sender, server: str) -> None:
    far = {"href": "https://tiles.example/a.tif", "type": "image/tiff"}
    assert sender.sent({"images": [far], "lod": 2}) == {"images": [far], "lod": 2}
    item = {"type": "Feature", "id": "far", "assets": {"image": far | {"roles": ["data"]}}}
    assert sender.sent([item]) == [item], "nothing is fetched to be sent"
    dem = sender.sent({"href": "dem.tif", "type": "image/tiff"})
    assert dem["href"].startswith(f"{server}/uploads/")
    assert dem["type"] == "image/tiff"


def test_what_is_not_there_is_bad_input(sender: Sender) -> None:
    with pytest.raises(AssetMissing):
        sender.sent({"href": "nowhere.tif"})
