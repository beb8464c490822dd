"""Figures of the built scenes' products against their exact truth, as Markdown and JSON.

    python tests/benchmarks/accuracy.py                         runs `orograph run city` on both
    python tests/benchmarks/accuracy.py --products DIR          reads DIR/village and DIR/quarter
    python tests/benchmarks/accuracy.py --scene village --dsm my_dsm.tif [--dtm my_dtm.tif]
    python tests/benchmarks/accuracy.py --scene DIR/flat        another scene, as of towns.py

A folder of products holds `results.json` (as `orograph run` writes it) or `dsm.tif`, `dtm.tif`, ….
A reference cell counts where both images see the ground there, occluded or not. `quarter` has
wrong pointing, as some made-up towns have: figures come after the best constant shift, found on
the surface model; heights by as much as does not blur them, outlines and roofs by all of it.
Footprints count where the true building lies wholly in the images.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from machine import measured_on
from numpy.typing import NDArray
from truth import (
    CLASSES,
    NO_SHIFT,
    Truth,
    mispointed,
    on_truth,
    scene_folder,
    scenes_here,
    truth_of,
)

from processes.accuracy.buildings import building_figures
from processes.accuracy.citymodel import roof_heights
from processes.accuracy.claims import kept, kept_by_class
from processes.accuracy.heights import HeightFigures, figures_by_class, height_figures, near_edges
from processes.accuracy.outlines import matches, outline_figures
from processes.accuracy.roofs import roof_figures
from processes.accuracy.shift import Shift, best_shift, best_shift_of_shapes
from processes.city import ORIGINS
from processes.core.raster import Grid


def figures_of(scene: Path, truth: Truth, products: dict[str, Path]) -> dict[str, Any]:
    """Return every figure that the products there are allow."""
    surface = on_truth(products["dsm"], truth)
    found = best_shift(surface, truth.dsm, truth.cell_m, counted=truth.counted)
    of_shapes = best_shift_of_shapes(surface, truth.dsm, truth.cell_m, counted=truth.counted)
    shift, aside = (found, of_shapes) if mispointed(scene) else (NO_SHIFT, NO_SHIFT)
    figures: dict[str, Any] = {
        "shift_found": asdict(found),
        "shift_applied": asdict(shift),
        "shift_of_shapes": asdict(aside),
        "heights": {name: asdict(row) for name, row in height_rows(truth, products, shift).items()},
    }
    if "confidence" in products:
        figures["claims"] = claims(truth, products, found)
    if "footprints" in products:
        ours, theirs = comparable(truth, geopandas.read_parquet(products["footprints"]), aside)
        figures["footprints"] = asdict(
            outline_figures(ours.geometry.to_numpy(), theirs.geometry.to_numpy())
        )
        if "height_m" in ours:
            figures["buildings"] = asdict(building_heights(truth, ours, theirs))
    if "cityjson" in products:
        figures["roofs"] = roofs(truth, products["cityjson"], aside)
    return figures


def height_rows(truth: Truth, products: dict[str, Path], shift: Shift) -> dict[str, HeightFigures]:
    """Return the figures of the surface model, whole and in parts, and of the terrain model."""
    dz = on_truth(products["dsm"], truth, shift) - truth.dsm
    rows = {"DSM": height_figures(dz, truth.counted)}
    for name, of_class in figures_by_class(dz, truth.classes, CLASSES, truth.counted).items():
        rows[f"DSM {name}"] = of_class
    edges = near_edges(truth.building, truth.cell_m) & truth.counted
    rows["DSM ≤ 1.5 m from building edges"] = height_figures(dz, edges)
    if "dtm" in products:
        dz = on_truth(products["dtm"], truth, shift) - truth.dtm
        rows["DTM"] = height_figures(dz, truth.counted)
        rows["DTM under buildings"] = height_figures(dz, truth.counted & (truth.building > 0))
    return rows


def claims(truth: Truth, products: dict[str, Path], shift: Shift) -> dict[str, Any]:
    """Return which share of the cells lies within the error that nine in ten should stay below.

    After the best shift in every scene: the claims are of heights beside each other. A claim is
    that of the cell that holds the place: between cells it would be made larger beside each wall.
    """
    dz = np.where(truth.counted, on_truth(products["dsm"], truth, shift) - truth.dsm, np.nan)
    claimed = cells_on_truth(products["confidence"], truth, shift, np.nan)
    rows = {"all": kept(dz, claimed)}
    if "ortho_mask" in products:
        rows |= kept_by_class(
            dz, claimed, cells_on_truth(products["ortho_mask"], truth, shift, 0), ORIGINS
        )
    return {name: asdict(row) for name, row in rows.items()}


def cells_on_truth(path: Path, truth: Truth, shift: Shift, outside: float) -> NDArray[Any]:
    """Return the value of the cell that each of the truth's cell centres lies in."""
    with rasterio.open(path) as file:
        values, inverse = file.read(1), ~file.transform
    row, col = np.mgrid[: truth.dsm.shape[0], : truth.dsm.shape[1]]
    x, y = truth.transform @ (col + 0.5, row + 0.5)
    col, row = (np.floor(v).astype(int) for v in inverse @ (x - shift.dx_m, y - shift.dy_m))
    inside = (row >= 0) & (col >= 0) & (row < values.shape[0]) & (col < values.shape[1])
    return np.where(inside, values[row * inside, col * inside], np.asarray(outside, values.dtype))


