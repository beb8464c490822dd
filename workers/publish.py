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

from catalog.assets import measure, measured
from catalog.features import put_footprints
from catalog.items import ROOT, Made, Source, place, product_item
from catalog.store import COLLECTION, get_item, put_item
from processes.core.errors import AssetMissing
from processes.core.process import GEOPARQUET, JSON, Asset, Inputs, Process, StacObject
from workers import jobs
from workers.acquisitions import acquisitions, is_stac
from workers.reader import Reader
from workers.thumbnail import thumbnail
from workers.vectors import read_vector

RESULTS = "results.json"
THUMBNAIL = "thumbnail.png"
PICTURED = ("ortho", "dsm", "dtm")

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
        if item:  # last: from here to the commit nobody else can put one
            put_item(conn, item)


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
                yield from _images(ref, _self_link(ref), reader)
            elif isinstance(ref, Asset):
                yield from _asset(conn, ref, reader, several=isinstance(value, list))


def _asset(conn: Conn, ref: Asset, reader: Reader, *, several: bool) -> Iterator[Source]:
    path, address = reader.local(ref.href)
    href = _below_root(address, reader)
    if href.startswith(f"{ROOT}/products/"):
        key = href.removeprefix(f"{ROOT}/products/").split("/")[0]
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


def _self_link(item: StacObject) -> str | None:
    """Return where an item sent within the request says it is from."""
    links = (item.model_extra or {}).get("links") or []
    hrefs = [link.get("href") for link in links if isinstance(link, dict) and link["rel"] == "self"]
    return next((href for href in hrefs if str(href).startswith(("http://", "https://"))), None)


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


def _is_file(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("href"), str)
