"""Two ways to tell classes, one signature: rules without weights, and a network.

From our own stereo surface of the built scenes `village` and `quarter`, which neither was trained
on, four bands and `ortho_mask` (tests/benchmarks/segmentation.py): accuracy .91 and .81 by rules,
.94 and .95 by the network; IoU of buildings .920 and .966 by rules, .928 and .966 by the network.
With a panchromatic band alone the rules, which judge objects whole, find buildings better (.82 and
.95 against .68 and .91) and the network everything else. Footprints drawn
from both on eleven towns: mean F1 .951 by rules and .956 by the network, mean IoU .886 and .889,
PoLiS .41 and .40 m, vertex ratio 1.10 and 1.12; the network is better on seven and worse on four
of rows and garages (.987 for 1, .844 for .850, with a vertex ratio of 1.4), and takes 2 to 12 CPU
seconds more, twice as much as by rules. On a real quarry on a slope, panchromatic, it takes
7000 m² of scarps and bushes for houses, of which footprints' look at whole objects leaves as much
as by rules. So rules stay the default of footprints, and the network is that of process segment.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import InvalidInput
from processes.core.gpu import chosen as found_device
from processes.core.process import Asset, Workspace
from processes.outlines.segment import Limits, Rules, Sample, limits, tidied
from processes.semantics.modelcard import ModelCard
from processes.semantics.rules import classes_by_rules
from processes.semantics.scene import Scene
from processes.semantics.stack import BUILDING, CLASSES, GROUND, VEGETATION, brightness, stack
from processes.semantics.weights import Device, bundled, fetched, network

Floats = NDArray[np.floating[Any]]

PIECE_PX = 1280
"""The network sees pieces of at most this side, and what lies around: that bounds memory."""
REACH_PX = 96
"""What lies further from a cell does not change it."""


class Segmenter(Protocol):
    """Tells classes."""

    @property
    def margin_m(self) -> float:
        """How far beyond a block it looks, metres."""

    def __call__(self, sample: Sample, corner: tuple[int, int] = (0, 0)) -> NDArray[np.float32]:
        """Return probabilities (5, row, col) of `CLASSES`, all nought where no height is known.

        *corner* is the first cell's row and column in the scene, so that blocks fit together.
        """


@dataclass(frozen=True)
class ByRules:
    """Thresholds on height, colour and texture; probabilities are 0 or 1."""

    cell_m: float
    limits: Limits
    rules: Rules = field(default_factory=Rules)
    margin_m: float = 24.0

    def __call__(self, sample: Sample, corner: tuple[int, int] = (0, 0)) -> NDArray[np.float32]:
        found = classes_by_rules(sample, self.cell_m, self.limits, self.rules)
        known = np.isfinite(sample.above_ground)
        return np.stack([(found == number) & known for number in range(len(CLASSES))]).astype(
            np.float32
        )


@dataclass(frozen=True)
class ByNetwork:
    """A network, at the cell size that it was trained for or near it.

    Cells are merged or split by whole numbers to come near; the lattice of the scene decides
    which, so that blocks agree.
    """

    cell_m: float
    card: ModelCard
    content: bytes
    level: float
    """`stack.brightness` of the scene."""
    device: Device = "cpu"

    @property
    def margin_m(self) -> float:
        merged, split = factors(self.cell_m, self.card.cell_m)
        return REACH_PX * self.cell_m * merged / split

    def __call__(self, sample: Sample, corner: tuple[int, int] = (0, 0)) -> NDArray[np.float32]:
        infer, stride = network(self.card.form, self.content, self.device)
        values = stack(sample.above_ground, sample.bands, self.level)
        merged, split = factors(self.cell_m, self.card.cell_m)
        step = stride * merged // np.gcd(stride * merged, split)
        top, left = (place % step for place in corner)
        rows, cols = values.shape[1:]
        below, right = (-(top + rows)) % step, (-(left + cols)) % step
        values = np.pad(values, [(0, 0), (top, below), (left, right)], constant_values=np.nan)
        values = _merged(values, merged).repeat(split, 1).repeat(split, 2)
        chances = self._inferred(infer, values, stride)
        chances = _merged(chances, split).repeat(merged, 1).repeat(merged, 2)
        chances = chances[:, top : top + rows, left : left + cols]
        chances[:, ~np.isfinite(sample.above_ground)] = 0.0
        return chances

    def _inferred(
        self, infer: Any, values: NDArray[np.float32], stride: int
    ) -> NDArray[np.float32]:
        """Return probabilities of a whole stack, piece by piece with what lies around each."""
        card = self.card
        chosen = values[list(card.channels)]
        if card.absent is not None:
            chosen = np.where(np.isfinite(chosen), chosen, np.float32(card.absent))
        rows, cols = chosen.shape[1:]
        reach = -(-REACH_PX // stride) * stride
        out = np.zeros((len(CLASSES), rows, cols), np.float32)
        for row in range(0, rows, PIECE_PX):
            for col in range(0, cols, PIECE_PX):
                top, left = max(row - reach, 0), max(col - reach, 0)
                below = min(row + PIECE_PX, rows)
                right = min(col + PIECE_PX, cols)
                piece = chosen[
                    None, :, top : min(below + reach, rows), left : min(right + reach, cols)
                ]
                logits = infer(np.ascontiguousarray(piece, np.float32))
                self._check(logits, piece.shape)
                logits = logits[0, :, row - top : below - top, col - left : right - left]
                out[list(card.classes), row:below, col:right] = _softmax(logits)
        return out

    def _check(self, logits: NDArray[np.float32], asked: tuple[int, ...]) -> None:
        wanted = (1, len(self.card.classes), *asked[2:])
        if logits.shape != wanted:
            raise InvalidInput(
                f"{self.card.name} answers with shape {logits.shape}, not {wanted} as its Item says"
            )
        if not np.isfinite(logits).all():
            raise InvalidInput(
                f"{self.card.name} answers with numbers that are not finite: if it does not take "
                "NaN where nothing is known, say orograph:absent in its Item"
            )


def chosen(
    kind: Literal["rules", "unet"], scene: Scene, work: Workspace, *, weights: Asset | None = None
) -> Segmenter:
    """Return a segmenter for a scene: rules, or the network of *weights*, or the bundled one."""
    samples = list(scene.samples())
    if kind == "rules":
        return ByRules(scene.grid.cell_m, limits(samples, scene.grid.cell_m))
    card, content = bundled() if weights is None else fetched(weights, work)
    return ByNetwork(
        scene.grid.cell_m,
        card,
        content,
        brightness([sample.bands for sample in samples]),
        found_device(work.device),
    )


def factors(cell_m: float, wanted_m: float) -> tuple[int, int]:
    """Return how many cells are merged into one, and how many one is split into, along a side.

    One of the two is 1: whole numbers keep the lattice. Within a third of *wanted_m* nothing is.
    """
    ratio = wanted_m / cell_m
    if ratio >= 1:
        return max(1, round(ratio)), 1
    return 1, max(1, round(1 / ratio))


def built(chances: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the cells that are more likely building than any other class."""
    return np.asarray((chances.argmax(axis=0) == BUILDING) & (chances[BUILDING] > 0))


