"""What a report says of check points, outlines and building heights, beside a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.accuracy.buildings import building_figures
from processes.accuracy.claims import kept
from processes.accuracy.classes import AsprsClass, asprs_class, citygml_lod
from processes.accuracy.finding import Finding
from processes.accuracy.heights import figures_by_class, height_figures
from processes.accuracy.outlines import matches, outline_figures, position_rmse
from processes.accuracy.plots import histogram, outline_map, point_map, scatter
from processes.accuracy.surfaces import height_tiles
from processes.core.errors import NothingToCompare

Column = NDArray[np.floating]
Outlines = NDArray[np.object_]


def compared_points(
    x: Column,
    y: Column,
    z: Column,
    heights: Column,
    claims_m: Column | None,
    classes: NDArray[np.integer] | None,
    names: Mapping[int, str],
) -> Finding:
    """Return what a report says of a surface at check points.

    *heights*: the surface there, NaN in voids. *claims_m*: the error that it claims, at the same
    points. *classes*: a code for each point, *names* what they mean. Raises NothingToCompare.
    """
    dz, counted = heights - z, np.isfinite(z)
    known = int(np.isfinite(dz).sum())
    if not known:
        raise NothingToCompare("no check point lies where the product has a height")
    figures = height_figures(dz, counted)
    asprs = asprs_class(figures.rmse_m, known, direction="vertical")
    lod = citygml_lod(0.0, figures.rmse_m)
    found = Finding(
        how="The product is read bilinearly at each point; points in voids count as failures.",
        figures={"as_is": asdict(figures), "points": len(z)},
        classes={"citygml_lod_by_height": lod, "asprs_vertical": asdict(asprs)},
        tiles=height_tiles(figures),
        tables={
            "Height errors at the points": {"as it is": asdict(figures)},
            "Accuracy class": {"ASPRS 2024": _said(asprs), "CityGML level by height": lod},
        },
        plots=[
            point_map(x, y, dz, title="Points", caption="A cross is a point in a void."),
            histogram(
                dz,
                title="Distribution of errors",
                caption=f"{known} points.",
                label="product − point, m",
            ),
        ],
    )
    if classes is not None:
        rows = figures_by_class(dz, classes, dict(names), counted)
        found.figures["by_class"] = {name: asdict(row) for name, row in rows.items()}
        found.tables["Height errors by class"] = found.figures["by_class"]
    if claims_m is not None:
        found.figures["confidence"] = asdict(kept(dz, claims_m))
        found.tables["Points within the error that nine in ten should stay below"] = {
            "points": found.figures["confidence"]
        }
    return found


def compared_outlines(ours: Outlines, theirs: Outlines, beyond: Mapping[str, int]) -> Finding:
    """Return what a report says of two sets of outlines; *beyond* counts those that none asks for.

    Both on one map, metres.
    """
    figures = outline_figures(ours, theirs)
    pairs = matches(ours, theirs)
    hit, met = {pair.product for pair in pairs}, {pair.reference for pair in pairs}
    position_m = position_rmse(
        [ours[p.product] for p in pairs], [theirs[p.reference] for p in pairs]
    )
    asprs = asprs_class(position_m, len(pairs), direction="horizontal")
    lod = citygml_lod(position_m, 0.0) if pairs else None
    how = "An outline is found where one of the product covers it with an IoU of at least 0.5, one "
    how += "to one."
    if beyond:
        how += " Asked are those in the area where the reference is complete."
    told = asdict(figures) | {"position_rmse_m": position_m, **beyond}
    return Finding(
        how=how,
        figures=told,
        classes={"citygml_lod_by_position": lod, "asprs_horizontal": asdict(asprs)},
        tiles={
            name: told[name] for name in ("f1", "precision", "recall", "mean_iou", "mean_polis_m")
        },
        tables={
            "Outlines": told,
            "Accuracy classes, by the middles of the matches": {
                "ASPRS 2024": _said(asprs),
                "CityGML level by position": lod,
            },
        },
        plots=[
            outline_map(
                [ours[i] for i in sorted(hit)],
                [outline for i, outline in enumerate(ours) if i not in hit],
                [outline for i, outline in enumerate(theirs) if i not in met],
                title="Outlines",
                caption="Found and invented outlines are the product's, missed the reference's.",
            ),
            histogram(
                np.array([pair.iou for pair in pairs]),
                title="Overlap of the matches",
                caption=f"{len(pairs)} matches.",
                label="IoU",
                about_zero=False,
            ),
        ],
    )


def compared_heights(height_m: Column, truth_m: Column, how: str) -> Finding:
    """Return what a report says of building heights; NaN is unknown. Raises NothingToCompare."""
    figures = building_figures(height_m, truth_m)
    if figures.compared == 0:
        raise NothingToCompare("no building has a height in both product and reference")
    told: dict[str, Any] = asdict(figures)
    shown = ("median_error_m", "bias_m", "rmse_m", "within_1m", "compared")
    return Finding(
        how=how,
        figures=told,
        classes={"citygml_lod_by_height": citygml_lod(0.0, figures.rmse_m)},
        tiles={name: told[name] for name in shown},
        tables={"Building heights": {"height above ground": told}},
        plots=[
            scatter(truth_m, height_m, title="Heights", caption="The line is full agreement."),
            histogram(
                height_m - truth_m,
                title="Distribution of errors",
                caption=f"{figures.compared} buildings.",
                label="product − reference, m",
            ),
        ],
    )


def _said(asprs: AsprsClass) -> str:
    return asprs.name if asprs.class_cm else f"refused: {asprs.reason}"
