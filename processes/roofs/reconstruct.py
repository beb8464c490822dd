"""One building: from its outline and the heights under it to solids, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from processes.core.building import Solid
from processes.core.raster import Raster
from processes.roofs.extrude import extrude, tidy
from processes.roofs.heights import Heights, NoHeights, measure, roof_cells

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

LEAST_HEIGHT_M = 1.0


@dataclass(frozen=True)
class Reconstruction:
    """What became of one outline."""

    heights: Heights | None
    solids: tuple[Solid, ...] = ()
    lod: int | None = None
    """1 for a block, 2 for a modelled roof; None where the building is left out."""
    reason: str | None = None
    """Why it was left out, or why it is a block where more was asked for."""


def reconstruct(outline: BaseGeometry, dsm: Raster, dtm: Raster, lod: int) -> Reconstruction:
    """Return the building over *outline*, at the level of detail asked for where that fits."""
    parts = tidy(outline)
    if not parts:
        return Reconstruction(None, reason="the outline encloses no area")
    try:
        roof = roof_cells(outline, dsm)
        heights = measure(outline, roof, dtm)
    except NoHeights as fault:
        return Reconstruction(None, reason=str(fault))
    if heights.roof_m - heights.ground_m < LEAST_HEIGHT_M:
        reason = f"the roof is less than {LEAST_HEIGHT_M:g} m above the ground"
        return Reconstruction(heights, reason=reason)
    blocks = tuple(extrude(part, heights.base_m, heights.roof_m) for part in parts)
    return Reconstruction(heights, blocks, lod=1)
