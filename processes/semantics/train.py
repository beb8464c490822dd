"""Training of the U-Net on towns that are made up as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from processes.semantics.network import UNet, laid
from processes.semantics.stack import BUILDING, CLASSES, COLOURS, brightness, stack
from processes.semantics.town import town
from processes.semantics.wear import degraded

CROP_PX, BATCH = 128, 8
POOL, RENEWED = 48, 3
"""Towns at hand, and steps after which one of them is replaced by a new one."""
TOLD, KEPT = 50, 500
"""Steps between reports, and between copies of the weights."""
SENSORS = {"rgbn": 0.5, "rgb": 0.2, "pan": 0.2, "pan nir": 0.02, "none": 0.05, "no heights": 0.03}
"""How often a crop is seen with which channels."""

UNKNOWN = 255


@dataclass(frozen=True)
class Example:
    """A place with known classes; UNKNOWN cells do not count."""

    above_ground: NDArray[np.float32]
    bands: dict[str, NDArray[np.float32]]
    classes: NDArray[np.uint8]
    level: float
    """Its `brightness`."""


@dataclass(frozen=True)
class Report:
    """How training stands."""

    step: int
    steps: int
    loss: float
    accuracy: float
    """Share of cells told right, of the last crops."""


def example(seed: int) -> Example:
    """Return a town as a chain from stereo images would show it."""
    rng = np.random.default_rng([seed, 1])
    place = town(seed, cell_m=float(rng.uniform(0.4, 0.65)))
    made = degraded(rng, place)
    return Example(made.above_ground, made.bands, place.classes, brightness([made.bands]))


def train(
    steps: int,
    seed: int = 0,
    real: Sequence[Example] = (),
    start: UNet | None = None,
    told: Callable[[Report], None] | None = None,
    kept: Callable[[UNet], None] | None = None,
) -> UNet:
    """Return a network trained on made-up towns, and on *real* places for a quarter of the time.

    It goes on from the weights of *start*, which is not changed, at a third of the pace, or from
    none. *told* hears how it goes each 50 steps; *kept* gets a copy each 500. The weights are
    averaged over the last few hundred steps, which is worth a per cent or two.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = laid(deepcopy(start) if start else UNet())
    average, fastest = deepcopy(net), 1e-3 if start else 3e-3
    best = torch.optim.AdamW(net.parameters(), lr=fastest, weight_decay=1e-3)
    pace = torch.optim.lr_scheduler.OneCycleLR(best, fastest, total_steps=steps, pct_start=0.1)
    for step, (inputs, truth) in enumerate(_batches(rng, seed, real, steps), start=1):
        net.train()
        logits = net(inputs)
        loss = _loss(logits, truth)
        best.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        best.step()
        pace.step()
        _follow(average, net, min(0.995, step / (step + 20)))
        if told and step % TOLD == 0:
            right = (logits.argmax(1) == truth)[truth != UNKNOWN].float().mean()
            told(Report(step, steps, loss.item(), right.item()))
        if kept and step % KEPT == 0:
            kept(average)
    return average


def _follow(average: UNet, net: UNet, inertia: float) -> None:
    with torch.no_grad():
        for mean, now in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - inertia)
            else:
                mean.copy_(now)


def _loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return cross entropy and, of buildings, one less their soft intersection over union.

    Cells at the edge of a building, which are few, count thrice.
    """
    each = functional.cross_entropy(
        logits, truth, ignore_index=UNKNOWN, label_smoothing=0.02, reduction="none"
    )
    house = (truth == BUILDING).float()[:, None]
    near = functional.max_pool2d(house, 3, 1, 1) + functional.max_pool2d(-house, 3, 1, 1)
    weight = (1.0 + 2.0 * near[:, 0]) * (truth != UNKNOWN)
    entropy = (each * weight).sum() / weight.sum().clamp(min=1.0)
    known = truth != UNKNOWN
    chance = torch.softmax(logits, 1)[:, BUILDING][known]
    built = (truth == BUILDING)[known].float()
    both = (chance * built).sum()
    overlap = (both + 1) / (chance.sum() + built.sum() - both + 1)
    return entropy + 0.5 * (1 - overlap)


def _batches(
    rng: Generator, seed: int, real: Sequence[Example], steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    number = seed * 1_000_000 + 1000
    pool: list[Example] = []
    for step in range(steps):
        if len(pool) < POOL or step % RENEWED == 0:
            if len(pool) >= POOL:
                pool.pop(int(rng.integers(len(pool))))
            pool.append(example(number))
            number += 1
        crops = []
        for _ in range(BATCH):
            source = real if real and rng.random() < 0.25 else pool
            crops.append(crop(rng, source[int(rng.integers(len(source)))]))
        inputs = torch.from_numpy(np.stack([x for x, _ in crops]))
        truth = torch.from_numpy(np.stack([y for _, y in crops]).astype(np.int64))
        yield inputs.contiguous(memory_format=torch.channels_last), truth


def crop(rng: Generator, place: Example) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the stack of a piece of a place, turned and seen by some sensor, and its classes."""
    window = _window(rng, place.classes.shape)
    classes = place.classes[window]
    bands = {
        name: band[window] * np.float32(np.exp(rng.normal(0, 0.06)))
        for name, band in place.bands.items()
    }
    bands = _sensed(rng, bands)
    height = place.above_ground[window] * np.float32(np.exp(rng.normal(0, 0.1)))
    values = stack(height, bands, place.level * float(np.exp(rng.normal(0, 0.2))))
    if bands and rng.random() < SENSORS["no heights"]:
        values[4] = np.nan
    return _turned(rng, values, classes)


def _sensed(rng: Generator, bands: dict[str, Any]) -> dict[str, Any]:
    """Return what one of the `SENSORS` sees of the bands that there are."""
    kinds = [kind for kind in SENSORS if kind != "no heights"]
    shares = np.array([SENSORS[kind] for kind in kinds])
    kind = str(rng.choice(kinds, p=shares / shares.sum()))
    if kind == "none":
        return {}
    if kind == "rgb":
        return {name: band for name, band in bands.items() if name != "nir"}
    if kind.startswith("pan") and set(COLOURS) <= bands.keys():
        weights = rng.dirichlet([6.0, 6.0, 3.0])
        pan = sum(w * bands[name] for w, name in zip(weights, COLOURS, strict=True))
        if "nir" in bands:
            pan = pan + rng.uniform(0, 0.4) * bands["nir"]
        seen = {"pan": np.asarray(pan, np.float32)}
        return seen | ({"nir": bands["nir"]} if kind == "pan nir" and "nir" in bands else {})
    return bands


def _window(rng: Generator, shape: tuple[int, ...]) -> tuple[slice, slice]:
    row, col = (int(rng.integers(max(size - CROP_PX, 0) + 1)) for size in shape)
    return slice(row, row + CROP_PX), slice(col, col + CROP_PX)


def _turned(
    rng: Generator, values: NDArray[np.float32], classes: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    short = [(0, CROP_PX - size) for size in classes.shape]
    values = np.pad(values, [(0, 0), *short], constant_values=np.nan)
    classes = np.pad(classes, short, constant_values=UNKNOWN)
    quarter, mirror = int(rng.integers(4)), rng.random() < 0.5
    values, classes = np.rot90(values, quarter, (1, 2)), np.rot90(classes, quarter)
    if mirror:
        values, classes = values[..., ::-1], classes[:, ::-1]
    return np.ascontiguousarray(values), np.ascontiguousarray(classes)


assert len(CLASSES) < UNKNOWN