def settled(chances: NDArray[np.float32], sample: Sample, cell_m: float) -> NDArray[np.float32]:
    """Return probabilities whose buildings are tidied: specks and ragged rims go, holes close.

    What is taken from the buildings falls to the likeliest other class.
    """
    if sample.filled is not None:
        plant = chances.argmax(axis=0) == VEGETATION
        sample = replace(sample, filled=sample.filled & ~plant)
    mask = tidied(built(chances), sample, cell_m, peeled=False)
    known = chances.max(axis=0) > 0
    others = chances.copy()
    others[BUILDING] = 0.0
    total = others.sum(axis=0)
    others[GROUND] += (total == 0) & known
    others /= np.where(total > 0, total, 1.0)
    others[:, mask] = 0.0
    others[BUILDING] = mask & known
    return others


def _merged(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return means of *count* by *count* cells, of those that are known."""
    if count == 1:
        return values
    bands, rows, cols = values.shape
    cells = values.reshape(bands, rows // count, count, cols // count, count)
    known = np.isfinite(cells)
    total = np.where(known, cells, 0).sum(axis=(2, 4))
    number = known.sum(axis=(2, 4))
    return np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    weight = np.exp(logits - logits.max(axis=0, keepdims=True))
    return np.asarray(weight / weight.sum(axis=0, keepdims=True), np.float32)
