"""Building footprints: outlines of houses from heights and, where given, colour.

Cells that are raised, smooth and not green become a mask; blocks of attached houses are cut along
party walls; each outline is drawn with straight walls, right angles where they explain it, and
courtyards. Houses that touch share their wall exactly. See `outlines.segment` for what is lost
without near infrared or without an orthoimage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from processes.core.errors import InvalidInput
from processes.core.origin import Ground
from processes.core.process import Asset, ImageRefs, Inputs, Layer, Outputs, Process, Workspace
from processes.core.raster import Grid, Raster, RasterSource, offset
from processes.semantics.scene import Scene, corner, opened, piece

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from processes.core.crew import Crew
    from processes.outlines.regularise import Shape, Taste
    from processes.outlines.roof_edges import Look
    from processes.outlines.segment import Sample
    from processes.outlines.trace import Group

MASK_BLOCK_PX, MASK_MARGIN_M = 1024, 24.0
TILE_PX = 1536
"""A square kilometre of 0.5 m cells is one tile: four cost a seventh more time."""
FIRST_MARGIN_M, LAST_MARGIN_M = 120.0, 960.0
"""A tile is read again with twice the margin while a building it owns is cut by the window."""
CONTEXT_M = 60.0
"""What is read around the buildings of a tile: what they are compared with, what shades them."""
FLOOR_M = 2.2
"""What is lower was filled from the ground, where it was filled."""
BUILDING_CODE = 1
"""What process segment writes where a building is."""


class FootprintsInputs(Inputs):
    """What footprints are drawn from."""

    dsm: Asset = Field(description="Surface heights, metres.")
    dtm: Asset = Field(description="Ground heights, metres, on the grid of dsm.")
    ortho: Asset | None = Field(
        default=None,
        description="True orthoimage on the grid of dsm; bands named red, green, blue, nir are "
        "used. Without it, or without nir, trees are told from houses by shape or less well.",
    )
    ortho_mask: Asset | None = Field(
        default=None,
        description="Where heights come from, as process dsm says, on the grid of dsm: beside "
        "roofs, colour alone tells what the cells are whose heights were filled. Used with ortho.",
    )
    terrain_mask: Asset | None = Field(
        default=None,
        description="Where the terrain comes from, as process dtm says, on the grid of dsm: what "
        "it calls a bridge is no building.",
    )
    images: ImageRefs | None = Field(
        default=None,
        description="The images that dsm was made from, as process dsm takes them: free walls are "
        "moved to where they show the edges of roofs. Pointing corrections are read from dsm.",
    )
    segmenter: Literal["rules", "unet"] = Field(
        default="rules",
        description="What tells houses from all else: rules on height, colour and texture, or a "
        "small neural network.",
    )
    weights: Asset | None = Field(
        default=None,
        description="STAC MLM Item of a network to use in place of the one that comes with the "
        "program, as in process segment.",
    )
    classes: Asset | None = Field(
        default=None,
        description="Classes on the grid of dsm, as process segment gives them: cells of 1 are "
        "buildings. In place of a segmenter.",
    )
    min_area_m2: float = Field(default=15.0, ge=1.0, description="Smallest building, m².")
    min_courtyard_m2: float = Field(
        default=10.0, ge=0.0, description="Smallest hole that is kept, m²."
    )


class FootprintsOutputs(Outputs):
    """Footprints of buildings."""

    footprints: Asset = Field(
        description="Polygons with id, area_m2, height_m (median above ground), confidence "
        "(0 to 1: how well the outline explains the cells, and how many of them were measured), "
        "method (how it was drawn) and part_of (buildings with the same value share walls)."
    )


@dataclass(frozen=True)
class Building:
    """One footprint on the ground, before it has an id."""

    polygon: Any
    height_m: float
    confidence: float
    method: str
    block: int


def run(inputs: FootprintsInputs, work: Workspace) -> FootprintsOutputs:
    """Segment in blocks, then draw building by building, tile by tile."""
    from processes.outlines.regularise import Taste
    from processes.outlines.tiling import tiles

    scene = opened(inputs.dsm, inputs.dtm, inputs.ortho, work, ortho_mask=inputs.ortho_mask)
    cell_m = scene.grid.cell_m
    work.progress(0.0, "looking at the scene")
    segment, sources, margin_m = _mask_kernel(inputs, scene, work)
    work.progress(0.05, "segmenting")
    layer = Layer("building_mask", dtype="uint8", band_names=["building"])
    mask = work.open_raster(
        work.map_blocks(layer, segment, *sources, margin_m=margin_m, block_px=_block_px(scene.grid))
    )
    taste = Taste(cell_m, min_area_m2=inputs.min_area_m2, min_courtyard_m2=inputs.min_courtyard_m2)
    decks = _decks(inputs, scene, work)
    looks = _looks(inputs, scene, work)
    buildings: list[Building] = []
    moved_m: list[float] = []
    wanted = list(tiles(scene.grid.shape, TILE_PX))
    for number, tile in enumerate(wanted):
        work.progress(
            0.3 + 0.65 * number / len(wanted), f"outlines: block {number + 1} of {len(wanted)}"
        )
        block = buildings[-1].block + 1 if buildings else 0
        found = _drawn(scene, mask, decks, tile, taste, block, work.on_cores)
        if looks and found:
            found, ways_m = _on_images(found, scene, looks)
            moved_m += ways_m
        buildings += found
    frame = table(_separated(buildings, inputs.min_area_m2), scene.grid.crs)
    rough = int((frame["method"] == "cells").sum())
    said = f"{len(frame)} buildings, {rough} of them left as raster outlines"
    if moved_m:
        by_m = float(np.median(np.abs(moved_m)))
        said += f"; {len(moved_m)} walls moved to the images' edges, by a median of {by_m:.2f} m"
    work.progress(1.0, said)
    return FootprintsOutputs(footprints=work.write_vector("footprints", frame))


def _mask_kernel(
    inputs: FootprintsInputs, scene: Scene, work: Workspace
) -> tuple[Callable[..., Raster], list[RasterSource], float]:
    """Return what marks the cells of buildings, what it reads, and its margin in metres."""
    from processes.outlines.segment import Rules, building_mask, limits, tidied

    rules = Rules(min_area_m2=inputs.min_area_m2, min_courtyard_m2=inputs.min_courtyard_m2)
    cell_m, names = scene.grid.cell_m, scene.band_names

    if inputs.classes is not None:
        told = work.open_raster(inputs.classes)
        offset(told, scene.grid)

        def by_classes(classes: Raster, *blocks: Raster) -> Raster:
            mask = classes.values == BUILDING_CODE
            mask = tidied(mask, piece(names, *blocks), cell_m, rules, peeled=False)
            return Raster(mask.astype(np.uint8), classes.grid)

        return by_classes, [told, *scene.sources], MASK_MARGIN_M

    if inputs.segmenter == "rules":
        found = limits(list(scene.samples()), cell_m, rules)

        def by_rules(*blocks: Raster) -> Raster:
            mask = building_mask(piece(names, *blocks), cell_m, found, rules)
            return Raster(mask.astype(np.uint8), blocks[0].grid)

        return by_rules, scene.sources, MASK_MARGIN_M

    from processes.semantics.segmenter import built, chosen

    segmenter = chosen("unet", scene, work, weights=inputs.weights)

    def by_network(*blocks: Raster) -> Raster:
        cells = piece(names, *blocks)
        mask = built(segmenter(cells, corner(scene.grid, blocks[0].grid)))
        mask = tidied(mask, cells, cell_m, rules, peeled=False)
        return Raster(mask.astype(np.uint8), blocks[0].grid)

    return by_network, scene.sources, segmenter.margin_m


def _decks(
    inputs: FootprintsInputs, scene: Scene, work: Workspace
) -> Callable[..., NDArray[np.bool_]] | None:
    """Return what says where bridges are in a window (row, col, height, width), if it is known."""
    if inputs.terrain_mask is None:
        return None
    origins = work.open_raster(inputs.terrain_mask)
    row0, col0 = offset(origins, scene.grid)

    def decks(row: int, col: int, height: int, width: int) -> NDArray[np.bool_]:
        codes = origins.read(row + row0, col + col0, height, width)[0]
        return np.asarray(codes == Ground.UNDER_BRIDGE)

    return decks


def _looks(inputs: FootprintsInputs, scene: Scene, work: Workspace) -> list[Look]:
    """Return the images as outlines take them; none where none are given."""
    if inputs.images is None:
        return []
    from processes.outlines.roof_edges import Look
    from processes.stereo.shots import Shot, ground_of, shots_of

    samples = (sample.surface for sample in scene.samples())
    heights = next((values for values in samples if np.isfinite(values).any()), None)
    if heights is None:
        return []
    grid, to_degrees = ground_of(scene.surface)

    def look(shot: Shot) -> Look:
        def project(x: Any, y: Any, height: Any) -> tuple[Any, Any]:
            return shot.camera.project(*to_degrees(x, y), height)

        raster = shot.image.raster
        return Look(project, raster.read, (raster.shape[1], raster.shape[2]))

    images, tags = work.images(inputs.images), scene.surface.tags
    height_m = float(np.nanmedian(heights))
    return [look(shot) for shot in shots_of(images, tags, grid, to_degrees, height_m)]


def _on_images(
    buildings: Sequence[Building], scene: Scene, looks: Sequence[Look]
) -> tuple[list[Building], list[float]]:
    """Return buildings with their free walls where the images show them, and each wall's way."""
    import shapely

    from processes.outlines.roof_edges import on_images

    polygons = [building.polygon for building in buildings]
    left, bottom, right, top = shapely.total_bounds(polygons)
    row, col = scene.grid.rowcol([left - CONTEXT_M, right + CONTEXT_M], [top, bottom])
    around = round(CONTEXT_M / scene.grid.cell_m)
    first = int(row[0]) - around, int(col[0])
    size = int(row[1]) + around - first[0], int(col[1]) - first[1]
    surface = Raster(scene.surface.read(*first, *size)[0], scene.grid.window(*first, *size))
    moved, ways_m = on_images(polygons, surface, looks)
    return [
        replace(building, polygon=shapely.normalize(polygon))
        for building, polygon in zip(buildings, moved, strict=True)
    ], ways_m.tolist()


