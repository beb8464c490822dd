"""A bent grid of streets, and the blocks between them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from processes.semantics.materials import Materials
from processes.semantics.place import Pair, Town, smooth_noise
from processes.semantics.stack import ROAD

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
STYLES = {
    "houses": 0.26, "rows": 0.13, "dense": 0.17, "towers": 0.07, "halls": 0.09,
    "park": 0.08, "field": 0.08, "wood": 0.07, "water": 0.03,
}  # fmt: skip
"""What a block may become, and how often."""

Block = tuple[Pair, Pair, float, str]
"""Middle, half size, turn, style."""


def streets(rng: Generator, place: Town) -> list[Block]:
    """Pave a bent grid of streets and return the blocks between: middle, half size, turn, style."""
    size_m = place.shape[0] * place.cell_m
    turn = rng.uniform(0, np.pi / 2)
    row, col = np.mgrid[: place.shape[0], : place.shape[1]].astype(np.float32) * place.cell_m
    bend, wave = rng.uniform(0, 6), rng.uniform(80, 250)
    y, x = row - size_m / 2, col - size_m / 2
    u = x * np.cos(turn) + y * np.sin(turn)
    v = -x * np.sin(turn) + y * np.cos(turn)
    bent_u = u + bend * np.sin(v / wave * 2 * np.pi)
    bent_v = v + bend * np.sin(u / wave * 2 * np.pi)
    cuts = [_cuts(rng, size_m) for _ in range(2)]
    scale = rng.uniform(0.8, 1.8)
    widths = [scale * rng.uniform(4.5, 14, len(line)) for line in cuts]
    road = np.zeros(place.shape, np.bool_)
    paved = rng.random() < 0.92
    for position, lines, wide in zip((bent_u, bent_v), cuts, widths, strict=True):
        for at, width in zip(lines, wide, strict=True):
            road |= np.abs(position - at) < width / 2
            if paved:
                _kerb(rng, place, np.abs(position - at), width)
    if paved:
        _pave(rng, place, road)
    mix = rng.dirichlet([3.0 * share * len(STYLES) for share in STYLES.values()])
    blocks: list[Block] = []
    for left, right, w0, w1 in zip(cuts[0], cuts[0][1:], widths[0], widths[0][1:], strict=False):
        for low, high, h0, h1 in zip(cuts[1], cuts[1][1:], widths[1], widths[1][1:], strict=False):
            half_u = (right - left) / 2 - (w0 + w1) / 4 - 1.5 - bend
            half_v = (high - low) / 2 - (h0 + h1) / 4 - 1.5 - bend
            if min(half_u, half_v) < 8:
                continue
            cu, cv = (left + right) / 2, (low + high) / 2
            cx = cu * np.cos(turn) - cv * np.sin(turn) + size_m / 2
            cy = cu * np.sin(turn) + cv * np.cos(turn) + size_m / 2
            if not (-half_u < cx < size_m + half_u and -half_u < cy < size_m + half_u):
                continue
            style = str(rng.choice(list(STYLES), p=mix))
            blocks.append(((cx, cy), (half_u, half_v), turn, style))
    return blocks


def _cuts(rng: Generator, size_m: float) -> Floats:
    steps = rng.uniform(38, 110, int(size_m / 38 * 1.5) + 4)
    return np.asarray(np.cumsum(steps) - size_m * 0.75 - rng.uniform(0, 80))


def _kerb(rng: Generator, place: Town, away: Floats, width: float) -> None:
    if rng.random() < 0.6:
        side = (away >= width / 2) & (away < width / 2 + rng.uniform(1, 3))
        place.material[side] = Materials.CONCRETE


def _pave(rng: Generator, place: Town, road: Mask) -> None:
    place.classes[road] = ROAD
    place.material[road] = Materials.ASPHALT if rng.random() < 0.85 else Materials.GRAVEL
    place.tint[road] = rng.uniform(0.7, 1.6)
    if rng.random() < 0.5:
        place.material[road & (smooth_noise(rng, place.shape, 6) > 2.2)] = Materials.PAINT
    # streets are graded
    level = cv2.GaussianBlur(place.ground, (0, 0), 5 / place.cell_m)
    place.ground[road] = level[road]
    place.surface[road] = level[road]
