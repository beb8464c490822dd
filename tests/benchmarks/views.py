"""Surface models of three images beside those of each two of them: is a third image worth it?

    python tests/benchmarks/views.py [--scene quarter] [--scene DIR/tri] [--scene marseille]
                                     [--products DIR] [--json FILE]

Makes the `dsm` of all of a scene's images and of every pair; with --products it is kept there, and
what is there already is read. Pairs get ground control points from the model of all images, so all
models lie in one place: else each would lie on the lattice of the reference by a fraction of a cell
of its own, which blurs walls more or less (RMSE of `quarter` by up to 0.4 m). Figures come after
one shift sideways, that of all images, and the best shift in height of each. Built scenes are
compared with their truth, Marseille with another program's model, which errs too.

How Marseille's pairs rank in that is not borne out by the image that each did not use. Two images
brought onto the models of two pairs, each of which used one of them, are more alike on the widest
pair's (mean correlation of 5 × 5 cells .909 | .905 and .912 | .908), which the other program puts
.017 behind within 1 m. On two built towns such likeness goes along with completeness (.844 | .834
and .895 | .888), not with RMSE. All three images have no such judge: those that were used cannot be
asked, for on them the truth is less alike than the model they made (.831 | .843 and .886 | .896).

Nor does it say how cells beside walls are judged (`processes/stereo/walls.py`), by which Marseille
fell .002 to .003 behind it within 1 m. Where cells were raised on the pair of images 1 and 3, the
second is more alike than before (.79 → .81), as on a built town where the truth bears it out (.77 →
.81); on the other pairs it tells neither (.69 | .68, .67 | .68). Where they were lowered it is less
alike everywhere, also on the built town, where .82 of them are right and .09 were: of that it is no
judge.

The best pair is another one for each figure. What three images are ahead of it, or behind, stands
in the last column with its standard error, by a jackknife over squares of SQUARE_M: each of
GROUPS groups of them is left out in turn, for both models, so their common errors cancel.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from machine import measured_on
from numpy.typing import NDArray
from peers import CELL_M, REAL, case_of, here
from peers_picture import on_grid_of
from pyproj import Transformer
from truth import on_truth, truth_of

from processes.accuracy.claims import CLAIM, kept
from processes.accuracy.heights import height_figures, near_edges
from processes.accuracy.shift import Shift, best_shift, shifted
from processes.dsm import DSM, open_views
from workers.reader import Reader
from workers.workspace import LocalWorkspace

SCENES = ("quarter", "marseille")
SQUARE_M, GROUPS = 40.0, 40
CLASSES = {"buildings": (2,), "ground": (1, 5), "trees": (3,), "cars": (7,)}
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Compared:
    """One model beside its reference: differences and, where known, what errors it claims."""

    dz: Floats
    claim_m: Floats | None


Figure = Callable[[Compared, Mask], float]
"""A figure of a model over some cells; the larger the better, or, if negative, the nearer to 0."""


def images_of(name: str) -> tuple[dict[str, Any], Path]:
    """Return the images of a scene by short names, as inputs, and its folder."""
    case = case_of(name)
    paths = [case.folder / image for image in case.images]
    if name not in REAL:  # by its Item, which says more than the image does
        paths = [path.with_suffix(".json") for path in paths]
    return {path.stem: {"href": str(path)} for path in paths}, case.folder


def models(images: dict[str, Any], out: Path) -> dict[str, Path]:
    """Return the folder of products of all images and of each pair, made if not there."""
    groups = [tuple(images), *combinations(images, 2)]
    found = {"+".join(group): out / "+".join(group) for group in groups}
    whole = next(iter(found.values()))
    for group, folder in zip(groups, found.values(), strict=True):
        if (folder / "results.json").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        inputs: dict[str, Any] = {
            "images": [images[image] for image in group],
            "resolution_m": CELL_M,
        }
        if folder != whole:
            points = folder / "gcps.geojson"
            points.write_text(json.dumps(control(inputs["images"], whole / "dsm.tif")))
            inputs["gcps"] = {"href": str(points)}
        (folder / "request.json").write_text(json.dumps({"inputs": inputs}))
        command = [sys.executable, "-m", "server.cli", "run", "dsm", str(folder / "request.json")]
        command += ["--out", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return found


def control(images: list[Any], model: Path) -> dict[str, Any]:
    """Return control points: cells of a model, where its own pointing sees them in images."""
    with rasterio.open(model) as file:
        row, col = (np.linspace(0, side, 8)[1:-1].astype(int) for side in file.shape)
        row, col = (at.ravel() for at in np.meshgrid(row, col, indexing="ij"))
        height = file.read(1)[row, col]
        x, y = file.transform @ (col + 0.5, row + 0.5)
        to_degrees = Transformer.from_crs(file.crs, "EPSG:4326", always_xy=True)
        pointing = json.loads(file.tags()["OROGRAPH_POINTING"])
    lon, lat = to_degrees.transform(x, y)
    features = []
    with tempfile.TemporaryDirectory() as scratch:
        reader = Reader(cache=Path(scratch), files=True, allowed_hosts=())
        work = LocalWorkspace(Path(scratch), reader, base=str(model))
        for view in open_views(work.images(DSM.parse({"images": images}).images)):
            at = view.model.corrected(*pointing[view.id]).project(lon, lat, height)
            for *ground, r, c in np.stack([lon, lat, height, *at], axis=1).tolist():
                inside = 0 <= r < view.shape[0] and 0 <= c < view.shape[1]  # no NaN is
                if inside:
                    where = {"type": "Point", "coordinates": ground}
                    seen = {"image": view.id, "row": r, "col": c}
                    features.append({"type": "Feature", "properties": seen, "geometry": where})
    return {"type": "FeatureCollection", "features": features}


def built(scene: Path, made: dict[str, Path]) -> tuple[dict[str, Compared], dict[str, Mask], float]:
    """Return models beside the truth of a built scene, cells counted by class, and their size."""
    truth = truth_of(scene)
    heights = {name: on_truth(folder / "dsm.tif", truth) for name, folder in made.items()}
    moved = in_place(heights, truth.dsm, truth.cell_m, truth.counted)
    found = {}
    for name, (dsm, shift) in moved.items():
        sideways = Shift(shift.dx_m, shift.dy_m, 0.0)
        claim = on_truth(made[name] / "confidence.tif", truth, sideways)
        found[name] = Compared(dsm - truth.dsm, claim)
    parts = {name: truth.counted & np.isin(truth.classes, c) for name, c in CLASSES.items()}
    parts["≤ 1.5 m from edges"] = truth.counted & near_edges(truth.building, truth.cell_m)
    return found, {"all": truth.counted, **parts}, truth.cell_m


def real(reference: Path, made: dict[str, Path]) -> tuple[dict[str, Compared], dict[str, Mask]]:
    """Return models beside another program's, and the cells that all of them cover."""
    grid = next(iter(made.values())) / "dsm.tif"
    theirs = on_grid_of(grid, reference)
    counted = np.isfinite(theirs)
    for folder in made.values():
        counted &= on_grid_of(grid, folder / "ortho_mask.tif") > 0
    heights = {name: on_grid_of(grid, folder / "dsm.tif") for name, folder in made.items()}
    moved = in_place(heights, theirs, CELL_M, counted)
    return {name: Compared(dsm - theirs, None) for name, (dsm, _) in moved.items()}, {
        "all": counted
    }


