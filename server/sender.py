"""Sending the local files of a request to a server far away, and writing the request accordingly.

Files travel first, each under the hash of its content, so that what the server has is not sent
again. A local STAC Item travels as a file, too, so that a product can say what it is derived from;
it names its sensor models and states what metadata beside its images said, since files that lie
side by side here do not do so there.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from processes.core.errors import InvalidInput
from processes.core.process import GEOJSON, Asset, StacObject
from workers.acquisitions import Acquisition, acquisitions, is_stac
from workers.reader import Reader

CHUNK_BYTES = 1 << 20
TIFF = "image/tiff; application=geotiff"


class Sender:
    """Puts local files of a request on the server and writes the request accordingly."""

    def __init__(self, client: httpx.Client, server: str, reader: Reader, base: str) -> None:
        self._client, self._server, self._reader, self._base = client, server, reader, base

    def sent(self, value: Any, base: str | None = None) -> Any:
        """Return *value* with every local reference replaced by what the server can read.

        An ItemCollection becomes the list of its Items.
        """
        base = base or self._base
        if isinstance(value, list):
            return self._all(value, base)
        if not isinstance(value, Mapping):
            return value
        if _is_item(value):
            return self._item(value, base)
        members = value.get("features")
        if isinstance(members, list) and any(map(_is_item, members)):
            return self._all(members, base)
        if _is_local(value.get("href")):
            return self._reference(value, base)
        return {name: self.sent(entry, base) for name, entry in value.items()}

    def _all(self, values: Sequence[Any], base: str) -> list[Any]:
        found = [(value, self.sent(value, base)) for value in values]
        return [
            entry
            for value, sent in found
            for entry in (sent if isinstance(value, Mapping) and isinstance(sent, list) else [sent])
        ]

    def _reference(self, value: Mapping[str, Any], base: str) -> Any:
        path, address = self._reader.local(str(value["href"]), base)
        if is_stac(path):
            return self.sent(json.loads(path.read_bytes()), address)
        if path.suffix.lower() in (".tif", ".tiff", ".jp2"):
            (found,) = acquisitions(Asset(href=address), self._reader, None)
            if found.rpc_files:
                image = {"href": self._upload(path), "type": TIFF, "roles": ["data"]}
                return _as_item(found, {"image": image} | self._models(found))
        return dict(value) | {"href": self._upload(path)}

    def _item(self, item: Mapping[str, Any], base: str) -> dict[str, Any]:
        """Return an Item, or the reference to one on the server, with all that a job reads."""
        assets = {n: a for n, a in item["assets"].items() if isinstance(a, Mapping)}
        if not any(_is_local(asset.get("href")) for asset in assets.values()):
            return dict(item)
        links = [link for link in item.get("links") or () if isinstance(link, Mapping)]
        links = [link for link in links if link.get("rel") and not _is_local(link.get("href"))]
        told = dict(item) | {"links": links, "assets": assets}
        if any(_is_image(asset) for asset in assets.values()):
            (found,) = acquisitions(StacObject(**item), self._reader, base)
            told |= self._acquisition(found, assets, base)
        else:  # the weights of a segmenter, say
            told["assets"] = self._uploaded(assets, base)
        if any(link["rel"] == "self" for link in links):
            return told  # it is known elsewhere: that is what products are derived from
        return {"href": self._document(told), "type": GEOJSON}

    def _acquisition(
        self, found: Acquisition, assets: Mapping[str, Any], base: str
    ) -> dict[str, Any]:
        """Return the properties and assets of an Item whose images are on the server."""
        files = set(found.files)
        here = {n: a for n, a in assets.items() if _is_local(a.get("href"))}
        places = {n: self._reader.local(a["href"], base)[0] for n, a in here.items()}
        models = {path for each in (found, found.colours) if each for path in each.rpc_files}
        wanted = {n: a for n, a in here.items() if places[n] in files - models}
        for each in (found, found.colours):
            for name, asset in wanted.items():
                # a file beside the image named its bands
                if each and places[name] == each.image and len(each.band_names or ()) > 1:
                    bands = [{"name": band} for band in each.band_names or ()]
                    wanted[name] = {"bands": bands, **asset}
        far = {n: a for n, a in assets.items() if n not in here}
        sent = far | self._uploaded(wanted, base) | self._models(found)
        return {"properties": dict(found.properties), "assets": sent}

    def _uploaded(self, assets: Mapping[str, Any], base: str) -> dict[str, Any]:
        def moved(asset: Mapping[str, Any]) -> dict[str, Any]:
            if not _is_local(asset.get("href")):
                return dict(asset)
            return {**asset, "href": self._upload(self._reader.local(asset["href"], base)[0])}

        return {name: moved(asset) for name, asset in assets.items()}

    def _models(self, found: Acquisition) -> dict[str, Any]:
        """Return the sensor models as assets; named after their image, so that it finds its own."""
        pairs = [
            (each.image.stem, path)
            for each in (found, found.colours)
            if each
            for path in each.rpc_files
        ]
        names = [
            path.name if path.stem.lower().startswith(stem.lower()) else f"{stem}_{path.name}"
            for stem, path in pairs
        ]
        return {
            f"rpc-{number}": {"href": self._upload(path, name), "roles": ["metadata", "rpc"]}
            for number, ((_, path), name) in enumerate(zip(pairs, names, strict=True))
        }

    def _document(self, item: Mapping[str, Any]) -> str:
        """Send an Item. Its references are relative, as the server may have several names."""
        text = json.dumps(item, sort_keys=True).replace(f"{self._server}/uploads/", "../")
        name = re.sub(r"[^\w.-]", "_", str(item.get("id") or "item")).lstrip(".")[:100] or "item"
        with tempfile.TemporaryDirectory(prefix="orograph-submit-") as folder:
            path = Path(folder) / f"{name}.json"
            path.write_text(text, "utf-8")
            return self._upload(path, told=False)

    def _upload(self, path: Path, name: str | None = None, *, told: bool = True) -> str:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        href = f"{self._server}/uploads/{digest}/{quote(name or path.name)}"
        if self._client.head(href).status_code == 200:
            return href
        size = path.stat().st_size
        if told:
            print(f"sending {path.name}, {size / 1e6:.1f} MB", file=sys.stderr)
        length = {"Content-Length": str(size)}
        answer = self._client.put(href, content=_chunks(path), headers=length)
        if answer.status_code not in (200, 201, 204):
            refused = f"{path.name} was refused: {detail(answer)}"
            if answer.is_server_error:
                raise httpx.HTTPStatusError(refused, request=answer.request, response=answer)
            raise InvalidInput(refused)
        return href


def detail(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        return str(body.get("detail") or body["title"])
    except (ValueError, KeyError, AttributeError):
        return f"{answer.status_code} {answer.reason_phrase}"


def _as_item(found: Acquisition, assets: dict[str, Any]) -> dict[str, Any]:
    if found.band_names:
        assets["image"]["bands"] = [{"name": name} for name in found.band_names]
    properties = dict(found.properties)
    return {"type": "Feature", "id": found.id, "properties": properties, "assets": assets}


def _is_item(value: Any) -> bool:
    kind = isinstance(value, Mapping) and value.get("type") == "Feature"
    return kind and isinstance(value.get("assets"), Mapping)


def _is_image(asset: Mapping[str, Any]) -> bool:
    roles = asset.get("roles")
    return isinstance(roles, list) and "data" in roles


def _is_local(href: Any) -> bool:
    return isinstance(href, str) and not href.lower().startswith(("http://", "https://"))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
