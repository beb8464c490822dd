"""Surface model: the height of everything that two or more satellite images see.

Sensor models are tied together first (tie points, one shift an image), so wrong pointing does no
harm. Then, block by block, pairs are resampled to epipolar geometry, matched densely, intersected
and put on a map grid; what only one image sees is filled from the ground side and marked.
Heights are metres above the WGS84 ellipsoid.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from processes.core.area import Area, shape_of
from processes.core.codes import tagged
from processes.core.crs import for_arrays, metric_crs, utm_zone
from processes.core.errors import InvalidInput, NoTexture, TooFewImages
from processes.core.origin import Origin
from processes.core.process import (
    Asset,
    ImageRefs,
    Inputs,
    Layer,
    Outputs,
    PointLayer,
    Process,
    Workspace,
)
from processes.core.raster import Grid, Image, Points, Raster, RasterSource

if TYPE_CHECKING:
    from processes.stereo.adjust import Pointing
    from processes.stereo.scene import Scene
    from processes.stereo.view import View

SPARSE = 1.5
"""Points further apart than so many cells leave gaps: finer cells need images brought finer too."""
FINEST = 3.0
"""A pixel is worth so many cells a side, and no more."""
WORKERS = 2
BLOCK_PX, SMALLEST_BLOCK_PX = 1500, 128
"""Side of the largest square block, in pixels of the images, and of the smallest, in cells.

