"""Addresses in what is stored: below `ROOT`, which whoever serves them replaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.assets import AssetFacts

ROOT = "http://root.invalid"
"""Stands for the server's outside URL in everything that is stored (RFC 2606 reserves .invalid)."""


def absolute(value: Any, url: str) -> Any:
    """Return *value* with every address below `ROOT` moved to *url*; it is not changed itself."""
    if isinstance(value, str):
        return url.rstrip("/") + value[len(ROOT) :] if value.startswith(ROOT) else value
    if isinstance(value, Mapping):
        return {name: absolute(part, url) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [absolute(part, url) for part in value]
    return value


def address_of(key: str, facts: AssetFacts) -> str:
    """Return where a file is served: a tileset with its tiles under an address of its own."""
    if facts.name == "tileset":
        return f"{ROOT}/3dtiles/{key}/tileset.json"
    return f"{ROOT}/products/{key}/{facts.href}"
