"""From a reference to acquisitions: STAC Items, ItemCollections, or GeoTIFFs with a sensor model.

Items are read leniently, since catalogues differ: the image is the asset with role `data` (a
panchromatic one first), the sensor model is any asset or neighbour whose name says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from processes.core.errors import AssetMissing, AssetUnreadable, EmptyItem
from processes.core.process import ImageRef, StacObject
from processes.core.raster import Image, RasterSource
from workers.metadata import facts_of
from workers.rasters import Masked, RasterFile, has_collar
from workers.reader import Reader, path_of

MAX_DOCUMENT_BYTES = 16 * 2**20
MOST_IMAGES, MOST_MASKS = 200, 20
"""Of one job, and of one image: each is an open file."""
RASTER_ENDINGS = (".tif", ".tiff", ".jp2")
RPC_ENDINGS = ("_rpc.txt", ".rpb", ".geom")
CLOUDS, DATA_MASKS = {"cloud", "cloud-shadow"}, {"data-mask"}
"""Roles of masks: of the first, what is not nought is taken away; of the second, it is kept."""
SIDECARS = ("_RPC.TXT", "_rpc.txt", "_RPC.txt", ".RPB", ".rpb", ".geom", "_rpc.xml")


@dataclass(frozen=True)
class Acquisition:
    """One image found behind a reference: local files and what its Item says of it."""

    id: str
    image: Path
    rpc_files: Sequence[Path]
    properties: Mapping[str, Any]
    band_names: Sequence[str] | None = None
    nodata: float | None = None
    masks: Sequence[tuple[Path, bool]] = ()
    """Files over the same pixels, and whether what is not nought in them is kept."""
    colours: Acquisition | None = None
    """The multispectral image that was taken with this panchromatic one."""

    @property
    def files(self) -> list[Path]:
        own = [self.image, *self.rpc_files, *(path for path, _ in self.masks)]
        return own + (self.colours.files if self.colours else [])

    def opened(self) -> Image:
        """Open the image. Raises AssetUnreadable."""
        documents = tuple((path.name, _text(path)) for path in self.rpc_files)
        colours = self.colours.opened() if self.colours else None
        return Image(self.id, self._raster(), documents, self.properties, colours)

    def _raster(self) -> RasterSource:
        raster = RasterFile(
            self.image, self.image.name, band_names=self.band_names, nodata=self.nodata
        )
        if has_collar(raster):
            raster = RasterFile(self.image, self.image.name, band_names=self.band_names, nodata=0.0)
        if not self.masks:
            return raster
        return Masked(raster, [(RasterFile(path, path.name), kept) for path, kept in self.masks])


def acquisitions(ref: ImageRef, reader: Reader, base: str | None) -> list[Acquisition]:
    """Return every image behind *ref*; relative references resolve against *base*.

    Raises AssetMissing, AssetForbidden, AssetUnreadable or EmptyItem.
    """
    if isinstance(ref, StacObject):
        return list(_from_stac(ref.model_dump(), reader, base))
    path, address = reader.local(ref.href, base)
    if "json" in (ref.type or "") or _is_json(path):
        return list(_from_stac(_document(path, ref.href), reader, address))
    return [_from_raster(path, address, reader)]


def is_stac(path: Path) -> bool:
    """Say whether a file is a STAC Item or ItemCollection, and no other GeoJSON."""
    if not _is_json(path):
        return False
    try:
        document = _document(path, path.name)
    except AssetUnreadable:
        return False
    items = [document, *_entries(document, "features")]
    return any(isinstance(item, Mapping) and "assets" in item for item in items)


def _is_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip()[:1] == b"{"


def _document(path: Path, shown: str) -> dict[str, Any]:
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        raise AssetUnreadable(f"{shown} is too large for a STAC document (16 MiB)")
    try:
        value = json.loads(
            path.read_bytes(), parse_constant=_finite, parse_float=_finite, parse_int=_whole
        )
        # what neither JSON's readers nor PostgreSQL can keep
        odd = b"\\u0000" in json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise AssetUnreadable(f"{shown} is not valid JSON") from None
    if odd:
        raise AssetUnreadable(f"{shown} holds text with a zero byte")
    if not isinstance(value, dict) or value.get("type") not in ("Feature", "FeatureCollection"):
        raise AssetUnreadable(f"{shown} is neither a STAC Item nor an ItemCollection")
    return value


def _finite(text: str) -> float | None:
    """Return a number; what programs write as NaN or Infinity is not known."""
    number = float(text)
    return number if math.isfinite(number) else None


def _whole(text: str) -> int | None:
    """Return an integer of 64 bits, the most that is kept."""
    number = int(text)
    return number if abs(number) < 2**63 else None


def _from_stac(
    document: Mapping[str, Any], reader: Reader, base: str | None
) -> Iterator[Acquisition]:
    if document["type"] == "FeatureCollection":
        items = _entries(document, "features")
        if len(items) > MOST_IMAGES:
            raise AssetUnreadable(
                f"an item collection of {len(items)} images: give {MOST_IMAGES} at most"
            )
        for item in items:
            if isinstance(item, Mapping):
                yield _from_item(item, reader, base)
        return
    yield _from_item(document, reader, base)


def _from_item(item: Mapping[str, Any], reader: Reader, base: str | None) -> Acquisition:
    name = str(item.get("id") or "item")
    assets = item.get("assets")
    assets = assets if isinstance(assets, Mapping) else {}
    assets = {k: a for k, a in assets.items() if isinstance(a, Mapping) and a.get("href")}
    data = [asset for asset in assets.values() if _is_image(asset)]
    if not data:
        raise EmptyItem(f'STAC Item {name} has no image: give one asset the role "data"')
    image = min(data, key=lambda asset: not _is_panchromatic(asset))
    others = [asset for asset in data if asset is not image and _bands(asset)]
    if _is_panchromatic(image) and others:
        alone = {key: asset for key, asset in assets.items() if asset is not image}
        colours = _from_item({**item, "assets": alone}, reader, base)
    else:
        colours = None
    path, address = reader.local(str(image["href"]), base)
    named = [
        reader.local(str(asset["href"]), base)[0]
        for asset in assets.values()
        if _is_rpc(asset) and asset is not image
    ]
    masks = [
        (reader.local(str(asset["href"]), base)[0], not _roles(asset) & CLOUDS)
        for asset in assets.values()
        if _roles(asset) & (CLOUDS | DATA_MASKS) and "data" not in _roles(asset)
    ]
    if len(masks) > MOST_MASKS:
        raise AssetUnreadable(f"STAC Item {name} has {len(masks)} masks: give {MOST_MASKS} at most")
    bands = _bands(image)
    properties = item.get("properties")
    facts, names = _facts(path, address, reader)
    return Acquisition(
        id=name,
        image=path,
        rpc_files=_of(path, named) or _sidecars(path, address, reader) or named,
        properties=facts | dict(properties if isinstance(properties, Mapping) else {}),
        band_names=_band_names(bands) or _fitting(names, path),
        nodata=_nodata([image, *bands]),
        masks=masks,
        colours=colours,
    )


def _of(image: Path, documents: Sequence[Path]) -> list[Path]:
    """Return the documents that are named after an image: a bundle has one for each."""
    return [path for path in documents if path.stem.lower().startswith(image.stem.lower())]


def _bands(asset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [band for band in _entries(asset, "bands") if isinstance(band, Mapping)]


def _roles(asset: Mapping[str, Any]) -> set[str]:
    return {str(role) for role in _entries(asset, "roles")}


def _entries(holder: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list that others wrote; none where it is something else."""
    found = holder.get(name)
    return found if isinstance(found, list) else []


