"""JSON Schema as pydantic writes it (2020-12) in the dialect of OpenAPI 3.0.

OGC API – Processes 1.0 takes no other: its schema of schemas knows neither `const`, `null` nor
numeric exclusive bounds, and forbids members it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VALUES = ("default", "example", "enum")
DROPPED = ("$schema", "$defs", "patternProperties", "propertyNames", "unevaluatedProperties",
           "exemples")  # fmt: skip  # the last is morecantile's slip
BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}


def oas30(schema: Any) -> Any:
    """Return the same schema for OpenAPI 3.0. Absence stands for null: members stay optional."""
    if isinstance(schema, list):
        return [oas30(entry) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    own: dict[str, Any] = {}
    for key, value in _without_null(schema).items():
        if key in DROPPED:
            continue
        if key in VALUES:
            own[key] = value
        elif key == "properties":
            own[key] = {name: oas30(entry) for name, entry in value.items()}
        elif key == "type" and isinstance(value, list):
            kinds = [kind for kind in value if kind != "null"]
            own |= {"type": kinds[0]} if len(kinds) == 1 else {}
        elif key == "const":
            own["enum"] = [value]
            own.setdefault("type", _type_name(value))
        elif key == "examples" and isinstance(value, list):
            own["example"] = value[0]
        elif key in BOUNDS and not isinstance(value, bool):
            own |= {BOUNDS[key]: value, key: True}
        elif key == "prefixItems":
            kinds = [oas30(entry) for entry in value]
            alike = all(kind == kinds[0] for kind in kinds)
            own |= {"items": kinds[0] if alike else {"anyOf": kinds}}
        elif key == "items" and "prefixItems" in schema:
            continue
        else:
            own[key] = oas30(value)
    return own


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return *schema* with `X | None` written as X, and without a default of null."""
    own = {k: v for k, v in schema.items() if not (k == "default" and v is None)}
    options = own.get("anyOf")
    if not isinstance(options, list):
        return own
    kept = [option for option in options if option != {"type": "null"}]
    if len(kept) == 1:
        del own["anyOf"]
        return {**kept[0], **own}
    return own | {"anyOf": kept}


def _type_name(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"
