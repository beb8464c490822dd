"""Fit the tables of stereo/confidence.py and accuracy/expected.py to scenes, judge them on others.

    python tests/benchmarks/calibrate.py                  fits on both scenes and prints the tables
    python tests/benchmarks/calibrate.py --scene DIR …    fits on further scenes too, as of towns.py
    python tests/benchmarks/calibrate.py --check DIR …    judges the tables on still others
    python tests/benchmarks/calibrate.py --scene DIR … --write     puts them where they are used

A scene is a folder of images with their RPC (`left.tif`, `left_RPC.TXT`, …), `truth/dsm.tif` and
`truth/mask.tif` (bits 32 and 8: does not count). All images are used, and, where there are more
than two, each pair of them by itself: other base-to-height ratios of the same ground. The model is
compared after its best constant shift, since the tables speak of a cell beside its neighbours.

Each fit is made once more for each scene, without it and its pairs, and judged on it: what is
printed as *unseen* was never seen by the tables it is judged by. At each node of a table the log
of the error is moved until nine tenths of the cells near it lie below (quantile regression by its
gradient); nodes with few cells follow their neighbours. Every scene counts the same. At last one
factor for all tables lets them hold nine tenths of a middling scene.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from truth import OUTSIDE, WATER, scene_folder, scenes_here

from processes.accuracy import expected
from processes.accuracy.expected import CLAIMS_M
from processes.accuracy.sample import bilinear
from processes.accuracy.shift import best_shift
from processes.core.process import Asset
from processes.dsm import open_views, plan
from processes.stereo import confidence
from processes.stereo.confidence import (
    AWAY,
    CLAIM,
    FILLED,
    ROUGH,
    STEP,
    SURE,
    distance_m,
    filled_place,
    read,
    relief_m,
    seen_place,
    unit_m,
)
from processes.stereo.fuse import Origin
from processes.stereo.orientation import tie
from processes.stereo.surface import surface
from workers.reader import Reader
from workers.workspace import LocalWorkspace

Floats = NDArray[np.float64]

TABLES = {
    "MEASURED": ((SURE, ROUGH), (Origin.SEEN,)),
    "OCCLUDED": ((AWAY, STEP), (Origin.FILLED_OCCLUSION,)),
    "BRIDGED": ((AWAY, STEP), (Origin.FILLED_GAP,)),
    "SPANNED": ((AWAY, STEP), (Origin.INTERPOLATED,)),
    "CROWNED": ((AWAY, STEP), (Origin.CROWN,)),
}
FEWEST, MOST = 500, 40_000
TURNS = 80
STIFF = 0.02
"""How many cells of its scene, beside the mean of all nodes, a node's neighbours count for."""


@dataclass(frozen=True)
class Judged:
    """The cells of one model that the truth knows: where in their table, and how far off."""

    scene: str
    views: str
    unit_m: float
    """What errors of measured heights are counted in."""
    origin: NDArray[np.uint8]
    row: Floats
    col: Floats
    off_m: Floats


def judged(folder: Path, views: Sequence[str], scratch: Path) -> Judged:
    """Make the surface model of some images of a scene, and compare it with the truth."""
    work = LocalWorkspace(scratch / "products", Reader(scratch / "cache", files=True))
    refs = [Asset(href=str((folder / f"{view}.tif").resolve())) for view in views]
    images = open_views(work.images(refs))
    tied, heights_m = tie(images, None, "auto", None)
    scene, grid = plan(images, tied, heights_m, None, None, None)
    made = surface(scene, grid)
    dsm, origin, px_m = made.dsm, made.origin, scene.px_m
    with rasterio.open(folder / "truth" / "dsm.tif") as file:
        truth, there = file.read(1), file.transform
    counted = (_band(folder / "truth" / "mask.tif").astype(np.uint8) & (OUTSIDE | WATER)) == 0
    r, c = np.mgrid[: truth.shape[0], : truth.shape[1]]

    def cells(dx_m: float = 0.0, dy_m: float = 0.0) -> tuple[Any, Any]:
        x, y = there @ (c + 0.5, r + 0.5)
        return grid.rowcol(x - dx_m, y - dy_m)

    shift = best_shift(bilinear(dsm, *cells()), truth, there.a, counted=counted)
    row, col = cells(shift.dx_m, shift.dy_m)
    off = bilinear(dsm, row, col) - truth
    ri, ci = (
        np.clip(np.rint(v).astype(int), 0, n - 1)
        for v, n in zip((row, col), dsm.shape, strict=True)
    )
    wanted = counted & np.isfinite(off) & np.isfinite(dsm[ri, ci])
    # the median of all is the level; that of a sample, as the shift found it, is off by centimetres
    off = np.abs(off[wanted] - np.median(off[wanted]))
    rough, away = relief_m(dsm), distance_m(origin, grid.cell_m)
    matched = np.stack(seen_place(made.likelihood, rough, px_m))
    unit = unit_m(scene.gsd_m, px_m, scene.sharpness)
    filled = np.stack(filled_place(away, rough))
    place = np.where(origin == Origin.SEEN, matched, filled)[:, ri, ci][:, wanted]
    name = "+".join(views)
    return Judged(folder.name, name, unit, origin[ri, ci][wanted], *place.astype(float), off)


