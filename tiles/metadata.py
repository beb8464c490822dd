"""Attributes of buildings as an EXT_structural_metadata schema and property tables.

Cesium shows them when a building is picked, and styles may use them. A property's type is that
of its values over the whole tileset, so that all tiles share one schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from processes.core.building import Attribute, BuildingModel

CLASS = "building"
NO_FLOAT = -9999.0
NO_INTEGER = -(2**31)
Type = Literal["STRING", "BOOLEAN", "INT32", "FLOAT64"]


@dataclass(frozen=True)
class Property:
    """One attribute: its identifier in the schema, its own name, and how it is stored."""

    id: str
    name: str
    type: Type
    optional: bool


def properties(models: Iterable[BuildingModel]) -> list[Property]:
    """Return the attributes of *models*, the identifier first, in order of appearance."""
    types: dict[str, set[type]] = {}
    seen: dict[str, int] = {}
    count = 0
    for model in models:
        count += 1
        for name, value in model.attributes.items():
            types.setdefault(name, set())
            seen[name] = seen.get(name, 0) + (value is not None)
            if value is not None:
                types[name].add(next(k for k in (bool, int, float, str) if isinstance(value, k)))
    found = [Property("id", "id", "STRING", optional=False)]
    for name, kinds in types.items():
        if name == "id":
            continue
        optional = seen[name] < count
        ident = _identifier(name, {p.id for p in found})
        found.append(Property(ident, name, _stored(kinds, optional), optional))
    return found


def schema(table: Sequence[Property]) -> dict[str, Any]:
    """Return the schema of one class that has these properties."""
    return {
        "id": "orograph_buildings",
        "classes": {CLASS: {"name": "Building", "properties": {p.id: _member(p) for p in table}}},
    }


def column(prop: Property, models: Sequence[BuildingModel]) -> tuple[bytes, bytes | None]:
    """Return the values of a property and, for strings, their offsets, little-endian."""
    raw = [m.id if prop.id == "id" else m.attributes.get(prop.name) for m in models]
    if prop.type == "STRING":
        texts = [_text(value).encode() for value in raw]
        offsets = np.cumsum([0, *map(len, texts)]).astype("<u4")
        return b"".join(texts), offsets.tobytes()
    if prop.type == "BOOLEAN":
        return np.packbits(np.array(raw, bool), bitorder="little").tobytes(), None
    absent = NO_INTEGER if prop.type == "INT32" else NO_FLOAT
    numbers = [absent if value is None or value != value else value for value in raw]
    return np.array(numbers, "<i4" if prop.type == "INT32" else "<f8").tobytes(), None


def _stored(kinds: set[type], optional: bool) -> Type:
    if kinds == {bool} and not optional:
        return "BOOLEAN"
    if kinds == {int}:
        return "INT32"
    if kinds and kinds <= {int, float}:
        return "FLOAT64"
    return "STRING"


def _member(prop: Property) -> Mapping[str, Any]:
    member: dict[str, Any] = {"name": prop.name}
    if prop.type in ("STRING", "BOOLEAN"):
        member["type"] = prop.type
    else:
        member |= {"type": "SCALAR", "componentType": prop.type}
    if prop.id == "id":
        return member | {"semantic": "ID", "required": True}
    if not prop.optional and prop.type in ("BOOLEAN", "INT32"):
        return member | {"required": True}
    no_data = {"STRING": "", "INT32": NO_INTEGER, "FLOAT64": NO_FLOAT}[prop.type]
    return member | {"noData": no_data}


def _identifier(name: str, taken: set[str]) -> str:
    ident = re.sub(r"[^A-Za-z0-9_]", "_", name)
    ident = ident if re.match(r"[A-Za-z_]", ident) else f"_{ident}"
    while ident in taken:
        ident += "_"
    return ident


def _text(value: Attribute) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
