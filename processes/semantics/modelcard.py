"""Networks described by STAC Items of the MLM extension: what they take, what they give, where.

Only what a network needs to be run here is read and demanded: input bands out of the seven
channels, output classes out of the five, one asset with the weights. The rest of the Item is for
people and catalogues.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from processes.core.errors import InvalidInput
from processes.semantics.stack import CHANNELS, CLASSES

SCHEMA = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
FILES = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
SAFETENSORS, ONNX = "safetensors", "onnx"
ARCHITECTURE = "Orograph U-Net"
MULTIHASH = "1220"
"""sha2-256, 32 bytes."""


@dataclass(frozen=True)
class ModelCard:
    """What an Item says of a network."""

    name: str
    form: str
    """safetensors (weights of our own U-Net) or onnx (any network)."""
    href: str
    """Where the weights lie, as the Item says it."""
    checksum: str | None
    channels: tuple[int, ...]
    """Its inputs: indices into `CHANNELS`."""
    classes: tuple[int, ...]
    """Its outputs: indices into `CLASSES`."""
    absent: float | None
    """What it wants where nothing is known; None for NaN."""
    cell_m: float

    def check(self, content: bytes) -> None:
        """Raise InvalidInput where *content* is not the file that the Item describes."""
        if self.checksum and self.checksum != MULTIHASH + sha256(content).hexdigest():
            raise InvalidInput(f"the weights of {self.name} do not match the Item's file:checksum")


def read_card(text: str) -> ModelCard:
    """Return what an Item says. Raises InvalidInput naming what is missing or cannot be used."""
    try:
        item = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise InvalidInput("weights is not JSON: give the STAC MLM Item of a network") from None
    if not isinstance(item, dict) or item.get("type") != "Feature":
        raise InvalidInput("weights is no STAC Item: give the STAC MLM Item of a network")
    said = _object(item.get("properties"), "properties")
    takes = _object(_first(said.get("mlm:input"), "mlm:input"), "mlm:input")
    gives = _object(_first(said.get("mlm:output"), "mlm:output"), "mlm:output")
    asset = _weights(_object(item.get("assets"), "assets"))
    form = _form(asset)
    if form == SAFETENSORS and said.get("mlm:architecture") != ARCHITECTURE:
        raise InvalidInput(
            f"safetensors hold weights alone, and only mlm:architecture {ARCHITECTURE!r} is known "
            "here: export another network as ONNX"
        )
    absent = said.get("orograph:absent")
    if absent is not None and not _number(absent):
        raise InvalidInput("orograph:absent of weights must be a number, or null for NaN")
    cell = said.get("gsd", 0.5)
    if not _number(cell) or not 0.05 <= cell <= 10:
        raise InvalidInput("gsd of weights must be metres, 0.05 to 10")
    return ModelCard(
        name=str(said.get("mlm:name") or item.get("id") or "network")[:100],
        form=form,
        href=str(asset["href"]),
        checksum=_text(asset.get("file:checksum")),
        channels=_chosen(_names(takes.get("bands"), "bands"), CHANNELS, "mlm:input"),
        classes=_chosen(
            _names(gives.get("classification:classes"), "classes"), CLASSES, "mlm:output"
        ),
        absent=None if absent is None else float(absent),
        cell_m=float(cell),
    )


def card_of(
    name: str, content: bytes, href: str, form: str, trained: Mapping[str, Any], parameters: int
) -> dict[str, Any]:
    """Return the MLM Item of weights of our own network; *trained* says how they came about.

    It lies anywhere on Earth: its geometry is the whole of it.
    """
    world = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    shape = {"dim_order": ["batch", "channel", "height", "width"], "data_type": "float32"}
    kinds = {SAFETENSORS: "safetensors.torch.save_file", ONNX: "torch.onnx.export"}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [SCHEMA, FILES],
        "id": name,
        "geometry": {"type": "Polygon", "coordinates": [world]},
        "bbox": [-180, -90, 180, 90],
        "properties": {
            "datetime": None,
            "start_datetime": "2000-01-01T00:00:00Z",
            "end_datetime": "2100-01-01T00:00:00Z",
            "description": "Land cover classes from a true orthoimage and heights above ground.",
            "license": "Apache-2.0",
            "gsd": 0.5,
            "mlm:name": name,
            "mlm:architecture": ARCHITECTURE,
            "mlm:framework": "PyTorch" if form == SAFETENSORS else "ONNX",
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:total_parameters": parameters,
            "mlm:pretrained": True,
            "mlm:pretrained_source": "made-up towns, orograph train-segmenter",
            "mlm:accelerator": None,
            "mlm:accelerator_constrained": False,
            "mlm:hyperparameters": dict(trained),
            "mlm:input": [
                {
                    "name": "stack",
                    "bands": list(CHANNELS),
                    "input": {"shape": [-1, len(CHANNELS), -1, -1], **shape},
                    "description": "Colours over the median brightness of the scene, heights "
                    "above ground in metres, NDVI, C3 in radians; NaN where unknown. Height "
                    "and width are multiples of 16.",
                    "pre_processing_function": {
                        "format": "python",
                        "expression": "processes.semantics.stack:stack",
                    },
                }
            ],
            "mlm:output": [
                {
                    "name": "logits",
                    "tasks": ["semantic-segmentation"],
                    "result": {"shape": [-1, len(CLASSES), -1, -1], **shape},
                    "classification:classes": [
                        {"value": value, "name": label, "description": label.capitalize()}
                        for value, label in enumerate(CLASSES)
                    ],
                    "post_processing_function": None,
                }
            ],
        },
        "links": [],
        "assets": {
            "weights": {
                "href": href,
                "type": f"application/octet-stream; framework={form}",
                "title": "Weights",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": kinds[form],
                "file:size": len(content),
                "file:checksum": MULTIHASH + sha256(content).hexdigest(),
            }
        },
    }


def _weights(assets: Mapping[str, Any]) -> Mapping[str, Any]:
    found = [
        asset
        for asset in assets.values()
        if isinstance(asset, dict) and "mlm:model" in (asset.get("roles") or ())
    ]
    if len(found) != 1 or not isinstance(found[0].get("href"), str):
        raise InvalidInput("weights must have one asset of role mlm:model with a href")
    return found[0]


def _form(asset: Mapping[str, Any]) -> str:
    said = f"{asset['href']} {asset.get('type', '')} {asset.get('mlm:artifact_type', '')}".lower()
    for form in (SAFETENSORS, ONNX):
        if form in said:
            return form
    raise InvalidInput(
        "weights must be safetensors or ONNX: pickled files (.pt, .pth, .pkl) can run code and "
        "are never opened"
    )


def _names(listed: Any, what: str) -> list[str]:
    if not isinstance(listed, list) or not listed:
        raise InvalidInput(f"weights does not list its {what}")
    return [str(one.get("name") if isinstance(one, dict) else one) for one in listed]


def _chosen(names: Sequence[str], known: Sequence[str], where: str) -> tuple[int, ...]:
    strange = [name for name in names if name not in known]
    if strange:
        raise InvalidInput(f"{where} of weights names {strange[0][:50]!r}: use {', '.join(known)}")
    if len(set(names)) != len(names):
        raise InvalidInput(f"{where} of weights names something twice")
    return tuple(known.index(name) for name in names)


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"weights has no {name}: give a STAC MLM Item")
    return value


def _first(value: Any, name: str) -> Any:
    if not isinstance(value, list) or len(value) != 1:
        raise InvalidInput(f"weights must have one {name}")
    return value[0]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
