"""Terrain model: the ground under buildings and trees, from a surface model.

The surface is cut at its steps into regions, which are ground or not by how their borders step;
the ground is refitted robustly and spanned across everything that stands on it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from processes.core.errors import InvalidInput, NoGround, UnknownCrs
from processes.core.process import Asset, Inputs, Layer, Outputs, Process, Workspace
from processes.core.raster import Grid, Raster, RasterSource

LARGEST_BLOCK = 1536
COARSE_CELLS = 16_000_000
"""The one lattice held whole in memory never has more cells than this."""
SPAN_MARGIN_M = 60.0
WIDEST_SEEN = 0.6
"""Share of the widest object that a block sees beyond itself: more than the radius that decides."""
EMPTY, SEEN, UNDER, BRIDGE, VOID = 0, 1, 2, 3, 4
MASK_VALUES = {
    "0": "outside",
    "1": "ground seen",
    "2": "under objects",
    "3": "under a bridge",
    "4": "void",
}
STRIP_ROWS = 512


class DtmInputs(Inputs):
    """What a terrain model is made from."""

    dsm: Asset = Field(description="Surface heights, one band, metres.")
    largest_object_m: float = Field(
        default=200.0,
        gt=0,
        le=2000,
        description="Widest thing that is not ground, metres: a raised area that holds a disc of "
        "this diameter is taken for land.",
    )


class DtmOutputs(Outputs):
    """A terrain model on the grid of its surface model."""

    dtm: Asset = Field(description="Ground heights, metres; gap-free within the surface model.")
    ndsm: Asset = Field(description="Heights above ground, metres: surface minus terrain.")
    terrain_mask: Asset = Field(
        description="Where the terrain comes from: 0 nowhere (empty), 1 ground that was seen, "
        "2 spanned under what stands on it, 3 spanned under a bridge, 4 spanned where the surface "
        "model is void."
    )


def run(inputs: DtmInputs, work: Workspace) -> DtmOutputs:
    """Find the ground in blocks, span it coarsely over everything, then finely in blocks."""
    from processes.terrain.ground import ground_and_bridges
    from processes.terrain.smooth import at_cells
    from processes.terrain.span import spanned_about

    surface = work.open_raster(inputs.dsm)
    grid = metric_grid(surface)
    cell_m = float(np.sqrt(abs(grid.transform.a * grid.transform.e)))
    block_px = _even_block(grid)

    def ground(dsm: Raster) -> tuple[Raster, Raster]:
        inner, _ = _inside(dsm.grid, grid)
        seen = np.full(dsm.values.shape, np.nan, np.float32)
        bridge = np.zeros(dsm.values.shape, np.uint8)
        seen[inner], bridge[inner] = ground_and_bridges(
            dsm.values[inner], cell_m, inputs.largest_object_m
        )
        return Raster(seen, dsm.grid), Raster(bridge, dsm.grid)

    work.progress(0.0, "finding the ground")
    margin_m = max(SPAN_MARGIN_M, WIDEST_SEEN * inputs.largest_object_m)
    found = (Layer("ground"), Layer("bridges", "uint8"))
    seen, decks = work.map_layers(found, ground, inputs.dsm, margin_m=margin_m, block_px=block_px)

    work.progress(0.6, "joining the ground")
    base = _base(work.open_raster(seen), surface, cell_m)

    def models(ground: Raster, dsm: Raster, bridge: Raster) -> tuple[Raster, Raster, Raster]:
        inner, (row0, col0) = _inside(dsm.grid, grid)
        shape = dsm.values[inner].shape
        near = at_cells(base.heights, base.step, shape, row0=row0, col0=col0)
        known = at_cells(base.covered, base.step, shape, row0=row0, col0=col0) >= 0.5
        bare = spanned_about(ground.values[inner], near)
        dtm = np.full(dsm.values.shape, np.nan, np.float32)
        dtm[inner] = np.where(known | np.isfinite(dsm.values[inner]), bare, np.nan)
        mask = _origins(dtm, ground.values, dsm.values, bridge.values > 0)
        return (
            Raster(dtm, dsm.grid),
            Raster(dsm.values - dtm, dsm.grid),
            Raster(mask, dsm.grid),
        )

    tags = {"OROGRAPH_VALUES": json.dumps(MASK_VALUES)}
    layers = (
        Layer("dtm"),
        Layer("ndsm"),
        Layer("terrain_mask", "uint8", band_names=["origin"], tags=tags),
    )
    dtm, ndsm, mask = work.map_layers(
        layers, models, seen, inputs.dsm, decks, margin_m=SPAN_MARGIN_M, block_px=block_px
    )
    work.progress(1.0, "terrain model written")
    return DtmOutputs(dtm=dtm, ndsm=ndsm, terrain_mask=mask)


def _origins(
    dtm: NDArray[np.float32],
    seen: NDArray[np.float32],
    dsm: NDArray[np.float32],
    bridge: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Return where each height of *dtm* comes from, as `DtmOutputs.terrain_mask` says."""
    mask = np.where(np.isfinite(dsm), UNDER, VOID)
    mask[np.isfinite(seen)] = SEEN
    mask[bridge] = BRIDGE
    mask[np.isnan(dtm)] = EMPTY
    return mask.astype(np.uint8)