def _from_raster(path: Path, address: str, reader: Reader) -> Acquisition:
    stem = PurePosixPath(path_of(address)).stem if "://" in address else path.stem
    facts, names = _facts(path, address, reader)
    return Acquisition(
        id=stem,
        image=path,
        rpc_files=_sidecars(path, address, reader),
        properties=facts,
        band_names=_fitting(names, path),
    )


def _facts(path: Path, address: str, reader: Reader) -> tuple[dict[str, Any], list[str]]:
    """Return what the provider's metadata beside an image say of it, and the names of its bands."""
    stem = path.stem
    names = [f"{stem}{ending}" for ending in (".IMD", ".imd", ".XML", ".xml")]
    if stem.startswith("IMG_"):
        names.append("DIM_" + stem[4:].rsplit("_R", 1)[0] + ".XML")
    for name in names:
        sibling = reader.sibling(name, address)
        if sibling is not None:
            facts, bands = facts_of(_text(sibling[0]))
            if facts or bands:
                return facts, bands
    return {}, []


def _fitting(names: Sequence[str], path: Path) -> list[str] | None:
    """Return names of bands if there are as many as the image has, else none."""
    if not names:
        return None
    return list(names) if RasterFile(path, path.name).shape[0] == len(names) else None


def _sidecars(path: Path, address: str, reader: Reader) -> list[Path]:
    """Return sensor models that lie beside the image under its name, or DIMAP's RPC_NAME.XML."""
    stem = path.stem
    names = [stem + ending for ending in SIDECARS]
    if stem.startswith("IMG_"):
        # DIMAP: IMG_PHR1B_P_…_R1C1.TIF has its model in RPC_PHR1B_P_….XML
        names.append("RPC_" + stem[4:].rsplit("_R", 1)[0] + ".XML")
    # WorldView: all metadata in one
    names += [f"RPC_{stem}.XML", f"{stem}.XML", f"{stem}.xml"]
    found = []
    for name in names:
        sibling = reader.sibling(name, address)
        if sibling is not None and sibling[0] not in found:
            found.append(sibling[0])
    return found


def _is_image(asset: Mapping[str, Any]) -> bool:
    ending = str(asset["href"]).lower().split("?")[0]
    raster = "tiff" in str(asset.get("type", "")) or "jp2" in str(asset.get("type", ""))
    return "data" in _roles(asset) and (
        raster or ending.endswith(RASTER_ENDINGS) or not _is_rpc(asset)
    )


def _is_panchromatic(asset: Mapping[str, Any]) -> bool:
    listed = _entries(asset, "bands") or _entries(asset, "eo:bands")
    bands = [band for band in listed if isinstance(band, Mapping)]
    names = {str(b.get("eo:common_name") or b.get("common_name") or b.get("name")) for b in bands}
    return len(bands) == 1 and bool(names & {"pan", "panchromatic", "PAN", "P"})


def _is_rpc(asset: Mapping[str, Any]) -> bool:
    name = PurePosixPath(path_of(str(asset["href"]))).name.lower()
    dimap = name.startswith("rpc_") and name.endswith(".xml")
    return name.endswith(RPC_ENDINGS) or dimap or "rpc" in _roles(asset)


def _band_names(bands: Sequence[Mapping[str, Any]]) -> list[str] | None:
    names = [band.get("eo:common_name") or band.get("name") for band in bands]
    return [str(name).lower() for name in names] if names and all(names) else None


def _nodata(holders: Sequence[Mapping[str, Any]]) -> float | None:
    for holder in holders:
        value = holder.get("nodata")
        if isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(OverflowError):  # an integer beyond every pixel
                return float(value)
    return None


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        raise AssetUnreadable(f"{path.name} is too large for a sensor model")
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        raise AssetMissing(f"{path.name} cannot be read") from None
