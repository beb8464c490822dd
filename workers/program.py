"""Which program computes: what it made is not what another one would make."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import processes
import tiles
import workers

COMPUTING = (
    "geopandas", "mapbox-earcut", "numba", "numpy", "opencv-python-headless", "pyarrow", "pyogrio",
    "pyproj", "rasterio", "scipy", "shapely", "torch",
)  # fmt: skip
"""Libraries whose version may change what is computed or written."""
ASIDE = {"__pycache__", "viewer"}
"""Folders that make no product."""


@cache
def program() -> str:
    """Return a digest of everything that computes and writes; taken once, in 20 ms."""
    folders = [Path(package.__path__[0]) for package in (processes, tiles, workers)]
    return digest(folders, {name: version(name) for name in COMPUTING})


def digest(folders: Sequence[Path], libraries: Mapping[str, str]) -> str:
    """Return a digest of all files below *folders*, save those aside, and of *libraries*."""
    found = hashlib.sha256(repr(sorted(libraries.items())).encode())
    for folder in folders:
        for root, below, names in os.walk(folder):
            below[:] = sorted(set(below) - ASIDE)
            for path in (Path(root, name) for name in sorted(names)):
                content = path.read_bytes()
                place = f"{folder.name}/{path.relative_to(folder)} {len(content)}\n"
                found.update(place.encode() + content)
    return found.hexdigest()
