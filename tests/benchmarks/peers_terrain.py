"""Terrain models beside those of Bulldozer and a cloth simulation: how right, at what cost.

    python tests/benchmarks/peers_terrain.py [--case delft] [--rounds 3] [--cores 2] [--json FILE]

Bulldozer (CNES, Apache-2.0) and CSF (Zhang et al., 2016, Apache-2.0) are installed in an
environment of their own in .peers. All get the same surface models on the same cores, in turns:
lidar towns, the true surfaces of the built scenes, and our own stereo surfaces of these, which are
compared after the best constant shift of the surface. Bulldozer runs as it comes, for objects of
16 m, and for objects of 60 m. CSF has the settings of its authors for relief (rigidness 2, steep
slopes post-processed) at a cloth resolution of 1 m; it gives ground points, which are spanned by
linear interpolation. CPU seconds are the least of all rounds and count the start of each program.
Absent data are skipped.

Half of the error of CSF on lidar (0.057 m at delft, 0.045 m at montpellier) was reached by no
choice of cells that was tried: the reference is spanned by all ground returns, and in two fifths of
their cells the surface, which is the highest return, shows something else. Those cells alone whose
highest return is ground, spanned by triangles as the reference is, give 0.079 and 0.064 m; by our
membrane 0.093 and 0.067 m. Of our squared error at delft, 47 % lies in 2 % of the cells: shores
where the surface was filled across the canal, a footbridge that the reference goes under, ground
under crowns; where the surface is within 0.15 m of the reference, ours is off by 0.040 m, and at
montpellier by 0.039. More rounds of what is taken back, other tolerances (0.25 to 0.4 m) and no
fringe beside walls gain at one place what they lose at the other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from cost import Cost, measured
from machine import measured_on
from numpy.typing import NDArray
from truth import NO_SHIFT, SHARED, TESTS, on_truth, truth_of

from processes.accuracy.heights import height_figures
from processes.accuracy.shift import best_shift

HOME = Path(__file__).parents[2] / ".peers" / "terrain"
PACKAGES = ("bulldozer-dtm==1.3.0", "cloth-simulation-filter")
OURS, CSF = "Orograph", "CSF"
BULLDOZER = {"Bulldozer 1.3, 16 m": 16, "Bulldozer 1.3, 60 m": 60}
LEAST_M = -1000.0
"""Lower heights are absences that Bulldozer does not declare."""
NEAR_M = 3.0
"""A lidar reference is interpolated: it counts within this of a ground return."""

CLOTH = """
import sys, numpy as np, rasterio, CSF
from scipy.interpolate import griddata
surface, out = sys.argv[1:]
with rasterio.open(surface) as file:
    z = file.read(1, masked=True).astype(float).filled(np.nan)
    profile, cell = file.profile, file.transform.a
row, col = np.nonzero(np.isfinite(z))
points = np.stack([col * cell, row * cell, z[row, col]], axis=1)
cloth = CSF.CSF()
cloth.params.bSloopSmooth, cloth.params.rigidness = True, 2
cloth.params.cloth_resolution, cloth.params.class_threshold = 1.0, 0.5
cloth.setPointCloud(points)
ground, rest = CSF.VecInt(), CSF.VecInt()
cloth.do_filtering(ground, rest, False)
at = np.array(ground)
here = np.mgrid[: z.shape[0], : z.shape[1]]
seen, whole = (row[at], col[at]), (here[0], here[1])
terrain = griddata(seen, z[row[at], col[at]], whole, "linear")
rim = griddata(seen, z[row[at], col[at]], whole, "nearest")
terrain = np.where(np.isfinite(terrain), terrain, rim)
profile.update(driver="GTiff", dtype="float32", nodata=None, count=1)
with rasterio.open(out, "w", **profile) as file:
    file.write(terrain.astype("float32"), 1)
