"""Terrain model: the ground under buildings and trees, from a surface model.

The surface is cut at its steps into regions, which are ground or not by how their borders step;
the ground is refitted robustly and spanned across everything that stands on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from processes.core.codes import tagged
from processes.core.crs import metric_grid
from processes.core.origin import Ground
from processes.core.process import Asset, Inputs, Layer, Outputs, Process, Workspace
from processes.core.raster import Grid, Raster, RasterSource

LARGEST_BLOCK = 1792
SPAN_MARGIN_M, FINE_MARGIN_M = 60.0, 30.0
"""So far a block sees beyond itself: to span its ground, and to span it about the coarse whole."""
WIDEST_SEEN = 0.6
"""Share of the widest object that a block sees beyond itself: more than the radius that decides."""
MEANINGS: dict[int, str] = {
    Ground.OUTSIDE: "outside",
    Ground.SEEN: "ground seen",
    Ground.UNDER_OBJECT: "under objects",
    Ground.UNDER_BRIDGE: "under a bridge",
    Ground.VOID: "void",
    Ground.WATER: "water",
}
STRIP_ROWS = 512
SAMPLED_CELLS = 2_000_000
"""About so many cells tell how sharp the surface is."""
PER_METRE = 1024
"""Heights are kept in steps of one part in so many of a metre."""


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
    water: Asset | None = Field(
        default=None,
        description="Where water is known to be, on the lattice of dsm: one band, not nought on "
        "water. Not needed: water shows as level, noisy or void land with a level shore.",
    )


class DtmOutputs(Outputs):
    """A terrain model on the grid of its surface model."""

    dtm: Asset = Field(description="Ground heights, metres; gap-free within the surface model.")
    ndsm: Asset = Field(description="Heights above ground, metres: surface minus terrain.")
    terrain_mask: Asset = Field(
        description="Where the terrain comes from: 0 nowhere (empty), 1 ground that was seen, "
        "2 spanned under what stands on it, 3 spanned under a bridge, 4 spanned where the surface "
        "model is void, 5 water, level at its shore."
    )


def run(inputs: DtmInputs, work: Workspace) -> DtmOutputs:
    """Find the ground in blocks, span it coarsely over everything, then finely in blocks."""
    from processes.terrain.base import base_of
    from processes.terrain.ground import ground_and_bridges
    from processes.terrain.model import modelled
    from processes.terrain.sharp import taken_back

    surface = work.open_raster(inputs.dsm)  # once: what is unpacked then stays at hand
    grid = metric_grid(surface)
    cell_m = float(np.sqrt(abs(grid.transform.a * grid.transform.e)))
    block_px = _even_block(grid)
    margin_m = max(SPAN_MARGIN_M, WIDEST_SEEN * inputs.largest_object_m)

    def ground(dsm: Raster) -> tuple[Raster, Raster]:
        inner, _ = _inside(dsm.grid, grid)
        seen = np.full(dsm.values.shape, np.nan, np.float32)
        bridge = np.zeros(dsm.values.shape, np.uint8)
        rows, cols = inner
        margin = int(np.ceil(margin_m / grid.cell_m))
        own = (
            slice(max(0, margin - rows.start), dsm.grid.height - margin - rows.start),
            slice(max(0, margin - cols.start), dsm.grid.width - margin - cols.start),
        )
        seen[inner], bridge[inner] = ground_and_bridges(
            dsm.values[inner], cell_m, inputs.largest_object_m, asked=own
        )
        return Raster(seen, dsm.grid), Raster(bridge, dsm.grid)

    work.progress(0.0, "finding the ground")
    found = (Layer("ground", passing=True), Layer("bridges", "uint8", passing=True))
    seen, decks = work.map_layers(found, ground, surface, margin_m=margin_m, block_px=block_px)

    sharp = _sharp(work.open_raster(seen), surface, cell_m)

    def up_to_walls(ground: Raster, dsm: Raster, bridge: Raster) -> Raster:
        back = taken_back(ground.values, dsm.values, bridge.values > 0, cell_m)
        return Raster(back, dsm.grid)

    if sharp:
        work.progress(0.5, "going up to the walls")
        (seen,) = work.map_layers(
            (Layer("near", passing=True),),
            lambda *rasters: (up_to_walls(*rasters),),
            *(seen, surface, decks),
            margin_m=SPAN_MARGIN_M,
            block_px=block_px,
        )
    work.progress(0.6, "joining the ground")
    marked = work.open_raster(inputs.water) if inputs.water else None
    base = base_of(work.open_raster(seen), surface, marked, cell_m)

    def models(
        ground: Raster, dsm: Raster, bridge: Raster, *marks: Raster
    ) -> tuple[Raster, Raster, Raster]:
        inner, at = _inside(dsm.grid, grid)
        marked = marks[0].values[inner] > 0 if marks else None
        dtm = np.full(dsm.values.shape, np.nan, np.float32)
        mask = np.full(dsm.values.shape, Ground.OUTSIDE, np.uint8)
        dtm[inner], mask[inner] = modelled(
            ground.values[inner],
            dsm.values[inner],
            bridge.values[inner] > 0,
            marked,
            base,
            at,
            cell_m,
            sharp=sharp,
        )
        return (
            Raster(_short(dtm), dsm.grid),
            Raster(_short(dsm.values - dtm), dsm.grid),
            Raster(mask, dsm.grid),
        )

    layers = (
        Layer("dtm"),
        Layer("ndsm"),
        Layer("terrain_mask", "uint8", band_names=["origin"], tags=tagged(MEANINGS)),
    )
    dtm, ndsm, mask = work.map_layers(
        layers,
        models,
        seen,
        surface,
        decks,
        *([inputs.water] if inputs.water else []),
        margin_m=FINE_MARGIN_M,
        block_px=block_px,
    )
    work.progress(1.0, "terrain model written")
    return DtmOutputs(dtm=dtm, ndsm=ndsm, terrain_mask=mask)


def _short(heights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return *heights* to the millimetre, in binary: files half as large, and written faster."""
    return np.asarray(np.rint(heights * np.float32(PER_METRE)) / PER_METRE, np.float32)


def _sharp(ground: RasterSource, surface: RasterSource, cell_m: float) -> bool:
    """Return whether the surface is sharp, by strips spread over the whole area."""
    from processes.terrain.sharp import above_ground, is_sharp

    _, rows, cols = surface.shape
    every = STRIP_ROWS * max(1, round(rows * cols / SAMPLED_CELLS))
    strips = [(row0, 0, min(STRIP_ROWS, rows - row0), cols) for row0 in range(0, rows, every)]
    above = [above_ground(ground.read(*s)[0], surface.read(*s)[0], cell_m) for s in strips]
    return is_sharp(np.concatenate(above))


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
    version="1.4.0",
    inputs=DtmInputs,
    outputs=DtmOutputs,
    run=run,
    keywords=("terrain", "DTM", "nDSM", "bare earth"),
)
