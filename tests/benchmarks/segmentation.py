"""Classes of the built scenes from our own stereo surface model, against their exact truth.

    python tests/benchmarks/segmentation.py                    runs `orograph run city` first
    python tests/benchmarks/segmentation.py --products DIR     takes DIR/village and DIR/quarter
    python tests/benchmarks/segmentation.py --scene DIR/flat   another scene, as of towns.py
    python tests/benchmarks/segmentation.py --sensors          with less than four bands, too
    python tests/benchmarks/segmentation.py --speed            cells a second of the network

No network was trained on these scenes. Cells count where both images see the ground; a bridge is
a road, cars count as nothing. Beside ours stand the five figures that AI4GEO reports of its own
segmentation, over its own cities: another place, another sensor and other classes, so that they
tell what is usual and not who is better.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from accuracy import products_of, run_city
from machine import measured_on
from numpy.typing import NDArray
from truth import NO_SHIFT, Truth, mispointed, on_truth, scene_folder, scenes_here, truth_of

from processes.accuracy.shift import Shift, best_shift
from processes.core.process import Asset, Layer
from processes.core.raster import Grid, Raster
from processes.segment import CODES, SEGMENT, SegmentInputs
from workers.reader import Reader
from workers.workspace import LocalWorkspace

CODE = {"ground": 5, "building": 1, "tree": 2, "water": 3, "road": 4, "bridge": 4}
TRUE_NAMES = {1: "ground", 2: "building", 3: "tree", 4: "water", 5: "road", 6: "bridge"}
AI4GEO = {"accuracy": 0.933, "mean IoU": 0.818, "F1": 0.835, "precision": 0.895, "recall": 0.782}
SENSORS: Mapping[str, tuple[str, ...]] = {
    "four bands": ("red", "green", "blue", "nir"),
    "colour": ("red", "green", "blue"),
    "panchromatic": ("pan",),
    "no image": (),
}


def figures(found: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[str, Any]:
    """Return the five figures, means over the classes that are there, and those of each class."""
    counted = truth > 0
    found, truth = found[counted], truth[counted]
    each: dict[str, dict[str, float]] = {}
    for code, name in CODES.items():
        told, there = found == code, truth == code
        if not there.any():
            continue
        both = float((told & there).sum())
        precision, recall = both / max(told.sum(), 1), both / there.sum()
        each[name] = {
            "IoU": both / float((told | there).sum()),
            "F1": 2 * precision * recall / max(precision + recall, 1e-9),
            "precision": precision,
            "recall": recall,
        }
    means = {key: float(np.mean([row[key] for row in each.values()])) for key in each["building"]}
    return {
        "accuracy": float((found == truth).mean()),
        "mean IoU": means.pop("IoU"),
        **means,
        "classes": each,
    }


def true_codes(truth: Truth, grid: Grid, shift: Shift) -> NDArray[np.uint8]:
    """Return the true class of each cell of *grid*, 0 where it does not count."""
    lookup = np.zeros(256, np.uint8)
    for number, name in TRUE_NAMES.items():
        lookup[number] = CODE[name]
    x, y = grid.xy(*np.mgrid[: grid.height, : grid.width])
    col, row = ~truth.transform @ (x + shift.dx_m, y + shift.dy_m)
    col, row = np.floor(col).astype(int), np.floor(row).astype(int)
    rows, cols = truth.classes.shape
    inside = (row >= 0) & (col >= 0) & (row < rows) & (col < cols)
    place = np.where(inside, row, 0), np.where(inside, col, 0)
    return np.where(inside & truth.counted[place], lookup[truth.classes[place]], 0)


def told(
    products: Mapping[str, Path], segmenter: str, sensor: str, scratch: Path
) -> NDArray[np.uint8]:
    """Return the classes that process segment writes."""
    work = LocalWorkspace(
        scratch / f"{segmenter}-{sensor}", Reader(cache=scratch / "fetched", files=True)
    )
    ortho = _seen(Asset(href=str(products["ortho"])), SENSORS[sensor], work)
    inputs = SegmentInputs(
        dsm=Asset(href=str(products["dsm"])),
        dtm=Asset(href=str(products["dtm"])),
        ortho=ortho,
        ortho_mask=Asset(href=str(products["ortho_mask"])) if "ortho_mask" in products else None,
        segmenter=segmenter,  # type: ignore[arg-type]
    )
    made = SEGMENT.run(inputs, work)
    with rasterio.open(made.classes.href) as file:
        return np.asarray(file.read(1))


def _seen(ortho: Asset, names: tuple[str, ...], work: LocalWorkspace) -> Asset | None:
    if not names:
        return None
    source = work.open_raster(ortho)
    assert source.grid is not None
    pixels = source.read()
    if names == ("pan",):
        kept = pixels[[source.band_names.index(name) for name in ("red", "green", "blue")]].mean(0)
    else:
        kept = pixels[[source.band_names.index(name) for name in names]]
    return work.write_raster(Layer("seen", "float32", list(names)), Raster(kept, source.grid))


def scene_rows(
    name: str, products: Mapping[str, Path], sensors: list[str], scratch: Path
) -> dict[str, Any]:
    """Return the figures of both segmenters on a scene."""
    scene = scene_folder(name)
    truth = truth_of(scene)
    shift = NO_SHIFT
    if mispointed(scene):
        surface = on_truth(products["dsm"], truth)
        shift = best_shift(surface, truth.dsm, truth.cell_m, counted=truth.counted)
    with rasterio.open(products["dsm"]) as file:
        grid = Grid(file.crs.to_string(), file.transform, file.height, file.width)
    codes = true_codes(truth, grid, shift)
    rows = {}
    for sensor in sensors:
        for segmenter in ("rules", "unet"):
            rows[f"{segmenter}, {sensor}"] = figures(
                told(products, segmenter, sensor, scratch), codes
            )
    return rows


def speed() -> None:
    """Print how many cells a core tells in a second, the margins of blocks read for nothing.

    Blocks run side by side, so that two cores tell twice as many. CPU time, since a machine may
    do other things besides.
    """
    import torch

    from processes.outlines.segment import Sample
    from processes.segment import BLOCK_PX
    from processes.semantics.segmenter import ByNetwork
    from processes.semantics.weights import bundled

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    network = ByNetwork(0.5, *bundled(), 500.0)
    side = BLOCK_PX + 2 * round(network.margin_m / 0.5)
    heights = rng.gamma(1, 3, (side, side)).astype(np.float32)
    bands = {
        name: rng.uniform(100, 900, (side, side)).astype(np.float32)
        for name in SENSORS["four bands"]
    }
    spent = []
    for _ in range(6):
        start = time.process_time()
        network(Sample(heights, heights, bands))
        spent.append(time.process_time() - start)
    cells = BLOCK_PX**2 / min(spent[1:]) / 1e6
    print(f"{cells:.2f} million cells a second and core, {2 * cells:.2f} on two cores\n")


def markdown(scene: str, rows: Mapping[str, Any]) -> str:
    lines = [f"### {scene}", ""]
    names = ["building", "vegetation", "water", "road", "ground"]
    lines.append("| | " + " | ".join([*AI4GEO, "building F1", *(f"IoU {n}" for n in names)]) + " |")
    lines.append("|---" + "|---:" * (len(AI4GEO) + 1 + len(names)) + "|")
    for label, row in rows.items():
        cells = [row[key] for key in AI4GEO] + [row["classes"]["building"]["F1"]]
        cells += [row["classes"].get(name, {}).get("IoU") for name in names]
        lines.append(
            f"| {label} | " + " | ".join("–" if c is None else f"{c:.3f}" for c in cells) + " |"
        )
    theirs = " | ".join(f"{value:.3f}" for value in AI4GEO.values())
    lines.append(f"| AI4GEO, on other data | {theirs} |" + " – |" * (1 + len(names)))
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=Path, help="folder with one folder per scene")
    parser.add_argument("--scene", action="append", help="its name or folder")
    parser.add_argument("--sensors", action="store_true", help="with fewer bands, too")
    parser.add_argument("--speed", action="store_true", help="how fast the network is")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    print(f"{measured_on()}\n")
    if args.speed:
        speed()
    report: dict[str, Any] = {}
    sensors = list(SENSORS) if args.sensors else ["four bands"]
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.scene or scenes_here():
            folder = (args.products or Path(scratch)) / Path(name).name
            if not args.products:
                run_city(scene_folder(name), folder)
            report[name] = scene_rows(
                name, products_of(folder), sensors, Path(scratch) / "seen" / Path(name).name
            )
            print(markdown(Path(name).name, report[name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    sys.exit(main())
