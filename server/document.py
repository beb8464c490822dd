"""The OpenAPI document as it is committed: `openapi/openapi.json`, whose diff is the API review."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from server.app import create_app
from server.settings import Settings


def write_openapi(path: Path) -> Path:
    """Write the document of a default server to *path* and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text())
    return path


@cache
def text() -> str:
    """Return the document: the same everywhere, whatever the settings."""
    document = create_app(Settings.model_construct()).openapi()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