def in_place(
    heights: dict[str, Floats], reference: Floats, cell_m: float, counted: Mask
) -> dict[str, tuple[Floats, Shift]]:
    """Return models moved as the first fits best, each to its own best level, and by how much."""
    best = {
        name: best_shift(model, reference, cell_m, counted=counted)
        for name, model in heights.items()
    }
    first = next(iter(best.values()))
    found = {}
    for name, model in heights.items():
        shift = replace(first, dz_m=best[name].dz_m)
        found[name] = shifted(model, shift, cell_m), shift
    return found


def figures(parts: dict[str, Mask], claimed: bool) -> dict[str, Figure]:
    """Return the figures of a table by name; they are better the larger."""

    def within(part: Mask) -> Figure:
        return lambda model, cells: height_figures(model.dz, cells & part).completeness_1m

    def less(field: str) -> Figure:
        whole = parts["all"]
        return lambda model, cells: -abs(getattr(height_figures(model.dz, cells & whole), field))

    def claim(model: Compared, cells: Mask) -> float:
        assert model.claim_m is not None
        return -abs(kept(model.dz, model.claim_m, cells & parts["all"]).held_share - CLAIM)

    found = {f"within 1 m: {name}": within(part) for name, part in parts.items()}
    fields = {"NMAD m": "nmad_m", "RMSE m": "rmse_m", "LE90 m": "le90_m", "median m": "median_m"}
    found |= {name: less(field) for name, field in fields.items()}
    found["voids"] = less("void_share")
    return found | ({"90 % error, off by": claim} if claimed else {})


