"""Publishing: a job's folder becomes a product, and its row, item and footprints appear at once.

Files come first: the folder is complete before it gets its name, by one rename. Then one
transaction says that the job is done, that the item is in the catalogue and the footprints in
PostGIS. A crash in between leaves a folder that nobody knows, which the next attempt takes up,
since equal inputs have an equal key.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from catalog.addresses import ROOT
from catalog.assets import measure, measured
from catalog.footprint_table import put_footprints
from catalog.items import place, product_item
from catalog.origins import Made, Source
from catalog.store import COLLECTION, get_item, put_item, tell_item
from processes.core.errors import AssetMissing
from processes.core.process import GEOPARQUET, JSON, Asset, Inputs, Process, StacObject
from workers import jobs
from workers.acquisitions import acquisitions, is_stac
from workers.reader import Reader
from workers.thumbnail import thumbnail
from workers.vectors import read_vector

RESULTS = "results.json"
THUMBNAIL = "thumbnail.png"
QUALIFIED = "orograph:qualified_"
"""Begins the names of properties that reports have stated, followed by what was qualified."""
PICTURED = ("ortho", "classes", "dsm", "dtm")

Conn = psycopg.Connection[Any]


def has_files(values: Mapping[str, Any]) -> bool:
    """Say whether any result is a file: others are in the row and need no product."""
    return any(_is_file(value) for value in values.values())


def is_kept(product: Path) -> bool:
    """Say whether a product is there, whole."""
    return (product / RESULTS).is_file()


def keep(folder: Path, values: Mapping[str, Any], product: Path) -> None:
    """Make *folder*, with its results, the product; the first of equal ones stays."""
    pictured = next((name for name in PICTURED if _is_file(values.get(name))), None)
    if pictured:
        thumbnail(folder / values[pictured]["href"], folder / THUMBNAIL)
    (folder / RESULTS).write_text(json.dumps(values, indent=2) + "\n")
    product.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(product)
    except OSError:
        if not is_kept(product):
            raise
        shutil.rmtree(folder)


def publish(
    conn: Conn,
    job: jobs.Job,
    process: Process[Any, Any],
    inputs: Inputs,
    product: Path,
    reader: Reader,
) -> None:
    """Finish the job and show its product, in one transaction.

    Raises FenceLost, and AssetMissing where the product was withdrawn meanwhile.
    """
    try:
        _publish(conn, job, process, inputs, product, reader)
    except Exception:
        if is_kept(product):
            raise
        # whatever could not be read, this is why
        message = f"product {product.name} was deleted meanwhile: ask for it again"
        raise AssetMissing(message) from None


def _publish(
    conn: Conn,
    job: jobs.Job,
    process: Process[Any, Any],
    inputs: Inputs,
    product: Path,
    reader: Reader,
) -> None:
    values = json.loads((product / RESULTS).read_text())
    item = _item(conn, job, process, inputs, product, values, reader)
    footprints = values.get("footprints")
    frame = None
    if item and _is_file(footprints) and footprints["type"] == GEOPARQUET:
        frame = read_vector(product / footprints["href"], footprints["href"])
    with conn.transaction():
        jobs.hold_product(conn, product.name)
        if not is_kept(product):
            raise FileNotFoundError(product)
        collection = item["collection"] if item else None
        jobs.finish(conn, job.id, job.fence, product.name, values, collection=collection)
        if frame is not None:
            put_footprints(conn, product.name, frame, collection=collection)
        # last: from here to the commit nobody else can put one
        if item:
            put_item(conn, _with_earlier(item, get_item(conn, item["id"], item["collection"])))
        _tell(conn, inputs, product, values, reader)


def _item(
    conn: Conn,
    job: jobs.Job,
    process: Process[Any, Any],
    inputs: Inputs,
    product: Path,
    values: Mapping[str, Any],
    reader: Reader,
) -> dict[str, Any] | None:
    """Return the product's STAC Item; None for one that lies nowhere, a report for instance."""
    assets = measured(product, values)
    if place(assets) is None:
        return None
    picture = product / THUMBNAIL
    return product_item(
        product.name,
        Made(
            process.id,
            process.title,
            process.version,
            datetime.fromtimestamp((product / RESULTS).stat().st_mtime, UTC),
            _parameters(inputs),
        ),
        assets,
        collection=job.collection or COLLECTION,
        sources=list(_sources(conn, inputs, reader)),
        thumbnail=measure("thumbnail", product, THUMBNAIL, "image/png")
        if picture.is_file()
        else None,
        report=_figures(product, values.get("report")),
    )