def comparable(
    truth: Truth, product: geopandas.GeoDataFrame, shift: Shift
) -> tuple[geopandas.GeoDataFrame, geopandas.GeoDataFrame]:
    """Return the product's and the true outlines that can be asked for.

    True ones lie wholly in the images; product outlines that lie mostly outside of them, or on a
    true building that does not, are neither right nor wrong.
    """
    ours = product.to_crs(truth.crs)
    ours = ours.set_geometry(ours.geometry.translate(shift.dx_m, shift.dy_m))
    whole = truth.footprints.geometry.within(truth.coverage)
    partial = truth.footprints.geometry[~whole].union_all()
    area = ours.geometry.area
    off = ours.geometry.intersection(truth.coverage).area < 0.5 * area
    off |= ours.geometry.intersection(partial).area > 0.5 * area
    return ours[~off].reset_index(drop=True), truth.footprints[whole].reset_index(drop=True)


def building_heights(
    truth: Truth, ours: geopandas.GeoDataFrame, theirs: geopandas.GeoDataFrame
) -> Any:
    """Return the figures of heights above ground; true are the median roof over the mean ground."""
    pairs = matches(ours.geometry.to_numpy(), theirs.geometry.to_numpy())
    height_m = ours["height_m"].to_numpy(float)[[pair.product for pair in pairs]]
    numbers = theirs["id"].to_numpy()[[pair.reference for pair in pairs]]
    true_m = [
        np.nanmedian(truth.roof[truth.building == number])
        - truth.dtm[truth.building == number].mean()
        for number in numbers
    ]
    return building_figures(height_m, np.array(true_m))


