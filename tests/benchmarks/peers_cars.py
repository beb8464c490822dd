"""CARS (CNES, Apache-2.0), the peer: its environment and its best documented settings.

By default it searches 1000 m above and 500 m below its tie points, which leaves nothing on images
of this size: it gets a start DEM and a range around it. It gets the mean of all bands, as it
matches one only. `geoid: false` puts its heights on the ellipsoid.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

VERSION = "1.3.0"
HOME = Path(__file__).parents[2] / ".peers" / "cars"
SEARCH = {
    "elevation_delta_lower_bound": -50,  # of tie points, above the start DEM, metres
    "elevation_delta_upper_bound": 150,
    "disparity_bounds_estimation": {  # of all else, beyond 98 % of the tie points, metres
        "activated": True,
        "percentile": 1,
        "lower_margin": 30,
        "upper_margin": 60,
    },
}


def install() -> None:
    """Make its environment where there is none."""
    if not (HOME / "bin" / "cars").exists():
        print(f"installing CARS {VERSION} in {HOME}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        pip = str(HOME / "bin" / "pip")
        subprocess.run([pip, "install", "-q", f"cars=={VERSION}"], check=True)


def command(
    pair: tuple[Path, Path], elevation: dict[str, Any], folder: Path, cell_m: float, workers: int
) -> tuple[list[str], Path]:
    """Return what to run and where its surface model will lie; 0 workers: its sequential mode."""
    parallel = {"mode": "multiprocessing", "nb_workers": workers}
    settings = {
        "input": {
            "sensors": {image.stem: sensor(image, folder) for image in pair},
            "pairing": [[image.stem for image in pair]],
            "initial_elevation": elevation,
        },
        "output": {"directory": str(folder), "resolution": cell_m, "geoid": False},
        "orchestrator": parallel if workers else {"mode": "sequential"},
        "tie_points": {"applications": {"all": {"sparse_matching": SEARCH}}},
    }
    said = folder / "cars.json"
    said.write_text(json.dumps(settings, indent=1))
    program = str(HOME / "bin" / "cars")
    return [program, str(said), "--logtype", "plain"], folder / "dsm" / "dsm.tif"


def sensor(image: Path, folder: Path) -> dict[str, str]:
    """Return an image for its settings: one band, with the image's own sensor model."""
    with rasterio.open(image) as file:
        if file.count == 1:
            geom = image.with_suffix(".geom")
            return {"image": str(image), **({"geomodel": str(geom)} if geom.exists() else {})}
        grey, rpcs = file.read().mean(axis=0, dtype=np.float32), file.rpcs
    made = folder / f"{image.stem}_grey.tif"
    size = {"height": grey.shape[0], "width": grey.shape[1], "count": 1, "dtype": "float32"}
    with rasterio.open(made, "w", driver="GTiff", rpcs=rpcs, **size) as file:
        file.write(grey, 1)
    return {"image": str(made)}
