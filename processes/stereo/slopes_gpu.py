"""Steep surfaces matched again on a GPU: what `slopes` does, by torch, to the bit."""

from __future__ import annotations

import torch
from torch import Tensor

from processes.stereo.planes_gpu import PlanesOn
from processes.stereo.pyramid_gpu import highest
from processes.stereo.slopes import CUBIC, GROW_PX, STEEP, STEPS, SUPPORT


def steep(planes: PlanesOn, known: Tensor) -> Tensor:
    """Return where a plane is steep, and much of the surroundings lies on it."""
    slope = torch.hypot(planes.by_col, planes.by_row)
    low, high = STEEP
    return known & (planes.support > SUPPORT) & (slope > low) & (slope < high)


def surroundings(mask: Tensor) -> Tensor:
    """Return a mask grown by GROW_PX."""
    return highest(mask.float(), GROW_PX) > 0


def surface_of(planes: PlanesOn, known: Tensor) -> Tensor:
    """Return what the right image is brought to; see `slopes.surface_of`."""
    steps = float(STEPS)
    return torch.where(known, (planes.disparity * steps).round() / steps, 0.0)


def moved(surface: Tensor, planes: PlanesOn, rest: Tensor) -> Tensor:
    """Return disparities from those that were left once the surface was taken off."""
    return surface + rest * (1 + planes.by_col)


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
