"""Steep surfaces matched again on a GPU: what `slopes` does, by torch, to the bit."""

from __future__ import annotations

import torch
from torch import Tensor

from processes.stereo.planes_gpu import PlanesOn
from processes.stereo.pyramid_gpu import highest
from processes.stereo.slopes import (
    APART_PX,
    BESIDE_PX,
    BEYOND_PX,
    CUBIC,
    FACE,
    GROW_PX,
    PATCH_PX,
    STEPS,
    SUPPORT,
    UPRIGHT,
)


def patches(disparity: Tensor, known: Tensor, most: int, apart_px: float) -> Tensor:
    """As `slopes.patches`: each pixel takes the least number among its neighbours and itself, …

    … then that of the pixel so numbered, until nothing changes.
    """
    size = disparity.numel()
    name = torch.where(known, torch.arange(size, device=disparity.device).view_as(disparity), size)
    joined = []
    for axis in (0, 1):
        (one, two), (here, there) = _beside(disparity, axis), _beside(known, axis)
        joined.append(here & there & ((two - one).abs() <= apart_px))
    nothing = torch.tensor([size], device=disparity.device)
    while True:
        spread = name.clone()
        for axis in (0, 1):
            less = torch.where(joined[axis], torch.minimum(*_beside(name, axis)), size)
            for part in _beside(spread, axis):
                torch.minimum(part, less, out=part)
        spread = torch.cat([spread.reshape(-1), nothing])[spread]
        if torch.equal(spread, name):
            break
        name = spread
    count = torch.bincount(name.reshape(-1), minlength=size + 1)
    for rim in (name[0], name[-1], name[:, 0], name[:, -1]):
        count[rim] = most + 1
    return known & (count[name] <= most)


def _beside(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return views of all pixels but the last, and of those after them, along an axis."""
    rows, cols = values.shape
    return (values[: rows - 1], values[1:]) if axis == 0 else (values[:, : cols - 1], values[:, 1:])


def raised(planes: PlanesOn, matched: Tensor) -> Tensor:
    """Return patches of surface that jumps set apart, single pixels of other heights filled."""
    apart = patches(planes.disparity, matched, PATCH_PX, APART_PX)
    return surroundings(~surroundings(apart, 1), 1).logical_not()


def leaning(planes: PlanesOn, known: Tensor, least: float) -> Tensor:
    """Return where a plane leans by more than *least*, and much of the surroundings lies on it."""
    slope = torch.hypot(planes.by_col, planes.by_row)
    return known & (planes.support > SUPPORT) & (slope > least) & (slope < UPRIGHT)


def prolonged(planes: PlanesOn, roofs: Tensor, where: Tensor) -> tuple[PlanesOn, Tensor]:
    """Return planes with faces gone on over others, and where they do; see `slopes.prolonged`."""
    faces = roofs & (torch.hypot(planes.by_col, planes.by_row) > FACE)
    asked = where & surroundings(faces, BEYOND_PX[-1])
    height, by_col, by_row = (v.clone() for v in (planes.disparity, planes.by_col, planes.by_row))
    nearest = torch.full_like(height, BESIDE_PX)
    rows, cols = height.shape
    for far in BEYOND_PX:
        for i in (-far, 0, far):
            for j in (-far, 0, far):
                to = (slice(max(0, -i), rows - max(0, i)), slice(max(0, -j), cols - max(0, j)))
                at = (slice(max(0, i), rows - max(0, -i)), slice(max(0, j), cols - max(0, -j)))
                col, row = planes.by_col[at], planes.by_row[at]
                here = planes.disparity[at] - (col * j + row * i)
                off = (here - planes.disparity[to]).abs()
                nearer = asked[to] & faces[at] & (off < nearest[to])
                nearest[to] = torch.where(nearer, off, nearest[to])
                for out, value in ((height, here), (by_col, col), (by_row, row)):
                    out[to] = torch.where(nearer, value, out[to])
    longer = asked & ((by_col != planes.by_col) | (by_row != planes.by_row))
    return PlanesOn(height, planes.support, by_col, by_row), longer


def surroundings(mask: Tensor, px: int = GROW_PX) -> Tensor:
    """Return a mask grown by *px*."""
    return highest(mask.float(), px) > 0


def surface_of(planes: PlanesOn, known: Tensor) -> Tensor:
    """Return what the right image is brought to; see `slopes.surface_of`."""
    steps = float(STEPS)
    return torch.where(known, (planes.disparity * steps).round() / steps, 0.0)


def moved(surface: Tensor, by_col: Tensor, rest: Tensor) -> Tensor:
    """Return disparities from those that were left once the surface was taken off."""
    return surface + rest * (1 + by_col)


def along(image: Tensor, surface: Tensor) -> Tensor:
    """Return the right image as *surface* brings it to the left one; see `slopes.along`."""
    rows, cols = surface.shape
    last = image.shape[1] - 1
    beyond = torch.cat([surface[:, 1:], surface[:, -1:]], dim=1)
    col = torch.arange(cols, dtype=torch.float32, device=image.device)
    halves = []
    for step in (0.0, 0.5):
        x = (col + step) + (surface + step * (beyond - surface))
        inside = (x >= 1) & (x < last - 1)
        at = torch.where(inside, x, 1.0).long()
        t = torch.where(inside, x, 1.0) - at
        between = _between([image.gather(1, (at + k).clamp(max=last)) for k in range(-1, 3)], t)
        halves.append(torch.where(inside, between, torch.nan))
    return torch.stack(halves, dim=2).reshape(rows, 2 * cols)


def _between(pixels: list[Tensor], t: Tensor) -> Tensor:
    """Return what lies *t* (0 to 1) between the second and the third of four pixels."""
    cubic = float(CUBIC)
    u = 1 - t
    before, after = 1 + t, 1 + u
    weights = (
        cubic * (((before - 5) * before + 8) * before - 4),
        ((cubic + 2) * t - (cubic + 3)) * t * t + 1,
        ((cubic + 2) * u - (cubic + 3)) * u * u + 1,
        cubic * (((after - 5) * after + 8) * after - 4),
    )
    total = weights[0] * pixels[0]
    for weight, pixel in zip(weights[1:], pixels[1:], strict=True):
        total = total + weight * pixel
    return total
