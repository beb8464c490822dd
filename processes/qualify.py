"""Quality of a product: its figures against a reference, as numbers and as a page with plots.

Rasters are compared cell by cell, outlines one to one, buildings by their heights, and any surface
against check points. Everything is given as it is, and rasters also after the best constant shift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from processes.core.errors import InvalidInput, NothingToCompare
from processes.core.process import HTML, JSON, Asset, Inputs, Outputs, Process, Workspace

if TYPE_CHECKING:
    import geopandas

    from processes.accuracy.heights import HeightFigures

Kind = Literal["dsm", "dtm", "ndsm", "footprints", "buildings", "points"]

TITLES = {
    "dsm": "Surface model",
    "dtm": "Terrain model",
    "ndsm": "Heights above ground",
    "footprints": "Footprints",
    "buildings": "Building heights",
    "points": "Check points",
}


class QualifyInputs(Inputs):
    """What is compared with what."""

    product: Asset = Field(
        description="What is to be qualified: a one-band GeoTIFF (dsm, dtm, ndsm, points), "
        "polygons (footprints), or CityJSON or polygons with heights (buildings)."
    )
    reference: Asset = Field(
        description="What is taken for true: a one-band GeoTIFF, polygons, or points with heights "
        "as GeoJSON, GeoPackage, GeoParquet or CSV (columns x, y, z in the CRS of the product)."
    )
    kind: Kind = Field(
        description="How to compare: dsm, dtm or ndsm for two rasters, footprints for two sets of "
        "outlines, buildings for heights above ground building by building (the reference is "
        "polygons with heights, or a raster of heights above ground), points for check points."
    )


class QualifyOutputs(Outputs):
    """The figures, for programs and for people."""

    report: Asset = Field(description="Figures as JSON, metres.")
    page: Asset = Field(description="The same as an HTML page with plots.")


def run(inputs: QualifyInputs, work: Workspace) -> QualifyOutputs:
    """Compare, write the figures, draw the page."""
    from processes.accuracy.page import html_report

    work.progress(0.0, f"comparing {TITLES[inputs.kind].lower()}")
    found = COMPARISONS[inputs.kind](inputs, work)
    work.progress(0.8, "drawing the report")
    report = {
        "kind": inputs.kind,
        "product": _name(inputs.product),
        "reference": _name(inputs.reference),
        "how": found["how"],
        "figures": found["figures"],
        "classes": found["classes"],
    }
    page = html_report(
        f"{TITLES[inputs.kind]}: {report['product']}",
        f"Compared with {report['reference']}. {found['how']}",
        found["tiles"],
        found["tables"],
        found["plots"],
    )
    written = QualifyOutputs(
        report=work.write_json("report.json", _plain(report), JSON),
        page=work.write_text("report.html", page, HTML),
    )
    work.progress(1.0, "report written")
    return written


def compare_rasters(inputs: QualifyInputs, work: Workspace) -> dict[str, Any]:
    """Two rasters, as they are and after the best constant shift."""
    from processes.accuracy.heights import height_figures, within_rim
    from processes.accuracy.pairing import paired
    from processes.accuracy.plots import cumulative, error_map, histogram
    from processes.accuracy.shift import best_shift, shifted

    pair = paired(work.open_raster(inputs.product), work.open_raster(inputs.reference))
    counted = np.isfinite(pair.reference)
    dz = pair.product - pair.reference
    figures = height_figures(dz, counted)
    if figures.void_share == 1.0:
        raise NothingToCompare("the product knows no height where the reference does")
    inner = height_figures(dz, counted & within_rim(pair.product))
    work.progress(0.4, "searching the best constant shift")
    shift = best_shift(pair.product, pair.reference, pair.cell_m)
    moved = height_figures(shifted(pair.product, shift, pair.cell_m) - pair.reference, counted)
    return {
        "how": f"{pair.how} Voids of the product count as failures.",
        "figures": {
            "as_is": asdict(figures),
            "within_rim": asdict(inner),
            "best_shift": asdict(shift),
            "after_shift": asdict(moved),
        },
        "classes": _vertical_classes(figures, cells=True),
        "tiles": _height_tiles(figures),
        "tables": {
            "Height errors": {
                "as it is": asdict(figures),
                "within the product's rim": asdict(inner),
                "after the best shift": asdict(moved),
            },
            "Best constant shift, to add to the product": asdict(shift),
        },
        "plots": [
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
    }


def compare_points(inputs: QualifyInputs, work: Workspace) -> dict[str, Any]:
    """A surface at check points, with the accuracy class they allow."""
    from processes.accuracy.checkpoints import csv_points, vector_points
    from processes.accuracy.heights import height_figures
    from processes.accuracy.pairing import at_points
    from processes.accuracy.plots import histogram, point_map

    source = work.open_raster(inputs.product)
    if source.grid is None:
        raise InvalidInput("product has no georeference: give a map, not an image")
    if _is_csv(inputs.reference):
        (x, y, z), crs = csv_points(work.read_text(inputs.reference)), source.grid.crs
    else:
        x, y, z, crs = vector_points(work.read_vector(inputs.reference))
    heights = at_points(source, x, y, crs)
    dz = heights - z
    if not np.isfinite(dz).any():
        raise NothingToCompare("no check point lies where the product has a height")
    figures = height_figures(dz, np.isfinite(z))
    return {
        "how": "The product is read bilinearly at each point; points in voids count as failures.",
        "figures": {"as_is": asdict(figures), "points": len(z)},
        "classes": _vertical_classes(figures, cells=False),
        "tiles": _height_tiles(figures),
        "tables": {
            "Height errors at the points": {"as it is": asdict(figures)},
            "Accuracy class": _class_rows(_vertical_classes(figures, cells=False)),
        },
        "plots": [
            point_map(x, y, dz, title="Points", caption="A cross is a point in a void."),
            histogram(
                dz,
                title="Distribution of errors",
                caption=f"{np.isfinite(dz).sum()} points.",
                label="product − point, m",
            ),
        ],
    }


def compare_footprints(inputs: QualifyInputs, work: Workspace) -> dict[str, Any]:
    """Two sets of outlines, one to one."""
    from processes.accuracy.features import on_one_map, polygons
    from processes.accuracy.outlines import matches, outline_figures
    from processes.accuracy.plots import histogram, outline_map

    made = polygons(work.read_vector(inputs.product), "product")
    true = polygons(work.read_vector(inputs.reference), "reference")
    made, true = on_one_map(made, true)
    ours, theirs = made.geometry.to_numpy(), true.geometry.to_numpy()
    figures = outline_figures(ours, theirs)
    pairs = matches(ours, theirs)
    hit, met = {pair.product for pair in pairs}, {pair.reference for pair in pairs}
    return {
        "how": "An outline is found where one of the product covers it with an IoU of at least "
        "0.5, one to one.",
        "figures": asdict(figures),
        "classes": {},
        "tiles": {name: getattr(figures, name) for name in ("f1", "precision", "recall")}
        | {"mean_iou": figures.mean_iou, "mean_polis_m": figures.mean_polis_m},
        "tables": {"Outlines": asdict(figures)},
        "plots": [
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
    }


def compare_buildings(inputs: QualifyInputs, work: Workspace) -> dict[str, Any]:
    """Heights above ground, building by building."""
    from processes.accuracy.buildings import building_figures
    from processes.accuracy.classes import citygml_lod
    from processes.accuracy.features import (
        BUILDING_IOU,
        height_column,
        heights_under,
        matched_heights,
        polygons,
    )
    from processes.accuracy.plots import histogram, scatter

    made = _buildings(inputs.product, work)
    if _is_raster(inputs.reference):
        height_m = height_column(made, "product")
        truth_m = heights_under(made, work.open_raster(inputs.reference))
        how = "Against the median of the reference raster one metre inside each outline."
    else:
        true = polygons(work.read_vector(inputs.reference), "reference")
        height_m, truth_m = matched_heights(made, true)
        how = f"Buildings are matched where their outlines overlap by IoU ≥ {BUILDING_IOU}."
    figures = building_figures(height_m, truth_m)
    if figures.compared == 0:
        raise NothingToCompare("no building has a height in both product and reference")
    shown = ("median_error_m", "bias_m", "rmse_m", "within_1m", "compared")
    lod = citygml_lod(0.0, figures.rmse_m)
    return {
        "how": how,
        "figures": asdict(figures),
        "classes": {"citygml_lod_by_height": lod},
        "tiles": {name: getattr(figures, name) for name in shown},
        "tables": {"Building heights": {"height above ground": asdict(figures)}},
        "plots": [
            scatter(truth_m, height_m, title="Heights", caption="The line is full agreement."),
            histogram(
                height_m - truth_m,
                title="Distribution of errors",
                caption=f"{figures.compared} buildings.",
                label="product − reference, m",
            ),
        ],
    }


COMPARISONS = {
    "dsm": compare_rasters,
    "dtm": compare_rasters,
    "ndsm": compare_rasters,
    "footprints": compare_footprints,
    "buildings": compare_buildings,
    "points": compare_points,
}

QUALIFY = Process(
    id="qualify",
    title="Quality report",
    description=__doc__,
    version="1.0.0",
    inputs=QualifyInputs,
    outputs=QualifyOutputs,
    run=run,
    keywords=("accuracy", "NMAD", "LE90", "completeness", "IoU", "PoLiS", "ASPRS"),
)


def _height_tiles(figures: HeightFigures) -> dict[str, Any]:
    names = ("completeness_1m", "nmad_m", "rmse_m", "le90_m", "bias_m", "void_share")
    return {name: getattr(figures, name) for name in names}


def _vertical_classes(figures: HeightFigures, *, cells: bool) -> dict[str, Any]:
    """Return accuracy classes by height; cells of a raster are no check points."""
    from processes.accuracy.classes import asprs_class, citygml_lod

    known = round(figures.cells * (1 - figures.void_share))
    classes: dict[str, Any] = {"citygml_lod_by_height": citygml_lod(0.0, figures.rmse_m)}
    if cells:
        classes["asprs_vertical"] = {
            "class_cm": None,
            "name": "none",
            "reason": "a raster holds no independent check points: compare with kind points",
        }
    else:
        classes["asprs_vertical"] = asdict(asprs_class(figures.rmse_m, known, direction="vertical"))
    return classes


def _class_rows(classes: Mapping[str, Any]) -> dict[str, Any]:
    asprs = classes["asprs_vertical"]
    return {
        "ASPRS 2024": asprs["name"] if asprs["class_cm"] else f"refused: {asprs['reason']}",
        "CityGML level by height": classes["citygml_lod_by_height"],
    }


def _buildings(asset: Asset, work: Workspace) -> geopandas.GeoDataFrame:
    """Return outlines with heights, from a vector file or from CityJSON."""
    from processes.accuracy.citymodel import outlines_of
    from processes.accuracy.features import polygons

    if asset.type == "application/city+json" or asset.href.lower().endswith(".city.json"):
        return polygons(outlines_of(work.read_text(asset)), "product")
    return polygons(work.read_vector(asset), "product")


def _is_raster(asset: Asset) -> bool:
    kind = (asset.type or "").lower()
    return kind.startswith("image/") or asset.href.lower().endswith((".tif", ".tiff", ".jp2"))


def _is_csv(asset: Asset) -> bool:
    return (asset.type or "").startswith("text/csv") or asset.href.lower().endswith(".csv")


def _name(asset: Asset) -> str:
    return asset.href.split("?")[0].rsplit("/", 1)[-1]


def _plain(value: Any) -> Any:
    """Return *value* as JSON can say it: unknown numbers are null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    return value
