"""Height of the geoid above the WGS84 ellipsoid: EGM96, which SRTM and most free DEMs stand on.

`egm96.xz` holds NGA's public-domain 15-minute grid (WW15MGH), rounded to decimetres: far finer
than what separates EGM96 from the true geoid (0.5 to 1 m). Rows run from the north pole, columns
from Greenwich eastwards; differences along both axes are stored, since they compress well.
"""

from __future__ import annotations

import lzma
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEP_DEG = 0.25


def undulation_m(lon: Any, lat: Any) -> NDArray[np.float64]:
    """Return geoid less ellipsoid at degrees; ellipsoidal height = height above geoid + this."""
    grid = _grid()
    lon, lat = np.broadcast_arrays(np.asarray(lon, float), np.asarray(lat, float))
    i = (90.0 - np.clip(lat, -90.0, 90.0)) / _STEP_DEG
    j = np.mod(lon, 360.0) / _STEP_DEG
    i0 = np.minimum(i.astype(int), grid.shape[0] - 2)
    j0 = j.astype(int) % grid.shape[1]
    j1 = (j0 + 1) % grid.shape[1]
    fi, fj = i - i0, j - np.floor(j)
    north = (1 - fj) * grid[i0, j0] + fj * grid[i0, j1]
    south = (1 - fj) * grid[i0 + 1, j0] + fj * grid[i0 + 1, j1]
    return np.asarray((1 - fi) * north + fi * south)


@cache
def _grid() -> NDArray[np.float64]:
    packed = files(__package__).joinpath("egm96.xz").read_bytes()
    steps = np.frombuffer(lzma.decompress(packed), "<i2").reshape(721, 1440)
    return np.cumsum(np.cumsum(steps.astype(np.int64), axis=0), axis=1) / 10.0
