"""How well footprints are drawn, from masks that are known: beside buildingregulariser.

    python tests/benchmarks/outlines.py [--products DIR] [--json FILE]

buildingregulariser 0.2.5 (MIT) is installed in an environment of its own in .peers and draws the
same labelled cells, as raster outlines; of its settings three are shown. Three kinds of cells:
those that our own chain finds (DIR/village and DIR/quarter as `accuracy.py` takes them; without
--products the chain runs), those of the truth, and shapes without right angles, each turned and
shifted eight times. Buildings a second are by CPU time, without start and files, the best of three
rounds in turn. `product` is what the chain wrote, in whole: blocks, tiles and what it left out
included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio.features
import rasterio.transform
import shapely
import shapely.affinity
from accuracy import comparable, products_of, run_city
from machine import measured_on
from numpy.typing import NDArray
from truth import NO_SHIFT, SCENES, mispointed, on_truth, scene_folder, scenes_here, truth_of

from processes.accuracy.outlines import matches, orientation_error_deg, outline_figures
from processes.accuracy.shift import best_shift_of_shapes
from processes.outlines.attached import parts
from processes.outlines.regularise import Taste, outlined, separated
from processes.outlines.segment import Sample, building_mask, buildings_only
from processes.outlines.trace import groups

HOME = Path(__file__).parents[2] / ".peers" / "outlines"
PEER = "buildingregulariser"
PACKAGES = (f"{PEER}==0.2.5", "pyarrow")
SETTINGS: dict[str, dict[str, Any]] = {
    "": {},
    ", tolerance 1 m": {"simplify_tolerance": 1.0},
    ", neighbours aligned": {"neighbor_alignment": True},
}
SCRIPT = """
import json, sys, time
import geopandas
from buildingregulariser import regularize_geodataframe
source, target, settings = sys.argv[1:]
frame = geopandas.read_parquet(source)
start = time.process_time()
made = regularize_geodataframe(frame, num_cores=1, **json.loads(settings))
print("SECONDS", time.process_time() - start)
made.to_parquet(target)
"""
CELL_M = 0.5
LEAST_M2 = 15.0
ROUNDS = 3


@dataclass(frozen=True)
class Cells:
    """Labelled cells of buildings on a lattice."""

    labels: NDArray[np.int32]
    transform: Any
    crs: str
    least_m2: float = LEAST_M2


def drawn_by_us(cells: Cells) -> tuple[geopandas.GeoDataFrame, float]:
    """Return our outlines and the CPU seconds they took."""
    taste = Taste(float(cells.transform.a), min_area_m2=cells.least_m2)
    start = time.process_time()
    found = []
    for group in groups(cells.labels):
        corner = (group.row0, group.col0)
        found += [_on_ground(shape.polygon, cells, corner) for shape in outlined(group, taste)]
    found = [polygon for polygon in separated(found) if polygon.area >= cells.least_m2]
    return geopandas.GeoDataFrame(geometry=found, crs=cells.crs), time.process_time() - start


def drawn_by_peer(
    cells: Cells, settings: dict[str, Any], folder: Path
) -> tuple[geopandas.GeoDataFrame, float]:
    """Return buildingregulariser's outlines and the CPU seconds they took."""
    shapes = rasterio.features.shapes(cells.labels, cells.labels > 0, transform=cells.transform)
    polygons = [shapely.geometry.shape(shape) for shape, _ in shapes]
    polygons = [polygon for polygon in polygons if polygon.area >= cells.least_m2]
    source, target = folder / "cells.parquet", folder / "drawn.parquet"
    geopandas.GeoDataFrame(geometry=polygons, crs=cells.crs).to_parquet(source)
    command = [HOME / "bin" / "python", "-c", SCRIPT, source, target, json.dumps(settings)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return geopandas.read_parquet(target), float(said.split("SECONDS")[1])


def row(
    made: Sequence[Any],
    true: Sequence[Any],
    seconds: float | None = None,
    *,
    least_iou: float = 0.5,
) -> dict[str, float]:
    """Return the figures of outlines against true ones."""
    figures = outline_figures(made, true, match_iou=least_iou)
    pairs = matches(made, true, least_iou)
    off = [orientation_error_deg(made[p.product], true[p.reference]) for p in pairs]
    return {
        "outlines": len(made),
        "F1": figures.f1,
        "mean IoU": figures.mean_iou,
        "C-IoU": figures.mean_c_iou,
        "vertex ratio": figures.vertex_ratio,
        "orientation rad": float(np.radians(np.median(off))) if off else float("nan"),
        "PoLiS m": figures.mean_polis_m,
        "invalid": int((~shapely.is_valid(np.asarray(made, object))).sum()),
        "overlap m²": float(shapely.area(made).sum() - shapely.union_all(made).area),
        "a CPU second": len(made) / seconds if seconds else float("nan"),
    }


def own_cells(products: dict[str, Path]) -> Cells:
    """Return the houses that our rules find in a surface, a terrain and an orthoimage."""
    with rasterio.open(products["dsm"]) as file:
        surface = file.read(1, masked=True).astype(np.float32).filled(np.nan)
        transform, crs = file.transform, file.crs.to_string()
    with rasterio.open(products["dtm"]) as file:
        ground = file.read(1, masked=True).astype(np.float32).filled(np.nan)
    with rasterio.open(products["ortho"]) as file:
        pixels = file.read(masked=True).astype(np.float32).filled(np.nan)
        names = [name or f"band{number}" for number, name in enumerate(file.descriptions)]
    sample = Sample(surface, surface - ground, dict(zip(names, pixels, strict=True)))
    mask = buildings_only(building_mask(sample, transform.a), sample, transform.a)
    return Cells(parts(mask, surface, transform.a, sample.bands), transform, crs)


def of_scene(name: str, folder: Path, scratch: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return the tables of one scene: from our own cells and from the true ones."""
    truth, products = truth_of(scene_folder(name)), products_of(folder)
    shift = NO_SHIFT
    if mispointed(scene_folder(name)):
        on = on_truth(products["dsm"], truth)
        shift = best_shift_of_shapes(on, truth.dsm, truth.cell_m, counted=truth.counted)
    tables = {}
    true_cells = Cells(truth.building.astype(np.int32), truth.transform, truth.crs)
    for title, cells, moved in (
        ("own cells", own_cells(products), shift),
        ("true cells", true_cells, NO_SHIFT),
    ):
        rows = {}
        for who, (frame, seconds) in contenders(cells, scratch):
            made, true = comparable(truth, frame, moved)
            rows[who] = row(made.geometry.to_numpy(), true.geometry.to_numpy(), seconds)
            rows[who]["a CPU second"] = len(frame) / seconds
        if title == "own cells":
            whole = geopandas.read_parquet(products["footprints"])
            made, true = comparable(truth, whole, shift)
            rows["product"] = row(made.geometry.to_numpy(), true.geometry.to_numpy())
        tables[f"{name}, {title}"] = rows
    return tables


def contenders(
    cells: Cells, scratch: Path
) -> Iterator[tuple[str, tuple[geopandas.GeoDataFrame, float]]]:
    """Yield each contender's outlines and the least CPU seconds of ROUNDS, run in turn."""
    drawn_by_us(cells)  # compiled, and its caches warm
    drawing = {"Orograph": lambda: drawn_by_us(cells)} | {
        f"{PEER}{words}": partial(drawn_by_peer, cells, settings, scratch)
        for words, settings in SETTINGS.items()
    }
    rounds = [{who: draw() for who, draw in drawing.items()} for _ in range(ROUNDS)]
    for who in drawing:
        frame, _ = rounds[0][who]
        yield who, (frame, min(found[who][1] for found in rounds))


def shapes_without_right_angles() -> dict[str, Any]:
    """Return outlines of 150 to 420 m² about the origin, metres."""

    def regular(corners: int, radius: float) -> Any:
        turn = np.arange(corners) * 2 * np.pi / corners
        return shapely.Polygon(np.column_stack([np.cos(turn), np.sin(turn)]) * radius)

    return {
        "circle": regular(180, 9.0),
        "hexagon": regular(6, 10.0),
        "octagon": regular(8, 10.0),
        "triangle": regular(3, 13.0),
        "trapezoid": shapely.Polygon([(-12, -7), (12, -7), (6, 7), (-9, 7)]),
        "parallelogram": shapely.Polygon([(-14, -7), (6, -7), (14, 7), (-6, 7)]),
        "cut corner": shapely.Polygon([(-11, -8), (11, -8), (11, 1), (4, 8), (-11, 8)]),
        "bent wing": shapely.Polygon(
            [(-16, -5), (2, -5), (14, 7), (7, 14), (-1, 5), (-1, 4), (-16, 4)]
        ),
    }


def turned(shape: Any, number: int) -> Any:
    """Return a shape turned and shifted by fractions of a cell."""
    whole = shapely.affinity.rotate(shape, 7.0 + 23.0 * number, origin=(0, 0))
    return shapely.affinity.translate(whole, 0.13 * number, -0.19 * number)


def of_shapes(scratch: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return mean and least IoU for each shape and each contender."""
    pitch_m, wide = 50.0, 8
    transform = rasterio.transform.from_origin(0.0, 0.0, CELL_M, CELL_M)
    named = shapes_without_right_angles()
    true, kinds = [], []
    for line, (kind, shape) in enumerate(named.items()):
        for number in range(wide):
            at = (pitch_m * (number + 0.5), -pitch_m * (line + 0.5))
            true.append(shapely.affinity.translate(turned(shape, number), *at))
            kinds.append(kind)
    size = (round(pitch_m * len(named) / CELL_M), round(pitch_m * wide / CELL_M))
    pairs = [(polygon, number) for number, polygon in enumerate(true, start=1)]
    labels = rasterio.features.rasterize(pairs, size, transform=transform, dtype="int32")
    rows = {}
    for who, (frame, _) in contenders(Cells(labels, transform, "EPSG:32631"), scratch):
        made = frame.geometry.to_numpy()
        best = np.zeros(len(true))
        for pair in matches(made, true, 0.01):
            best[pair.reference] = pair.iou
        own = np.array(kinds)
        rows[who] = {kind: float(best[own == kind].mean()) for kind in named}
        rows[who] |= {"mean": float(best.mean()), "least": float(best.min())}
    return {"shapes without right angles, IoU": rows}


def install() -> None:
    """Make the peer's environment where there is none."""
    if not any(HOME.glob(f"lib/*/site-packages/{PEER}")):
        print(f"installing {', '.join(PACKAGES)} in {HOME}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        subprocess.run([HOME / "bin" / "pip", "install", "-q", *PACKAGES], check=True)


def markdown(title: str, rows: dict[str, dict[str, float]]) -> str:
    columns = list(next(iter(rows.values())))
    lines = [f"### {title}", "", "| | " + " | ".join(columns) + " |"]
    lines.append("|---" + "|---:" * len(columns) + "|")
    for who, found in rows.items():
        cells = (f"{v:d}" if isinstance(v, int) else f"{v:.3f}" for v in found.values())
        lines.append(f"| {who} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _on_ground(polygon: Any, cells: Cells, corner: tuple[int, int]) -> Any:
    def place(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = cells.transform @ (xy[:, 0] + corner[1] + 0.5, xy[:, 1] + corner[0] + 0.5)
        return np.stack([x, y], axis=1)

    return shapely.transform(polygon, place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=Path, help="folder with one folder per scene")
    parser.add_argument("--scene", choices=SCENES, action="append")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    args = parser.parse_args()
    print(f"{measured_on()}\n")
    install()
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        report |= of_shapes(scratch)
        for name in args.scene or scenes_here():
            products = (args.products or scratch) / name
            if not args.products:
                run_city(scene_folder(name), products)
            report |= of_scene(name, products, scratch)
    for title, rows in report.items():
        print(markdown(title, rows))
    if args.json:
        args.json.write_text(json.dumps({"measured": measured_on(), "tables": report}, indent=1))


if __name__ == "__main__":
    main()
