"""The terrain of a window: seen ground spanned about the coarse whole, and level water."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processes.core.origin import Ground
from processes.terrain.base import Base
from processes.terrain.sharp import calmer
from processes.terrain.span import spanned_about
from processes.terrain.water import shores, water_cells

Heights = NDArray[np.float32]
Mask = NDArray[np.bool_]


def modelled(
    ground: Heights,
    dsm: Heights,
    bridge: Mask,
    marked: Mask | None,
    base: Base,
    at: tuple[int, int],
    cell_m: float,
    *,
    sharp: bool,
) -> tuple[Heights, NDArray[np.uint8]]:
    """Return the terrain of a window and where it comes from (`Ground`).

    *ground*: heights of the ground that was seen, NaN elsewhere. *marked*: where water is known to
    be. *at*: the window's first row and column in the whole. *sharp*: the surface is, so what is
    seen of the ground is not calmed.
    """
    if not sharp:
        ground = calmer(ground, cell_m)
    level, core = base.water.at(*at, dsm.shape)
    wet = water_cells(dsm, ground, level, core)
    if marked is not None:
        wet |= marked & np.isfinite(level)
    wet &= ~bridge
    ground = np.where(wet, level, ground)
    if wet.any():
        ground = np.where(shores(dsm, ground, wet, cell_m), dsm, ground)
    near, known = base.at(*at, dsm.shape)
    bare = spanned_about(ground, near)
    terrain = np.where(known | np.isfinite(dsm), bare, np.float32(np.nan))
    return terrain, _origins(terrain, ground, dsm, bridge, wet)


def _origins(
    terrain: Heights, ground: Heights, dsm: Heights, bridge: Mask, wet: Mask
) -> NDArray[np.uint8]:
    mask = np.where(np.isfinite(dsm), np.uint8(Ground.UNDER_OBJECT), np.uint8(Ground.VOID))
    mask[np.isfinite(ground)] = Ground.SEEN
    mask[bridge] = Ground.UNDER_BRIDGE
    mask[wet] = Ground.WATER
    mask[np.isnan(terrain)] = Ground.OUTSIDE
    return mask
