"""CPU seconds and memory of the surface model against area, as Markdown and as a plot.

    python tests/benchmarks/speed_area.py [--tiles 1 2 4 6] [--plot area.png] [--json FILE]

A mosaic of n × n copies of a built scene is laid out as one pair of images, in a folder that goes
away again. Each copy stands where the sensor models, stretched over the whole, see its place on the
ground, so both images keep their geometry; only along the seams do they show two scenes. The
images are luminance, 16 bits. Every size runs as `orograph run dsm` in a program of its own, with
machine code cached by a first run that is not counted; area is what the model holds heights for.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import rasterio
from cost import measured
from machine import measured_on
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from truth import scene_folder

from processes.stereo.rpc import RpcModel, read_document

SIDES = ("left", "right")
SHARE = 0.85
"""How much of an image's side a copy takes: what both images see of it."""
BARS = {"CPU seconds a km² (20 × CARS)": 21.5, "memory GiB": 1.5}
"""17 CPU seconds for 0.8 km², and the most memory whatever the area."""


@dataclass(frozen=True)
class Row:
    """One size of mosaic."""

    tiles: int
    km2: float
    cpu_s: float
    wall_s: float
    peak_mib: float


def mosaic(scene: Path, n: int, folder: Path) -> list[Path]:
    """Write n × n copies of a scene as two images with their sensor models beside them."""
    paths, anchors = [], None
    for side in SIDES:
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
    import warnings

    profile = {"driver": "GTiff", "dtype": "uint16", "count": 1, "nodata": 0, "tiled": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", height=image.shape[0], width=image.shape[1], **profile
        ) as file:
            file.write(image, 1)


def cost_of(images: list[Path], tiles: int, folder: Path) -> Row:
    """Run the surface model of two images. Ends this program where it fails."""
    request, log = folder / "request.json", folder / "log.txt"
    request.write_text(json.dumps({"inputs": {"images": [{"href": str(p)} for p in images]}}))
    cli = [sys.executable, "-m", "server.cli", "run", "dsm", str(request), "--out", str(folder)]
    cost = measured(cli, log, sorted(os.sched_getaffinity(0)))
    if cost.exit_code:
        sys.exit(f"a mosaic of {tiles} × {tiles} failed:\n{log.read_text()[-2000:]}")
    with rasterio.open(folder / "dsm.tif") as file:
        km2 = float(np.isfinite(file.read(1)).sum() * file.res[0] * file.res[1] / 1e6)
    return Row(tiles, km2, cost.cpu_s, cost.wall_s, cost.peak_mib)


def fitted(rows: list[Row]) -> tuple[float, float]:
    """Return the fixed cost (s) and that of a km² (s) which together explain all sizes best."""
    weight = 1.0 / np.array([row.cpu_s for row in rows])
    terms = np.array([[1.0, row.km2] for row in rows]) * weight[:, None]
    fixed, each = np.linalg.lstsq(terms, np.ones(len(rows)), rcond=None)[0]
    return float(fixed), float(each)


def plot(rows: list[Row], path: Path) -> None:
    """Draw CPU seconds a km² and peak memory against area."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    km2 = [row.km2 for row in rows]
    drawn = (
        ([row.cpu_s / row.km2 for row in rows], "CPU seconds a km² (20 × CARS)"),
        ([row.peak_mib / 1024 for row in rows], "memory GiB"),
    )
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, (values, name) in zip(axes, drawn, strict=True):
        axis.plot(km2, values, "o-", color="#1f6f8b")
        axis.axhline(BARS[name], color="#c04040", linestyle="--", linewidth=1)
        axis.set(xscale="log", xlabel="km² of surface model, 0.5 m", ylim=(0, None))
        axis.set_ylabel(name.split(" (")[0])
        axis.set_xticks(km2, [f"{value:.2g}" for value in km2])
        axis.set_xticks([], minor=True)
        axis.grid(alpha=0.3)
    figure.suptitle(f"orograph run dsm, two images, {measured_on()}", fontsize=9)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="village")
    parser.add_argument("--tiles", type=int, nargs="+", default=[1, 2, 4, 6])
    parser.add_argument("--rounds", type=int, default=1, help="the cheapest of so many runs counts")
    parser.add_argument("--plot", type=Path, help="where to draw the figures (PNG)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    scene, rows = scene_folder(args.scene), []
    print(f"{measured_on()}\n")
    print("| tiles | km² | CPU seconds | CPU seconds a km² | wall seconds | peak memory MiB |")
    print("|---:|---:|---:|---:|---:|---:|", flush=True)
    for tiles in args.tiles:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            images = mosaic(scene, tiles, folder)
            if not rows:
                cost_of(images, tiles, folder)
            runs = [cost_of(images, tiles, folder) for _ in range(args.rounds)]
        row = min(runs, key=lambda run: run.cpu_s)
        rows.append(row)
        print(
            f"| {tiles} × {tiles} | {row.km2:.2f} | {row.cpu_s:.1f} | {row.cpu_s / row.km2:.1f} "
            f"| {row.wall_s:.0f} | {row.peak_mib:.0f} |",
            flush=True,
        )
    if len(rows) > 1:
        fixed, each = fitted(rows)
        print(f"\n{fixed:.1f} CPU seconds for any area, and {each:.1f} for each km².")
    if args.plot:
        plot(rows, args.plot)
    if args.json:
        figures = {"measured": measured_on(), "sizes": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
