"""True orthoimage: each cell as seen straight from above, on the grid of a surface model.

The image nearest to the vertical comes first; cells that buildings hide from it are taken from
the other images, brought to its radiometry band by band, or left empty. `ortho_source` says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import hypot
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from processes.core.crs import map_of
from processes.core.errors import InvalidInput, NoOverlap
from processes.core.process import Asset, ImageRefs, Inputs, Layer, Outputs, Process, Workspace
from processes.core.raster import Grid, Image, Raster, RasterSource

if TYPE_CHECKING:
    from processes.stereo.orthorectify import ToDegrees, View
    from processes.stereo.rpc import RpcModel

BLOCK_PX = 768
SAMPLES, SAMPLE_PX = 4, 192
"""Heights and radiometry are judged on SAMPLES × SAMPLES windows of the surface model."""
FEWEST_CELLS = 100
"""Fewer samples that two images show say nothing of how they compare."""
UNLIKE = 0.5
"""An image whose likeness to the one most like it is below this share of the highest comes last."""
SAME = 1e-6
"""Degrees, 0.1 m: closer first pixels are of one acquisition."""
HIGHEST_M, FARTHEST_M = 250.0, 300.0
"""No building is taken to hide more: bounds the margin of a block."""


class OrthoInputs(Inputs):
    """What an orthoimage is made from."""

    images: ImageRefs = Field(
        description="Images with sensor models (RPC): STAC Items, one ItemCollection, or GeoTIFFs."
    )
    dsm: Asset = Field(
        description="Surface heights above the ellipsoid, metres, in a projected CRS. Pointing "
        "corrections of process dsm are read from its tags."
    )


class OrthoOutputs(Outputs):
    """An orthoimage on the grid of its surface model, and where each cell comes from."""

    ortho: Asset = Field(
        description="All bands of the image nearest to the vertical, in its own number type; "
        "0 is empty."
    )
    ortho_source: Asset = Field(
        description="0 empty: no height, or hidden from every image; n: seen by the n-th image, "
        "nearest to the vertical first. The file's tags name them."
    )


@dataclass(frozen=True)
class Shot:
    """An image with its corrected sensor model and its lean over the scene."""

    image: Image
    camera: Any
    lean_x: float
    lean_y: float
    bands: tuple[int, ...]
    """Where this image has the bands of the first."""

    @property
    def lean(self) -> float:
        """Metres over the ground for each metre of height: the tangent of the incidence."""
        return hypot(self.lean_x, self.lean_y)


def run(inputs: OrthoInputs, work: Workspace) -> OrthoOutputs:
    """Project every cell into the images, nearest to the vertical first."""
    from processes.stereo.orthorectify import true_ortho

    work.progress(0.0, "opening images")
    surface = work.open_raster(inputs.dsm)
    grid, to_degrees = _ground(surface)
    windows = _windows(surface, grid)
    shots = _shots(work.images(inputs.images), surface.tags, grid, to_degrees, windows)
    work.progress(0.1, "matching radiometry")
    shots, views = _matched(shots, windows, to_degrees)

    first = shots[0].image.raster
    whole_numbers = np.issubdtype(np.dtype(first.dtype), np.integer)
    dtype, seen = first.dtype, 0

    def kernel(dsm: Raster) -> Sequence[Raster]:
        x, y = _centres(dsm.grid)
        pixels, source = true_ortho(dsm.values, x, y, to_degrees, views)
        if whole_numbers:
            return Raster(_stored(pixels, dtype), dsm.grid), Raster(source, dsm.grid)
        return Raster(pixels, dsm.grid), Raster(source, dsm.grid)

    def each(done: int, blocks: int, values: Sequence[NDArray[Any]]) -> None:
        nonlocal seen
        seen += int(np.count_nonzero(values[1]))
        work.progress(0.2 + 0.75 * done / blocks, f"orthoimage: block {done} of {blocks}")

    work.progress(0.2, f"projecting {len(views)} images")
    names = [first.band_names[band] for band in shots[0].bands]
    order = {str(number): shot.image.id for number, shot in enumerate(shots, start=1)}
    tags = {"OROGRAPH_IMAGES": json.dumps(order)} | _sun(shots[0].image)
    layers = (
        Layer("ortho", dtype=first.dtype, band_names=names, tags=tags),
        Layer("ortho_source", dtype="uint8", band_names=["image"], tags=tags),
    )
    ortho, source = work.map_layers(
        layers,
        kernel,
        inputs.dsm,
        margin_m=_margin_m(shots, windows),
        block_px=BLOCK_PX,
        each=each,
    )
    if not seen:
        raise NoOverlap("the images see nothing of the surface model: choose images of its place")
    work.progress(1.0, "orthoimage written")
    return OrthoOutputs(ortho=ortho, ortho_source=source)


@dataclass(frozen=True)
class Pointing:
    """What process `dsm` found: how far each image's projection is off, and which image that is."""

    corrections_px: Mapping[str, tuple[float, ...]]
    anchors: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Pointing:
        """Read the tags of a surface model; one made elsewhere has none."""
        try:
            return cls(
                _numbers(tags.get("OROGRAPH_POINTING"), 2, 6),
                _numbers(tags.get("OROGRAPH_ANCHORS"), 2),
            )
        except (ValueError, TypeError, AttributeError):
            raise InvalidInput("pointing tags of dsm are not what process dsm writes") from None

    def correction(self, name: str, anchor: tuple[float, float]) -> tuple[float, ...]:
        """Return rows, columns and tilts to add: by name, else by where the first pixel looks.

        The same image is called otherwise when it comes once by its Item and once by its file.
        """
        if name not in self.corrections_px:
            same = [
                n for n, there in self.anchors.items() if hypot(*np.subtract(there, anchor)) < SAME
            ]
            name = same[0] if same else name
        return self.corrections_px.get(name, (0.0, 0.0))