def table(buildings: Sequence[Building], crs: str) -> GeoDataFrame:
    """Return the footprints as a table, in a fixed order, each with an id that reruns repeat."""
    import geopandas
    import shapely

    polygons = np.array([b.polygon for b in buildings], object)
    middles = shapely.get_coordinates(shapely.centroid(polygons)).reshape(-1, 2)
    blocks = np.array([b.block for b in buildings], int)
    ids = _ids(middles, crs)
    firsts: dict[int, str] = {}
    for block, name in zip(blocks.tolist(), ids, strict=True):
        firsts.setdefault(block, name)
    frame = geopandas.GeoDataFrame(
        {
            "id": np.array(ids, object),
            "area_m2": shapely.area(polygons).astype(float).round(2),
            "height_m": np.array([b.height_m for b in buildings], float).round(2),
            "confidence": np.array([b.confidence for b in buildings], float).round(3),
            "method": np.array([b.method for b in buildings], object),
            "part_of": np.array([firsts[block] for block in blocks.tolist()], object),
        },
        geometry=list(polygons),
        crs=crs,
    )
    return frame.astype({"id": "string", "method": "string", "part_of": "string"})


def _ids(middles: NDArray[np.float64], crs: str) -> list[str]:
    """Return ids from centroids rounded to a metre; a second one there gets a number."""
    seen: dict[str, int] = {}
    ids = []
    for x, y in middles.tolist():
        name = "b" + sha256(f"{crs} {round(x)} {round(y)}".encode()).hexdigest()[:14]
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return ids