def groups_of(shape: tuple[int, int], cell_m: float) -> NDArray[np.int64]:
    """Return the group that each cell's square is of."""
    row, col = (np.arange(side) * cell_m // SQUARE_M for side in shape)
    number = (row[:, None] * (col[-1] + 1) + col[None, :]).astype(np.int64)
    drawn = np.random.default_rng(0).permutation(int(number.max()) + 1)
    return np.asarray(drawn[number] % GROUPS)


def ahead(
    figure: Figure, three: Compared, pair: Compared, group: NDArray[np.int64]
) -> tuple[float, float]:
    """Return by how much the figure of *three* is better, and the standard error of that."""
    less = [
        figure(three, group != left_out) - figure(pair, group != left_out)
        for left_out in range(GROUPS)
    ]
    whole = group >= 0
    error = np.sqrt((GROUPS - 1) * np.var(less))
    return figure(three, whole) - figure(pair, whole), float(error)


def benchmark(name: str, out: Path) -> list[dict[str, Any]]:
    """Return the rows of a scene's table."""
    images, folder = images_of(name)
    made = models(images, out / folder.name)
    if (folder / "truth").is_dir():
        compared, parts, cell_m = built(folder, made)
    else:
        reference = REAL[name].other
        assert reference is not None
        (compared, parts), cell_m = real(folder / reference, made), CELL_M
    three, *pairs = compared
    group = groups_of(parts["all"].shape, cell_m)
    rows = []
    for title, figure in figures(parts, compared[three].claim_m is not None).items():
        values = {who: figure(model, group >= 0) for who, model in compared.items()}
        best = max(pairs, key=values.__getitem__)
        gain, error = ahead(figure, compared[three], compared[best], group)
        rows.append({"figure": title, **values, "best": best, "ahead": gain, "error": error})
    return rows


def markdown(name: str, rows: list[dict[str, Any]]) -> str:
    """Return one scene as a table with a column for each model; the best pair's is bold."""
    who = [key for key in rows[0] if key not in ("figure", "best", "ahead", "error")]
    lines = [f"### {name}", "", f"| | {' | '.join(who)} | ahead of the best pair |"]
    lines.append("|---" + "|---:" * (len(who) + 1) + "|")
    for row in rows:
        cells = [f"{abs(row[key]):.4f}" for key in who]
        cells = [f"**{c}**" if k == row["best"] else c for k, c in zip(who, cells, strict=True)]
        cells.append(f"{row['ahead']:+.4f} ± {row['error']:.4f}")
        lines.append(f"| {row['figure']} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", action="append", help="its name or folder")
    parser.add_argument("--products", type=Path, help="folder that keeps the models")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    report: dict[str, Any] = {"measured": measured_on(), "scenes": {}}
    print(f"{report['measured']}\n")
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.scene or [name for name in here() if name in SCENES]:
            rows = benchmark(name, (args.products or Path(scratch)).resolve())
            report["scenes"][name] = rows
            print(markdown(name, rows), flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
