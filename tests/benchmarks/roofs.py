"""How right modelled roofs are: from true surfaces and outlines, and from our own chain.

    python tests/benchmarks/roofs.py [--products DIR] [--scene NAME_OR_FOLDER …] [--json FILE]

DIR/village and DIR/quarter as `accuracy.py` takes them; without --products the chain runs. Another
scene, as of towns.py, is named by its folder. Columns:

- roof RMSE, MAE over the union: as in `accuracy.py`, at the truth's cells.
- pitch: each true roof plane against the roof face that covers most of it, degrees; the mean is
  weighted by area, the median is of planes. A block counts with its pitch of nought.
- segment IoU: each true roof plane against one face at most and each face against one plane at
  most (largest sum of IoU), mean over planes and over areas; a plane without a face counts 0.
- type: share of true buildings whose roof is named as the truth names it.
- solids: how many, how many that ISO 19107 faults (by val3dity's codes), not watertight by trimesh.
- a CPU second: buildings modelled, checked included, without reading and writing.

Only true planes and buildings that lie wholly in the images count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
import trimesh
from accuracy import comparable, products_of, roofs, run_city
from machine import measured_on
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from truth import NO_SHIFT, Truth, mispointed, on_truth, scene_folder, scenes_here, truth_of

from processes.accuracy.outlines import matches
from processes.accuracy.shift import Shift, best_shift_of_shapes
from processes.core.building import Face, Solid
from processes.core.raster import Grid, Raster
from processes.roofs.reconstruct import reconstruct
from processes.roofs.validity import faults


@dataclass(frozen=True)
class Segment:
    """A plane part of a roof, from above."""

    plan: Any
    pitch_deg: float


def of_model(cityjson: Path, truth: Truth, scene: Path, shift: Shift) -> dict[str, Any]:
    """Return the figures of a city model against the true roof planes."""
    model = json.loads(cityjson.read_text())
    solids = [solid for _, solid in solids_of(model)]
    made = [segment for solid in solids for segment in segments_of(solid, shift)]
    planes = geopandas.read_file(scene / "truth" / "roof_planes.gpkg")
    planes = planes[planes.geometry.within(truth.coverage)]
    true = [
        Segment(plan, float(slope))
        for plan, slope in zip(planes.geometry.make_valid(), planes["slope_deg"], strict=True)
    ]
    heights = roofs(truth, cityjson, shift)
    off, area = pitch_errors(made, true)
    overlap = segment_iou(made, true)
    weight = np.array([segment.plan.area for segment in true])
    broken = Counter(fault.code for solid in solids for fault in faults(solid))
    return {
        "roof RMSE m": heights["rmse_m"],
        "MAE over union m": heights["mae_union_m"],
        "mean pitch error °": float(np.average(off, weights=area)),
        "median pitch error °": float(np.median(off)),
        "segment IoU": float(overlap.mean()),
        "by area": float(np.average(overlap, weights=weight)),
        "solids": len(solids),
        "invalid": ", ".join(f"{code}: {n}" for code, n in sorted(broken.items())) or "0",
        "not watertight": sum(not watertight(solid) for solid in solids),
        "LOD2": sum(1 for _, lod in lods(model) if lod == "2.0"),
    }


def solids_of(model: dict[str, Any]) -> Iterator[tuple[str, Solid]]:
    """Yield every solid of a CityJSON document with its building's id."""
    transform = model["transform"]
    vertices = np.array(model["vertices"], float).reshape(-1, 3) * transform["scale"]
    vertices += transform["translate"]
    for ident, thing in model["CityObjects"].items():
        for geometry in thing.get("geometry", []):
            names = [surface["type"] for surface in geometry["semantics"]["surfaces"]]
            one = geometry["type"] == "Solid"
            boundaries, values = geometry["boundaries"], geometry["semantics"]["values"]
            for shells, kinds in zip(
                [boundaries] if one else boundaries, [values] if one else values, strict=True
            ):
                used, number = np.unique(
                    [i for face in shells[0] for ring in face for i in ring], return_inverse=True
                )
                order = iter(number.tolist())
                faces = [
                    Face(tuple(tuple(next(order) for _ in ring) for ring in face), names[kind])
                    for face, kind in zip(shells[0], kinds[0], strict=True)
                ]
                yield ident, Solid(vertices[used], tuple(faces))