Oblong blocks cut a town of 2160 cells a side once, not in four: of five such towns no figure
changed by more than .0003. With that and nothing computed beyond the lattice the least CPU time of
16 interleaved runs of such a town fell from 18.6 to 15.6 s; of the lattice alone, to 17.3 s."""
LONGEST = 1.4
"""With its margins a block may be so many times as long as the largest square."""
PIXEL_BYTES = 150.0
"""What a block takes for each of its pixels, margins included: 80 bytes for each of a pair of
epipolar images, which lie askew and hold up to 1.8 times the pixels. Two whole blocks at once took,
with all else, 726, 939, 983 and 1050 MiB where a side was 1072, 1287, 1430 and 1498 cells: memory
rises and falls with how evenly an area divides, and not with the area.
"""
POINT_BYTES = 40.0
"""What a point cloud takes besides, for each pixel and pair."""
MARGIN_M, MARGIN_PX = 30.0, 60
"""What a block sees beyond its border, the larger of the two. With 16 m and with 40 m as many cells
of a dense town differ from those of one block (1 in 7000 by 5 cm or more, filled ones 1 in 3000);
20 m is a little short for slopes that are looked at twice.
"""
MEANINGS: dict[int, str] = {
    Origin.OUTSIDE: "outside",
    Origin.SEEN: "measured",
    Origin.FILLED_OCCLUSION: "filled occlusion",
    Origin.FILLED_GAP: "filled gap",
    Origin.INTERPOLATED: "interpolated",
    Origin.EMPTY: "empty",
    Origin.CROWN: "filled crown",
}


class DsmInputs(Inputs):
    """What a surface model is made from."""

    images: ImageRefs = Field(
        description="Two or more images of one place with sensor models (RPC): STAC Items, one "
        "ItemCollection, or GeoTIFFs. The first is the reference: its pointing is kept."
    )
    aoi: Area | None = Field(
        default=None,
        description="Area of interest: a GeoJSON Polygon or MultiPolygon in degrees, or a bbox. "
        "By default all that two images see.",
    )
    dem: Asset | None = Field(
        default=None,
        description="A coarse elevation model. Not needed; it steadies the absolute height, which "
        "two images cannot tell from their pointing.",
    )
    dem_heights: Literal["auto", "ellipsoid", "geoid"] = Field(
        default="auto",
        description="What the heights of dem stand on. auto: as its reference system says, else "
        "whichever of the two fits the images; geoid is EGM96.",
    )
    gcps: Asset | None = Field(
        default=None,
        description="Ground control points, GeoJSON or GeoPackage: points whose third coordinate "
        "is the height above the ellipsoid, with the properties image (an image's id), row and col "
        "(from 0 at the middle of the first pixel); one feature an observation. Three or more "
        "fix the absolute position.",
    )
    resolution_m: float | None = Field(
        default=None,
        ge=0.1,
        le=100.0,
        description="Cell size, metres, at least a third of that of the images. By default theirs, "
        "rounded to 0.1 m.",
    )
    crs: str | None = Field(
        default=None,
        description="Projected reference system of the products, such as EPSG:32631. By default "
        "the UTM zone of the scene.",
    )


class DsmOutputs(Outputs):
    """A surface model, and how far it can be trusted."""

    dsm: Asset = Field(description="Surface heights above the WGS84 ellipsoid, metres.")
    confidence: Asset = Field(
        description="How far each height can be trusted: the error, in metres, that nine cells in "
        "ten stay below, measured or filled. It is that of a cell beside the others; how far the "
        "level of the whole model may be off is in the file's tag OROGRAPH_LEVEL_ERROR_M."
    )
    ortho_mask: Asset = Field(
        description="Where each height comes from: 0 outside what two images see (empty), "
        "1 measured, 2 filled from the ground side of a wall that hides it from an image, "
        "3 a narrow gap filled, or what all images show to be of the roof beside it, 4 a wide gap "
        "interpolated, 5 inside but empty, too wide to fill, 6 green in all images, so filled up "
        "to the crown beside it."
    )


def run(inputs: DsmInputs, work: Workspace) -> DsmOutputs:
    """Return the surface model of a scene."""
    return measured(inputs, work)[0]


def measured(
    inputs: DsmInputs, work: Workspace, points: PointLayer | None = None
) -> tuple[DsmOutputs, Asset | None]:
    """Return the surface model of a scene, and, if asked for, the points it is made from."""
    from processes.core.gpu import chosen
    from processes.stereo.antimeridian import area_near
    from processes.stereo.orientation import control_of, tie

    device = chosen(work.device)
    work.progress(0.0, "opening images")
    views = open_views(work.images(inputs.images))
    area = area_near(shape_of(inputs.aoi), views[0].model.lon_off) if inputs.aoi else None
    crs = metric_crs(inputs.crs) if inputs.crs else None
    dem = work.open_raster(inputs.dem) if inputs.dem else None

    work.progress(0.03, f"tie points between {len(views)} images")
    control = control_of(work.read_vector(inputs.gcps), views) if inputs.gcps else None
    tied, heights_m = tie(views, dem, inputs.dem_heights, area, control)
    scene, grid = plan(views, tied, heights_m, area, crs, inputs.resolution_m)
    scene = replace(scene, device=device)
    work.progress(0.15, _pointing_message(tied))

    def each(done: int, blocks: int, _: Sequence[Any]) -> None:
        work.progress(0.15 + 0.8 * done / blocks, f"surface: block {done} of {blocks}")

    margin_m = max(MARGIN_M, MARGIN_PX * scene.step_m)
    block_px = block_shape(grid, scene.step_m, margin_m)
    kernel_workers = WORKERS if block_px == grid.shape else 1
    layers = _layers(views, tied, scene.px_m, _level(inputs, tied, scene.px_m))
    assets = work.map_layers(
        [*layers, points] if points else layers,
        _kernel(scene, area, workers=kernel_workers, points=points is not None),
        grid=grid,
        margin_m=margin_m,
        block_px=block_px,
        cell_bytes=(PIXEL_BYTES + (POINT_BYTES * len(scene.pairs) if points else 0))
        * max(grid.cell_m / scene.step_m, 1.0) ** 2,
        each=each,
    )
    work.progress(1.0, "surface model written")
    made = DsmOutputs(dsm=assets[0], confidence=assets[1], ortho_mask=assets[2])
    return made, assets[-1] if points else None


def open_views(images: Sequence[Image]) -> list[View]:
    """Return images with their sensor models. Raises TooFewImages, NoRpc, BrokenRpc, NoTexture."""
    from processes.stereo.rpc import choose
    from processes.stereo.view import View

    if len(images) < 2:
        raise TooFewImages(f"stereo needs two images or more, {len(images)} given")
    views: list[View] = []
    for image in images:
        raster = image.raster
        model = choose(image.id, image.rpc_documents, raster.rpc_tags, origin=raster.origin)
        model = model.near(views[0].model.lon_off if views else 0.0)
        _require_texture(image)
        shape = raster.shape[1], raster.shape[2]
        views.append(View(image.id, model, shape, _reader(raster), _spectral(raster), image.sun))
    return views


def _reader(raster: RasterSource) -> Callable[[int, int, int, int], Any]:
    return lambda row0, col0, height, width: raster.read(row0, col0, height, width)


def _spectral(raster: RasterSource) -> Callable[[int, int, int, int], Any] | None:
    """Return a reader of red and near infrared, or None where the image has not both."""
    names = list(raster.band_names)
    if not {"red", "nir"} <= set(names):
        return None
    bands = [names.index("red"), names.index("nir")]
    return lambda row0, col0, height, width: raster.read(row0, col0, height, width, bands=bands)


def _require_texture(image: Image) -> None:
    """Refuse an image without data or without contrast; 25 samples of it are read."""
    import numpy as np

    _, rows, cols = image.raster.shape
    side = 128
    seen = varied = False
    for v in np.linspace(0.02, 0.98, 5):
        for u in np.linspace(0.02, 0.98, 5):
            row0 = int(v * max(rows - side, 0))
            col0 = int(u * max(cols - side, 0))
            piece = image.raster.read(row0, col0, min(side, rows), min(side, cols))
            piece = piece[np.isfinite(piece)]
            if piece.size:
                seen = True
                varied |= bool(piece.max() > piece.min())
            if varied:
                return
    if not seen:
        raise NoTexture(f"{image.id} holds no data: every pixel is nodata or not a number")
    raise NoTexture(f"{image.id} is constant: there is nothing to match")


def plan(
    views: Sequence[View],
    tied: Pointing,
    heights_m: tuple[float, float],
    area: Any,
    crs: str | None,
    resolution_m: float | None,
) -> tuple[Scene, Grid]:
    """Return all that blocks need to know, and the lattice of the products."""
    import numpy as np
    from pyproj import Transformer
    from shapely.ops import unary_union

    from processes.stereo import coverage
    from processes.stereo.adjust import ENOUGH
    from processes.stereo.antimeridian import degrees_near
    from processes.stereo.scene import Scene, on_plane

    corrected = [replace(v, model=m) for v, m in zip(views, tied.models, strict=True)]
    levels = list(np.quantile(tied.height_m, (0.02, 0.5, 0.98)))
    pairs, _ = coverage.pairs_of(corrected, levels, area)
    sure = {i for i, seen in enumerate(tied.seen) if seen >= ENOUGH}
    pairs = [p for p in pairs if {p.left, p.right} <= sure][: coverage.MOST_PAIRS]
    if not pairs:
        raise NoTexture("too few features are common to the images that could make a pair")
    seen = unary_union([pair.ground for pair in pairs])
    seen = seen if area is None else seen.intersection(area)
    middle = seen.centroid
    crs = crs or utm_zone(middle.x, middle.y)
    gsd_m = coverage.sampling_m(corrected, middle.x, middle.y, levels[1])
    cell_m = resolution_m or max(round(gsd_m, 1), 0.1)
    if cell_m * FINEST < gsd_m:
        raise InvalidInput(
            f"resolution_m {cell_m:g} is finer than images of {gsd_m:.2f} m can tell: ask for "
            f"{ceil(100 * gsd_m / FINEST) / 100:.2f} or more"
        )
    scene = Scene(
        views=corrected,
        pairs=pairs,
        heights_m=heights_m,
        height_m=float(levels[1]),
        gsd_m=gsd_m,
        step_m=min(gsd_m, SPARSE * cell_m),
        to_plane=for_arrays(Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform),
        to_degrees=for_arrays(
            degrees_near(Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform, middle.x)
        ),
    )
    return scene, Grid.covering(on_plane(scene, seen).bounds, cell_m, crs)


def _kernel(
    scene: Scene, area: Any, *, workers: int, points: bool
) -> Callable[[Grid], Sequence[Raster | Points]]:
    """Return the function that makes one block of the three products, and of *points*."""
    from shapely.ops import unary_union

    from processes.stereo.scene import on_plane

    shape = None
    if area is not None:
        # what lies far from the images has no place on the map plane
        near = unary_union([pair.ground for pair in scene.pairs]).envelope
        shape = on_plane(scene, area.intersection(near))

    def kernel(grid: Grid) -> Sequence[Raster | Points]:
        import numpy as np

        from processes.stereo.cloud import Measured, cloud
        from processes.stereo.surface import cells_inside, surface

        pairs: list[Measured] | None = [] if points else None
        made = surface(scene, grid, workers=workers, points=pairs)
        dsm, error, origin = made.dsm, made.error_m, made.origin
        if shape is not None:
            out = ~cells_inside(shape, grid)
            dsm = np.where(out, np.float32(np.nan), dsm)
            error = np.where(out, np.float32(np.nan), error)
            origin = np.where(out, np.uint8(Origin.OUTSIDE), origin)
        rasters = [Raster(dsm, grid), Raster(error, grid), Raster(origin, grid)]
        if pairs is None:
            return rasters
        return [*rasters, cloud(pairs, np.where(origin == Origin.SEEN, dsm, np.nan), error, grid)]

    return kernel


def block_shape(grid: Grid, gsd_m: float, margin_m: float) -> tuple[int, int]:
    """Return rows and columns of blocks that share the grid evenly, with the shortest borders.

    With its margins none is larger than a square of BLOCK_PX image pixels is with its own, nor
    LONGEST times as long. What a block takes goes with its pixels: coarser cells make it smaller.
    """
    margin = ceil(margin_m / grid.cell_m)
    side = max(BLOCK_PX * min(gsd_m / grid.cell_m, 1.0), SMALLEST_BLOCK_PX) + 2 * margin
    rows, cols = grid.shape

    def parts(whole: int, most: float) -> int:
        return 1 if whole <= most else ceil(whole / int(most - 2 * margin))

    def cut(down: int) -> tuple[int, int, int]:
        height = min(ceil(rows / down) + 2 * margin, rows)
        across = parts(cols, min(side**2 / height, LONGEST * side))
        return (down - 1) * cols + (across - 1) * rows, down, across

    of_squares = parts(rows, side)
    _, down, across = min(map(cut, range(parts(rows, LONGEST * side), 2 * of_squares + 1)))
    return ceil(rows / down), ceil(cols / across)


def _level(inputs: DsmInputs, tied: Pointing, px_m: float) -> dict[str, str]:
    """Return what the level of the whole model hangs on, and how far it may be off, as tags.

    Tie points tell how far images are off across the epipolar lines; they are taken to be off as
    far along them, which moves the model up or down and nothing tells. What a coarse elevation
    model is worth is not known here.
    """
    if inputs.gcps is not None:
        return {"OROGRAPH_LEVEL": "gcps", "OROGRAPH_LEVEL_ERROR_M": f"{tied.control_px * px_m:.3f}"}
    if tied.told:
        return {"OROGRAPH_LEVEL": "dem"} | dict(tied.told)
    return {"OROGRAPH_LEVEL": "pointing", "OROGRAPH_LEVEL_ERROR_M": f"{tied.off_px * px_m:.3f}"}


def _layers(
    views: Sequence[View], tied: Pointing, px_m: float, level: dict[str, str]
) -> list[Layer]:
    added = zip(views, tied.corrections_px, strict=True)
    shifts = {view.id: [round(px, 4) for px in correction] for view, correction in added}
    facts = {
        "OROGRAPH_POINTING": json.dumps(shifts),
        "OROGRAPH_ANCHORS": json.dumps({v.id: v.model.anchor(0.0) for v in views}),
        "OROGRAPH_TIE_POINTS": str(tied.ties),
        "OROGRAPH_TIE_RESIDUAL_BEFORE_PX": f"{tied.before_px:.3f}",
        "OROGRAPH_TIE_RESIDUAL_AFTER_PX": f"{tied.after_px:.3f}",
        "VERTICAL_REFERENCE": "WGS84 ellipsoid",
        **level,
    }
    if isfinite(tied.control_px):
        facts["OROGRAPH_CONTROL_RESIDUAL_PX"] = f"{tied.control_px:.3f}"
    return [
        Layer("dsm", band_names=["height"], tags=facts),
        Layer(
            "confidence",
            band_names=["error_90_m"],
            tags={"OROGRAPH_M_PER_PX": f"{px_m:.4f}"} | facts,
        ),
        Layer("ortho_mask", "uint8", band_names=["origin"], tags=tagged(MEANINGS) | facts),
    ]


def _pointing_message(tied: Pointing) -> str:
    return (
        f"{tied.ties} tie points: residual {tied.before_px:.2f} px before, "
        f"{tied.after_px:.2f} px after pointing correction"
    )


DSM = Process(
    id="dsm",
    title="Surface model",
    description=__doc__,
    version="1.0.0",
    inputs=DsmInputs,
    outputs=DsmOutputs,
    run=run,
    gpu=True,
    keywords=("stereo", "elevation"),
)
