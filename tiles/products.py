"""Which files of a product may be shown: those its results name, and nothing beside them."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

RESULTS = "results.json"
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def product_folder(products: Path, key: str) -> Path | None:
    """Return the folder of a finished product, or None."""
    folder = products / key
    return folder if KEY.fullmatch(key) and (folder / RESULTS).is_file() else None


def product_asset(products: Path, key: str, asset: str) -> tuple[Path, str] | None:
    """Return an asset's file and media type, or None where the product has none of that name."""
    folder = product_folder(products, key)
    if folder is None:
        return None
    value = _results(folder / RESULTS).get(asset)
    if not isinstance(value, dict) or not isinstance(value.get("href"), str):
        return None
    path = inside(folder, value["href"])
    return (path, str(value.get("type") or "")) if path else None


def asset_names(folder: Path) -> dict[str, str]:
    """Return the media types of a product's files, by their place in its folder."""
    values = _results(folder / RESULTS).values()
    assets = (value for value in values if isinstance(value, dict) and "href" in value)
    return {str(asset["href"]): str(asset["type"]) for asset in assets if asset.get("type")}


def inside(folder: Path, part: str) -> Path | None:
    """Return the file *part* of *folder*, or None where there is none or it lies elsewhere."""
    if "\x00" in part:
        return None
    try:
        path = (folder / part).resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return path if path.is_file() and path.is_relative_to(folder.resolve()) else None


@lru_cache(maxsize=1024)
def _results(path: Path) -> dict[str, Any]:
    """Return what a product holds; a product never changes."""
    found = json.loads(path.read_text("utf-8"))
    return found if isinstance(found, dict) else {}
