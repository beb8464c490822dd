"""Which points a coarse view shows, and which come nearer by: an octree of samples.

The cube around all points is cut in eight, and these again, down to *depth*. A cell of level n
shows at most one point in each of its SAMPLES³ parts that no level above it shows; those of the
last level show what is left. So every point is in one cell, and the cells from the root down to
any level together are an even sample. It is the tree of COPC and of additive 3D Tiles alike.

All of it is settled by the order of the points along a curve through the cube, which visits each
part of each cell in one go: a point is shown by the first level whose part it is the first of.
The curve turns in every part another way, so samples lean to no side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

SAMPLES = 128
BITS = 7
"""SAMPLES is two to the power of it."""
DEEPEST = 13
"""Levels below the root: so that three coordinates fit into 63 bits."""

Integers = NDArray[np.int64]
Key = tuple[int, int, int, int]
"""Level, and the number of a cell in it along x, y and z."""


class Nodes(NamedTuple):
    """The cells of some points: those of cell n are `order[begin[n] : begin[n + 1]]`."""

    keys: list[Key]
    begin: Integers
    order: Integers


def nodes(place: Integers, side: int, depth: int) -> Nodes:
    """Return the cells of an octree that points belong to, and the points of each.

    *place* (n, 3) are whole numbers from 0 to *side* - 1, the place in the root cube. Where all of
    a square column of it are given, others outside of the column change nothing, as long as a part
    of the root is no wider than the column.
    """
    if not 0 <= depth <= DEEPEST:
        raise ValueError(f"an octree has 0 to {DEEPEST} levels below its root, not {depth}")
    fine = place * (SAMPLES << depth) // side
    code = _codes(fine, BITS + depth)
    order = np.argsort(code, kind="stable")
    level = _levels(code[order], depth)
    cell = fine[order] >> (BITS + depth - level)[:, None]
    keys = np.column_stack([level, cell])
    by_cell = np.lexsort(keys.T[::-1])
    order, keys = order[by_cell], keys[by_cell]
    new = np.ones(len(keys), bool)
    new[1:] = (np.diff(keys, axis=0) != 0).any(axis=1)
    begin = np.flatnonzero(np.append(new, True))
    return Nodes(_keys(keys[new]), begin, order)


def parent(key: Key) -> Key:
    """Return the cell above one that is not the root."""
    level, x, y, z = key
    return level - 1, x >> 1, y >> 1, z >> 1


def _keys(table: NDArray[Any]) -> list[Key]:
    return [(level, x, y, z) for level, x, y, z in table.tolist()]


@njit(cache=True, nogil=True, error_model="numpy")
def _codes(fine, bits):  # type: ignore[no-untyped-def]
    """Return where along the curve points are: three bits a level, turned by those before them."""
    code = np.empty(len(fine), np.int64)
    for p in range(len(fine)):
        x, y, z = fine[p, 0], fine[p, 1], fine[p, 2]
        path, turned = np.uint64(1), np.int64(0)
        for bit in range(bits - 1, -1, -1):
            digit = ((x >> bit) & 1) | (((y >> bit) & 1) << 1) | (((z >> bit) & 1) << 2)
            # a multiplicative hash (Knuth): the upper bits depend on all of the path
            turn = np.int64((path * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(61))
            turned = (turned << 3) | (digit ^ turn)
            path = (path << np.uint64(3)) | np.uint64(digit)
        code[p] = turned
    return code


@njit(cache=True, nogil=True, error_model="numpy")
def _levels(code, depth):  # type: ignore[no-untyped-def]
    """Return the first level in which each point, in order, is the first of its part."""
    level = np.zeros(len(code), np.int64)
    for p in range(1, len(code)):
        apart = code[p] ^ code[p - 1]
        level[p] = depth
        while level[p] > 0 and (apart >> (3 * (depth - level[p] + 1))) != 0:
            level[p] -= 1
    return level
