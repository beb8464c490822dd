"""Speed of the surface model on a GPU, files to COG, and where the time goes, as Markdown.

    python tests/benchmarks/gpu.py [--scene quarter] [--tiles 4] [--json FILE]

A mosaic of n × n copies of a built scene's three images runs as `orograph run dsm --device cuda`,
twice: the second time counts, when kernels are compiled. Then the same runs in this program on one
thread with a pair of CUDA events around each stage. A stage's share of the roofline is the bytes
that it cannot but move (its arguments and results; for the volume 13 bytes a cell) over its time,
beside what a large copy reaches on the card. Without a GPU it says so and ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from cost import measured
from machine import measured_on
from mosaic import area_km2, mosaic
from truth import scene_folder

from processes.core.gpu import chosen, has_driver

SIDES = ("left", "nadir", "right")
BAR_KM2_S = 7.0
"""Ten times AI4GEO's 16 nodes of 32 vCPUs."""
CELL_BYTES = 13
"""A cost (1 byte) is written and read twice, a sum (2) read and written twice and read."""
STAGES = {
    "resampling": ("pair_heights_gpu", "resample"),
    "census and grey levels": ("match_gpu", "census"),
    "half pixels": ("match_gpu", "resampled"),
    "cost, aggregation, winners": ("match_gpu", "_solved"),
    "reasons": ("match_gpu", "settled"),
    "left and right": ("match_gpu", "compared"),
    "speckles": ("match_gpu", "patches"),
    "ranges": ("match_gpu", "search_range"),
    "planes": ("match_gpu", "refine"),
    "rims": ("pair_heights_gpu", "overhanging"),
    "triangulation": ("pair_heights_gpu", "meeting"),
    "rasterisation": ("pair_heights_gpu", "rasterise"),
    "trust": ("pair_heights_gpu", "trust_of"),
    "upload": ("pair_heights_gpu", "_uploaded"),
}
"""Which function of `processes.stereo` each stage is."""


@dataclass
class Stage:
    """What one stage did: pairs of CUDA events, and bytes that had to move."""

    events: list[tuple[Any, Any]] = field(default_factory=list)
    moved: int = 0

    @property
    def seconds(self) -> float:
        return sum(begin.elapsed_time(end) for begin, end in self.events) / 1e3


def tensors(values: Any) -> Iterator[Any]:
    """Give the tensors in arguments or results, those in tuples and dataclasses too."""
    if hasattr(values, "element_size"):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors(value)
    elif is_dataclass(values) and not isinstance(values, type):
        for value in vars(values).values():
            yield from tensors(value)


def timed(function: Callable[..., Any], stage: Stage, *, volume: bool) -> Callable[..., Any]:
    """Return a function that leaves its time and bytes with a stage."""
    import torch

    def measured_function(*args: Any, **more: Any) -> Any:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in "ab")
        begin.record()
        result = function(*args, **more)
        end.record()
        stage.events.append((begin, end))
        moved = [*tensors(args), *tensors(tuple(more.values())), *tensors(result)]
        stage.moved += sum(t.element_size() * t.numel() for t in moved)
        if volume:
            stage.moved += CELL_BYTES * args[3].size
        return result

    return measured_function


def stages_of(images: list[Path], folder: Path) -> tuple[dict[str, Stage], float]:
    """Return what each stage took in a run on one thread, and the seconds of the whole run."""
    import importlib

    import torch

    from processes.dsm import DSM
    from workers import blocks
    from workers.reader import Reader
    from workers.workspace import LocalWorkspace

    found = {name: Stage() for name in STAGES}
    for name, (module, function) in STAGES.items():
        home = importlib.import_module(f"processes.stereo.{module}")
        volume = function == "_solved"
        setattr(home, function, timed(getattr(home, function), found[name], volume=volume))
    work = LocalWorkspace(folder / "staged", Reader(folder / "cache", files=True), device="cuda")
    blocks.CORES = 1  # else the events of one block would hold the time of others
    begin = time.perf_counter()
    DSM.run(DSM.parse({"images": [{"href": str(path)} for path in images]}), work)
    torch.cuda.synchronize()
    return found, time.perf_counter() - begin


def bandwidth() -> float:
    """Return bytes a second that a large copy moves on the card, read and written."""
    import torch

    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(5):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in "ab")
        begin.record()
        target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        best = max(best, 2 * source.numel() / (begin.elapsed_time(end) / 1e3))
    return best


def end_to_end(images: list[Path], folder: Path) -> tuple[float, float]:
    """Return wall seconds and km² of the second of two runs. Ends this program where one fails."""
    request, log = folder / "request.json", folder / "log.txt"
    request.write_text(json.dumps({"inputs": {"images": [{"href": str(p)} for p in images]}}))
    cli = [sys.executable, "-m", "server.cli", "run", "dsm", str(request), "--device", "cuda"]
    for run in ("first", "second"):
        out = folder / run
        cost = measured([*cli, "--out", str(out)], log, sorted(os.sched_getaffinity(0)))
        if cost.exit_code:
            sys.exit(f"the {run} run failed:\n{log.read_text()[-2000:]}")
    return cost.wall_s, area_km2(out / "dsm.tif")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="quarter", help="a built scene of three images")
    parser.add_argument("--tiles", type=int, default=4)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    if not has_driver() or chosen("auto") == "cpu":
        print("No GPU that torch can use is here: nothing was measured.")
        return
    import torch

    scene = scene_folder(args.scene)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = mosaic(scene, SIDES, args.tiles, folder)
        wall_s, km2 = end_to_end(images, folder)
        stages, staged_s = stages_of(images, folder)
    most = bandwidth()
    print(f"{measured_on()}, {torch.cuda.get_device_name()}\n")
    print(
        f"{args.tiles} × {args.tiles} copies of {args.scene}, {len(SIDES)} images: {km2:.2f} km² "
        f"in {wall_s:.1f} s from files to COG: {km2 / wall_s:.2f} km²/s (bar {BAR_KM2_S}).\n"
    )
    print(f"Stages, one thread, {staged_s:.1f} s in all; a copy moves {most / 1e12:.2f} TB/s.\n")
    print("| stage | seconds | share | GB/s | of the roofline |\n|---|---:|---:|---:|---:|")
    for name, stage in stages.items():
        took = max(stage.seconds, 1e-9)
        rate = stage.moved / took
        of_all, of_most = took / staged_s, rate / most
        print(f"| {name} | {took:.3f} | {of_all:.1%} | {rate / 1e9:.0f} | {of_most:.1%} |")
    rest = staged_s - sum(stage.seconds for stage in stages.values())
    print(
        f"| all else: tie points, files, fusion, filling | {rest:.3f} | {rest / staged_s:.1%} | | |"
    )
    if args.json:
        figures = {"measured": measured_on(), "gpu": torch.cuda.get_device_name(), "km2": km2}
        figures |= {"wall_s": wall_s, "staged_s": staged_s, "copy_bytes_s": most}
        rows = {k: {"seconds": s.seconds, "bytes": s.moved} for k, s in stages.items()}
        args.json.write_text(json.dumps(figures | {"stages": rows}, indent=1))


if __name__ == "__main__":
    main()