def _parameters(inputs: Inputs) -> dict[str, Any]:
    """Return the inputs that are values; where to publish is none of the product's business."""
    values = {name: getattr(inputs, name) for name in type(inputs).model_fields}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, bool | int | float | str) and name != "collection"
    }


def _sources(conn: Conn, inputs: Inputs, reader: Reader) -> Iterator[Source]:
    """Yield what the product was made from: images, and earlier products of this server."""
    for name in type(inputs).model_fields:
        value = getattr(inputs, name)
        for ref in value if isinstance(value, list) else [value]:
            if isinstance(ref, StacObject):
                yield from _images(ref, self_link(ref), reader)
            elif isinstance(ref, Asset):
                yield from _asset(conn, ref, reader, several=isinstance(value, list))


def _asset(conn: Conn, ref: Asset, reader: Reader, *, several: bool) -> Iterator[Source]:
    path, address = reader.local(ref.href)
    href = _below_root(address, reader)
    key = _product_key(address, reader)
    if key:
        item = get_item(conn, key)
        if item:
            href = f"{ROOT}/stac/collections/{item['collection']}/items/{key}"
            yield Source(key, href, item["properties"])
            return
    if several or is_stac(path):
        yield from _images(ref, href, reader)
    else:
        yield Source(path.name, href)


def _images(ref: Asset | StacObject, href: str | None, reader: Reader) -> Iterator[Source]:
    for image in acquisitions(ref, reader, None):
        yield Source(image.id, href, image.properties)


def self_link(item: StacObject) -> str | None:
    """Return where an item sent within the request says it is from."""
    links = (item.model_extra or {}).get("links")
    known = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    hrefs = [link.get("href") for link in known if link.get("rel") == "self"]
    return next((href for href in hrefs if str(href).startswith(("http://", "https://"))), None)


def _product_key(address: str, reader: Reader) -> str | None:
    """Return the key of the product of this server that a file belongs to."""
    href = _below_root(address, reader)
    below = f"{ROOT}/products/"
    return href.removeprefix(below).split("/")[0] if href.startswith(below) else None


def _below_root(address: str, reader: Reader) -> str:
    """Return one of this server's own addresses as the catalogue keeps it."""
    for prefix in reader.own:
        if address.startswith(prefix + "/"):
            return f"{ROOT}/{prefix.rsplit('/', 1)[1]}{address.removeprefix(prefix)}"
    return address


def _figures(product: Path, report: Any) -> dict[str, Any]:
    """Return the numbers of a JSON report by name, those of its groups as GROUP_NAME."""
    if not _is_file(report) or report["type"] != JSON:
        return {}
    figures: dict[str, Any] = {}
    for name, value in json.loads((product / report["href"]).read_text()).items():
        inner = (
            {f"{name}_{part}": v for part, v in value.items()} if isinstance(value, dict) else {}
        )
        figures |= {name: value} | inner
    return {name: value for name, value in figures.items() if isinstance(value, int | float)}


def _tell(
    conn: Conn, inputs: Inputs, product: Path, values: Mapping[str, Any], reader: Reader
) -> None:
    """Put what a report states of an earlier product, input `product`, into that one's item."""
    about, report = getattr(inputs, "product", None), dict(values).get("report", {})
    if not isinstance(about, Asset) or not _is_file(report) or report["type"] != JSON:
        return
    said = json.loads((product / report["href"]).read_text())
    key = _product_key(about.href, reader)
    if key and isinstance(said, dict) and isinstance(said.get("stated"), dict):
        prefix = f"{QUALIFIED}{said['kind']}_"
        facts = {prefix + name: value for name, value in said["stated"].items()}
        tell_item(conn, key, facts, prefix=prefix)


def _with_earlier(item: dict[str, Any], earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return an item with what reports stated of it when it was published before."""
    properties = (earlier or {}).get("properties", {})
    told = {name: value for name, value in properties.items() if name.startswith(QUALIFIED)}
    return item | {"properties": item["properties"] | told}


def _is_file(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("href"), str)