def _block_px(grid: Grid) -> int:
    """Return the side of blocks of one size: a narrow one at the end costs its margins too.

    There are two a side at least: one core would have nothing to do.
    """
    longest = max(grid.shape)
    return ceil(longest / max(2, round(longest / MASK_BLOCK_PX)))


def _drawn(
    scene: Scene,
    mask: RasterSource,
    decks: Callable[..., NDArray[np.bool_]] | None,
    tile: tuple[int, int, int, int],
    taste: Taste,
    block: int,
    on_cores: Crew,
) -> list[Building]:
    """Return the buildings that a tile owns: those whose first cell lies in it."""
    from processes.outlines.attached import grown, parts
    from processes.outlines.segment import buildings_only, off_decks
    from processes.outlines.tiling import around, owned
    from processes.outlines.trace import groups

    row, col, height, width = tile
    margin_m = FIRST_MARGIN_M
    while True:
        margin = round(margin_m / scene.grid.cell_m)
        top, left = row - margin, col - margin
        size = height + 2 * margin, width + 2 * margin
        cells = mask.read(top, left, *size)[0] > 0
        own, cut = owned(cells, (margin, margin, height, width))
        if not cut or margin_m >= LAST_MARGIN_M:
            break
        margin_m *= 2
    if not own.any():
        return []
    crop = around(own, CONTEXT_M / scene.grid.cell_m)
    own, top, left = own[crop], top + crop[0].start, left + crop[1].start
    size = own.shape
    piece = scene.read(top, left, *size)
    if decks is not None:
        own = off_decks(own, decks(top, left, *size), taste.cell_m)
    own = buildings_only(own, piece, taste.cell_m)
    # houses are told apart where heights are known: roofs filled from the ground are added after
    seen = own if piece.filled is None else own & ~(piece.filled & (piece.above_ground < FLOOR_M))
    shadow = _shadow(scene, piece.surface, own)
    divided = parts(
        seen, piece.surface, taste.cell_m, piece.bands, shadow=shadow, on_cores=on_cores
    )
    labels = grown(divided, own)
    window = scene.grid.window(top, left, *size)

    def buildings(numbered: tuple[int, Group]) -> list[Building]:
        return list(_buildings(numbered[1], piece, taste, window, numbered[0]))

    return list(chain.from_iterable(on_cores(buildings, enumerate(groups(labels), start=block))))


