"""`buildings` over a whole made-up city: seconds, memory, and what becomes of what is no building.

    python tests/benchmarks/many_buildings.py [BUILDINGS …] [--json FILE] [--keep DIR]

On lots of 16 m stand houses turned at random, three gables to one flat roof, on hills, seen
at 0.5 m with a decimetre of noise. Every fiftieth lot has something else: an outline that crosses
itself, one of three cells, one whose roof has no data, one beyond the surface, one of no area, a
line, or nothing at all. The report must count each of them; where it does not, this ends with a
fault. By default 1,000, 10,000 and 100,000 lots, which take ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from cost import measured
from machine import measured_on
from numpy.typing import NDArray
from rasterio.windows import Window
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

CRS = "EPSG:32631"
WEST, NORTH = 431000.0, 5290000.0
CELL_M, LOT_PX = 0.5, 32
LOT_M = CELL_M * LOT_PX
NOISE_M = 0.1
ODD = 50
"""One in so many lots has no plain house."""
FAR_M = 1e6

Floats = NDArray[np.float64]


def lots(count: int, seed: int = 1) -> dict[str, Floats]:
    """Return place, size, direction and roof of a house a lot, row by row from the north-west."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(count)))
    row, col = np.divmod(np.arange(count), side)
    return {
        "x": WEST + LOT_M * (col + 0.5),
        "y": NORTH - LOT_M * (row + 0.5),
        "along": rng.uniform(4.0, 5.5, count),
        "across": rng.uniform(3.0, 4.5, count),
        "angle": rng.uniform(0, np.pi, count),
        "eave": rng.uniform(3.0, 12.0, count),
        "slope": np.where(np.arange(count) % 4, rng.uniform(0.3, 1.0, count), 0.0),
    }


def ground(x: Floats, y: Floats) -> Floats:
    """Return rolling hills, metres."""
    return np.asarray(140 + 8 * np.sin(x / 300) + 6 * np.cos(y / 230))


def write_surfaces(town: dict[str, Floats], folder: Path) -> None:
    """Write dsm.tif and dtm.tif, one row of lots at a time."""
    count = len(town["x"])
    side = int(np.ceil(np.sqrt(count)))
    rng = np.random.default_rng(2)
    cells = LOT_PX * side
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": cells, "height": cells, "count": 1, "dtype": "float32",
        "crs": CRS, "transform": Affine(CELL_M, 0, WEST, 0, -CELL_M, NORTH), "nodata": np.nan,
        "tiled": True, "compress": "zstd", "predictor": 3, "bigtiff": "if_safer",
    }  # fmt: skip
    with (
        rasterio.open(folder / "dsm.tif", "w", **profile) as dsm,
        rasterio.open(folder / "dtm.tif", "w", **profile) as dtm,
    ):
        for row in range(side):
            y, x = np.mgrid[0:LOT_PX, 0:cells].astype(float)
            x, y = WEST + (x + 0.5) * CELL_M, NORTH - row * LOT_M - (y + 0.5) * CELL_M
            bare = ground(x, y)
            here = np.arange(row * side, min((row + 1) * side, count))
            seen = bare + rng.normal(0, NOISE_M, x.shape)
            seen[:, : LOT_PX * len(here)] += _roofs(town, here, x, y)
            window = Window(0, row * LOT_PX, cells, LOT_PX)
            dsm.write(seen.round(2).astype(np.float32), 1, window=window)
            dtm.write(bare.round(2).astype(np.float32), 1, window=window)


def _roofs(town: dict[str, Floats], here: NDArray[np.int64], x: Floats, y: Floats) -> Floats:
    """Return how far the houses of a row of lots rise above the ground; NaN without data."""
    lot = np.repeat(here, LOT_PX)
    east, north = x[:, : len(lot)] - town["x"][lot], y[:, : len(lot)] - town["y"][lot]
    cos, sin = np.cos(town["angle"][lot]), np.sin(town["angle"][lot])
    u, v = np.abs(east * cos + north * sin), np.abs(north * cos - east * sin)
    inside = (u <= town["along"][lot]) & (v <= town["across"][lot])
    # over the ground at the lot's middle, so that eaves are level
    level = ground(town["x"][lot], town["y"][lot]) - ground(x[:, : len(lot)], y[:, : len(lot)])
    roof = level + town["eave"][lot] + town["slope"][lot] * (town["across"][lot] - v)
    blind = np.array([kind_of(number) == "no data" for number in lot.tolist()])
    return np.where(inside, np.where(blind, np.nan, roof), 0.0)


