"""Quality of a product: its figures against a reference, as numbers and as a page with plots.

Rasters are compared cell by cell, outlines one to one, buildings by their heights, and any surface
against check points. Everything is given as it is, and rasters also after the best constant shift.
Without a reference, the confidence of a surface model predicts its figures; they are marked so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from processes.core.errors import InvalidInput, NothingToCompare
from processes.core.process import HTML, JSON, Asset, Inputs, Layer, Outputs, Process, Workspace
from processes.core.raster import Raster, RasterSource

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
    reference: Asset | None = Field(
        default=None,
        description="What is taken for true: a one-band GeoTIFF, polygons, or points with heights "
        "as GeoJSON, GeoPackage, GeoParquet or CSV (columns x, y, z in the CRS of the product). "
        "Without it the figures of a dsm are predicted from its confidence.",
    )
    confidence: Asset | None = Field(
        default=None,
        description="The confidence that dsm made with the product. With a reference it is told "
        "how many cells keep what it claims; without one the figures are predicted from it.",
    )
    classes: Asset | None = Field(
        default=None,
        description="A raster of codes, such as ortho_mask or the classes of segment: rasters and "
        "points are then compared class by class too.",
    )
    area: Asset | None = Field(
        default=None,
        description="Polygons where the reference is complete, for kind footprints: outlines that "
        "its border cuts, or that lie beyond it, are neither right nor wrong. Without it each "
        "outline counts.",
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
    error_map: Asset | None = Field(
        default=None, description="Product minus reference where both are rasters, metres."
    )


def run(inputs: QualifyInputs, work: Workspace) -> QualifyOutputs:
    """Compare or predict, write the figures, draw the page."""
    from processes.accuracy.page import html_report

    if inputs.area is not None and inputs.kind != "footprints":
        raise InvalidInput(f"area is for kind footprints: leave it out for {inputs.kind}")
    product = _name(inputs.product)
    if inputs.reference is None:
        work.progress(0.0, "predicting from the confidence")
        found = predict(inputs, work)
        title, lead = f"{TITLES[inputs.kind]}, predicted: {product}", ""
    else:
        work.progress(0.0, f"comparing {TITLES[inputs.kind].lower()}")
        found = COMPARISONS[inputs.kind](inputs, work)
        title = f"{TITLES[inputs.kind]}: {product}"
        lead = f"Compared with {_name(inputs.reference)}. "
    work.progress(0.8, "drawing the report")
    report = {
        "kind": inputs.kind,
        "product": product,
        "reference": None if inputs.reference is None else _name(inputs.reference),
        "predicted": inputs.reference is None,
        "how": found["how"],
        "figures": found["figures"],
        "classes": found["classes"],
        "stated": _stated(inputs, found),
    }
    page = html_report(title, lead + found["how"], found["tiles"], found["tables"], found["plots"])
    written = QualifyOutputs(
        report=work.write_json("report.json", _plain(report), JSON),
        page=work.write_text("report.html", page, HTML),
        error_map=found.get("error_map"),
    )
    work.progress(1.0, "report written")
    return written


def predict(inputs: QualifyInputs, work: Workspace) -> dict[str, Any]:
    """A surface model by its confidence alone."""
    from processes.accuracy.expected import expected
    from processes.accuracy.surfaces import predicted

    if inputs.confidence is None:
        raise InvalidInput("give a reference, or the confidence of a surface model without one")
    if inputs.kind != "dsm":
        raise InvalidInput("without a reference only kind dsm: of it alone the confidence speaks")
    confidence = _confidence(inputs.confidence, work)
    product = work.open_raster(inputs.product)
    if (product.grid, product.shape) != (confidence.grid, confidence.shape):
        raise InvalidInput("confidence is not of this product: they lie on different grids")
    return predicted(expected(confidence))


def compare_rasters(inputs: QualifyInputs, work: Workspace) -> dict[str, Any]:
    """Two rasters, as they are and after the best constant shift."""
    from processes.accuracy.pairing import cells_of, paired
    from processes.accuracy.surfaces import compared

    pair = paired(work.open_raster(inputs.product), work.open_raster(_reference(inputs)))
    claims_m = None
    if inputs.confidence is not None:
        claims_m = cells_of(_confidence(inputs.confidence, work), pair.grid)
    classes, names = None, {}
    if inputs.classes is not None:
        source = work.open_raster(inputs.classes)
        classes = np.nan_to_num(cells_of(source, pair.grid)).astype(np.int64)
        names = _meanings(source, np.unique(classes))

    def said(message: str) -> None:
        work.progress(0.4, message)

    found, dz = compared(pair, claims_m, classes, names, said)
    layer = Layer("error_map", band_names=["error_m"])
    return found | {"error_map": work.write_raster(layer, Raster(dz, pair.grid))}


def compare_points(inputs: QualifyInputs, work: Workspace) -> dict[str, Any]:
    """A surface at check points, with the accuracy class they allow."""
    from processes.accuracy.checkpoints import csv_points, vector_points
    from processes.accuracy.claims import kept
    from processes.accuracy.heights import figures_by_class, height_figures
    from processes.accuracy.pairing import at_points, cells_at_points
    from processes.accuracy.plots import histogram, point_map
    from processes.accuracy.surfaces import height_tiles

    source = work.open_raster(inputs.product)
    if source.grid is None:
        raise InvalidInput("product has no georeference: give a map, not an image")
    if _is_csv(_reference(inputs)):
        (x, y, z), crs = csv_points(work.read_text(_reference(inputs))), source.grid.crs
    else:
        x, y, z, crs = vector_points(work.read_vector(_reference(inputs)))
    heights = at_points(source, x, y, crs)
    dz = heights - z
    if not np.isfinite(dz).any():
        raise NothingToCompare("no check point lies where the product has a height")
    figures = height_figures(dz, np.isfinite(z))
    found: dict[str, Any] = {
        "how": "The product is read bilinearly at each point; points in voids count as failures.",
        "figures": {"as_is": asdict(figures), "points": len(z)},
        "classes": _vertical_classes(figures),
        "tiles": height_tiles(figures),
        "tables": {
            "Height errors at the points": {"as it is": asdict(figures)},
            "Accuracy class": _class_rows(_vertical_classes(figures)),
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
    if inputs.classes is not None:
        codes = work.open_raster(inputs.classes)
        at = np.nan_to_num(cells_at_points(codes, x, y, crs)).astype(np.int64)
        rows = figures_by_class(dz, at, _meanings(codes, np.unique(at)), np.isfinite(z))
        found["figures"]["by_class"] = {name: asdict(row) for name, row in rows.items()}
        found["tables"]["Height errors by class"] = found["figures"]["by_class"]
    if inputs.confidence is not None:
        claim_m = cells_at_points(_confidence(inputs.confidence, work), x, y, crs)
        found["figures"]["confidence"] = asdict(kept(dz, claim_m))
        found["tables"]["Points within the error that nine in ten should stay below"] = {
            "points": found["figures"]["confidence"]
        }
    return found


def compare_footprints(inputs: QualifyInputs, work: Workspace) -> dict[str, Any]:
    """Two sets of outlines, one to one."""
    from processes.accuracy.classes import asprs_class, citygml_lod
    from processes.accuracy.features import on_one_map, polygons, within
    from processes.accuracy.outlines import matches, outline_figures, position_rmse
    from processes.accuracy.plots import histogram, outline_map

    made = polygons(work.read_vector(inputs.product), "product")
    true = polygons(work.read_vector(_reference(inputs)), "reference")
    made, true = on_one_map(made, true)
    ours, theirs = made.geometry.to_numpy(), true.geometry.to_numpy()
    how = "An outline is found where one of the product covers it with an IoU of at least 0.5, one "
    how += "to one."
    beyond: dict[str, int] = {}
    if inputs.area is not None:
        area = polygons(work.read_vector(inputs.area), "area").to_crs(true.crs).union_all()
        ours, theirs, beyond = within(area, ours, theirs)
        how += " Asked are those in the area where the reference is complete."
    figures = outline_figures(ours, theirs)
    pairs = matches(ours, theirs)
    hit, met = {pair.product for pair in pairs}, {pair.reference for pair in pairs}
    position_m = position_rmse(
        [ours[p.product] for p in pairs], [theirs[p.reference] for p in pairs]
    )
    asprs = asprs_class(position_m, len(pairs), direction="horizontal")
    lod = citygml_lod(position_m, 0.0) if pairs else None
    return {
        "how": how,
        "figures": asdict(figures) | {"position_rmse_m": position_m} | beyond,
        "classes": {"citygml_lod_by_position": lod, "asprs_horizontal": asdict(asprs)},
        "tiles": {name: getattr(figures, name) for name in ("f1", "precision", "recall")}
        | {"mean_iou": figures.mean_iou, "mean_polis_m": figures.mean_polis_m},
        "tables": {
            "Outlines": asdict(figures) | {"position_rmse_m": position_m} | beyond,
            "Accuracy classes, by the middles of the matches": {
                "ASPRS 2024": asprs.name if asprs.class_cm else f"refused: {asprs.reason}",
                "CityGML level by position": lod,
            },
        },
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
    if _is_raster(_reference(inputs)):
        height_m = height_column(made, "product")
        truth_m = heights_under(made, work.open_raster(_reference(inputs)))
        how = "Against the median of the reference raster one metre inside each outline."
    else:
        true = polygons(work.read_vector(_reference(inputs)), "reference")
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


def _stated(inputs: QualifyInputs, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the few facts that a catalogue tells of the product, flat: its classes first."""
    classes = found["classes"]
    facts: dict[str, Any] = {"predicted": inputs.reference is None}
    for name, value in classes.items():
        if name.startswith("asprs_") and value["class_cm"]:
            facts |= {name: value["name"], f"{name}_cm": value["class_cm"]}
        elif name.startswith("citygml_"):
            facts[name] = value
    facts |= {name.removeprefix("predicted_"): value for name, value in found["tiles"].items()}
    return {name: value for name, value in _plain(facts).items() if value is not None}