"""


@dataclass(frozen=True)
class Case:
    """One surface model, and what its terrain is compared with."""

    surface: Path
    scene: Path | None = None
    """A built scene, whose truth counts."""
    reference: Path | None = None
    distance: Path | None = None
    """Metres from the nearest ground return."""
    stereo: bool = False
    """The surface is ours, and made first."""


def cases() -> dict[str, Case]:
    found = {}
    for place in ("delft", "montpellier"):
        start = SHARED / "lidar" / place / "derived" / place
        dsm, ground, away = (
            start.with_name(f"{place}_{n}.tif") for n in ("dsm", "dtm_ref", "dist_to_ground")
        )
        found[place] = Case(dsm, reference=ground, distance=away)
    for scene in (TESTS / "data/scenes/village", SHARED / "scenes/quarter"):
        found[f"{scene.name}, exact"] = Case(scene / "truth/dsm.tif", scene)
        found[f"{scene.name}, stereo"] = Case(scene / "stereo.json", scene, stereo=True)
    return {name: case for name, case in found.items() if case.surface.exists()}


def install() -> None:
    """Make the peers' environment where there is none."""
    if not (HOME / "bin" / "bulldozer").exists():
        print(f"installing {', '.join(PACKAGES)} in {HOME}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        subprocess.run([HOME / "bin" / "pip", "install", "-q", *PACKAGES], check=True)


def orograph(process: str, inputs: dict[str, object], folder: Path) -> list[str]:
    """Return the command that runs one of our processes into *folder*."""
    request = folder / "request.json"
    request.write_text(json.dumps({"inputs": inputs}))
    program = str(Path(sys.executable).with_name("orograph"))
    return [program, "run", process, str(request), "--out", str(folder)]


def command(who: str, surface: Path, folder: Path, cores: int) -> list[str]:
    """Return what to run; the terrain model will lie in *folder* as dtm.tif."""
    if who == OURS:
        return orograph("dtm", {"dsm": {"href": str(surface)}}, folder)
    if who in BULLDOZER:
        program = str(HOME / "bin" / "bulldozer")
        sizes = ["-max_size", str(BULLDOZER[who]), "-workers", str(cores)]
        return [program, "-dsm", str(surface), "-out", str(folder), *sizes]
    script = folder / "cloth.py"
    script.write_text(CLOTH)
    return [str(HOME / "bin" / "python"), str(script), str(surface), str(folder / "dtm.tif")]


def band(path: Path) -> NDArray[np.float32]:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1, masked=True).astype(np.float32).filled(np.nan))


def errors(case: Case, surface: Path, made: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the differences to the reference terrain, and which of them count."""
    if case.scene is None:
        assert case.reference
        assert case.distance
        truth = band(case.reference)
        return band(made) - truth, np.isfinite(truth) & (band(case.distance) <= NEAR_M)
    truth = truth_of(case.scene)
    shift = NO_SHIFT
    if case.stereo:
        heights = on_truth(surface, truth)
        shift = best_shift(heights, truth.dsm, truth.cell_m, counted=truth.counted)
    return on_truth(made, truth, shift) - truth.dtm, truth.counted


def figures(case: Case, surface: Path, made: Path) -> dict[str, float]:
    dz, counted = errors(case, surface, made)
    row = height_figures(np.where(dz > LEAST_M, dz, np.nan), counted)
    return {
        "RMSE m": row.rmse_m,
        "bias m": row.bias_m,
        "LE90 m": row.le90_m,
        "completeness@1m": row.completeness_1m,
        "voids": row.void_share,
    }


def compared(case: Case, scratch: Path, rounds: int, cores: list[int]) -> dict[str, Any]:
    """Run everybody in turns on one surface."""
    surface = case.surface
    if case.stereo:
        (scratch / "surface").mkdir()
        inputs: dict[str, object] = {"images": [{"href": str(surface.resolve())}]}
        subprocess.run(
            orograph("dsm", inputs, scratch / "surface"), check=True, capture_output=True
        )
        surface = scratch / "surface" / "dsm.tif"
    costs: dict[str, list[Cost]] = {OURS: [], **{who: [] for who in BULLDOZER}, CSF: []}
    places: dict[str, Path] = {}
    for number in range(rounds):
        for who, spent in costs.items():
            places[who] = scratch / f"{list(costs).index(who)}-{number}"
            places[who].mkdir()
            turn = command(who, surface, places[who], len(cores))
            spent.append(measured(turn, places[who].with_suffix(".log"), cores))
    found: dict[str, Any] = {}
    for who, spent in costs.items():
        good = [cost for cost in spent if cost.exit_code == 0]
        found[who] = {}
        if good:
            found[who] = figures(case, surface, places[who] / "dtm.tif")
            found[who]["CPU s"] = min(cost.cpu_s for cost in good)
            found[who]["peak memory MiB"] = min(cost.peak_mib for cost in good)
    return found


def markdown(name: str, runs: dict[str, dict[str, float]]) -> str:
    columns = list(dict.fromkeys(column for row in runs.values() for column in row))
    lines = [f"### {name}", "", "| | " + " | ".join(columns) + " |"]
    lines.append("|---" + "|---:" * len(columns) + "|")
    for who, row in runs.items():
        cells = (f"{row[c]:.3f}" if c in row else "failed" for c in columns)
        lines.append(f"| {who} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=list(cases()), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where to write every figure")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: args.cores]
    print(f"{measured_on()}, {len(cores)} used; load before {os.getloadavg()[0]:.1f}\n")
    install()
    report = {}
    for name in args.case or cases():
        with tempfile.TemporaryDirectory() as scratch:
            report[name] = compared(cases()[name], Path(scratch), args.rounds, cores)
        print(markdown(name, report[name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
