"""Surface models side by side: shaded relief of the same ground, one pixel a cell."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

SIDE_PX, LABEL_PX = 420, 16
GREYS, VOID = 64, (200, 40, 40)
BUILDING = 2


def on_grid_of(grid: Path, model: Path) -> NDArray[np.float32]:
    """Return the heights of *model* on the lattice of *grid*; NaN where void."""
    with rasterio.open(grid) as to, rasterio.open(model) as file:
        lattice = {"width": to.width, "height": to.height, "transform": to.transform, "crs": to.crs}
        void = {"src_nodata": np.nan if file.nodata is None else file.nodata, "nodata": np.nan}
        with WarpedVRT(file, resampling=Resampling.bilinear, **lattice, **void) as warped:
            return np.asarray(warped.read(1), np.float32)


def picture(models: dict[str, Path], to: Path, classes: Path | None = None) -> None:
    """Write the busiest square of each model, on the lattice of the first; voids are red.

    Where *classes* are known, it is the one with most of its buildings.
    """
    grid = next(iter(models.values()))
    heights = [on_grid_of(grid, model) for model in models.values()]
    high, wide = (min(SIDE_PX, size) for size in heights[0].shape)
    down, right = np.gradient(heights[0])
    steps = np.nan_to_num(np.minimum(np.hypot(down, right), 1.0), nan=-1.0)
    row, col = fullest(steps if classes is None else on_grid_of(grid, classes) == BUILDING)
    sheet = Image.new("P", (wide * len(models), high + LABEL_PX), GREYS - 1)
    levels = np.linspace(0, 255, GREYS).astype(int)
    sheet.putpalette([int(level) for level in np.repeat(levels, 3)] + list(VOID))
    write = ImageDraw.Draw(sheet)
    for i, name in enumerate(models):
        relief = shaded(heights[i][row : row + high, col : col + wide])
        sheet.paste(Image.fromarray(relief), (i * wide, LABEL_PX))
        write.text((i * wide + 4, 2), name, fill=0)
    to.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(to, optimize=True)


def fullest(weights: NDArray[Any]) -> tuple[int, ...]:
    """Return the corner of the square that holds most."""
    corners = product(*(range(0, max(size - SIDE_PX, 1), 20) for size in weights.shape))
    return max(corners, key=lambda at: weights[at[0] :, at[1] :][:SIDE_PX, :SIDE_PX].sum())


def shaded(heights: NDArray[np.float32], cell_m: float = 0.5) -> NDArray[np.uint8]:
    """Return grey levels lit from the north-west, 45° high, brighter above; voids are beyond."""
    down, right = np.gradient(heights.astype(np.float64), cell_m)
    light = ((right + down) / 2 + np.sqrt(0.5)) / np.sqrt(1 + right**2 + down**2)
    low, high = np.nanquantile(heights, (0.02, 0.98))
    light = np.clip(light, 0, 1) * (0.6 + 0.4 * np.clip((heights - low) / (high - low), 0, 1))
    return np.where(np.isfinite(light), light * (GREYS - 1), GREYS).astype(np.uint8)