def _band(path: Path | str) -> NDArray[Any]:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def fitted(models: Sequence[Judged]) -> dict[str, Floats]:
    """Return every table, fitted to some models."""
    tables = {}
    for name, (axes, origins) in TABLES.items():
        same = Counter(model.scene for model in models)
        chosen = [_chosen(model, origins, 1 / same[model.scene]) for model in models]
        row, col, off, weight = (
            np.concatenate(part) for part in zip(*[c for c in chosen if c], strict=True)
        )
        shape = axes[0].count, axes[1].count
        tables[name] = fit(row, col, off, weight, shape)
    # few cells are unsure on even ground: a surer match is never claimed to be worse than they
    tables["MEASURED"] = np.maximum.accumulate(tables["MEASURED"][::-1])[::-1]
    level = level_of(models, tables)
    return {name: level * table for name, table in tables.items()}


def level_of(models: Sequence[Judged], tables: dict[str, Floats]) -> float:
    """Return by what claims must be multiplied to hold CLAIM of the cells of a middling scene.

    The gradient comes down on the tables from above and ends a little high: without this they hold
    90.6 % of all. Three times the turns leave 90.3 %.
    """
    same = Counter(model.scene for model in models)
    logs = [
        np.log(np.quantile(model.off_m / claimed(model, tables), CLAIM)) / same[model.scene]
        for model in models
    ]
    return float(np.exp(np.sum(logs) / len(same)))


def _chosen(model: Judged, origins: Sequence[Origin], weight: float) -> tuple[Floats, ...] | None:
    """Return row, column, error and weight of the cells of some origins; None of too few."""
    which = np.flatnonzero(np.isin(model.origin, origins))
    if which.size < FEWEST:
        return None
    if which.size > MOST:
        which = np.random.default_rng(0).choice(which, MOST, replace=False)
    unit = model.unit_m if Origin.SEEN in origins else 1.0
    off = model.off_m[which] / unit
    return model.row[which], model.col[which], off, np.full(off.size, weight / off.size)


def fit(row: Floats, col: Floats, off: Floats, weight: Floats, shape: tuple[int, int]) -> Floats:
    """Return the table whose values, linear in their logs between nodes, hold CLAIM of *off*."""
    corners = list(_corners(row, col, shape))
    size = shape[0] * shape[1]
    logs = np.full(size, np.log(np.quantile(off, CLAIM)))
    wanted = np.log(off + 1e-3)
    total = sum(
        (np.bincount(node, share * weight, size) for node, share in corners), np.zeros(size)
    )
    mean = total.mean()
    stiff = STIFF * mean / (total + STIFF * mean)
    for turn in range(TURNS):
        width = 0.5 * 0.93**turn + 0.02
        above = wanted - sum(share * logs[node] for node, share in corners)
        pull = CLAIM - 1 / (1 + np.exp(np.clip(above / width, -30, 30)))
        steps = sum(np.bincount(node, share * weight * pull, size) for node, share in corners)
        logs += 4 * width * steps / (total + 1e-3 * mean)
        logs += 0.25 * stiff * _bend(logs.reshape(shape)).ravel()
    return np.asarray(np.exp(logs).reshape(shape))


def _corners(row: Floats, col: Floats, shape: tuple[int, int]) -> Iterator[tuple[Any, Floats]]:
    """Yield the four nodes around each place, numbered, with their shares."""
    r = np.minimum(row.astype(int), shape[0] - 2)
    c = np.minimum(col.astype(int), shape[1] - 2)
    for dr, dc in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.where(dr, row - r, 1 - row + r) * np.where(dc, col - c, 1 - col + c)
        yield (r + dr) * shape[1] + c + dc, share


def _bend(logs: Floats) -> Floats:
    """Return how far each node lies below its neighbours, all together."""
    wide = np.pad(logs, 1, mode="edge")
    beside = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    return np.asarray(beside - 4 * logs)


