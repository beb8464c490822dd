"""Surface models side by side: shaded relief of the same ground, one pixel a cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

SIDE_PX, LABEL_PX = 420, 16
VOID = (200, 40, 40)


def on_grid_of(grid: Path, model: Path) -> NDArray[np.float32]:
    """Return the heights of *model* on the lattice of *grid*; NaN where void."""
    with rasterio.open(grid) as to, rasterio.open(model) as file:
        shape = {"width": to.width, "height": to.height, "transform": to.transform}
        with WarpedVRT(file, crs=to.crs, resampling=Resampling.bilinear, **shape) as warped:
            return np.ma.filled(warped.read(1, masked=True).astype(np.float32), np.nan)


def picture(models: dict[str, Path], to: Path) -> None:
    """Write the middle of each model, on the lattice of the first; voids are red."""
    grid, side = next(iter(models.values())), SIDE_PX
    sheet = Image.new("RGB", (side * len(models), side + LABEL_PX), "white")
    write = ImageDraw.Draw(sheet)
    for i, (name, model) in enumerate(models.items()):
        heights = on_grid_of(grid, model)
        row, col = ((size - side) // 2 for size in heights.shape)
        relief = shaded(heights[max(row, 0) :, max(col, 0) :][:side, :side])
        sheet.paste(Image.fromarray(relief), (i * side, LABEL_PX))
        write.text((i * side + 4, 2), name, fill="black")
    to.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(64, dither=Image.Dither.NONE).save(to, optimize=True)


def shaded(heights: NDArray[np.float32], cell_m: float = 0.5) -> NDArray[np.uint8]:
    """Return the relief lit from the north-west, 45° high."""
    down, right = np.gradient(heights.astype(np.float64), cell_m)
    light = ((right + down) / 2 + np.sqrt(0.5)) / np.sqrt(1 + right**2 + down**2)
    grey = np.nan_to_num(np.clip(light, 0, 1) * 255).astype(np.uint8)
    colour = np.repeat(grey[..., None], 3, axis=2)
    colour[~np.isfinite(heights)] = VOID
    return colour
