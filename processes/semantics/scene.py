"""The heights and colours of a scene on one lattice, read window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import InvalidInput
from processes.core.origin import Origin
from processes.core.process import Asset, Workspace
from processes.core.raster import Grid, Raster, RasterSource, offset, together

if TYPE_CHECKING:
    from processes.outlines.segment import Sample

SAMPLES, SAMPLE_PX = 3, 384
"""A scene is judged on SAMPLES × SAMPLES windows of it."""
STOREY_M, PITS = 2.0, 0.02
"""What differs by less is noise, and so may be this share of the cells, where nothing stands."""
FILLED = (Origin.FILLED_OCCLUSION, Origin.FILLED_GAP)
"""Where no image pair saw the ground."""


@dataclass(frozen=True)
class Scene:
    """The opened inputs on one lattice."""

    surface: RasterSource
    ground: RasterSource
    ortho: RasterSource | None
    grid: Grid
    origins: RasterSource | None = None
    """Where heights come from; asked only beside an orthoimage."""

    def read(self, row0: int, col0: int, height: int, width: int) -> Sample:
        """Return a window, NaN where it sticks out."""
        dsm = _read(self.surface, self.grid, row0, col0, height, width)[0]
        dtm = _read(self.ground, self.grid, row0, col0, height, width)[0]
        if self.ortho is None:
            return sample(dsm, dtm, None, ())
        pixels = _read(self.ortho, self.grid, row0, col0, height, width)
        if self.origins is None:
            return sample(dsm, dtm, pixels, self.ortho.band_names)
        origins = _read(self.origins, self.grid, row0, col0, height, width)[0]
        return sample(dsm, dtm, pixels, self.ortho.band_names, origins)

    @property
    def sources(self) -> list[RasterSource]:
        """What `map_blocks` reads for `piece`."""
        seen = [source for source in (self.ortho, self.origins) if source is not None]
        return [self.surface, self.ground, *seen]

    @property
    def band_names(self) -> tuple[str, ...]:
        return self.ortho.band_names if self.ortho else ()

    def samples(self) -> Iterator[Sample]:
        """Yield pieces, spread evenly."""
        for window in self._windows():
            yield self.read(*window)

    def upside_down(self) -> bool:
        """Say whether the surface mostly lies below the terrain where they differ, pits aside."""
        known = higher = lower = 0
        for window in self._windows():
            above = self.surface.read(*window)[0] - _read(self.ground, self.grid, *window)[0]
            known += int(np.count_nonzero(np.isfinite(above)))
            higher += int(np.count_nonzero(above > STOREY_M))
            lower += int(np.count_nonzero(above < -STOREY_M))
        return lower > max(higher, PITS * known)

    def _windows(self) -> Iterator[tuple[int, int, int, int]]:
        height, width = (min(SAMPLE_PX, size) for size in self.grid.shape)
        for row in np.unique(np.linspace(0, self.grid.height - height, SAMPLES).astype(int)):
            for col in np.unique(np.linspace(0, self.grid.width - width, SAMPLES).astype(int)):
                yield int(row), int(col), height, width


def corner(scene: Grid, block: Grid) -> tuple[int, int]:
    """Return the row and column of a block's first cell in the scene; they may be negative."""
    row, col = scene.rowcol(*block.xy(0, 0))
    return round(float(row)), round(float(col))


def piece(
    names: Sequence[str],
    dsm: Raster,
    dtm: Raster,
    ortho: Raster | None = None,
    origins: Raster | None = None,
) -> Sample:
    """Return the blocks that a kernel gets of `Scene.sources` as a sample."""
    pixels = None if ortho is None else np.atleast_3d(ortho.values.T).T
    codes = None if origins is None else origins.values
    return sample(dsm.values, dtm.values, pixels, names, codes)


def sample(
    dsm: NDArray[Any],
    dtm: NDArray[Any],
    pixels: NDArray[Any] | None,
    names: Sequence[str],
    origins: NDArray[Any] | None = None,
) -> Sample:
    """Return heights and named bands as the segmenter takes them."""
    from processes.outlines.segment import Sample

    bands = {} if pixels is None else dict(zip(names, pixels, strict=True))
    filled = None if origins is None else np.isin(np.nan_to_num(origins), FILLED)
    return Sample(dsm, dsm - dtm, bands, filled)


def opened(
    dsm: Asset,
    dtm: Asset,
    ortho_asset: Asset | None,
    work: Workspace,
    *,
    ortho_mask: Asset | None = None,
) -> Scene:
    """Open a scene. Raises InvalidInput, and GridMismatch where its lattices differ."""
    surface, ground = work.open_raster(dsm), work.open_raster(dtm)
    ortho = work.open_raster(ortho_asset) if ortho_asset else None
    if surface.grid is None:
        raise InvalidInput("dsm has no georeference: give a map, not an image in sensor geometry")
    for name, source in (("dsm", surface), ("dtm", ground)):
        if source.shape[0] != 1:
            raise InvalidInput(f"{name} has {source.shape[0]} bands: give one band of heights")
    together(ground, surface.grid)
    if ortho is not None:
        together(ortho, surface.grid)
    origins = work.open_raster(ortho_mask) if ortho is not None and ortho_mask else None
    if origins is not None:
        together(origins, surface.grid)
    scene = Scene(surface, ground, ortho, surface.grid, origins)
    if scene.upside_down():
        raise InvalidInput("dsm lies below dtm where they differ: are the two exchanged?")
    return scene


def _read(
    source: RasterSource, grid: Grid, row0: int, col0: int, height: int, width: int
) -> NDArray[np.float32]:
    row, col = offset(source, grid)
    return source.read(row0 + row, col0 + col, height, width)