def kind_of(lot: int) -> str:
    """Return what stands on a lot."""
    kinds = list(ODDITIES)
    return kinds[lot // ODD % len(kinds)] if lot % ODD == 0 else "house"


def _crossing(house: shapely.Polygon) -> BaseGeometry:
    a, b, c, d = house.exterior.coords[:4]
    return shapely.Polygon([a, b, d, c])


def _three_cells(house: shapely.Polygon) -> BaseGeometry:
    x, y = house.centroid.x, house.centroid.y
    return shapely.box(x, y, x + 3 * CELL_M, y + CELL_M)


ODDITIES: dict[str, tuple[Callable[[shapely.Polygon], BaseGeometry | None], str | None]] = {
    "crossing": (_crossing, None),
    "three cells": (_three_cells, None),
    "no data": (lambda house: house, "no surface heights under the outline"),
    "beyond": (
        lambda house: translate(house, FAR_M, FAR_M),
        "no surface heights under the outline",
    ),
    "no area": (
        lambda house: shapely.Polygon([house.exterior.coords[0]] * 4),
        "the outline encloses no area",
    ),
    "line": (lambda house: shapely.LineString(house.exterior.coords), "no polygon"),
    "nothing": (lambda _: None, "no polygon"),
    "nowhere": (
        lambda house: translate(house, np.inf, 0),
        "the outline has no place in the system of the surface",
    ),
}
"""What is no plain house: how its outline is made, and why it is left out, if it must be."""


def outlines(town: dict[str, Floats]) -> geopandas.GeoDataFrame:
    """Return an outline a lot."""
    cos, sin = np.cos(town["angle"]), np.sin(town["angle"])
    u = np.column_stack([town["along"]] * 4) * (-1, 1, 1, -1)
    v = np.column_stack([town["across"]] * 4) * (-1, -1, 1, 1)
    x = town["x"][:, None] + u * cos[:, None] - v * sin[:, None]
    y = town["y"][:, None] + u * sin[:, None] + v * cos[:, None]
    shapes = shapely.polygons(np.stack([x, y], axis=-1))
    for lot in range(0, len(shapes), ODD):
        shapes[lot] = ODDITIES[kind_of(lot)][0](shapes[lot])
    return geopandas.GeoDataFrame({"lot": np.arange(len(shapes))}, geometry=shapes, crs=CRS)


def expected(count: int) -> dict[str, int]:
    """Return how many outlines must be left out at least, by reason."""
    found: dict[str, int] = {}
    for lot in range(0, count, ODD):
        reason = ODDITIES[kind_of(lot)][1]
        if reason:
            found[reason] = found.get(reason, 0) + 1
    return found


def run(count: int, folder: Path) -> dict[str, Any]:
    """Model a city of *count* lots by the command line; return what it took and became."""
    town = lots(count)
    write_surfaces(town, folder)
    outlines(town).to_parquet(folder / "outlines.parquet")
    names = {"footprints": "outlines.parquet", "dsm": "dsm.tif", "dtm": "dtm.tif"}
    inputs = {name: {"href": str((folder / file).resolve())} for name, file in names.items()}
    (folder / "request.json").write_text(json.dumps({"inputs": inputs}))
    command = [
        sys.executable,
        "-m",
        "server.cli",
        "run",
        "buildings",
        "request.json",
        "--out",
        "out",
    ]
    log = folder / "log.txt"
    taken = measured(
        ["env", "-C", str(folder), f"PYTHONPATH={os.getcwd()}", *command],
        log,
        sorted(os.sched_getaffinity(0)),
    )
    if taken.exit_code:
        sys.exit(log.read_text()[-2000:])
    report = json.loads((folder / "out" / "buildings.json").read_text())
    assert report["features"] == count == report["buildings"] + sum(report["left_out"].values())
    for reason, least in expected(count).items():
        assert report["left_out"].get(reason, 0) >= least, f"{reason}: fewer than {least} counted"
    return {
        "lots": count,
        "wall s": round(taken.wall_s, 1),
        "CPU s": round(taken.cpu_s, 1),
        "peak MiB": round(taken.peak_mib),
        "buildings a CPU s": round(report["buildings"] / taken.cpu_s, 1),
        "report": report,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("buildings", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--keep", type=Path, help="folder to work in, which is kept")
    args = parser.parse_args()
    print(f"{measured_on()}\n")
    print("| lots | wall s | CPU s | peak MiB | buildings a CPU s | LOD1 | LOD2 | left out |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    rows = []
    for count in args.buildings:
        with tempfile.TemporaryDirectory() as scratch:
            folder = (args.keep or Path(scratch)) / str(count)
            folder.mkdir(parents=True, exist_ok=True)
            row = run(count, folder)
        report = row["report"]
        lods = [report["lod"].get(lod, 0) for lod in "12"]
        figures = [value for name, value in row.items() if name != "report"]
        cells = [*figures, *lods, sum(report["left_out"].values())]
        print("| " + " | ".join(f"{cell:,}" for cell in cells) + " |", flush=True)
        rows.append(row)
    if args.json:
        args.json.write_text(json.dumps({"measured": measured_on(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
