"""3D Tiles of 50,000 buildings, side by side with py3dtiles: seconds, megabytes, faults.

    python tests/benchmarks/tilesets.py [BUILDINGS]

Both write the same tiles: the same triangles and attributes, blocks from afar and roofs from
near. py3dtiles has no writer of buildings as such: its own parts (`B3dm`, `BatchTable`, `Tile`)
are put together as its documentation does, and the cutting into tiles and triangles, which it
does not do, is not in its time. It gets no colours and stays in the map's plane. Time is the
processor's, not the clock's, and both are measured in turns. Faults are those of the Khronos
glTF validator over all tiles.

pg2b3dm, which needs .NET and a database, is not run; its authors speak of 1,400 to 3,800
buildings a second.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from machine import measured_on
from shapely.geometry import box

from processes.core.building import BuildingModel
from processes.roofs.extrude import extrude, tidy
from processes.roofs.planes import Planes, raise_roof
from tiles.blocks import GROUND, blocks, deviations
from tiles.mesh import Faces, face_sizes, faces, joined, runs, select, starts, triangulate
from tiles.scene import extents
from tiles.tileset import MOST_IN_A_TILE, write
from tiles.tree import tree

CRS = "EPSG:32631"
ROUNDS = 3
JUDGE = Path(__file__).parents[1] / "node/gltf_report.mjs"


def town(count: int, *, roofs: bool) -> list[BuildingModel]:
    """Return blocks, or four gabled houses to a block, on a grid, with a dozen attributes."""
    rng = np.random.default_rng(1)
    side = int(np.ceil(np.sqrt(count)))
    models = []
    for number in range(count):
        x, y = 431000.0 + 30 * (number % side), 5290000.0 + 30 * (number // side)
        width, depth, height = rng.uniform([6, 6, 3], [24, 20, 25]).round(2).tolist()
        outline = tidy(box(x, y, x + width, y + depth))[0]
        top = 140.0 + height
        gabled = roofs and number % 5 > 0
        if gabled:
            slopes = np.array([[0, 0.5, top + depth / 4], [0, -0.5, top + depth / 4]])
            solid = raise_roof(outline, 140.0, Planes(slopes, (x + width / 2, y + depth / 2)))
        else:
            solid = extrude(outline, 140.0, top)
        known = {
            "ground_m": 140.0, "base_m": 139.8, "min_m": top - 0.6, "mean_m": top, "median_m": top,
            "max_m": top + 0.4, "roof_m": top, "height_m": height, "lod": 1 + gabled,
            "roof_type": "gable" if gabled else "flat", "pitch_deg": 26.57 if gabled else None,
            "area_m2": round(width * depth, 2),
        }  # fmt: skip
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in known.items()}
        models.append(BuildingModel(f"b{number}", (solid,), "2.0" if gabled else "1.2", rounded))
    return models


@dataclass(frozen=True)
class Cut:
    """What py3dtiles is given: triangles, and what is in which tile."""

    models: list[BuildingModel]
    table: Faces
    """The buildings, then the blocks of those that are none themselves."""
    triangles: np.ndarray
    first_triangle: np.ndarray
    parts: list[tuple[np.ndarray, np.ndarray]]
    """For each tile the numbers of its buildings, and their places in *table*."""


def cut(models: list[BuildingModel]) -> Cut:
    """Return the triangles of *models* and the tiles that Orograph puts them in."""
    table = faces(models)
    far = blocks(table)
    seen = joined(select(table, table.face_kind != GROUND), far.faces)
    as_block = np.arange(len(models))
    as_block[far.models] = len(models) + np.arange(len(far.models))
    root = tree(extents(table, CRS), [m.id for m in models], deviations(table), MOST_IN_A_TILE)
    triangles = triangulate(seen, seen.vertices)
    parts = [
        (tile.shown, as_block[tile.shown] if tile.content == "blocks" else tile.shown)
        for tile in root.walk()
    ]
    return Cut(models, seen, triangles.corners, triangles.starts, parts)


def by_py3dtiles(cut: Cut, folder: Path) -> None:
    """Write b3dm tiles and tileset.json with py3dtiles."""
    from py3dtiles.tileset import BoundingVolumeBox, TileSet
    from py3dtiles.tileset.content import B3dm
    from py3dtiles.tileset.content.batch_table import BatchTable
    from py3dtiles.tileset.tile import Tile

    root = Tile(
        geometric_error=500, bounding_volume=BoundingVolumeBox.from_points(cut.table.vertices)
    )
    first_corner = starts(face_sizes(cut.table))[starts(cut.table.model_faces)]
    middle = cut.table.vertices.mean(axis=0)
    for number, (buildings, part) in enumerate(cut.parts):
        corners = runs(first_corner, part)
        counts = first_corner[part + 1] - first_corner[part]
        per_building = cut.first_triangle[part + 1] - cut.first_triangle[part]
        moved = starts(counts)[:-1] - first_corner[part]
        indices = (
            cut.triangles[runs(cut.first_triangle, part)] + np.repeat(moved, per_building)[:, None]
        )
        points = cut.table.vertices[cut.table.corners[corners]]
        ids = np.repeat(np.arange(len(part)), counts).astype(np.uint32)
        batch = BatchTable()
        here = [cut.models[i] for i in buildings.tolist()]
        batch.add_property_as_json("id", [model.id for model in here])
        for name in here[0].attributes:
            batch.add_property_as_json(name, [model.attributes[name] for model in here])
        content = B3dm.from_numpy_arrays(
            (points - middle).astype(np.float32),
            triangles=indices.astype(np.uint32),
            normal=_normals(points, indices).astype(np.float32),
            batchids=ids,
            batch_table=batch,
        )
        tile = Tile(
            geometric_error=0,
            bounding_volume=BoundingVolumeBox.from_points(points),
            content_uri=Path(f"{number}.b3dm"),
        )
        content.save_as(folder / f"{number}.b3dm")
        root.add_child(tile)
    tileset = TileSet(geometric_error=1000)
    tileset.root_tile = root
    tileset.write_as_json(folder / "tileset.json")


def _normals(points: np.ndarray, indices: np.ndarray) -> np.ndarray:
    a, b, c = np.moveaxis(points[indices], 1, 0)
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    found = np.zeros_like(points)
    found[indices] = normal[:, None]
    return found


def by_orograph(models: list[BuildingModel], folder: Path) -> None:
    """Write everything that `buildings` writes: coarse levels, attributes, subtrees."""
    write(models, CRS, folder)


def as_b3dm(models: list[BuildingModel], folder: Path) -> None:
    """Write the same for old clients."""
    write(models, CRS, folder, form="b3dm")


def faults(folder: Path, scratch: Path) -> int:
    """Return the number of errors that the Khronos validator finds in all tiles."""
    found = []
    for number, content in enumerate(_contents(folder)):
        found.append(scratch / f"{number}.glb")
        found[-1].write_bytes(content)
    command = ["node", str(JUDGE), *map(str, found)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for path in found:
        path.unlink()
    return sum(report["issues"]["numErrors"] for report in json.loads(done.stdout))


def _contents(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*.glb")):
        yield path.read_bytes()
    for path in sorted(folder.rglob("*.b3dm")):
        raw = path.read_bytes()
        yield raw[28 + sum(struct.unpack_from("<4I", raw, 12)) :]


def megabytes(folder: Path) -> float:
    """Return how much all files take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    print(f"{count:,} buildings; {measured_on()}; least of {ROUNDS} rounds\n")
    print(f"{'solids':10} {'writer':38} {'CPU s':>7} {'MB':>7} {'tiles':>6} {'glTF errors':>12}")
    for roofs in (False, True):
        models = town(count, roofs=roofs)
        given = cut(models)
        writers: dict[str, Callable[[Path], None]] = {
            "Orograph: 3D Tiles 1.1": partial(by_orograph, models),
            "Orograph: b3dm": partial(as_b3dm, models),
            "py3dtiles: b3dm, from ready triangles": lambda folder, g=given: by_py3dtiles(
                g, folder
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in writers}
        with tempfile.TemporaryDirectory() as scratch:
            for turn in range(ROUNDS):
                for name, writer in writers.items():
                    folder = Path(scratch) / f"{turn}{name}"
                    folder.mkdir()
                    start = time.process_time()
                    writer(folder)
                    seconds[name].append(time.process_time() - start)
            for name in writers:
                folder = Path(scratch) / f"0{name}"
                tiles = sum(1 for p in folder.rglob("*") if p.suffix in (".glb", ".b3dm"))
                print(
                    f"{'houses' if roofs else 'blocks':10} {name:38} {min(seconds[name]):7.2f} "
                    f"{megabytes(folder):7.1f} {tiles:6} {faults(folder, Path(scratch)):12}"
                )


if __name__ == "__main__":
    main()
