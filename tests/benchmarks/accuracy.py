"""Figures of the built scenes' products against their exact truth, as Markdown and JSON.

    python tests/benchmarks/accuracy.py                         runs `orograph run city` on both
    python tests/benchmarks/accuracy.py --products DIR          reads DIR/village and DIR/quarter
    python tests/benchmarks/accuracy.py --scene village --dsm my_dsm.tif [--dtm my_dtm.tif]

A folder of products holds `results.json` (as `orograph run` writes it) or `dsm.tif`, `dtm.tif`, ….
A reference cell counts where both images see the ground there (the truth's *outside* bit is
clear), occluded or not. `quarter` has wrong pointing: its figures come after the best constant
shift, found on its surface model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer

from processes.accuracy.heights import HeightFigures, figures_by_class, height_figures, near_edges
from processes.accuracy.sample import bilinear
from processes.accuracy.shift import Shift, best_shift, shifted

TESTS = Path(__file__).parents[1]
SHARED = Path(os.environ.get("OROGRAPH_TEST_DATA", TESTS.parents[1] / "shared" / "data"))
"""Where scenes lie that are too large for the project; the same as in the tests."""
SHIFTED = {"quarter"}
OUTSIDE, WATER = 32, 8
CLASSES = {1: "ground", 2: "building", 3: "tree", 4: "water", 5: "road", 6: "bridge", 7: "car"}


@dataclass(frozen=True)
class Truth:
    """What a built scene knows about itself, all on one lattice."""

    dsm: NDArray[np.float32]
    dtm: NDArray[np.float32]
    classes: NDArray[np.uint8]
    building: NDArray[np.int32]
    counted: NDArray[np.bool_]
    crs: str
    transform: Any

    @property
    def cell_m(self) -> float:
        return float(self.transform.a)


def scene_folder(name: str) -> Path:
    """Return the folder of a built scene. Ends the program where it is not there."""
    for folder in (TESTS / "data" / "scenes" / name, SHARED / "scenes" / name):
        if (folder / "truth" / "dsm.tif").is_file():
            return folder
    sys.exit(f"scene {name} is absent: set OROGRAPH_TEST_DATA to the folder that holds scenes/")


def truth_of(scene: Path) -> Truth:
    """Read the truth of one scene."""

    def band(name: str) -> NDArray[Any]:
        with rasterio.open(scene / "truth" / f"{name}.tif") as file:
            return np.asarray(file.read(1))

    with rasterio.open(scene / "truth" / "dsm.tif") as file:
        crs, transform = file.crs.to_string(), file.transform
    counted = (band("mask") & (OUTSIDE | WATER)) == 0
    return Truth(
        band("dsm"), band("dtm"), band("classes"), band("building_id"), counted, crs, transform
    )


def on_truth(path: Path, truth: Truth) -> NDArray[np.float32]:
    """Return the raster of *path* at the centres of the truth's cells."""
    with rasterio.open(path) as file:
        values = file.read(1, masked=True).astype(np.float32).filled(np.nan)
        rows, cols = truth.dsm.shape
        col, row = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
        x, y = truth.transform @ (col, row)
        if file.crs.to_string() != truth.crs:
            x, y = Transformer.from_crs(truth.crs, file.crs, always_xy=True).transform(x, y)
        col, row = ~file.transform @ (x, y)
        return bilinear(values, row - 0.5, col - 0.5)