def _numbers(text: str | None, *lengths: int) -> dict[str, tuple[float, ...]]:
    found = {str(name): tuple(map(float, v)) for name, v in json.loads(text or "{}").items()}
    if not all(len(values) in lengths for values in found.values()):
        raise ValueError("a value too many or too few")
    return found


def _ground(surface: RasterSource) -> tuple[Grid, ToDegrees]:
    from pyproj import Transformer

    from processes.stereo.antimeridian import degrees_near

    grid, crs = map_of(surface)
    transform = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    lon, _ = transform(*grid.xy((grid.height - 1) / 2, (grid.width - 1) / 2))
    return grid, degrees_near(transform, lon)


def _windows(surface: RasterSource, grid: Grid) -> list[Raster]:
    """Return samples of the surface model that hold heights, spread evenly."""
    height, width = (min(SAMPLE_PX, size) for size in grid.shape)
    found = []
    for row in np.unique(np.linspace(0, grid.height - height, SAMPLES).astype(int)):
        for col in np.unique(np.linspace(0, grid.width - width, SAMPLES).astype(int)):
            values = surface.read(int(row), int(col), height, width)[0]
            if np.isfinite(values).mean() > 0.05:
                found.append(Raster(values, grid.window(int(row), int(col), height, width)))
    if not found:
        raise NoOverlap("the surface model holds no heights: make it from images of this place")
    return found


def _shots(
    images: Sequence[Image],
    tags: Mapping[str, str],
    grid: Grid,
    to_degrees: ToDegrees,
    windows: Sequence[Raster],
) -> list[Shot]:
    """Return the images, nearest to the vertical first. Bands are those of that image."""
    from processes.stereo.orthorectify import lean
    from processes.stereo.rpc import choose

    pointing = Pointing.of(tags)
    height_m = float(np.median([np.nanmedian(window.values) for window in windows]))
    x, y = grid.xy((grid.height - 1) / 2, (grid.width - 1) / 2)
    lon = float(to_degrees(x, y)[0])
    found = []
    for image in images:
        raster = image.raster
        model = choose(image.id, image.rpc_documents, raster.rpc_tags, origin=raster.origin)
        model = model.near(lon)
        if image.colours is not None:
            image = _sharpened(image, model)
        camera = model.corrected(*pointing.correction(image.id, model.anchor(0.0)))
        ray = lean(camera, to_degrees, x, y, height_m)
        bands = tuple(range(image.raster.shape[0]))
        found.append(Shot(image, camera, ray.dx_dh, ray.dy_dh, bands))
    found.sort(key=lambda shot: shot.lean)
    names = found[0].image.raster.band_names
    return [
        Shot(s.image, s.camera, s.lean_x, s.lean_y, order)
        for s in found
        if (order := _order(names, s.image.raster.band_names)) is not None
    ]


def _sharpened(image: Image, model: RpcModel) -> Image:
    """Return the bundle of a panchromatic image and its colours as one image of sharp colours."""
    from processes.stereo.pansharpen import Sharpened
    from processes.stereo.rpc import choose

    assert image.colours is not None
    colours = image.colours
    there = choose(
        colours.id, colours.rpc_documents, colours.raster.rpc_tags, origin=colours.raster.origin
    )
    there = there.near(model.lon_off)
    return replace(
        image, raster=Sharpened.of(image.raster, model, colours.raster, there), colours=None
    )


