"""Larger scenes than there are: n × n copies of a built one, as one image of each side.

Each copy stands where the sensor models, stretched over the whole, see its place on the ground, so
the images keep their geometry; only along the seams do they show two scenes. The images are
luminance, 16 bits.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from processes.stereo.rpc import RpcModel, read_document

SHARE = 0.85
"""How much of an image's side a copy takes: what both images see of it."""


def mosaic(scene: Path, sides: Sequence[str], n: int, folder: Path) -> list[Path]:
    """Write n × n copies of a scene as one image a side, with their sensor models beside them."""
    paths, anchors = [], None
    for side in sides:
        text = (scene / "truth" / f"{side}_true_RPC.TXT").read_text()
        small, large = read_document(side, text), read_document(side, stretched(text, n))
        with rasterio.open(scene / f"{side}.tif") as file:
            image = file.read().mean(axis=0, dtype=np.float32)
        anchors = places(large, image.shape[0], n) if anchors is None else anchors
        path = folder / f"{side}.tif"
        write(path, laid_out(image, small, large, anchors, n))
        path.with_name(f"{side}_RPC.TXT").write_text(stretched(text, n))
        paths.append(path)
    return paths


def stretched(text: str, n: int) -> str:
    """Return an _RPC.TXT whose domain is n times as wide in every direction, pixels as small."""

    def scaled(found: re.Match[str]) -> str:
        name, value = found[1], float(found[2])
        middle = name in ("LINE_OFF", "SAMP_OFF")
        return f"{name}: {(value + 0.5) * n - 0.5 if middle else value * n:.12f}"

    names = "LINE_OFF|SAMP_OFF|LINE_SCALE|SAMP_SCALE|LAT_SCALE|LONG_SCALE|HEIGHT_SCALE"
    return re.sub(rf"^({names}):\s*(\S+)", scaled, text, flags=re.M)


def places(large: RpcModel, side_px: int, n: int) -> NDArray[np.float64]:
    """Return longitude and latitude (2, tile) of the middles of all copies."""
    step = SHARE * side_px
    middle = 0.5 * (n * side_px - 1) + step * (np.arange(n) - 0.5 * (n - 1))
    row, col = (axis.ravel() for axis in np.meshgrid(middle, middle, indexing="ij"))
    return np.stack(large.locate(row, col, large.height_off))


def laid_out(
    image: NDArray[np.float32],
    small: RpcModel,
    large: RpcModel,
    anchors: NDArray[np.float64],
    n: int,
) -> NDArray[np.uint16]:
    """Return the mosaic that one sensor sees, pixels shifted by fractions where they must be."""
    side_px = image.shape[0]
    out = np.zeros((n * side_px, n * side_px), np.uint16)
    row0, col0 = small.project(small.lon_off, small.lat_off, small.height_off)
    reach = int(np.ceil(0.5 * SHARE * side_px)) + 2
    for row, col in zip(*large.project(*anchors, large.height_off), strict=True):
        top, left = round(float(row)) - reach, round(float(col)) - reach
        move = np.array([[1.0, 0.0, col - left - col0], [0.0, 1.0, row - top - row0]])
        tile = cv2.warpAffine(image, move, (2 * reach, 2 * reach), flags=cv2.INTER_CUBIC)
        part = out[max(top, 0) : top + 2 * reach, max(left, 0) : left + 2 * reach]
        tile = tile[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
        seen = tile > 0
        part[seen] = np.clip(np.rint(tile[seen]), 1, 65535).astype(np.uint16)
    return out


def write(path: Path, image: NDArray[np.uint16]) -> None:
    """Write an image in sensor geometry, 0 where it shows nothing."""
    profile = {"driver": "GTiff", "dtype": "uint16", "count": 1, "nodata": 0, "tiled": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", height=image.shape[0], width=image.shape[1], **profile
        ) as file:
            file.write(image, 1)


def area_km2(dsm: Path) -> float:
    """Return what a surface model holds heights for."""
    with rasterio.open(dsm) as file:
        return float(np.isfinite(file.read(1)).sum() * file.res[0] * file.res[1] / 1e6)