def height_table(scene: str, truth: Truth, dsm: Path, dtm: Path | None) -> dict[str, Any]:
    """Return the shift and the height figures of the surface and terrain models."""
    surface = on_truth(dsm, truth)
    found = best_shift(surface, truth.dsm, truth.cell_m, counted=truth.counted)
    applied = found if scene in SHIFTED else Shift(0.0, 0.0, 0.0)
    figures: dict[str, HeightFigures] = {}
    dz = _moved(surface, applied, truth) - truth.dsm
    figures["DSM"] = height_figures(dz, truth.counted)
    for name, of_class in figures_by_class(dz, truth.classes, CLASSES, truth.counted).items():
        figures[f"DSM {name}"] = of_class
    edges = near_edges(truth.building, truth.cell_m) & truth.counted
    figures["DSM ≤ 1.5 m from building edges"] = height_figures(dz, edges)
    if dtm is not None:
        dz = _moved(on_truth(dtm, truth), applied, truth) - truth.dtm
        figures["DTM"] = height_figures(dz, truth.counted)
        figures["DTM under buildings"] = height_figures(dz, truth.counted & (truth.building > 0))
    return {
        "shift_found": asdict(found),
        "shift_applied": asdict(applied),
        "heights": {name: asdict(values) for name, values in figures.items()},
    }


def _moved(heights: NDArray[np.float32], shift: Shift, truth: Truth) -> NDArray[np.float32]:
    if shift == Shift(0.0, 0.0, 0.0):
        return heights
    return shifted(heights, shift, truth.cell_m)


def products_of(folder: Path) -> dict[str, Path]:
    """Return output id → file of one folder of products."""
    results = folder / "results.json"
    if results.exists():
        said = json.loads(results.read_text())
        return {k: folder / v["href"] for k, v in said.items() if isinstance(v, dict)}
    return {path.stem: path for path in sorted(folder.iterdir()) if path.is_file()}


def run_city(scene: Path, out: Path) -> None:
    """Make every product of a scene by the command line."""
    request = out / "request.json"
    out.mkdir(parents=True, exist_ok=True)
    href = str((scene / "stereo.json").resolve())
    request.write_text(json.dumps({"inputs": {"images": [{"href": href}]}}))
    command = [sys.executable, "-m", "server.cli", "run", "city", str(request), "--out", str(out)]
    subprocess.run(command, check=True)


def markdown(scene: str, figures: dict[str, Any]) -> str:
    """Return the figures of a scene as Markdown."""
    lines = [f"### {scene}", ""]
    found = figures["shift_found"]
    where = "applied" if any(figures["shift_applied"].values()) else "found, not applied"
    lines += [
        f"Best constant shift ({where}): {found['dx_m']:+.2f}, {found['dy_m']:+.2f}, "
        f"{found['dz_m']:+.2f} m",
        "",
        "| | bias m | median m | RMSE m | NMAD m | LE90 m | completeness@1m | voids | cells |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in figures["heights"].items():
        lines.append(
            f"| {name} | {row['bias_m']:+.3f} | {row['median_m']:+.3f} | {row['rmse_m']:.3f} "
            f"| {row['nmad_m']:.3f} | {row['le90_m']:.3f} | {row['completeness_1m']:.3f} "
            f"| {row['void_share']:.3f} | {row['cells']} |"
        )
    return "\n".join([*lines, ""])


def machine() -> str:
    """Return the processor and the number of cores this process may use."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=Path, help="folder with one folder per scene")
    parser.add_argument("--scene", choices=["village", "quarter"], action="append")
    parser.add_argument("--dsm", type=Path, help="a surface model of the one --scene")
    parser.add_argument("--dtm", type=Path, help="a terrain model of the one --scene")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    scenes = args.scene or ["village", "quarter"]
    with tempfile.TemporaryDirectory() as scratch:
        report: dict[str, Any] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "machine": machine(),
            "scenes": {},
        }
        print(f"Measured {report['date']} on {report['machine']}\n")
        for name in scenes:
            if args.dsm:
                products = {"dsm": args.dsm, **({"dtm": args.dtm} if args.dtm else {})}
            else:
                folder = (args.products or Path(scratch)) / name
                if not args.products:
                    run_city(scene_folder(name), folder)
                products = products_of(folder)
            truth = truth_of(scene_folder(name))
            figures = height_table(name, truth, products["dsm"], products.get("dtm"))
            report["scenes"][name] = figures
            print(markdown(name, figures))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