def lods(model: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for ident, thing in model["CityObjects"].items():
        for geometry in thing.get("geometry", []):
            yield ident, geometry["lod"]


def segments_of(solid: Solid, shift: Shift = NO_SHIFT) -> Iterator[Segment]:
    """Yield the roof faces of a solid."""
    plan = solid.vertices[:, :2] + (shift.dx_m, shift.dy_m)
    for face in solid.faces:
        if face.kind != "RoofSurface":
            continue
        outer = solid.vertices[list(face.rings[0])]
        normal = np.linalg.svd(outer - outer.mean(axis=0))[2][2]
        pitch = np.degrees(np.arctan2(np.hypot(*normal[:2]), abs(normal[2])))
        rings = [plan[list(ring)] for ring in face.rings]
        area = shapely.make_valid(shapely.Polygon(rings[0], rings[1:]))
        yield Segment(area, float(pitch))


def pitch_errors(
    made: Sequence[Segment], true: Sequence[Segment]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return |difference| of pitch and area of each true segment that a face covers."""
    common = _common(made, true)
    found = common.max(axis=1) > 0
    best = common.argmax(axis=1)[found]
    pitch = np.array([segment.pitch_deg for segment in made])[best]
    off = np.abs(pitch - np.array([segment.pitch_deg for segment in true])[found])
    return off, np.array([segment.plan.area for segment in true])[found]


def segment_iou(made: Sequence[Segment], true: Sequence[Segment]) -> NDArray[np.float64]:
    """Return the IoU of each true segment with the face that is its own."""
    common = _common(made, true)
    ours = np.array([segment.plan.area for segment in made])
    theirs = np.array([segment.plan.area for segment in true])
    iou = common / (ours + theirs[:, None] - common)
    found = np.zeros(len(true))
    rows, cols = linear_sum_assignment(iou, maximize=True)
    found[rows] = iou[rows, cols]
    return found


def _common(made: Sequence[Segment], true: Sequence[Segment]) -> NDArray[np.float64]:
    """Return the area that each true segment (row) shares with each made one (column)."""
    ours = np.array([segment.plan for segment in made], object)
    theirs = np.array([segment.plan for segment in true], object)
    row, col = shapely.STRtree(ours).query(theirs, predicate="intersects")
    common = np.zeros((len(true), len(made)))
    common[row, col] = shapely.area(shapely.intersection(theirs[row], ours[col]))
    return common


def watertight(solid: Solid) -> bool:
    """Say whether trimesh finds the shell closed, once its faces are triangles."""
    triangles = []
    for face in solid.faces:
        outer = solid.vertices[list(face.rings[0])]
        normal = np.linalg.svd(outer - outer.mean(axis=0))[2][2]
        across = np.cross(np.eye(3)[np.argmin(np.abs(normal))], normal)
        axes = np.column_stack([across, np.cross(normal, across)])
        numbers = [i for ring in face.rings for i in ring]
        flat = map(tuple, (solid.vertices[numbers] @ axes).tolist())
        place = dict(zip(flat, numbers, strict=True))
        rings = [solid.vertices[list(ring)] @ axes for ring in face.rings]
        area = shapely.Polygon(rings[0], rings[1:])
        for triangle in shapely.get_parts(shapely.constrained_delaunay_triangles(area)):
            triangles.append([place[tuple(xy)] for xy in triangle.exterior.coords[:3]])
    corners = np.round(solid.vertices * 1000).astype(np.int64)
    distinct, number = np.unique(corners, axis=0, return_inverse=True)
    mesh = trimesh.Trimesh(distinct / 1000, number.reshape(-1)[triangles], process=False)
    edges = Counter(tuple(edge) for edge in mesh.edges_sorted.tolist())
    return all(count % 2 == 0 for count in edges.values())


def types_right(table: geopandas.GeoDataFrame, truth: Truth, shift: Shift) -> dict[str, Any]:
    """Return how many matched buildings carry the name of their true roof, and the confusions."""
    made, true = comparable(truth, table, shift)
    pairs = matches(made.geometry.to_numpy(), true.geometry.to_numpy())
    said = made["roof_type"].fillna("block")
    wrong: Counter[str] = Counter()
    right = 0
    for pair in pairs:
        named, meant = said.iloc[pair.product], true["roof_type"].iloc[pair.reference]
        right += named == meant
        if named != meant:
            wrong[f"{meant} as {named}"] += 1
    words = ", ".join(f"{what} {n}" for what, n in wrong.most_common())
    return {"type": right / max(len(pairs), 1), "of": len(pairs), "wrong": words or "–"}


def speed(outlines: Sequence[Any], dsm: Path, dtm: Path) -> float:
    """Return buildings modelled a CPU second, compiled and in memory."""
    surface, ground = raster(dsm), raster(dtm)
    reconstruct(outlines[0], surface, ground, 2)
    start = time.process_time()
    for outline in outlines:
        reconstruct(outline, surface, ground, 2)
    return len(outlines) / (time.process_time() - start)


def raster(path: Path) -> Raster:
    with rasterio.open(path) as file:
        values = file.read(1, masked=True).astype(np.float32).filled(np.nan)
        grid = Grid(file.crs.to_string(), file.transform, file.height, file.width)
    return Raster(values, grid)


def run_buildings(scene: Path, out: Path) -> dict[str, Path]:
    """Model the true outlines over the true surface by the command line."""
    out.mkdir(parents=True, exist_ok=True)
    request = out / "request.json"
    named = {"footprints": "footprints.gpkg", "dsm": "dsm.tif", "dtm": "dtm.tif"}
    inputs = {k: {"href": str((scene / "truth" / v).resolve())} for k, v in named.items()}
    request.write_text(json.dumps({"inputs": inputs}))
    command = [sys.executable, "-m", "server.cli", "run", "buildings", str(request)]
    subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return products_of(out)


def of_scene(scene: Path, folder: Path, scratch: Path) -> dict[str, dict[str, Any]]:
    """Return one row from the truth's surface and outlines and one from our own chain."""
    truth = truth_of(scene)
    rows = {}
    truth_products = run_buildings(scene, scratch / f"{scene.name}-buildings")
    own = products_of(folder)
    shift = NO_SHIFT
    if mispointed(scene):
        on = on_truth(own["dsm"], truth)
        shift = best_shift_of_shapes(on, truth.dsm, truth.cell_m, counted=truth.counted)
    true_files = {k: scene / "truth" / f"{k}.tif" for k in ("dsm", "dtm")}
    for title, products, files, moved in (
        ("true surface and outlines", truth_products, true_files, NO_SHIFT),
        ("own chain", own, own, shift),
    ):
        table = geopandas.read_parquet(products["footprints"])
        row = of_model(products["cityjson"], truth, scene, moved)
        row |= types_right(table, truth, moved)
        row["a CPU second"] = speed(table.geometry.to_list(), files["dsm"], files["dtm"])
        rows[f"{scene.name}, {title}"] = row
    return rows


def markdown(rows: dict[str, dict[str, Any]]) -> str:
    """Return the figures with one column a row, since there are many."""
    columns = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(rows) + " |", "|---" + "|---:" * len(rows) + "|"]
    for column in columns:
        cells = (
            f"{r[column]:.3f}" if isinstance(r[column], float) else r[column] for r in rows.values()
        )
        lines.append(f"| {column} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=Path, help="folder with one folder per scene")
    parser.add_argument("--scene", action="append", help="its name or folder")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    args = parser.parse_args()
    print(f"{measured_on()}\n")
    report: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for given in args.scene or scenes_here():
            scene = scene_folder(given)
            if not (scene / "truth" / "roof_planes.gpkg").is_file():
                sys.exit(f"{scene} knows no roofs: its truth needs roof_planes.gpkg")
            products = (args.products or scratch) / scene.name
            if not args.products:
                run_city(scene, products)
            report |= of_scene(scene, products, scratch)
    print(markdown(report))
    if args.json:
        args.json.write_text(json.dumps({"measured": measured_on(), "rows": report}, indent=1))


if __name__ == "__main__":
    main()
