"""A 3D map from satellite images: surface, terrain, ortho, footprints and buildings in one job."""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from processes.buildings import BUILDINGS, BuildingsInputs
from processes.core.process import HTML, Asset, Outputs, Process, Workspace
from processes.dsm import DSM, DsmInputs, DsmOutputs
from processes.dtm import DTM, DtmInputs
from processes.footprints import FOOTPRINTS, FootprintsInputs
from processes.mesh import MESH, MeshInputs
from processes.ortho import ORTHO, OrthoInputs
from processes.pointcloud import POINTCLOUD

if TYPE_CHECKING:
    from processes.accuracy.expected import Expected

COLLECTION_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"


class CityInputs(DsmInputs):
    """What a map is made from: as a surface model."""

    lod: Literal[1, 2] = Field(
        default=2,
        description="Level of detail of the buildings: 1 for blocks, 2 for roofs where they fit.",
    )
    roofs_from_ortho: bool = Field(
        default=True,
        description="Whether the 3D Tiles show roofs as the ortho does, or in a colour by shape.",
    )
    terrain_mesh: bool = Field(
        default=True,
        description="Whether to write the ground as a textured mesh too, for 3D clients.",
    )
    point_cloud: bool = Field(
        default=False,
        description="Whether to write the points that the surface is made from too, in colours.",
    )
    earlier: Asset | None = Field(
        default=None,
        description="Footprints of an earlier map of this place: a building that is found again "
        "keeps the id it has there.",
    )
    collection: str = Field(
        default="orograph",
        pattern=COLLECTION_PATTERN,
        description="STAC collection the map is published in.",
    )


class CityOutputs(Outputs):
    """A 3D map."""

    dsm: Asset = Field(description="Surface heights above the WGS84 ellipsoid, metres.")
    confidence: Asset = Field(
        description="The error, in metres, that nine heights in ten stay below, cell by cell."
    )
    ortho_mask: Asset = Field(description="Why a cell is empty or filled.")
    dtm: Asset = Field(description="Ground heights, metres.")
    ndsm: Asset = Field(description="Heights above ground, metres.")
    ortho: Asset = Field(description="True ortho: every band, each roof in its place.")
    footprints: Asset = Field(description="Building outlines with their heights, GeoParquet.")
    geopackage: Asset = Field(description="The same as a GeoPackage.")
    cityjson: Asset = Field(description="Buildings as CityJSON 2.0.")
    tileset: Asset = Field(description="Buildings as 3D Tiles 1.1.")
    mesh: Asset | None = Field(
        default=None, description="The ground that they stand on as 3D Tiles 1.1, if asked for."
    )
    points: Asset | None = Field(
        default=None, description="What was measured, point by point: COPC, if asked for."
    )
    point_tileset: Asset | None = Field(
        default=None, description="The same points as 3D Tiles, if asked for."
    )
    report: Asset = Field(description="What was made from what, and how well: figures, JSON.")
    page: Asset = Field(description="The same for people, HTML.")


def run(inputs: CityInputs, work: Workspace) -> CityOutputs:
    """Run every step on the result of the one before."""
    from processes.accuracy.expected import expected

    surface, ortho, points = _seen(inputs, work)
    work.progress(0.7, "terrain")
    ground = work.step(DTM, DtmInputs(dsm=surface.dsm), until=0.8)
    work.progress(0.8, "footprints")
    outlines = work.step(
        FOOTPRINTS,
        FootprintsInputs(
            dsm=surface.dsm,
            dtm=ground.dtm,
            ortho=ortho,
            ortho_mask=surface.ortho_mask,
            terrain_mask=ground.terrain_mask,
            images=inputs.images,
        ),
        until=0.88,
    )
    work.progress(0.88, "buildings")
    buildings = work.step(
        BUILDINGS,
        BuildingsInputs(
            footprints=outlines.footprints,
            dsm=surface.dsm,
            dtm=ground.dtm,
            ortho_mask=surface.ortho_mask,
            ortho=ortho if inputs.roofs_from_ortho else None,
            earlier=inputs.earlier,
            lod=inputs.lod,
        ),
        until=0.95,
    )
    ground_mesh = None
    if inputs.terrain_mesh:
        work.progress(0.95, "terrain mesh")
        meshed = work.step(MESH, MeshInputs(dtm=ground.dtm, ortho=ortho), until=0.97)
        ground_mesh = meshed.mesh
    work.progress(0.97, "report")
    made = {
        "dsm": surface.dsm,
        "confidence": surface.confidence,
        "ortho_mask": surface.ortho_mask,
        "dtm": ground.dtm,
        "ndsm": ground.ndsm,
        "ortho": ortho,
        "footprints": buildings.footprints,
        "geopackage": buildings.geopackage,
        "cityjson": buildings.cityjson,
        "tileset": buildings.tileset,
    }
    promised = expected(work.open_raster(made["confidence"]))
    figures = _figures(inputs, made, work) | {"predicted": _predicted(promised)}
    written = CityOutputs(
        **made,
        **points,
        mesh=ground_mesh,
        report=work.write_json("report.json", figures),
        page=work.write_text("report.html", _page(figures, promised), HTML),
    )
    work.progress(1.0, "map complete")
    return written


CITY = Process(
    id="city",
    title="3D map",
    description=__doc__,
    version="1.0.0",
    inputs=CityInputs,
    outputs=CityOutputs,
    run=run,
    gpu=True,
    keywords=("stereo", "DSM", "DTM", "ortho", "footprints", "LOD1", "LOD2", "3D Tiles"),
)


