"""True orthoimage: each cell as seen straight from above, on the grid of a surface model.

The image nearest to the vertical comes first; cells that buildings hide from it are taken from
the other images, brought to its radiometry band by band, or left empty. `ortho_source` says which.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from processes.core.errors import NoOverlap
from processes.core.process import Asset, ImageRefs, Inputs, Layer, Outputs, Process, Workspace
from processes.core.raster import Grid, Raster, RasterSource

BLOCK_PX = 768
SAMPLES, SAMPLE_PX = 4, 192
"""Heights and radiometry are judged on SAMPLES × SAMPLES windows of the surface model."""


class OrthoInputs(Inputs):
    """What an orthoimage is made from."""

    images: ImageRefs = Field(
        description="Images with sensor models (RPC): STAC Items, one ItemCollection, or GeoTIFFs."
    )
    dsm: Asset = Field(
        description="Surface heights above the ellipsoid, metres, in a projected CRS. Pointing "
        "corrections of process dsm are read from its tags."
    )


class OrthoOutputs(Outputs):
    """An orthoimage on the grid of its surface model, and where each cell comes from."""

    ortho: Asset = Field(
        description="All bands of the image nearest to the vertical, in its own number type; "
        "0 is empty."
    )
    ortho_source: Asset = Field(
        description="0 empty: no height, or hidden from every image; n: seen by the n-th image, "
        "nearest to the vertical first. The file's tags name them."
    )


def run(inputs: OrthoInputs, work: Workspace) -> OrthoOutputs:
    """Project every cell into the images, nearest to the vertical first."""
    from processes.stereo.orthorectify import true_ortho
    from processes.stereo.shots import centres, ground_of, margin_m, matched, shots_of

    work.progress(0.0, "opening images")
    surface = work.open_raster(inputs.dsm)
    grid, to_degrees = ground_of(surface)
    windows = _windows(surface, grid)
    height_m = float(np.median([np.nanmedian(window.values) for window in windows]))
    shots = shots_of(work.images(inputs.images), surface.tags, grid, to_degrees, height_m)
    work.progress(0.1, "matching radiometry")
    shots, views = matched(shots, windows, to_degrees)

    first = shots[0].image.raster
    whole_numbers = np.issubdtype(np.dtype(first.dtype), np.integer)
    dtype, seen = first.dtype, 0

    def kernel(dsm: Raster) -> Sequence[Raster]:
        x, y = centres(dsm.grid)
        pixels, source = true_ortho(dsm.values, x, y, to_degrees, views)
        if whole_numbers:
            return Raster(_stored(pixels, dtype), dsm.grid), Raster(source, dsm.grid)
        return Raster(pixels, dsm.grid), Raster(source, dsm.grid)

    def each(done: int, blocks: int, values: Sequence[NDArray[Any]]) -> None:
        nonlocal seen
        seen += int(np.count_nonzero(values[1]))
        work.progress(0.2 + 0.75 * done / blocks, f"orthoimage: block {done} of {blocks}")

    work.progress(0.2, f"projecting {len(views)} images")
    names = [first.band_names[band] for band in shots[0].bands]
    order = {str(number): shot.image.id for number, shot in enumerate(shots, start=1)}
    tags = {"OROGRAPH_IMAGES": json.dumps(order)}
    if sun := shots[0].image.sun:  # shadows can be told from dark roofs
        tags["OROGRAPH_SUN"] = json.dumps(sun)
    layers = (
        Layer("ortho", dtype=first.dtype, band_names=names, tags=tags),
        Layer("ortho_source", dtype="uint8", band_names=["image"], tags=tags),
    )
    ortho, source = work.map_layers(
        layers,
        kernel,
        inputs.dsm,
        margin_m=margin_m(shots, windows),
        block_px=BLOCK_PX,
        each=each,
    )
    if not seen:
        raise NoOverlap("the images see nothing of the surface model: choose images of its place")
    work.progress(1.0, "orthoimage written")
    return OrthoOutputs(ortho=ortho, ortho_source=source)


def _windows(surface: RasterSource, grid: Grid) -> list[Raster]:
    """Return samples of the surface model that hold heights, spread evenly."""
    height, width = (min(SAMPLE_PX, size) for size in grid.shape)
    found = []
    for row in np.unique(np.linspace(0, grid.height - height, SAMPLES).astype(int)):
        for col in np.unique(np.linspace(0, grid.width - width, SAMPLES).astype(int)):
            values = surface.read(int(row), int(col), height, width)[0]
            if np.isfinite(values).mean() > 0.05:
                found.append(Raster(values, grid.window(int(row), int(col), height, width)))
    if not found:
        raise NoOverlap("the surface model holds no heights: make it from images of this place")
    return found


def _stored(pixels: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Return whole numbers; 0 is kept for empty, so the darkest seen is 1."""
    most = np.iinfo(dtype).max
    seen = np.isfinite(pixels)
    whole = np.clip(np.rint(np.where(seen, pixels, 0.0)), 1, most)
    return np.where(seen, whole, 0).astype(dtype)


ORTHO = Process(
    id="ortho",
    title="True orthoimage",
    description=__doc__,
    version="1.0.0",
    inputs=OrthoInputs,
    outputs=OrthoOutputs,
    run=run,
    keywords=("ortho", "orthoimage", "occlusion"),
)
