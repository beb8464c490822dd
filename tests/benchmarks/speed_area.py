"""CPU seconds and memory of the surface model against area, as Markdown and as a plot.

    python tests/benchmarks/speed_area.py [--tiles 1 2 4 6] [--plot area.png] [--json FILE]

A mosaic of n × n copies of a built scene (`mosaic.py`) is laid out as one pair of images, in a
folder that goes away again. Every size runs as `orograph run dsm` in a program of its own, with
machine code cached by a first run that is not counted; area is what the model holds heights for.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from cost import measured
from machine import measured_on
from mosaic import area_km2, mosaic
from truth import scene_folder

SIDES = ("left", "right")
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


def cost_of(images: list[Path], tiles: int, folder: Path) -> Row:
    """Run the surface model of two images. Ends this program where it fails."""
    request, log = folder / "request.json", folder / "log.txt"
    request.write_text(json.dumps({"inputs": {"images": [{"href": str(p)} for p in images]}}))
    cli = [sys.executable, "-m", "server.cli", "run", "dsm", str(request), "--out", str(folder)]
    cost = measured(cli, log, sorted(os.sched_getaffinity(0)))
    if cost.exit_code:
        sys.exit(f"a mosaic of {tiles} × {tiles} failed:\n{log.read_text()[-2000:]}")
    return Row(tiles, area_km2(folder / "dsm.tif"), cost.cpu_s, cost.wall_s, cost.peak_mib)


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
            images = mosaic(scene, SIDES, tiles, folder)
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