def _seen(inputs: CityInputs, work: Workspace) -> tuple[DsmOutputs, Asset, dict[str, Asset]]:
    """Return the surface, what it looks like from above, and the points, if they are wanted."""
    stereo = DsmInputs(**_surface_part(inputs))
    work.progress(0.0, "surface")
    if inputs.point_cloud:
        cloud = work.step(POINTCLOUD, stereo, until=0.7)
        return cloud, cloud.ortho, {"points": cloud.points, "point_tileset": cloud.point_tileset}
    surface = work.step(DSM, stereo, until=0.6)
    work.progress(0.6, "true ortho")
    seen = OrthoInputs(images=inputs.images, dsm=surface.dsm)
    return surface, work.step(ORTHO, seen, until=0.7).ortho, {}


def _surface_part(inputs: CityInputs) -> dict[str, Any]:
    return {name: getattr(inputs, name) for name in DsmInputs.model_fields}


ORIGINS = {
    0: "outside",
    1: "measured",
    2: "filled_occlusion",
    3: "filled_gap",
    4: "interpolated",
    5: "empty",
    6: "filled_crown",
}


def _figures(inputs: CityInputs, made: dict[str, Asset], work: Workspace) -> dict[str, Any]:
    """Return what was made from what, and what can be said of it without a reference."""
    from processes.accuracy.overview import extremes, quantiles, shares

    surface = work.open_raster(made["dsm"])
    grid = surface.grid
    assert grid is not None  # written by this very job
    houses = work.read_vector(made["footprints"])
    tags = surface.tags
    return {
        "images": [image.id for image in work.images(inputs.images)],
        "grid": {
            "crs": grid.crs,
            "cell_m": grid.cell_m,
            "bounds": list(grid.bounds),
            "shape": list(grid.shape),
        },
        "pointing": {
            "shift_row_col_px": json.loads(tags["OROGRAPH_POINTING"]),
            "tie_points": int(tags["OROGRAPH_TIE_POINTS"]),
            "residual_before_px": float(tags["OROGRAPH_TIE_RESIDUAL_BEFORE_PX"]),
            "residual_after_px": float(tags["OROGRAPH_TIE_RESIDUAL_AFTER_PX"]),
            "level_from": tags["OROGRAPH_LEVEL"],
            "dem": {
                name.removeprefix("OROGRAPH_DEM_").lower(): value
                for name, value in tags.items()
                if name.startswith("OROGRAPH_DEM_")
            },
        },
        "surface": {
            "share": shares(work.open_raster(made["ortho_mask"]), ORIGINS),
            "error_90_m": quantiles(work.open_raster(made["confidence"]), lowest=0, highest=100),
            "lowest_highest_m": [_finite(value) for value in extremes(surface)],
        },
        "terrain": {
            "lowest_highest_m": [_finite(v) for v in extremes(work.open_raster(made["dtm"]))],
            "height_above_ground_m": quantiles(
                work.open_raster(made["ndsm"]), lowest=-50, highest=350
            ),
        },
        "buildings": {
            "count": len(houses),
            "area_m2": round(float(houses.geometry.area.sum()), 1),
            "lod": _counts(houses["lod"]),
            "reasons": _counts(houses["reason"]),
        },
    }


def _predicted(promised: Expected) -> dict[str, Any]:
    """Return what the confidence lets expect of the heights, and which classes that makes."""
    from processes.accuracy.surfaces import predicted

    said = predicted(promised)
    classes, heights = said.classes, said.figures["predicted"]
    shown = ("rmse_m", "nmad_m", "le90_m", "completeness_1m")
    return {
        **{name: round(heights[name], 4) for name in shown},
        "level_error_m": promised.level_m,
        "asprs_vertical_cm": classes["asprs_vertical"]["class_cm"],
        "asprs_vertical": classes["asprs_vertical"]["name"],
        "citygml_lod_by_height": classes["citygml_lod_by_height"],
    }


def _page(figures: dict[str, Any], promised: Expected) -> str:
    from processes.accuracy.page import html_report
    from processes.accuracy.plots import claims

    pointing, buildings, grid = figures["pointing"], figures["buildings"], figures["grid"]
    # of what two images see: the corners of a raster say nothing of its heights
    shares = {name: share for name, share in figures["surface"]["share"].items() if share}
    seen = 1.0 - shares.pop("outside", 0.0)
    predicted = {k: v for k, v in figures["predicted"].items() if k != "asprs_vertical_cm"}
    return html_report(
        "3D map",
        f"From {', '.join(figures['images'])}. Heights are above the WGS84 ellipsoid, in "
        f"{grid['crs']}, cells of {grid['cell_m']:g} m.",
        {
            "measured_share": shares.get("measured", 0.0) / seen,
            "residual_after_px": pointing["residual_after_px"],
            "buildings": buildings["count"],
            "built_m2": buildings["area_m2"],
        },
        {
            "Pointing: shift of each image": {
                image: {"row_px": row, "col_px": col}
                for image, (row, col, *_tilts) in pointing["shift_row_col_px"].items()
            },
            "Tie points": {
                name: pointing[name]
                for name in ("tie_points", "residual_before_px", "residual_after_px")
            },
            "Surface: where heights come from": {
                f"{origin}_share": share / seen for origin, share in shares.items()
            },
            "Level of detail reached": {f"LOD{lod}": n for lod, n in buildings["lod"].items()},
            "Blocks instead of roofs, and buildings left out": buildings["reasons"],
            "Accuracy, predicted from the confidence: nothing was measured": predicted,
        },
        [
            claims(
                promised.claims_m,
                promised.share,
                title="Confidence",
                caption="Error that nine heights in ten stay below, once the level is right.",
            )
        ],
    )


def _finite(value: float) -> float | None:
    return round(value, 2) if isfinite(value) else None


def _counts(column: Any) -> dict[str, int]:
    return {str(value): int(count) for value, count in column.value_counts().items()}
