"""Height figures: how far a surface or terrain model is from its reference.

Every function takes differences *product minus reference* in metres, NaN where the product is
void. Voids are counted, not forgotten: completeness is a share of **all** reference cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NMAD_SCALE = 1.4826
"""Makes the median absolute deviation of a normal distribution its standard deviation."""


@dataclass(frozen=True)
class HeightFigures:
    """Agreement of heights in metres; NaN where there was nothing to compare."""

    bias_m: float
    """Mean difference."""
    median_m: float
    rmse_m: float
    nmad_m: float
    """1.4826 · median |dz − median dz|: the spread without its outliers. Höhle & Höhle, 2009."""
    le90_m: float
    """90 % quantile of |dz|."""
    completeness_1m: float
    """Share of all reference cells with |dz| ≤ 1 m; a void counts as a failure."""
    void_share: float
    cells: int
    """Reference cells counted, voids among them."""


def nmad(dz: NDArray[np.floating]) -> float:
    """Return the normalised median absolute deviation of the finite numbers in *dz*."""
    dz = dz[np.isfinite(dz)]
    if dz.size == 0:
        return float("nan")
    return float(NMAD_SCALE * np.median(np.abs(dz - np.median(dz))))


def height_figures(
    dz: NDArray[np.floating], counted: NDArray[np.bool_] | None = None, *, within_m: float = 1.0
) -> HeightFigures:
    """Return the figures of *dz* over the cells where *counted* (default: all of them).

    *counted* says where the reference knows a height and wants one; a NaN in *dz* there is a void.
    """
    values = np.asarray(dz if counted is None else dz[counted], np.float64).ravel()
    known = values[np.isfinite(values)]
    cells = values.size
    if known.size == 0:
        nan = float("nan")
        share = 1.0 if cells else nan
        return HeightFigures(nan, nan, nan, nan, nan, 0.0 if cells else nan, share, cells)
    size = np.abs(known)
    return HeightFigures(
        bias_m=float(known.mean()),
        median_m=float(np.median(known)),
        rmse_m=float(np.sqrt(np.mean(known**2))),
        nmad_m=nmad(known),
        le90_m=float(np.quantile(size, 0.9)),
        completeness_1m=float(np.count_nonzero(size <= within_m) / cells),
        void_share=float(1.0 - known.size / cells),
        cells=cells,
    )


def figures_by_class(
    dz: NDArray[np.floating],
    classes: NDArray[np.integer],
    names: dict[int, str],
    counted: NDArray[np.bool_] | None = None,
) -> dict[str, HeightFigures]:
    """Return the figures of each named class that occurs among the counted cells."""
    counted = np.ones(dz.shape, bool) if counted is None else counted
    present = set(np.unique(classes[counted]).tolist())
    return {
        name: height_figures(dz, counted & (classes == code))
        for code, name in names.items()
        if code in present
    }


def within_rim(dz: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return the cells that are not part of a void reaching in from the border of the array.

    A product made from images is a tilted quadrangle in an upright raster: what lies outside of
    it was never asked for, while a void inside is a failure.
    """
    from scipy import ndimage

    label, _ = ndimage.label(~np.isfinite(dz))
    outer = np.unique(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]))
    return np.asarray(~np.isin(label, outer[outer > 0]))


def near_edges(
    objects: NDArray[np.integer], cell_m: float, within_m: float = 1.5
) -> NDArray[np.bool_]:
    """Return the cells whose centre lies within *within_m* of an outline of *objects*.

    *objects* holds a number for each object and 0 between them; an outline runs between cells of
    different numbers, so also along the wall that two attached buildings share.
    """
    from scipy import ndimage

    # A lattice of twice the density has its odd rows and columns on the cell borders.
    rows, cols = objects.shape
    border = np.zeros((2 * rows - 1, 2 * cols - 1), bool)
    border[1::2, ::2] = objects[1:] != objects[:-1]
    border[::2, 1::2] = objects[:, 1:] != objects[:, :-1]
    if not border.any():
        return np.zeros(objects.shape, bool)
    distance = ndimage.distance_transform_edt(~border)[::2, ::2]
    return np.asarray(distance * (cell_m / 2) <= within_m + 1e-9)