def claimed(model: Judged, tables: dict[str, Floats]) -> Floats:
    """Return the error that tables claim for each cell of a model."""
    error = np.full(model.off_m.size, np.nan)
    for name, (_, origins) in TABLES.items():
        here = np.isin(model.origin, origins)
        place = (v[here].astype(np.float32) for v in (model.row, model.col))
        unit = model.unit_m if Origin.SEEN in origins else 1.0
        error[here] = unit * read(tables[name], *place)
    return error


def twentieths(models: Sequence[Judged], tables: dict[str, Floats]) -> Floats:
    """Return how errors lie beside what is claimed, as accuracy/expected.py keeps it.

    Of scenes their geometric mean: towers taken for ground in one of them are no rule.
    """
    same = Counter(model.scene for model in models)
    total, weight = np.zeros((CLAIMS_M.size + 1, 20)), np.zeros(CLAIMS_M.size + 1)
    for model in models:
        error = claimed(model, tables)
        row = np.searchsorted(CLAIMS_M, error, side="right")
        for k in range(len(total)):
            ratio = np.sort(model.off_m[row == k] / error[row == k])
            if ratio.size >= FEWEST:
                parts = np.array_split(ratio, total.shape[1])
                total[k] += np.log([np.mean(part**2) for part in parts]) / same[model.scene]
                weight[k] += 1 / same[model.scene]
    return np.asarray(np.exp(0.5 * total / weight[:, None]))


def line(model: Judged, error: Floats, how: str) -> str:
    """Return the shares held of one model, of all its cells and by origin, as a row of a table."""
    held = model.off_m <= error
    parts = [held.mean()]
    for origin in (Origin.SEEN, *FILLED):
        here = model.origin == origin
        parts.append(held[here].mean() if here.sum() >= FEWEST else np.nan)
    quarters = np.quantile(error, (0.25, 0.5, 0.75))
    which = np.searchsorted(quarters, error)
    parts += [held[which == k].mean() for k in range(4)]
    said = " | ".join("–" if np.isnan(p) else f"{100 * p:.1f}" for p in parts)
    return f"| {model.scene} {model.views} | {how} | {said} | {quarters[1]:.2f} |"


HEAD = (
    "| held, % of cells | tables | all | measured | occlusion | gap | interpolated | crown "
    "| best quarter | second | third | worst | median error_90, m |\n" + "|---" * 13 + "|"
)


def written(name: str, table: Floats) -> str:
    """Return a table as it stands where it is used."""
    rows = (
        "    " + "\n     ".join(wrap("[" + ", ".join(f"{v:.3g}" for v in row) + "],", 94))
        for row in table
    )
    return "\n".join([f"{name} = np.array([", *rows, "])"])


def put(file: Path, tables: Mapping[str, str]) -> None:
    """Put tables into a file in the place of those of their names."""
    text = file.read_text()
    for name, table in tables.items():
        text, found = re.subn(rf"^{name} = np\.array\(\[\n.*?^\]\)", table, text, flags=re.M | re.S)
        if found != 1:
            raise ValueError(f"{file} holds {found} tables {name}")
    file.write_text(text)


def views_of(folder: Path) -> list[tuple[str, ...]]:
    """Return all images of a scene, and each pair of them where there are more than two."""
    names = sorted(path.name.removesuffix("_RPC.TXT") for path in folder.glob("*_RPC.TXT"))
    pairs = combinations(names, 2) if len(names) > 2 else []
    return [tuple(names), *pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", type=Path, nargs="*", default=[], help="scenes to fit on too")
    parser.add_argument("--check", type=Path, nargs="*", default=[], help="further scenes")
    parser.add_argument("--write", action="store_true", help="put the tables where they are used")
    args = parser.parse_args()
    homes = [*map(scene_folder, scenes_here()), *args.scene]
    with tempfile.TemporaryDirectory() as scratch:
        models = [judged(home, views, Path(scratch)) for home in homes for views in views_of(home)]
        others = [judged(home, views_of(home)[0], Path(scratch)) for home in args.check]
    tables = fitted(models)
    texts = {name: written(name, table) for name, table in tables.items()}
    shares = {"TWENTIETHS": written("TWENTIETHS", twentieths(models, tables))}
    if args.write:
        put(Path(confidence.__file__), texts)
        put(Path(expected.__file__), shares)
    print(*texts.values(), *shares.values(), HEAD, sep="\n", flush=True)
    now = {name: getattr(confidence, name) for name in TABLES}
    for model in models:
        apart = fitted([other for other in models if other.scene != model.scene])
        print(line(model, claimed(model, apart), "unseen"))
        print(line(model, claimed(model, tables), "new"))
        print(line(model, claimed(model, now), "in use"))
    for model in others:
        print(line(model, claimed(model, tables), "unseen"))
        print(line(model, claimed(model, now), "in use"))


if __name__ == "__main__":
    main()
