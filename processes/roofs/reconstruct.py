"""One building: from its outline and the heights under it to solids, or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from processes.core.building import Solid
from processes.core.raster import Raster
from processes.roofs.bank import Roof, fit_roof
from processes.roofs.extrude import extrude, tidy
from processes.roofs.heights import Heights, NoHeights, RoofCells, inner_cells, measure, roof_cells
from processes.roofs.planes import RoofUnfit, raise_roof
from processes.roofs.validity import faults

if TYPE_CHECKING:
    from shapely.geometry import Polygon
    from shapely.geometry.base import BaseGeometry

LEAST_HEIGHT_M = 1.0


@dataclass(frozen=True)
class Reconstruction:
    """What became of one outline."""

    heights: Heights | None
    solids: tuple[Solid, ...] = ()
    roof: Roof | None = None
    """The roof that was modelled; None for a block."""
    lod: int | None = None
    """1 for a block, 2 for a modelled roof; None where the building is left out."""
    reason: str | None = None
    """Why it was left out, or why it is a block where more was asked for."""


def reconstruct(outline: BaseGeometry, dsm: Raster, dtm: Raster, lod: int) -> Reconstruction:
    """Return the building over *outline*, at the level of detail asked for where that fits.

    Whatever comes back is valid by ISO 19107: a building whose solid would not be is left out.
    """
    from shapely import MultiPolygon

    parts = tidy(outline)
    if not parts:
        return Reconstruction(None, reason="the outline encloses no area")
    whole = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    try:
        cells = roof_cells(whole, dsm)
        heights = measure(whole, cells, dtm)
    except NoHeights as fault:
        return Reconstruction(None, reason=str(fault))
    if heights.roof_m - heights.ground_m < LEAST_HEIGHT_M:
        low = f"the roof is less than {LEAST_HEIGHT_M:g} m above the ground"
        return Reconstruction(heights, reason=low)
    if lod == 1:
        return _block(parts, heights, reason=None)
    try:
        return _roofed(parts, whole, inner_cells(whole, dsm, cells), heights)
    except RoofUnfit as fault:
        return _block(parts, heights, reason=f"block instead of a roof: {fault}")


def _roofed(
    parts: Sequence[Polygon], outline: BaseGeometry, cells: RoofCells, heights: Heights
) -> Reconstruction:
    """Return the building with a roof of the bank. Raises RoofUnfit."""
    roof = fit_roof(outline, cells)
    if roof is None:
        raise RoofUnfit("no simple roof fits its surface")
    solids = tuple(raise_roof(part, heights.base_m, roof.planes) for part in parts)
    wrong = sorted({fault.name for solid in solids for fault in faults(solid)})
    if wrong:
        raise RoofUnfit(f"its solid would not be valid ({', '.join(wrong)})")
    return Reconstruction(heights, solids, roof, lod=2)


def _block(parts: Sequence[Polygon], heights: Heights, reason: str | None) -> Reconstruction:
    solids = tuple(extrude(part, heights.base_m, heights.roof_m) for part in parts)
    wrong = sorted({fault.name for solid in solids for fault in faults(solid)})
    if wrong:
        return Reconstruction(heights, reason=f"its solid is not valid ({', '.join(wrong)})")
    return Reconstruction(heights, solids, lod=1, reason=reason)
