"""Seconds, CPU seconds and memory of each process on one built scene, as Markdown and JSON.

    python tests/benchmarks/speed.py [--scene village] [--json FILE]

Each process runs as `orograph run` in a program of its own, on what the one before it made, with
machine code already cached by a first run of `city` that is not counted. CPU seconds and memory
are of the program with everything it starts; memory is the sum over them, sampled.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from machine import measured_on
from truth import scene_folder

SAMPLE_S = 0.05
PROCESSES = ("dsm", "dtm", "ortho", "footprints", "buildings", "city")
"""In an order in which each finds what it needs."""


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def measured(command: list[str]) -> Cost:
    """Run a command to its end. Ends this program where it fails."""
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        os.set_blocking(running.stderr.fileno(), False)
        family, last = psutil.Process(running.pid), b""
        while True:
            pid, status, usage = os.wait4(running.pid, os.WNOHANG)
            last = (last + (running.stderr.read() or b""))[-2000:]
            if pid:
                running.returncode = os.waitstatus_to_exitcode(status)
                break
            peak = max(peak, _resident(family))
            time.sleep(SAMPLE_S)
    if running.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{last.decode(errors='replace')}")
    wall_s = time.perf_counter() - start
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, peak / 2**20)


def _resident(family: psutil.Process) -> int:
    """Return the memory in use by a process and all below it, bytes."""
    total = 0
    for process in [family, *_children(family)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _children(family: psutil.Process) -> list[psutil.Process]:
    try:
        return list(family.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


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
    return measured([*cli, "run", process, str(request), "--out", str(out)])


if __name__ == "__main__":
    main()