def _sun(image: Image) -> dict[str, str]:
    """Return the tag that tells where the sun stood: shadows can be told from dark roofs."""
    facts = (image.properties.get(f"view:sun_{name}") for name in ("azimuth", "elevation"))
    angles = [float(fact) for fact in facts if isinstance(fact, int | float)]
    return {"OROGRAPH_SUN": json.dumps(angles)} if len(angles) == 2 else {}


def _order(wanted: Sequence[str], present: Sequence[str]) -> tuple[int, ...] | None:
    if not set(wanted) <= set(present):
        return None
    return tuple(present.index(name) for name in wanted)


def _matched(
    shots: Sequence[Shot], windows: Sequence[Raster], to_degrees: ToDegrees
) -> tuple[list[Shot], list[View]]:
    """Return the images in the order they serve, with what brings each to the first's colours."""
    from processes.stereo.orthorectify import match_radiometry

    bands = len(shots[0].bands)
    plain = [_view(shot, np.ones(bands, np.float32), np.zeros(bands, np.float32)) for shot in shots]
    if len(plain) == 1:
        return list(shots), plain
    looks = [_look(view, windows, to_degrees) for view in plain]
    first, *others = order = _order_of(looks)
    matched = [plain[first]]
    for k in others:
        both = _seen_by_both(looks[first], looks[k])
        if both.sum() < FEWEST_CELLS:
            # nothing to compare with: nearly all of what it fills, it fills alone
            matched.append(plain[k])
            continue
        gain, offset = match_radiometry(looks[first][:, both], looks[k][:, both])
        matched.append(_view(shots[k], gain, offset))
    return [shots[k] for k in order], matched


def _order_of(looks: Sequence[NDArray[np.float32]]) -> list[int]:
    """Return the places of images as given, but those last that show what no other does.

    *looks* are what each shows of the same cells. Of three, a cloudy one is found by that; of
    two nothing tells which it is.
    """
    likeness = np.full((len(looks), len(looks)), -1.0)
    for i, j in combinations(range(len(looks)), 2):
        both = _seen_by_both(looks[i], looks[j])
        grey = np.stack([look[:, both].mean(axis=0) for look in (looks[i], looks[j])])
        if both.sum() >= FEWEST_CELLS and grey.std(axis=1).all():
            likeness[i, j] = likeness[j, i] = np.corrcoef(grey)[0, 1]
    best = likeness.max(axis=1)
    return sorted(range(len(looks)), key=lambda k: bool(best[k] < UNLIKE * best.max()))


def _seen_by_both(look: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(look).all(axis=0) & np.isfinite(other).all(axis=0))


def _view(shot: Shot, gain: NDArray[np.float32], offset: NDArray[np.float32]) -> View:
    from processes.stereo.orthorectify import View

    raster, bands = shot.image.raster, list(shot.bands)

    def read(row0: int, col0: int, height: int, width: int) -> NDArray[np.float32]:
        return raster.read(row0, col0, height, width, bands)

    return View(shot.camera, read, gain, offset)


def _look(view: View, windows: Sequence[Raster], to_degrees: ToDegrees) -> NDArray[np.float32]:
    """Return what one image sees of the sample windows: (bands, cells), NaN where nothing."""
    from processes.stereo.orthorectify import true_ortho

    seen = []
    for window in windows:
        x, y = _centres(window.grid)
        pixels, _ = true_ortho(window.values, x, y, to_degrees, [view])
        seen.append(pixels[:, ::2, ::2].reshape(len(pixels), -1))
    return np.concatenate(seen, axis=1)


def _margin_m(shots: Sequence[Shot], windows: Sequence[Raster]) -> float:
    """Return how far away something may hide a cell."""
    relief = [np.nanpercentile(w.values, 99.9) - np.nanpercentile(w.values, 0.1) for w in windows]
    tallest_m = min(1.5 * float(max(relief)) + 10.0, HIGHEST_M)
    return float(min(max(shot.lean for shot in shots) * tallest_m, FARTHEST_M))


def _centres(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, cols = np.mgrid[: grid.height, : grid.width]
    x, y = grid.xy(rows, cols)
    return x, y


def _stored(pixels: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Return whole numbers; 0 is kept for empty, so the darkest seen is 1."""
    most = np.iinfo(dtype).max
    seen = np.isfinite(pixels)
    whole = np.clip(np.rint(np.where(seen, pixels, 0.0)), 1, most)
    return np.where(seen, whole, 0).astype(dtype)


ORTHO = Process(
    id="ortho",
    title="True orthoimage",
    description=__doc__,
    version="1.0.0",
    inputs=OrthoInputs,
    outputs=OrthoOutputs,
    run=run,
    keywords=("ortho", "orthoimage", "occlusion"),
)
