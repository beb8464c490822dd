"""Terraces: houses that one builder put in a row are as wide as each other.

Where most houses of a row were told apart by what differs between them, one that is as deep as its
neighbours and twice or three times as wide is two or three houses whose roofs do not differ. Only
whole multiples are divided, and only where enough neighbours agree on the width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.outlines.regions import windows

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Row:
    """What houses of one row have in common."""

    width_m: tuple[float, float] = (4.5, 11.0)
    """Of a house along the row."""
    most: int = 4
    """Houses that one part may be."""
    alike: float = 0.22
    """Relative difference of widths of equal houses from their middle …"""
    depth_alike: float = 0.3
    """… and of their depths."""
    turn_rad: float = 0.22
    """Between the walls of neighbours."""
    full: float = 0.6
    """Least share of its rectangle that a part of a row fills."""
    siblings: int = 2
    """Neighbours as wide as each other that say how wide a house is."""


@dataclass(frozen=True)
class Block:
    """A part's window and the rectangle around it: middle (x, y), axis, half extents along it."""

    number: int
    box: tuple[slice, slice]
    middle: Floats
    axis: Floats
    size: Floats
    full: float


def divided(labels: Labels, cell_m: float, row: Row | None = None) -> Labels:
    """Return the parts, numbered from 1, with multiples of the houses beside them divided."""
    row = row or Row()
    pairs = _touching(labels)
    if not len(pairs):
        return labels
    blocks = {block.number: block for block in _blocks(labels, np.unique(pairs))}
    links: dict[tuple[int, int], list[int]] = {}
    for one, other in pairs.tolist():
        for a, b in ((one, other), (other, one)):
            along = _neighbours(blocks[a], blocks[b], row)
            if along is not None:
                links.setdefault((a, along), []).append(b)
    labels = labels.copy()
    top = int(labels.max())
    done: set[int] = set()
    for chain in _chains(links, blocks, row):
        widths = {n: 2 * float(blocks[n].size[axis]) * cell_m for n, axis in chain.items()}
        for number, count in _multiples(widths, row).items():
            if number in done:
                continue
            done.add(number)
            top = _cut(labels, blocks[number], chain[number], count, top)
    return labels


def _multiples(widths: dict[int, float], row: Row) -> dict[int, int]:
    """Return how many houses each part is that is more than one.

    One house is as wide as the most parts that differ little from their middle, of as many those
    that differ least.
    """
    low, high = row.width_m
    single = np.sort([w for w in widths.values() if low <= w <= high])
    widest = single * (1 + row.alike) / (1 - row.alike)
    last = np.searchsorted(single, widest, side="right")
    groups = [single[first:stop] for first, stop in enumerate(last.tolist())]
    own = max(groups, key=lambda group: (len(group), group[0] / group[-1]), default=single)
    if len(own) < row.siblings:
        return {}
    mean = float(own.mean())
    counts = {number: round(width / mean) for number, width in widths.items()}
    # the error of a sum of widths grows with its root
    return {
        number: count
        for number, count in counts.items()
        if 2 <= count <= row.most and abs(widths[number] / mean - count) <= row.alike * count**0.5
    }


def _touching(labels: Labels) -> NDArray[np.int32]:
    """Return pairs of parts that share a side."""
    sides = [(labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])]
    found = [
        np.sort(np.stack([a[wall], b[wall]], axis=1), axis=1)
        for a, b in sides
        for wall in [(a != b) & (a > 0) & (b > 0)]
    ]
    return np.unique(np.concatenate(found), axis=0)


def _blocks(labels: Labels, numbers: NDArray[np.int32]) -> list[Block]:
    boxes = windows(labels)
    found = []
    for number in numbers.tolist():
        box = boxes[number - 1]
        row, col = np.nonzero(labels[box] == number)
        xy = np.stack([col + box[1].start, row + box[0].start], axis=1).astype(np.float32)
        middle, size, degrees = cv2.minAreaRect(xy)
        turn = np.radians(degrees)
        extent = np.array(size) + 1.0
        found.append(
            Block(
                number,
                box,
                np.array(middle),
                np.array([np.cos(turn), np.sin(turn)]),
                extent / 2,
                len(xy) / float(extent.prod()),
            )
        )
    return found


def _neighbours(block: Block, other: Block, row: Row) -> int | None:
    """Return the axis of a block along which another is the next of its row, if it is."""
    if min(block.full, other.full) < row.full:
        return None
    turn = np.arctan2(*reversed((_frame(block) @ other.axis).tolist()))
    if abs((turn + np.pi / 4) % (np.pi / 2) - np.pi / 4) > row.turn_rad:
        return None
    away = np.abs(_frame(block) @ (other.middle - block.middle)) / block.size
    along = int(np.argmax(away))
    square = abs(float(block.axis @ other.axis)) < 0.7
    depth, theirs = block.size[1 - along], other.size[along if square else 1 - along]
    beside = away[1 - along] * block.size[1 - along] < 0.5 * depth
    alike = abs(depth - theirs) <= row.depth_alike * max(depth, theirs)
    return along if beside and alike else None


def _chains(
    links: dict[tuple[int, int], list[int]], blocks: dict[int, Block], row: Row
) -> list[dict[int, int]]:
    """Return rows: the parts of each, and the axis of each part that runs along the row."""
    seen: set[tuple[int, int]] = set()
    chains = []
    for start in sorted(links):
        if start in seen:
            continue
        chain: dict[int, int] = {}
        pending = [start]
        while pending:
            number, axis = pending.pop()
            if (number, axis) in seen:
                continue
            seen.add((number, axis))
            chain[number] = axis
            for other in links.get((number, axis), []):
                square = abs(float(blocks[number].axis @ blocks[other].axis)) < 0.7
                pending.append((other, 1 - axis if square else axis))
        if len(chain) > row.siblings:
            chains.append(chain)
    return chains


def _cut(labels: Labels, block: Block, along: int, count: int, top: int) -> int:
    """Divide a part into equal ones; return the highest number in use then."""
    rows, cols = np.nonzero(labels[block.box] == block.number)
    rows, cols = rows + block.box[0].start, cols + block.box[1].start
    offset = np.stack([cols, rows], axis=1) - block.middle
    place = (offset @ _frame(block)[along]) / (2 * block.size[along]) + 0.5
    piece = np.clip((place * count).astype(int), 0, count - 1)
    names = np.array([block.number, *range(top + 1, top + count)], np.int32)
    labels[rows, cols] = names[piece]
    return top + count - 1


def _frame(block: Block) -> Floats:
    """Return the axes of a block, one a row."""
    x, y = block.axis.tolist()
    return np.array([[x, y], [-y, x]])
