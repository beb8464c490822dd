"""One building: from its outline and the heights under it to solids, or the reason why not.

Of 17 ms a building of `dense` took, 6 went into compiled fits and the rest into what called them:
what is done a cell, a wing or a roof of the bank is compiled too since, one call for all, and a
whole process takes a quarter less there. Of what is left, raising a roof that is cut into parts
takes most: 12 ms each, in the geometry library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from processes.core.building import Solid
from processes.core.raster import Raster
from processes.roofs.bank import COARSEST_M, FALLING, LEAST_SHARE, MOST_RMSE_M, Roof, fit_roof
from processes.roofs.blur import BLURS, SHARP, Blur, Seen, seen
from processes.roofs.eaves import fit_eaves
from processes.roofs.extrude import extrude, tidy
from processes.roofs.heights import (
    Heights,
    NoHeights,
    Under,
    inset_of,
    measure,
    shape_inset_of,
    under,
)
from processes.roofs.levels import fit_levels
from processes.roofs.parts import Part, fit_parts
from processes.roofs.planes import RoofUnfit, raise_roof
from processes.roofs.stepped import raise_wings
from processes.roofs.validity import faults
from processes.roofs.wings import Wing, Winged, fit_wings

if TYPE_CHECKING:
    from shapely.geometry import Polygon
    from shapely.geometry.base import BaseGeometry

LEAST_HEIGHT_M = 1.0
LEAST_STOREY_M = 2.2
"""A lower level of two that is no higher is the street, and the outline too large."""
BLUR_CELLS = 200
"""That are asked of a roof for the blur of its surface."""
FLAT_M = 0.2
"""A flat roof that explains its cells so well has neither slopes nor storeys."""


@dataclass(frozen=True)
class Reconstruction:
    """What became of one outline."""

    heights: Heights | None
    solids: tuple[Solid, ...] = ()
    roof: Roof | Winged | None = None
    """The roof that was modelled; None for a block."""
    lod: int | None = None
    """1 for a block, 2 for a modelled roof; None where the building is left out."""
    reason: str | None = None
    """Why it was left out, or why it is a block where more was asked for."""


def reconstruct(
    outline: BaseGeometry, dsm: Raster, dtm: Raster, lod: int, *, blur: Blur = SHARP
) -> Reconstruction:
    """Return the building over *outline*, at the level of detail asked for where that fits.

    *blur* is how far the surface rounds creases off, see `roofs.blur`. Whatever comes back is
    valid by ISO 19107: a building whose solid would not be is left out.
    """
    from shapely import MultiPolygon

    parts = tidy(outline)
    if not parts:
        return Reconstruction(None, reason="the outline encloses no area")
    whole = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    try:
        cells = under(whole, dsm)
        ground = cells.of(dtm) if dtm.grid == dsm.grid else under(whole, dtm)
        heights = measure(cells, inset_of(cells), ground)
    except NoHeights as fault:
        return Reconstruction(None, reason=str(fault))
    if heights.roof_m - heights.ground_m < LEAST_HEIGHT_M:
        low = f"the roof is less than {LEAST_HEIGHT_M:g} m above the ground"
        return Reconstruction(heights, reason=low)
    if lod == 1:
        return _block(parts, heights, reason=None)
    try:
        roofs = _roofs(whole, cells, dsm, blur, heights.ground_m)
        return _roofed(parts, roofs, heights)
    except RoofUnfit as fault:
        return _block(parts, heights, reason=f"block instead of a roof: {fault}")


def _roofed(
    parts: Sequence[Polygon], roofs: Sequence[Roof | Winged], heights: Heights
) -> Reconstruction:
    """Return the building with the first of *roofs* that can be built. Raises RoofUnfit."""
    fault = RoofUnfit("no simple roof fits its surface")
    for roof in roofs:
        try:
            solids = tuple(_raised(part, heights.base_m, roof) for part in parts)
        except RoofUnfit as unfit:
            fault = unfit
            continue
        wrong = sorted({fault.name for solid in solids for fault in faults(solid)})
        if not wrong:
            return Reconstruction(heights, solids, roof, lod=2)
        fault = RoofUnfit(f"its solid would not be valid ({', '.join(wrong)})")
    raise fault


def _raised(part: Polygon, base_m: float, roof: Roof | Winged) -> Solid:
    """Return the solid under *roof*. Raises RoofUnfit."""
    import shapely

    if isinstance(roof, Winged):
        return raise_wings(part, base_m, roof.wings)
    try:
        return raise_roof(part, base_m, roof.planes)
    except RoofUnfit:
        # slower, but slivers become part of the face beside them
        around = shapely.get_coordinates(shapely.envelope(part))[:-1]
        return raise_wings(part, base_m, [Wing(around, roof.planes)])


def _roofs(
    outline: BaseGeometry, cells: Under, dsm: Raster, blur: Blur, ground_m: float
) -> list[Roof | Winged]:
    """Return the roofs that explain the cells, of the whole or of its parts, the best first."""
    from shapely import Polygon

    shown, found = _fitted(outline, cells, blur, ground_m)
    if not isinstance(outline, Polygon) or outline.interiors:
        return found

    def part(plan: Polygon) -> Part:
        cells, roofs = _fitted(plan, under(plan, dsm), blur, ground_m)
        return Part(plan, cells, roofs[0] if roofs else None)

    parted = fit_parts(Part(outline, shown, found[0] if found else None), part)
    return found if parted is None else sorted([*found, parted], key=lambda roof: roof.score)


def _fitted(
    outline: BaseGeometry, under_it: Under, blur: Blur, ground_m: float
) -> tuple[Seen, list[Roof | Winged]]:
    """Return what the surface shows of an outline, and the roofs that explain it, the best first.

    Raises NoHeights.
    """
    inset_m = shape_inset_of(under_it, inset_of(under_it))
    cells = seen(under_it, inset_m, blur)
    simple = fit_roof(outline, cells)
    if simple is not None and simple.type == "flat" and simple.rmse_m < FLAT_M:
        return cells, [simple]
    found: list[Roof | Winged] = [] if simple is None else [simple]
    levels = fit_levels(outline, seen(under_it, inset_m, SHARP, whole=True), COARSEST_M)
    if levels is not None and levels.lowest_m < ground_m + LEAST_STOREY_M:
        levels = None
    winged = fit_eaves(outline, cells, COARSEST_M), fit_wings(outline, cells, COARSEST_M), levels
    for roof in winged:
        if roof is not None and roof.rmse_m <= MOST_RMSE_M and roof.share >= LEAST_SHARE:
            found.append(roof)
    return cells, sorted(found, key=lambda roof: roof.score)


def misfits(outline: BaseGeometry, dsm: Raster) -> list[float] | None:
    """Return the mean squared residual of the best simple roof at each of `blur.BLURS`.

    None where the outline or its surface has no simple roof: then it says nothing of blur.
    """
    try:
        cells = under(outline, dsm)
        inset_m = inset_of(cells)
    except NoHeights:
        return None
    found = []
    for blur in BLURS:
        roof = fit_roof(outline, seen(cells, inset_m, blur, whole=True, most=BLUR_CELLS))
        if roof is None or roof.type in FALLING:
            return None
        found.append(roof.rmse_m**2)
    return found


def _block(parts: Sequence[Polygon], heights: Heights, reason: str | None) -> Reconstruction:
    solids = tuple(extrude(part, heights.base_m, heights.roof_m) for part in parts)
    wrong = sorted({fault.name for solid in solids for fault in faults(solid)})
    if wrong:
        return Reconstruction(heights, reason=f"its solid is not valid ({', '.join(wrong)})")
    return Reconstruction(heights, solids, lod=1, reason=reason)
