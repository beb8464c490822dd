"""What a built scene knows about itself, and how products are brought to it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer

from processes.accuracy.sample import bilinear
from processes.accuracy.shift import Shift, shifted

TESTS = Path(__file__).parents[1]
SHARED = Path(os.environ.get("OROGRAPH_TEST_DATA", TESTS.parents[1] / "shared" / "data"))
"""Where scenes lie that are too large for the project; the same as in the tests."""

OUTSIDE, WATER = 32, 8
SCENES = ("village", "quarter")
"""The first is in the repository."""
CLASSES = {1: "ground", 2: "building", 3: "tree", 4: "water", 5: "road", 6: "bridge", 7: "car"}
NO_SHIFT = Shift(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Truth:
    """The truth of one scene, rasters on one lattice."""

    dsm: NDArray[np.float32]
    dtm: NDArray[np.float32]
    roof: NDArray[np.float32]
    """Roof heights without chimneys and trees above them; NaN where no building is."""
    classes: NDArray[np.uint8]
    building: NDArray[np.int32]
    counted: NDArray[np.bool_]
    """Where both images see the ground: the truth's *outside* bit is clear, and no water."""
    footprints: geopandas.GeoDataFrame
    coverage: Any
    crs: str
    transform: Any

    @property
    def cell_m(self) -> float:
        return float(self.transform.a)


def scene_folder(name: str) -> Path:
    """Return the folder of a built scene, by name or path. Ends the program where it is absent."""
    if folder := _found(name):
        return folder
    sys.exit(
        f"scene {name} is absent: give a folder with truth/, or set OROGRAPH_TEST_DATA to the "
        "folder that holds scenes/"
    )


def scenes_here() -> list[str]:
    """Return which of SCENES are on this machine, and say which are not."""
    here = [name for name in SCENES if _found(name)]
    for name in SCENES:
        if name not in here:
            print(f"{name}: no data, skipped\n")
    return here


def _found(name: str) -> Path | None:
    homes = (TESTS / "data" / "scenes" / name, SHARED / "scenes" / name, Path(name))
    return next((home for home in homes if (home / "truth" / "dsm.tif").is_file()), None)


def mispointed(scene: Path) -> bool:
    """Return whether a scene's sensor models are so wrong that its figures come after a shift."""
    if scene.name == "village":
        # its heights are right: what is off goes along with the epipolar lines' normal
        return False
    said = json.loads((scene / "truth" / "meta.json").read_text())
    return any(abs(off) > 0.01 for pair in said["rpc_bias_row_col"].values() for off in pair)


def truth_of(scene: Path) -> Truth:
    """Read the truth of one scene."""
    folder = scene / "truth"

    def band(name: str) -> NDArray[Any]:
        with rasterio.open(folder / f"{name}.tif") as file:
            return np.asarray(file.read(1))

    with rasterio.open(folder / "dsm.tif") as file:
        crs, transform = file.crs.to_string(), file.transform
    roof = band("roof")
    return Truth(
        dsm=band("dsm"),
        dtm=band("dtm"),
        roof=np.where(roof > -9000, roof, np.nan).astype(np.float32),
        classes=band("classes"),
        building=band("building_id"),
        counted=(band("mask") & (OUTSIDE | WATER)) == 0,
        footprints=geopandas.read_file(folder / "footprints.gpkg"),
        coverage=geopandas.read_file(folder / "coverage.geojson").to_crs(crs).union_all(),
        crs=crs,
        transform=transform,
    )


def on_truth(path: Path, truth: Truth, shift: Shift = NO_SHIFT) -> NDArray[np.float32]:
    """Return the raster of *path* at the centres of the truth's cells, moved by *shift*."""
    with rasterio.open(path) as file:
        values = file.read(1, masked=True).astype(np.float32).filled(np.nan)
        rows, cols = truth.dsm.shape
        col, row = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
        x, y = truth.transform @ (col, row)
        if file.crs.to_string() != truth.crs:
            x, y = Transformer.from_crs(truth.crs, file.crs, always_xy=True).transform(x, y)
        col, row = ~file.transform @ (x, y)
        heights = bilinear(values, row - 0.5, col - 0.5)
    return heights if shift == NO_SHIFT else shifted(heights, shift, truth.cell_m)
