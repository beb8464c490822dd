"""Which program computes: what it made is not what another one would make."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import processes

COMPUTING = ("numpy", "scipy", "numba", "opencv-python-headless", "shapely", "pyproj", "rasterio")
"""Libraries whose version may change what is computed."""


@cache
def program() -> str:
    """Return a digest of everything that computes; taken once, in some milliseconds."""
    libraries = {name: version(name) for name in COMPUTING}
    return digest(Path(processes.__file__).parent, libraries)


def digest(folder: Path, libraries: dict[str, str]) -> str:
    """Return a digest of all files below *folder*, save compiled ones, and of *libraries*."""
    found = hashlib.sha256(repr(sorted(libraries.items())).encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = path.read_bytes()
            found.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return found.hexdigest()
