"""Files as they are: with ranges for whoever reads a part, compressed for whoever reads all.

What is compressed is kept in memory. A part is always of the file itself, so that GDAL and QGIS
read a COG by its own offsets.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import brotli
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from processes.core.process import COG, COPC, GEOPARQUET
from tiles.answers import accepts, is_known, unless_known
from tiles.kept import Kept

TYPES = {
    ".b3dm": "application/octet-stream",
    ".bin": "application/octet-stream",
    ".css": "text/css; charset=utf-8",
    ".geojson": "application/geo+json",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".ktx2": "image/ktx2",
    ".laz": COPC,
    ".mjs": "text/javascript; charset=utf-8",
    ".parquet": GEOPARQUET,
    ".png": "image/png",
    ".pnts": "application/octet-stream",
    ".subtree": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".tif": COG,
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
COMPRESSED = (".b3dm", ".bin", ".css", ".geojson", ".glb", ".gltf", ".html", ".js", ".json", ".mjs",
              ".pnts", ".subtree", ".svg", ".txt", ".wasm", ".xml")  # fmt: skip
SMALLEST_BYTES, LARGEST_BYTES = 1024, 16 * 2**20
"""Files outside of this are sent as they are."""
KEPT_BYTES = 64 * 2**20
BROTLI_QUALITY, GZIP_LEVEL = 5, 6
# A page made from somebody's data must not act in the name of this server
PAGE_POLICY = (
    "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)


class Files:
    """Answers requests for files."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept: Kept[bytes] = Kept(kept_bytes)

    def answer(
        self,
        request: Request,
        path: Path,
        *,
        media_type: str | None = None,
        max_age_s: int = 3600,
    ) -> Response:
        """Return the file *path*, which must be there, or the part of it that is asked for."""
        known = path.stat()
        version = f"{path} {known.st_mtime_ns} {known.st_size}"
        tag = hashlib.blake2b(version.encode(), digest_size=12).hexdigest()
        media_type = media_type or TYPES.get(path.suffix.lower(), "application/octet-stream")
        headers = {
            "Cache-Control": f"public, max-age={max_age_s}" if max_age_s else "no-cache",
            "ETag": f'"{tag}"',
        }
        if path.suffix.lower() in COMPRESSED:
            headers["Vary"] = "Accept-Encoding"
        coding = _coding(request, path, known.st_size)
        if coding:
            headers["ETag"] = f'"{tag}-{coding}"'
            headers["Content-Encoding"] = coding
            if is_known(request, headers["ETag"]):
                return unless_known(request, Response(headers=headers))
            content = self._packed(path, coding, headers["ETag"])
            return Response(content, headers=headers, media_type=media_type)
        whole = FileResponse(path, headers=headers, media_type=media_type, stat_result=known)
        return unless_known(request, whole)

    def _packed(self, path: Path, coding: str, name: str) -> bytes:
        content = self._kept.get(name)
        if content is None:
            plain = path.read_bytes()
            content = (
                brotli.compress(plain, quality=BROTLI_QUALITY)
                if coding == "br"
                else gzip.compress(plain, GZIP_LEVEL, mtime=0)
            )
            self._kept.put(name, content, len(content))
        return content


def _coding(request: Request, path: Path, size: int) -> str | None:
    if "range" in request.headers or path.suffix.lower() not in COMPRESSED:
        return None
    if not SMALLEST_BYTES <= size <= LARGEST_BYTES:
        return None
    return next((coding for coding in ("br", "gzip") if accepts(request, coding)), None)