def metric_grid(surface: RasterSource) -> Grid:
    """Return the lattice of a one-band raster in a projected CRS in metres."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    if surface.grid is None:
        raise InvalidInput("dsm has no georeference: give a map, not an image in sensor geometry")
    if surface.shape[0] != 1:
        raise InvalidInput(f"dsm has {surface.shape[0]} bands: give one band of heights")
    try:
        crs = CRS.from_user_input(surface.grid.crs)
    except CRSError:
        raise UnknownCrs("the CRS of dsm is unknown to PROJ: reproject it to a UTM zone") from None
    if not crs.is_projected or crs.axis_info[0].unit_name not in ("metre", "meter"):
        raise UnknownCrs(f"{crs.name} is not in metres: reproject dsm to a UTM zone")
    return surface.grid


@dataclass(frozen=True)
class Base:
    """The whole terrain on a coarse lattice, *step* cells of the fine one to a cell."""

    heights: NDArray[np.float32]
    covered: NDArray[np.float32]
    """1 where the terrain may be claimed, 0 beyond the rim of what was observed."""
    step: int


def _base(ground: RasterSource, surface: RasterSource, cell_m: float) -> Base:
    """Read the seen ground strip by strip and span it coarsely. Raises NoGround."""
    from processes.terrain.coverage import covered
    from processes.terrain.span import coarse_means, coarse_step, land

    _, rows, cols = surface.shape
    step = coarse_step(cell_m)
    while (rows // step) * (cols // step) > COARSE_CELLS:
        step *= 2
    strip = step * max(1, STRIP_ROWS // step)
    means, observed = [], []
    for row0 in range(0, rows, strip):
        height = min(strip, rows - row0)
        means.append(coarse_means(ground.read(row0, 0, height, cols)[0], step))
        dsm = surface.read(row0, 0, height, cols)[0]
        observed.append(np.isfinite(coarse_means(dsm, step)))
    coarse = np.concatenate(means)
    if not np.isfinite(coarse).any():
        raise NoGround("the surface model shows no ground: is it empty, or of a single roof?")
    known = covered(np.concatenate(observed), step * cell_m)
    return Base(land(coarse, step * cell_m), known.astype(np.float32), step)


def _inside(window: Grid, whole: Grid) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """Return the part of *window* that lies in *whole*, and where in *whole* that starts."""
    row, col = whole.rowcol(*window.xy(0, 0))
    top, left = round(float(row)), round(float(col))
    rows = slice(max(0, -top), min(window.height, whole.height - top))
    cols = slice(max(0, -left), min(window.width, whole.width - left))
    return (rows, cols), (top + rows.start, left + cols.start)


def _even_block(grid: Grid) -> int:
    """Return a block size that leaves no slivers, whose margins would cost more than they are."""
    longest = max(grid.height, grid.width)
    return int(np.ceil(longest / np.ceil(longest / LARGEST_BLOCK)))


DTM = Process(
    id="dtm",
    title="Terrain model",
    description=__doc__,
    version="1.2.0",
    inputs=DtmInputs,
    outputs=DtmOutputs,
    run=run,
    keywords=("terrain", "DTM", "nDSM", "bare earth"),
)