def _reference(inputs: QualifyInputs) -> Asset:
    assert inputs.reference is not None  # else nothing is compared
    return inputs.reference


def _confidence(asset: Asset, work: Workspace) -> RasterSource:
    from processes.accuracy.expected import BAND

    source = work.open_raster(asset)
    if source.band_names != (BAND,):
        raise InvalidInput(f"confidence has no band {BAND}: give the confidence that dsm made")
    return source


def _meanings(source: RasterSource, codes: NDArray[np.int64]) -> dict[int, str]:
    """Return what codes mean, as the file says: tag OROGRAPH_VALUES, "0 outside, 1 measured"."""
    said = source.tags.get("OROGRAPH_VALUES", "")
    named = dict(part.strip().split(" ", 1) for part in said.split(",") if " " in part.strip())
    return {int(code): named.get(str(code), f"code {code}") for code in codes}


def _vertical_classes(figures: HeightFigures) -> dict[str, Any]:
    """Return the accuracy classes that check points allow."""
    from processes.accuracy.classes import asprs_class, citygml_lod

    known = round(figures.cells * (1 - figures.void_share))
    return {
        "citygml_lod_by_height": citygml_lod(0.0, figures.rmse_m),
        "asprs_vertical": asdict(asprs_class(figures.rmse_m, known, direction="vertical")),
    }


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
