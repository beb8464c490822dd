"""Images as an orthoimage takes them: nearest to the vertical first, all of one radiometry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import hypot

import numpy as np
from numpy.typing import NDArray

from processes.core.crs import map_of
from processes.core.errors import InvalidInput
from processes.core.raster import Grid, Image, Raster, RasterSource
from processes.stereo.antimeridian import degrees_near
from processes.stereo.orthorectify import (
    Camera,
    ToDegrees,
    View,
    lean,
    match_radiometry,
    true_ortho,
)
from processes.stereo.pansharpen import Sharpened
from processes.stereo.rpc import RpcModel, choose

FEWEST_CELLS = 100
"""Fewer samples that two images show say nothing of how they compare."""
UNLIKE = 0.5
"""An image whose likeness to the one most like it is below this share of the highest comes last."""
SAME = 1e-6
"""Degrees, 0.1 m: closer first pixels are of one acquisition."""
HIGHEST_M, FARTHEST_M = 250.0, 300.0
"""No building is taken to hide more: bounds the margin of a block."""


@dataclass(frozen=True)
class Shot:
    """An image with its corrected sensor model and its lean over the scene."""

    image: Image
    camera: Camera
    lean_x: float
    lean_y: float
    bands: tuple[int, ...]
    """Where this image has the bands of the first."""

    @property
    def lean(self) -> float:
        """Metres over the ground for each metre of height: the tangent of the incidence."""
        return hypot(self.lean_x, self.lean_y)


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


def ground_of(surface: RasterSource) -> tuple[Grid, ToDegrees]:
    """Return the lattice of a surface model, and what brings its coordinates to degrees."""
    from pyproj import Transformer

    grid, crs = map_of(surface)
    transform = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    lon, _ = transform(*grid.xy((grid.height - 1) / 2, (grid.width - 1) / 2))
    return grid, degrees_near(transform, lon)


def shots_of(
    images: Sequence[Image],
    tags: Mapping[str, str],
    grid: Grid,
    to_degrees: ToDegrees,
    height_m: float,
) -> list[Shot]:
    """Return the images, nearest to the vertical first; *height_m* is that of their ground, about.

    Bands are those of that image.
    """
    pointing = Pointing.of(tags)
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
    assert image.colours is not None
    colours = image.colours
    there = choose(
        colours.id, colours.rpc_documents, colours.raster.rpc_tags, origin=colours.raster.origin
    )
    there = there.near(model.lon_off)
    return replace(
        image, raster=Sharpened.of(image.raster, model, colours.raster, there), colours=None
    )


def _order(wanted: Sequence[str], present: Sequence[str]) -> tuple[int, ...] | None:
    if not set(wanted) <= set(present):
        return None
    return tuple(present.index(name) for name in wanted)


def matched(
    shots: Sequence[Shot], windows: Sequence[Raster], to_degrees: ToDegrees
) -> tuple[list[Shot], list[View]]:
    """Return the images in the order they serve, with what brings each to the first's colours."""
    bands = len(shots[0].bands)
    plain = [_view(shot, np.ones(bands, np.float32), np.zeros(bands, np.float32)) for shot in shots]
    if len(plain) == 1:
        return list(shots), plain
    looks = [_look(view, windows, to_degrees) for view in plain]
    first, *others = order = _order_of(looks)
    views = [plain[first]]
    for k in others:
        both = _seen_by_both(looks[first], looks[k])
        if both.sum() < FEWEST_CELLS:
            # nothing to compare with: nearly all of what it fills, it fills alone
            views.append(plain[k])
            continue
        gain, offset = match_radiometry(looks[first][:, both], looks[k][:, both])
        views.append(_view(shots[k], gain, offset))
    return [shots[k] for k in order], views


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
    raster, bands = shot.image.raster, list(shot.bands)

    def read(row0: int, col0: int, height: int, width: int) -> NDArray[np.float32]:
        return raster.read(row0, col0, height, width, bands)

    return View(shot.camera, read, gain, offset)


def _look(view: View, windows: Sequence[Raster], to_degrees: ToDegrees) -> NDArray[np.float32]:
    """Return what one image sees of the sample windows: (bands, cells), NaN where nothing."""
    seen = []
    for window in windows:
        x, y = centres(window.grid)
        pixels, _ = true_ortho(window.values, x, y, to_degrees, [view])
        seen.append(pixels[:, ::2, ::2].reshape(len(pixels), -1))
    return np.concatenate(seen, axis=1)


def margin_m(shots: Sequence[Shot], windows: Sequence[Raster]) -> float:
    """Return how far away something may hide a cell."""
    relief = [np.nanpercentile(w.values, 99.9) - np.nanpercentile(w.values, 0.1) for w in windows]
    tallest_m = min(1.5 * float(max(relief)) + 10.0, HIGHEST_M)
    return float(min(max(shot.lean for shot in shots) * tallest_m, FARTHEST_M))


def centres(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, cols = np.mgrid[: grid.height, : grid.width]
    x, y = grid.xy(rows, cols)
    return x, y
