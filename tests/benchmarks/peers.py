"""Surface models beside those of CARS: what they cost and how right they are.

    python tests/benchmarks/peers.py [--scene village] [--scene DIR] [--rounds 3] [--cores 2]
                                     [--json FILE] [--products DIR]

DIR is a built town (`towns.py`); --products keeps the models, and hillshades of them.

Both get the same images on the same cores, in turns; CARS also a start DEM and a range of heights.
Costs are the least of all rounds, so caches are warm from the second on; nothing else should run
meanwhile. CARS runs in its sequential mode, its cheapest, and with one worker a core, its fastest.

Built scenes are compared with their exact truth, those of wrong pointing after the best constant
shift. Real images have none: there the models are compared with each other after that shift, and
Marseille with another program's. Absent data are skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import peers_cars
import rasterio
from cost import Cost, measured
from machine import measured_on
from numpy.typing import NDArray
from peers_picture import on_grid_of, picture
from truth import SHARED, Truth, mispointed, on_truth, scene_folder, scenes_here, truth_of

from processes.accuracy.heights import height_figures, near_edges
from processes.accuracy.shift import best_shift, shifted

CELL_M = 0.5
GROUPS = {"buildings": (2,), "ground": (1, 5), "vegetation": (3,)}
OURS, TRI, THEIRS = "Orograph, pair", "Orograph, 3 images", "CARS, sequential"


@dataclass(frozen=True)
class Case:
    """One place, seen by two images or more; the first two make the pair."""

    folder: Path
    images: tuple[str, ...]
    dem: str
    other: str | None = None
    """A surface model by another program."""
    dem_on_ellipsoid: bool = False
    pointing_off: bool = False


STEREO = SHARED / "stereo"
REAL = {
    "marseille": Case(
        STEREO / "marseille",
        ("img_01.tif", "img_03.tif", "img_02.tif"),
        "proxy_srtm90_from_ref.tif",
        "ref_s2p_dsm.tif",
    ),
    "gizeh": Case(STEREO / "gizeh", ("img1.tif", "img2.tif"), "srtm_dir/N29E031_KHEOPS.tif"),
    "ventoux": Case(STEREO / "ventoux", ("left_image.tif", "right_image.tif"), "N44E005.hgt"),
}


def case_of(scene: str) -> Case:
    """Return a real place by its name, or a built one by its name or folder."""
    if real := REAL.get(scene):
        return real
    folder = scene_folder(scene)
    images = tuple(f"{name}.tif" for name in ("left", "right", "nadir"))
    there = tuple(image for image in images if (folder / image).exists())
    return Case(folder, there, "dem.tif", dem_on_ellipsoid=True, pointing_off=mispointed(folder))


def here() -> list[str]:
    """Return the names of the scenes that are on this machine, and say which are not."""
    real = [name for name, case in REAL.items() if (case.folder / case.images[0]).exists()]
    for name in (name for name in REAL if name not in real):
        print(f"{name}: no data, skipped\n")
    return [*scenes_here(), *real]


def contenders(case: Case, cores: int) -> dict[str, Callable[[Path], tuple[list[str], Path]]]:
    """Return, in the order of their turns, ways from an empty folder to (command, its model)."""
    left, right = (case.folder / image for image in case.images[:2])
    elevation: dict[str, Any] = {"dem": str(case.folder / case.dem)}
    if case.dem_on_ellipsoid:
        elevation["geoid"] = None

    def ours(count: int, folder: Path) -> tuple[list[str], Path]:
        images = [{"href": str(case.folder / image)} for image in case.images[:count]]
        request = folder / "request.json"
        request.write_text(json.dumps({"inputs": {"images": images, "resolution_m": CELL_M}}))
        program = str(Path(sys.executable).with_name("orograph"))
        return [program, "run", "dsm", str(request), "--out", str(folder)], folder / "dsm.tif"

    def theirs(workers: int, folder: Path) -> tuple[list[str], Path]:
        return peers_cars.command((left, right), elevation, folder, CELL_M, workers)

    turns = {OURS: lambda folder: ours(2, folder), THEIRS: lambda folder: theirs(0, folder)}
    if len(case.images) > 2:
        turns[TRI] = lambda folder: ours(3, folder)
    return turns | {f"CARS, {cores} workers": lambda folder: theirs(cores, folder)}


def benchmark(case: Case, folder: Path, rounds: int, cores: list[int]) -> dict[str, Any]:
    """Run everybody in turns; return costs and figures by contender."""
    turns = contenders(case, len(cores))
    costs: dict[str, list[Cost]] = {who: [] for who in turns}
    models: dict[str, Path] = {}
    for number in range(rounds):
        for who, prepare in turns.items():
            place = folder / who.replace(", ", "-").replace(" ", "-")
            shutil.rmtree(place, ignore_errors=True)  # else a product is found, not made
            place.mkdir(parents=True)
            command, models[who] = prepare(place)
            costs[who].append(measured(command, place.with_suffix(".log"), cores))
            print(f"  round {number + 1}, {who}: {costs[who][-1]}", file=sys.stderr)
    models = {who: path for who, path in models.items() if path.exists()}
    if OURS not in models:
        sys.exit(f"Orograph made no surface model: {(folder / 'Orograph-pair.log').read_text()}")
    with rasterio.open(models[OURS].with_name("ortho_mask.tif")) as file:
        seen = file.read(1) > 0  # by both images
    km2 = float(np.count_nonzero(seen)) * CELL_M**2 / 1e6
    truth = truth_of(case.folder) if (case.folder / "truth").is_dir() else None
    others = {"another program's": case.folder / case.other} if case.other else {}
    runs = {who: cost_figures(costs[who], km2) for who in turns}
    for who, model in models.items():
        if truth:
            runs[who] |= against_truth(model, truth, case.pointing_off)
        else:
            runs[who] |= against_others(who, models | others, seen)
    shown = {who: models[who] for who in (OURS, THEIRS) if who in models}
    shown |= {"truth": case.folder / "truth" / "dsm.tif"} if truth else {}
    classes = case.folder / "truth" / "classes.tif"
    picture(shown, folder / "hillshades.png", classes if classes.exists() else None)
    return {"km2": km2, "runs": runs}


def cost_figures(rounds: list[Cost], km2: float) -> dict[str, Any]:
    """Return the least that a contender needed for a model; nothing but its rounds if it failed."""
    figures: dict[str, Any] = {"rounds": [asdict(cost) for cost in rounds]}
    if good := [cost for cost in rounds if cost.exit_code == 0]:
        cpu_s = min(cost.cpu_s for cost in good)
        figures |= {"wall s": min(cost.wall_s for cost in good), "CPU s": cpu_s}
        figures |= {"peak memory MiB": min(cost.peak_mib for cost in good)}
        figures |= {"km² per core-hour": km2 * 3600 / cpu_s}
    return figures


def against_truth(model: Path, truth: Truth, pointing_off: bool) -> dict[str, float]:
    """Return the figures of a model of a built scene."""
    dsm = on_truth(model, truth)
    found = best_shift(dsm, truth.dsm, truth.cell_m, counted=truth.counted)
    moved = on_truth(model, truth, found) - truth.dsm
    dz = moved if pointing_off else dsm - truth.dsm
    whole = height_figures(dz, truth.counted)
    parts = {f"– {group}": np.isin(truth.classes, codes) for group, codes in GROUPS.items()}
    parts["– ≤ 1.5 m from edges"] = near_edges(truth.building, truth.cell_m)
    return {
        "completeness@1m": whole.completeness_1m,
        **{k: height_figures(dz, truth.counted & v).completeness_1m for k, v in parts.items()},
        "voids": whole.void_share,
        "NMAD m": whole.nmad_m,
        "RMSE m": whole.rmse_m,
        "median m": whole.median_m,
        "median after the shift m": height_figures(moved, truth.counted).median_m,
        **{f"best shift {axis}": value for axis, value in asdict(found).items()},
    }


def against_others(who: str, models: dict[str, Path], seen: NDArray[np.bool_]) -> dict[str, float]:
    """Return how a model, moved as a whole, differs from others of its place where both are."""
    heights = {name: on_grid_of(models[OURS], path) for name, path in models.items()}
    figures = {"voids": height_figures(heights[who], seen).void_share}
    for other in [name for name in models if name != who]:
        found = best_shift(heights[who], heights[other], CELL_M, counted=seen)
        dz = shifted(heights[who], found, CELL_M) - heights[other]
        both = height_figures(dz, seen & np.isfinite(dz))
        figures[f"≤ 1 m from {other}"] = both.completeness_1m
        figures[f"NMAD to {other}, m"] = both.nmad_m
    return figures


def markdown(name: str, found: dict[str, Any]) -> str:
    """Return one case as a table with a column for each run."""
    runs = found["runs"]
    lines = [f"### {name}, {found['km2']:.3f} km²", "", "| | " + " | ".join(runs) + " |"]
    lines.append("|---" + "|---:" * len(runs) + "|")
    for row in dict.fromkeys(row for run in runs.values() for row in run if row != "rounds"):
        numbers = [run.get(row, nan) for run in runs.values()]
        cells = (f"{n:.1f}" if abs(n) >= 20 else f"{n:.3f}".replace("nan", "–") for n in numbers)
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", action="append", help="its name or folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--products", type=Path, help="folder that keeps models and hillshades")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: args.cores]
    where = f"{measured_on()}, {len(cores)} used; load before {os.getloadavg()[0]:.1f}"
    report: dict[str, Any] = {"measured": where, "CARS": peers_cars.VERSION, "cases": {}}
    print(f"{where}\n")
    peers_cars.install()
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.scene or here():
            case = case_of(name)
            folder = ((args.products or Path(scratch)) / case.folder.name).resolve()
            found = report["cases"][name] = benchmark(case, folder, args.rounds, cores)
            print(markdown(name, found), flush=True)
            if args.json:
                args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