def _separated(buildings: Sequence[Building], min_area_m2: float) -> list[Building]:
    from processes.outlines.regularise import separated

    polygons = separated([building.polygon for building in buildings])
    return [
        replace(building, polygon=polygon)
        for building, polygon in zip(buildings, polygons, strict=True)
        if polygon.area >= min_area_m2
    ]


def _shadow(
    scene: Scene, surface: NDArray[Any], asked: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Return which of the asked cells lay in shadow when the orthoimage was taken.

    None where it does not say where the sun stood.
    """
    import cv2

    from processes.stereo.orthorectify import sunlit

    if scene.ortho is None or "OROGRAPH_SUN" not in scene.ortho.tags:
        return None
    try:
        azimuth, elevation = map(float, json.loads(scene.ortho.tags["OROGRAPH_SUN"]))
    except (ValueError, TypeError):
        raise InvalidInput("tag OROGRAPH_SUN of ortho must be [azimuth, elevation]") from None
    if not 5.0 < elevation < 89.0:
        return None
    # colours are interpolated up to a cell outside
    near = cv2.dilate(asked.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return ~sunlit(surface, scene.grid.cell_m, azimuth, elevation, asked=near)


def _buildings(
    group: Group, piece: Sample, taste: Taste, window: Grid, block: int
) -> Iterator[Building]:
    import shapely

    from processes.outlines.regularise import drawn, outlined

    shapes = outlined(group, taste)
    rows, cols = group.labels.shape
    inner = np.s_[
        max(group.row0, 0) : group.row0 + rows,
        max(group.col0, 0) : group.col0 + cols,
    ]
    top, left = max(-group.row0, 0), max(-group.col0, 0)
    heights = piece.above_ground[inner]
    high, wide = heights.shape
    numbers = drawn(shapes, group.labels.shape)[top : top + high, left : left + wide]
    labels = group.labels[top : top + high, left : left + wide]

    def on_ground(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(window.xy(xy[:, 1] + group.row0, xy[:, 0] + group.col0), axis=1)

    for number, shape in enumerate(shapes, start=1):
        cells = numbers == number
        if not cells.any():
            continue
        known = heights[cells]
        known = known[np.isfinite(known)]
        ground = shapely.transform(shape.polygon, on_ground)
        yield Building(
            polygon=shapely.normalize(ground),
            height_m=float(np.median(known)) if known.size else float("nan"),
            confidence=_agreement(cells, labels, shape) * known.size / int(cells.sum()),
            method=shape.method,
            block=block,
        )


def _agreement(cells: NDArray[np.bool_], labels: NDArray[np.int32], shape: Shape) -> float:
    """Return intersection over union of an outline and the cells it stands for."""
    mine = labels == shape.part
    return float((cells & mine).sum() / max(int((cells | mine).sum()), 1))


FOOTPRINTS = Process(
    id="footprints",
    title="Building footprints",
    description=__doc__,
    version="1.0.0",
    inputs=FootprintsInputs,
    outputs=FootprintsOutputs,
    run=run,
    keywords=("buildings", "footprints", "LOD0"),
)
