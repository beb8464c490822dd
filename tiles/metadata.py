"""Attributes of buildings as an EXT_structural_metadata schema and property tables.

Cesium shows them when a building is picked, and styles may use them. A property's type is that
of its values over the whole tileset, so that all tiles share one schema. Numbers that a 32-bit
float gives back to the millimetre are stored as such, which halves most of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np

from processes.core.building import Attribute, BuildingModel

CLASS = "building"
NO_FLOAT = -9999.0
NO_INTEGER = -(2**31)
Type = Literal["STRING", "BOOLEAN", "INT32", "FLOAT32", "FLOAT64"]
STORED = {"INT32": "<i4", "FLOAT32": "<f4", "FLOAT64": "<f8"}


@dataclass(frozen=True)
class Property:
    """One attribute of every building: its identifier in the schema, its own name, its type."""

    id: str
    name: str
    type: Type
    optional: bool


@dataclass(frozen=True)
class _Seen:
    """What the values of one attribute have been like so far."""

    kinds: frozenset[type] = frozenset()
    count: int = 0
    """Of those that are not None."""
    small: bool = True
    """All whole numbers have 32 bits."""
    single: bool = True
    """A 32-bit float gives each number back to the millimetre."""


class Attributes:
    """What the attributes of models are like that pass by some at a time."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._count = 0

    def add(self, models: Sequence[BuildingModel]) -> None:
        """Take note of the values of some more models."""
        self._count += len(models)
        for name in dict.fromkeys(chain.from_iterable(model.attributes for model in models)):
            values = [model.attributes.get(name) for model in models]
            known = [value for value in values if value is not None]
            self._seen[name] = _further(self._seen.get(name, _Seen()), known)

    def properties(self) -> list[Property]:
        """Return the attributes of all models, the identifier first, in order of appearance."""
        found = [Property("id", "id", "STRING", False)]
        for name, said in self._seen.items():
            if name != "id":
                ident = _identifier(name, {p.id for p in found})
                optional = said.count < self._count
                found.append(Property(ident, name, _type(said, self._count), optional))
        return found


def schema(table: Sequence[Property]) -> dict[str, Any]:
    """Return the schema of one class that has these properties."""
    return {
        "id": "orograph_buildings",
        "classes": {CLASS: {"name": "Building", "properties": {p.id: _member(p) for p in table}}},
    }


def column(prop: Property, models: Sequence[BuildingModel]) -> tuple[bytes, bytes | None]:
    """Return the values of some buildings and, for texts, their offsets, little-endian."""
    values = _values(prop, models)
    if prop.type == "INT32":
        numbers = [NO_INTEGER if value is None else value for value in values]
        return np.array(numbers, "<i4").tobytes(), None
    if prop.type in STORED:
        exact = np.array(values, "<f8")  # None is NaN
        exact[np.isnan(exact)] = NO_FLOAT
        return exact.astype(STORED[prop.type]).tobytes(), None
    if prop.type == "BOOLEAN":
        return np.packbits(np.array(values, bool), bitorder="little").tobytes(), None
    texts = [text(value).encode() for value in values]
    offsets = np.cumsum([0, *map(len, texts)]).astype("<u4")
    return b"".join(texts), offsets.tobytes()


def plain(prop: Property, models: Sequence[BuildingModel]) -> list[Attribute]:
    """Return the values of some buildings as they are, absent ones None."""
    values = _values(prop, models)
    if prop.type not in ("FLOAT32", "FLOAT64"):
        return [None if value != value else value for value in values]
    return [None if value is None or value != value else float(value) for value in values]


def _values(prop: Property, models: Sequence[BuildingModel]) -> list[Attribute]:
    """Return one attribute of *models*, in their order."""
    if prop.id == "id":
        return [model.id for model in models]
    return [model.attributes.get(prop.name) for model in models]


def text(value: Attribute) -> str:
    """Return a value as text; absent ones, and numbers that are none, are empty."""
    if value is None or value != value:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _further(before: _Seen, values: Sequence[Any]) -> _Seen:
    """Return what is known of an attribute after *values* too, of which none is None."""
    kinds = before.kinds | {_kind(found) for found in set(map(type, values))}
    numeric = kinds <= {int, float}
    small = before.small and numeric and (float in kinds or all(abs(n) < 2**31 for n in values))
    single = before.single and numeric
    if single:
        exact = np.array(values, "<f8")
        exact[np.isnan(exact)] = NO_FLOAT
        single = np.array_equal(np.round(exact.astype("<f4").astype(float), 3), exact)
    return _Seen(kinds, before.count + len(values), small, single)


def _type(seen: _Seen, count: int) -> Type:
    if seen.kinds == {bool} and seen.count == count:
        return "BOOLEAN"
    if seen.kinds == {int} and seen.small:
        return "INT32"
    if seen.kinds and seen.kinds <= {int, float}:
        return "FLOAT32" if seen.single else "FLOAT64"
    return "STRING"


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