def roofs(truth: Truth, cityjson: Path, shift: Shift) -> dict[str, Any]:
    """Return the figures of modelled roofs at the truth's cells."""
    rows, cols = truth.dsm.shape
    grid = Grid(truth.crs, truth.transform, rows, cols)
    model = roof_heights(cityjson.read_text(), grid, move=(shift.dx_m, shift.dy_m, shift.dz_m))
    inside = truth.counted
    figures = roof_figures(
        np.where(inside, model, np.nan), np.where(inside, truth.roof, np.nan), truth.dtm
    )
    return asdict(figures)


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
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def markdown(scene: str, figures: dict[str, Any]) -> str:
    """Return the figures of a scene as Markdown."""
    found, aside = figures["shift_found"], figures["shift_of_shapes"]
    where = "applied" if any(figures["shift_applied"].values()) else "found, not applied"
    lines = [
        f"### {scene}",
        "",
        f"Best constant shift ({where}): {found['dx_m']:+.2f}, {found['dy_m']:+.2f}, "
        f"{found['dz_m']:+.2f} m; outlines and roofs moved by {aside['dx_m']:+.2f}, "
        f"{aside['dy_m']:+.2f} m",
        "",
        "| | bias m | RMSE m | NMAD m | LE90 m | completeness@1m | voids | cells |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in figures["heights"].items():
        lines.append(
            f"| {name} | {row['bias_m']:+.3f} | {row['rmse_m']:.3f} | {row['nmad_m']:.3f} "
            f"| {row['le90_m']:.3f} | {row['completeness_1m']:.3f} | {row['void_share']:.3f} "
            f"| {row['cells']} |"
        )
    if "claims" in figures:
        lines += ["", "| confidence | within the 90 % error | median error_90 m | cells |"]
        lines += ["|---|---:|---:|---:|"]
        for name, row in figures["claims"].items():
            held, claim = 100 * row["held_share"], row["median_claim_m"]
            lines.append(f"| {name} | {held:.1f} % | {claim:.2f} | {row['cells']} |")
    for part in ("footprints", "buildings", "roofs"):
        if part in figures:
            row = figures[part]
            lines += ["", "| " + " | ".join([part, *row]) + " |", "|---" + "|---:" * len(row) + "|"]
            lines.append("| | " + " | ".join(_number(value) for value in row.values()) + " |")
    return "\n".join([*lines, ""])


SUMMARY: dict[str, list[tuple[str, str, str]]] = {
    "DSM completeness within 1 m": [("DSM", "completeness_1m", "{:.3f}")],
    "– buildings / ground": [
        ("DSM building", "completeness_1m", "{:.3f}"),
        ("DSM ground", "completeness_1m", "{:.3f}"),
    ],
    "– within 1.5 m of building edges": [
        ("DSM ≤ 1.5 m from building edges", "completeness_1m", "{:.3f}")
    ],
    "– trees": [("DSM tree", "completeness_1m", "{:.3f}")],
    "DSM NMAD / RMSE (m)": [("DSM", "nmad_m", "{:.2f}"), ("DSM", "rmse_m", "{:.2f}")],
    "heights within their stated 90 % error": [("confidence", "held_share", "{:.1%}")],
    "DTM RMSE (m)": [("DTM", "rmse_m", "{:.2f}")],
    "footprints F1 at IoU 0.5 / mean IoU": [
        ("footprints", "f1", "{:.3f}"),
        ("footprints", "mean_iou", "{:.3f}"),
    ],
    "buildings, median height error (m)": [("buildings", "median_error_m", "{:.2f}")],
    "roofs, mean error over both outlines (m)": [("roofs", "mae_union_m", "{:.2f}")],
}
"""Row → its figures: (part, figure, how it is written)."""


def summary(scenes: dict[str, dict[str, Any]]) -> str:
    """Return the main figures of all scenes side by side, as Markdown."""
    parts = {
        name: {**figures["heights"], "confidence": figures.get("claims", {}).get("all", {})}
        | {part: figures.get(part, {}) for part in ("footprints", "buildings", "roofs")}
        for name, figures in scenes.items()
    }
    lines = ["| | " + " | ".join(f"`{name}`" for name in scenes) + " |"]
    lines.append("|---" + "|---:" * len(scenes) + "|")
    for row, wanted in SUMMARY.items():
        cells = (
            " / ".join(
                text.format(has[part][key]) if key in has.get(part, {}) else "–"
                for part, key, text in wanted
            )
            for has in parts.values()
        )
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if isfinite(value) else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=Path, help="folder with one folder per scene")
    parser.add_argument("--scene", action="append", help="its name or folder")
    parser.add_argument("--dsm", type=Path, help="a surface model of the one --scene")
    parser.add_argument("--dtm", type=Path, help="a terrain model of the one --scene")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    report: dict[str, Any] = {"measured": measured_on(), "scenes": {}}
    print(f"{report['measured']}\n")
    with tempfile.TemporaryDirectory() as scratch:
        for given in args.scene or scenes_here():
            scene = scene_folder(given)
            name = scene.name
            folder = (args.products or Path(scratch)) / name
            if args.dsm:
                products = {"dsm": args.dsm, **({"dtm": args.dtm} if args.dtm else {})}
            else:
                if not args.products:
                    run_city(scene, folder)
                products = products_of(folder)
            figures = figures_of(scene, truth_of(scene), products)
            report["scenes"][name] = figures
            print(markdown(name, figures), flush=True)
    print(summary(report["scenes"]))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
