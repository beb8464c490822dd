"""Attributes of buildings as an EXT_structural_metadata schema and property tables.

Cesium shows them when a building is picked, and styles may use them. A property's type is that
of its values over the whole tileset, so that all tiles share one schema. Numbers that a 32-bit
float gives back to the millimetre are stored as such, which halves most of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from processes.core.building import Attribute, BuildingModel

CLASS = "building"
NO_FLOAT = -9999.0
NO_INTEGER = -(2**31)
Type = Literal["STRING", "BOOLEAN", "INT32", "FLOAT32", "FLOAT64"]
STORED = {"INT32": "<i4", "FLOAT32": "<f4", "FLOAT64": "<f8"}
Values = NDArray[Any] | list[Any]


@dataclass(frozen=True)
class Property:
    """One attribute of every building: its identifier in the schema, its own name, its values."""

    id: str
    name: str
    type: Type
    optional: bool
    values: Values
    """Numbers as stored; texts and booleans as they are, absent ones None."""


def properties(models: Sequence[BuildingModel]) -> list[Property]:
    """Return the attributes of *models*, the identifier first, in order of appearance."""
    names = dict.fromkeys(name for model in models for name in model.attributes)
    found = [Property("id", "id", "STRING", False, [model.id for model in models])]
    for name in names:
        if name == "id":
            continue
        values = [model.attributes.get(name) for model in models]
        ident = _identifier(name, {p.id for p in found})
        found.append(_property(ident, name, values))
    return found


def schema(table: Sequence[Property]) -> dict[str, Any]:
    """Return the schema of one class that has these properties."""
    return {
        "id": "orograph_buildings",
        "classes": {CLASS: {"name": "Building", "properties": {p.id: _member(p) for p in table}}},
    }


def column(prop: Property, rows: NDArray[np.int64]) -> tuple[bytes, bytes | None]:
    """Return the values of some buildings and, for texts, their offsets, little-endian."""
    if isinstance(prop.values, np.ndarray):
        return prop.values[rows].tobytes(), None
    chosen = [prop.values[row] for row in rows.tolist()]
    if prop.type == "BOOLEAN":
        return np.packbits(np.array(chosen, bool), bitorder="little").tobytes(), None
    texts = [text(value).encode() for value in chosen]
    offsets = np.cumsum([0, *map(len, texts)]).astype("<u4")
    return b"".join(texts), offsets.tobytes()


def plain(prop: Property, rows: NDArray[np.int64]) -> list[Attribute]:
    """Return the values of some buildings as they are, absent ones None."""
    if not isinstance(prop.values, np.ndarray):
        return [prop.values[row] for row in rows.tolist()]
    absent = NO_INTEGER if prop.type == "INT32" else NO_FLOAT
    numbers = prop.values[rows].tolist()
    exact = numbers if prop.type != "FLOAT32" else [round(number, 3) for number in numbers]
    return [None if number == absent else number for number in exact]


def text(value: Attribute) -> str:
    """Return a value as text; absent ones are empty."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _property(ident: str, name: str, values: list[Attribute]) -> Property:
    types = {type(value) for value in values}
    optional = type(None) in types
    kinds = {_kind(found) for found in types if found is not type(None)}
    if kinds == {bool} and not optional:
        return Property(ident, name, "BOOLEAN", optional, values)
    if kinds == {int} and all(v is None or abs(v) < 2**31 for v in values):  # type: ignore[arg-type]  # all are int
        whole = [NO_INTEGER if value is None else value for value in values]
        return Property(ident, name, "INT32", optional, np.array(whole, "<i4"))
    if kinds and kinds <= {int, float}:
        absent = [NO_FLOAT if v is None or v != v else v for v in values]
        numbers = np.array(absent, "<f8")
        single = numbers.astype("<f4")
        same = np.array_equal(np.round(single.astype(float), 3), numbers)
        return Property(
            ident, name, "FLOAT32" if same else "FLOAT64", optional, single if same else numbers
        )
    return Property(ident, name, "STRING", optional, values)


def _kind(found: type) -> type:
    return next(kind for kind in (bool, int, float, str) if issubclass(found, kind))


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
    no_data = {"STRING": "", "INT32": NO_INTEGER}.get(prop.type, NO_FLOAT)
    return member | {"noData": no_data}


def _identifier(name: str, taken: set[str]) -> str:
    ident = re.sub(r"[^A-Za-z0-9_]", "_", name)
    ident = ident if re.match(r"[A-Za-z_]", ident) else f"_{ident}"
    while ident in taken:
        ident += "_"
    return ident
