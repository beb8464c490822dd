"""Seconds, CPU seconds and memory of each process on one built scene, as Markdown and JSON.

    python tests/benchmarks/speed.py [--scene village] [--json FILE]

Each process runs as `orograph run` in a program of its own, on what the one before it made, with
machine code already cached by a first run of `city` that is not counted. CPU seconds and memory
are of the program with everything it starts; memory is the sum over them, sampled (see `cost`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cost import Cost, measured
from machine import measured_on
from truth import scene_folder

PROCESSES = ("dsm", "dtm", "ortho", "footprints", "buildings", "city")
"""In an order in which each finds what it needs."""


def inputs_of(process: str, images: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what a process takes, from what those before it made in *folder*."""

    def made(maker: str, output: str) -> dict[str, Any]:
        said = json.loads((folder / maker / "results.json").read_text())[output]
        return {"href": str(folder / maker / said["href"]), "type": said["type"]}

    if process in ("city", "dsm"):
        return {"images": [images]}
    surface = {"dsm": made("dsm", "dsm")}
    if process == "dtm":
        return surface
    if process == "ortho":
        return {"images": [images], **surface}
    both = {**surface, "dtm": made("dtm", "dtm")}
    if process == "footprints":
        return {**both, "ortho": made("ortho", "ortho")}
    return {**both, "footprints": made("footprints", "footprints")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="village")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    images = {"href": str((scene_folder(args.scene) / "stereo.json").resolve())}
    costs: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        print(f"`{args.scene}`, {measured_on()}\n")
        print("| process | seconds | CPU seconds | peak memory MiB |\n|---|---:|---:|---:|")
        run("city", {"images": [images]}, folder / "first")
        for process in PROCESSES:
            cost = run(process, inputs_of(process, images, folder), folder / process)
            costs[process] = cost
            print(
                f"| {process} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | {cost.peak_mib:.0f} |",
                flush=True,
            )
    if args.json:
        rows = {name: asdict(cost) for name, cost in costs.items()}
        args.json.write_text(json.dumps({"measured": measured_on(), "processes": rows}, indent=1))


def run(process: str, inputs: dict[str, Any], out: Path) -> Cost:
    """Run one process by the command line and return what it took."""
    out.mkdir(parents=True)
    request = out / "request.json"
    request.write_text(json.dumps({"inputs": inputs}))
    cli = [sys.executable, "-m", "server.cli"]
    command = [*cli, "run", process, str(request), "--out", str(out)]
    log = out / "said.txt"
    cost = measured(command, log, sorted(os.sched_getaffinity(0)))
    if cost.exit_code:
        sys.exit(f"{' '.join(command)} failed:\n{log.read_text(errors='replace')[-2000:]}")
    return cost


if __name__ == "__main__":
    main()
