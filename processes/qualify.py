"""Quality of a product: its figures against a reference, as numbers and as a page with plots.

Rasters are compared cell by cell, outlines one to one, buildings by their heights, and any surface
against check points. Everything is given as it is, and rasters also after the best constant shift.
Without a reference, the confidence of a surface model predicts its figures; they are marked so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from processes.core.codes import meanings
from processes.core.errors import InvalidInput
from processes.core.process import HTML, JSON, Asset, Inputs, Layer, Outputs, Process, Workspace
from processes.core.raster import RasterSource

if TYPE_CHECKING:
    import geopandas

    from processes.accuracy.finding import Finding

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
        "how": found.how,
        "figures": found.figures,
        "classes": found.classes,
        "stated": _stated(inputs, found),
    }
    page = html_report(title, lead + found.how, found.tiles, found.tables, found.plots)
    layer = Layer("error_map", band_names=["error_m"])
    apart = found.error_map
    written = QualifyOutputs(
        report=work.write_json("report.json", _plain(report), JSON),
        page=work.write_text("report.html", page, HTML),
        error_map=None if apart is None else work.write_raster(layer, apart),
    )
    work.progress(1.0, "report written")
    return written


def predict(inputs: QualifyInputs, work: Workspace) -> Finding:
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


def compare_rasters(inputs: QualifyInputs, work: Workspace) -> Finding:
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

    return compared(pair, claims_m, classes, names, said)


def compare_points(inputs: QualifyInputs, work: Workspace) -> Finding:
    """A surface at check points, with the accuracy class they allow."""
    from processes.accuracy.checkpoints import csv_points, vector_points
    from processes.accuracy.objects import compared_points
    from processes.accuracy.pairing import at_points, cells_at_points

    source = work.open_raster(inputs.product)
    if source.grid is None:
        raise InvalidInput("product has no georeference: give a map, not an image")
    if _is_csv(_reference(inputs)):
        (x, y, z), crs = csv_points(work.read_text(_reference(inputs))), source.grid.crs
    else:
        x, y, z, crs = vector_points(work.read_vector(_reference(inputs)))
    claims_m, classes, names = None, None, {}
    if inputs.confidence is not None:
        claims_m = cells_at_points(_confidence(inputs.confidence, work), x, y, crs)
    if inputs.classes is not None:
        codes = work.open_raster(inputs.classes)
        classes = np.nan_to_num(cells_at_points(codes, x, y, crs)).astype(np.int64)
        names = _meanings(codes, np.unique(classes))
    heights = at_points(source, x, y, crs)
    return compared_points(x, y, z, heights, claims_m, classes, names)


def compare_footprints(inputs: QualifyInputs, work: Workspace) -> Finding:
    """Two sets of outlines, one to one."""
    from processes.accuracy.features import on_one_map, polygons, within
    from processes.accuracy.objects import compared_outlines

    made = polygons(work.read_vector(inputs.product), "product")
    true = polygons(work.read_vector(_reference(inputs)), "reference")
    made, true = on_one_map(made, true)
    ours, theirs = made.geometry.to_numpy(), true.geometry.to_numpy()
    beyond: dict[str, int] = {}
    if inputs.area is not None:
        area = polygons(work.read_vector(inputs.area), "area").to_crs(true.crs).union_all()
        ours, theirs, beyond = within(area, ours, theirs)
    return compared_outlines(ours, theirs, beyond)


def compare_buildings(inputs: QualifyInputs, work: Workspace) -> Finding:
    """Heights above ground, building by building."""
    from processes.accuracy.features import (
        BUILDING_IOU,
        height_column,
        heights_under,
        matched_heights,
        polygons,
    )
    from processes.accuracy.objects import compared_heights

    made = _buildings(inputs.product, work)
    if _is_raster(_reference(inputs)):
        height_m = height_column(made, "product")
        truth_m = heights_under(made, work.open_raster(_reference(inputs)))
        how = "Against the median of the reference raster one metre inside each outline."
    else:
        true = polygons(work.read_vector(_reference(inputs)), "reference")
        height_m, truth_m = matched_heights(made, true)
        how = f"Buildings are matched where their outlines overlap by IoU ≥ {BUILDING_IOU}."
    return compared_heights(height_m, truth_m, how)


COMPARISONS: dict[Kind, Callable[[QualifyInputs, Workspace], Finding]] = {
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


def _stated(inputs: QualifyInputs, found: Finding) -> dict[str, Any]:
    """Return the few facts that a catalogue tells of the product, flat: its classes first."""
    facts: dict[str, Any] = {"predicted": inputs.reference is None}
    for name, value in found.classes.items():
        if name.startswith("asprs_") and value["class_cm"]:
            facts |= {name: value["name"], f"{name}_cm": value["class_cm"]}
        elif name.startswith("citygml_"):
            facts[name] = value
    facts |= {name.removeprefix("predicted_"): value for name, value in found.tiles.items()}
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
    """Return what codes mean, as the file says."""
    named = meanings(source.tags)
    return {int(code): named.get(int(code), f"code {code}") for code in codes}


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
