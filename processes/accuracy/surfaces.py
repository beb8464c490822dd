"""What a report says of a raster of heights: beside a reference, or by its own confidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.accuracy.claims import LEVELS, held_at_levels, kept, kept_by_class
from processes.accuracy.classes import asprs_predicted, citygml_lod
from processes.accuracy.expected import Expected
from processes.accuracy.finding import Finding
from processes.accuracy.heights import (
    HeightFigures,
    figures_by_class,
    height_figures,
    within_rim,
)
from processes.accuracy.pairing import Pairing
from processes.accuracy.plots import calibration, claims, cumulative, error_map, histogram
from processes.accuracy.shift import Shift, best_shift, shifted
from processes.core.errors import NothingToCompare
from processes.core.raster import Raster

Heights = NDArray[np.float32]
NOT_POINTS = "a raster holds no independent check points: compare with kind points"
TILES = ("completeness_1m", "nmad_m", "rmse_m", "le90_m", "bias_m", "void_share")


def compared(
    pair: Pairing,
    claims_m: Heights | None,
    classes: NDArray[np.integer] | None,
    names: Mapping[int, str],
    said: Callable[[str], None],
) -> Finding:
    """Return what a report says of two rasters.

    *claims_m*: the error that the product claims, at the same places. *classes*: a code for each
    place, *names* what they mean. *said* is told what takes long. Raises NothingToCompare.
    """
    counted = np.isfinite(pair.reference)
    dz = pair.product - pair.reference
    figures = height_figures(dz, counted)
    if figures.void_share == 1.0:
        raise NothingToCompare("the product knows no height where the reference does")
    inner = height_figures(dz, counted & within_rim(pair.product))
    said("searching the best constant shift")
    shift = best_shift(pair.product, pair.reference, pair.cell_m)
    dz_moved = shifted(pair.product, shift, pair.cell_m) - pair.reference
    moved = height_figures(dz_moved, counted)
    found = Finding(
        how=f"{pair.how} Voids of the product count as failures.",
        figures={
            "as_is": asdict(figures),
            "within_rim": asdict(inner),
            "best_shift": asdict(shift),
            "after_shift": asdict(moved),
        },
        classes={
            "citygml_lod_by_height": citygml_lod(0.0, figures.rmse_m),
            "asprs_vertical": {"class_cm": None, "name": "none", "reason": NOT_POINTS},
        },
        tiles=height_tiles(figures),
        tables={
            "Height errors": {
                "as it is": asdict(figures),
                "within the product's rim": asdict(inner),
                "after the best shift": asdict(moved),
            },
            "Best constant shift, to add to the product": asdict(shift),
        },
        plots=[
            error_map(dz, title="Error", caption="Product minus reference; voids are grey."),
            histogram(
                dz,
                title="Distribution of errors",
                caption=f"Bias {figures.bias_m:+.2f} m, NMAD {figures.nmad_m:.2f} m.",
                label="product − reference, m",
            ),
            cumulative(
                dz[counted],
                figures.cells,
                title="Completeness",
                caption="Share of all reference cells within each error.",
            ),
        ],
        error_map=Raster(np.where(counted, dz, np.float32(np.nan)).astype(np.float32), pair.grid),
    )
    if classes is not None:
        _add_classes(found, dz, classes, dict(names), counted)
    if claims_m is not None:
        there = shifted(claims_m, Shift(shift.dx_m, shift.dy_m, 0.0), pair.cell_m)
        _add_claims(found, (dz, claims_m), (dz_moved, there), classes, names)
    return found


def _add_classes(
    found: Finding,
    dz: Heights,
    classes: NDArray[np.integer],
    names: dict[int, str],
    counted: NDArray[np.bool_],
) -> None:
    rows = figures_by_class(dz, classes, names, counted)
    found.figures["by_class"] = {name: asdict(row) for name, row in rows.items()}
    found.tables["Height errors by class, as it is"] = found.figures["by_class"]


def _add_claims(
    found: Finding,
    as_is: tuple[Heights, Heights],
    after: tuple[Heights, Heights],
    classes: NDArray[np.integer] | None,
    names: Mapping[int, str],
) -> None:
    """Add whether the product kept what its confidence claims, before and after the shift."""
    kept_as_is, kept_after = kept(*as_is), kept(*after)
    rows = {"as it is": asdict(kept_as_is), "after the best shift": asdict(kept_after)}
    figures = {"as_is": asdict(kept_as_is), "after_shift": asdict(kept_after)}
    if classes is not None:
        by_class = kept_by_class(*after, classes, names)
        figures["by_class"] = {name: asdict(row) for name, row in by_class.items()}
        rows |= {f"{name}, after the shift": asdict(row) for name, row in by_class.items()}
    found.figures["confidence"] = figures
    found.tables["Cells within the error that nine in ten should stay below"] = rows
    if kept_after.cells:
        found.plots.append(
            calibration(
                LEVELS,
                {"as it is": held_at_levels(*as_is), "after the shift": held_at_levels(*after)},
                title="Confidence",
                caption=f"Of the cells that 90 % is claimed of, {100 * kept_after.held_share:.1f} "
                "% keep it after the shift.",
            )
        )


def predicted(found: Expected) -> Finding:
    """Return what a report says of a surface model by its confidence alone."""
    figures = asdict(found.figures)
    for unknown in ("bias_m", "median_m", "void_share"):
        del figures[unknown]
    asprs = asprs_predicted(found.rmse_m)
    lod = citygml_lod(0.0, found.rmse_m)
    level = (
        f"about ±{found.level_m:.2f} m (one standard deviation), which the classes include"
        if found.level_m is not None
        else "as far as what it was set by, which the classes leave out"
    )
    return Finding(
        how="Predicted, not measured: there is no reference. The figures follow from the error "
        "that each cell's confidence claims, as errors lie on scenes whose truth is known. They "
        f"are of heights beside each other; the whole model may be too high or too low by {level}.",
        figures={
            "predicted": figures,
            "level_error_m": found.level_m,
            "rmse_with_level_m": found.rmse_m,
        },
        classes={
            "citygml_lod_by_height": lod,
            "asprs_vertical": asdict(asprs),
            "predicted": True,
        },
        tiles={
            f"predicted_{name}": figures[name]
            for name in ("completeness_1m", "nmad_m", "rmse_m", "le90_m")
        }
        | {"level_error_m": found.level_m},
        tables={
            "Predicted height errors": {"predicted": figures},
            "Predicted accuracy classes": {
                "ASPRS 2024": asprs.name,
                "CityGML level by height": f"{lod} (predicted)",
            },
        },
        plots=[
            claims(
                found.claims_m,
                found.share,
                title="Claimed errors",
                caption="Nine cells in ten stay below their claim.",
            )
        ],
    )


def height_tiles(figures: HeightFigures) -> dict[str, Any]:
    """Return the few numbers to see first."""
    return {name: getattr(figures, name) for name in TILES}
