"""Aggregation, against the recursion written out plainly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processes.stereo.census import Slices
from processes.stereo.lanes import LANES
from processes.stereo.sgm import NEVER, NOTHING, sweep, winners

FAR = 0x3FFF
PATHS = {(0, -1): (-1, 0), (-1, -1): (-1, 1), (-1, 0): (0, -1), (-1, 1): (-1, -1)}
"""Each path's neighbour, and the one across it."""


def plainly(cost, guide, p1, p2, sign):
    """Sum of four path costs over a dense volume (row, col, disparity)."""
    rows, cols = cost.shape[:2]
    total = np.zeros(cost.shape, int)
    for along, across in PATHS.items():
        line = np.zeros(cost.shape, int)
        for r in range(rows)[::sign]:
            for c in range(cols)[::sign]:
                terms = []
                for dr, dc in (along, across):
                    rr, cc = r + sign * dr, c + sign * dc
                    if not (0 <= rr < rows and 0 <= cc < cols):
                        continue
                    before = line[rr, cc]
                    least = before.min()
                    jump = p2[abs(int(guide[r, c]) - int(guide[rr, cc]))]
                    padded = np.pad(before, 1, constant_values=FAR)
                    step = np.minimum(padded[:-2], padded[2:]) + p1
                    terms.append(np.minimum(np.minimum(before, step), least + jump) - least)
                if len(terms) == 2:
                    line[r, c] = cost[r, c] + (terms[0] + terms[1]) // 2
                else:
                    line[r, c] = cost[r, c] + sum(terms)
        total += line
    return total


@pytest.mark.parametrize("up", [False, True])
def test_sweeps_are_the_recursion_written_out(up):
    rng = np.random.default_rng(5)
    cost = rng.integers(0, 40, (6, 9, LANES)).astype(np.uint8)
    guide = rng.integers(0, 255, (6, 9)).astype(np.uint8)
    p2 = np.linspace(60, 20, 256).astype(np.uint8)
    low = np.full((6, 9), -5, np.float32)
    slices = Slices.between(low, low + LANES - 1)
    total = np.zeros(slices.size + LANES, np.uint16)
    where = (slices.first, slices.count, slices.start)
    sweep(cost.ravel(), *where, guide, np.uint8(7), p2, -5, LANES, up, total)
    expected = plainly(cost, guide, 7, p2.astype(int), -1 if up else 1)
    assert_array_equal(total[: slices.size].reshape(cost.shape), expected)


def test_pixels_with_other_ranges_meet_at_the_same_disparity():
    """A slice that starts elsewhere is compared by disparity, not by its place in memory."""
    low = np.zeros((1, 8), np.float32)
    low[0, 1::2] = 3
    slices = Slices.between(low, low + LANES - 1)
    cost = np.full(slices.size, 30, np.uint8)
    for c in range(8):
        if c != 4:
            cost[slices.start[0, c] + 9 - slices.first[0, c]] = 0
    total = np.zeros(slices.size + LANES, np.uint16)
    where = (slices.first, slices.count, slices.start)
    guide, p2 = np.zeros((1, 8), np.uint8), np.full(256, 50, np.uint8)
    for up in (False, True):
        sweep(cost, *where, guide, np.uint8(10), p2, 0, 19, up, total)
    best, near, rival, right = winners(total, *where, 1, 20)
    assert_array_equal(best, np.full((1, 8), 9))
    assert np.all(near[..., 1] < near[..., 0])
    assert np.all(near[..., 1] < near[..., 2])
    assert np.all(rival > near[..., 1])
    assert_array_equal(right[0, 9:17], np.full(8, 9))


def test_a_right_pixel_that_nobody_looks_at_is_never_matched():
    low = np.zeros((1, 3), np.float32)
    slices = Slices.between(low, low + LANES - 1)
    total = np.arange(slices.size + LANES).astype(np.uint16)
    right = winners(total, slices.first, slices.count, slices.start, 1, 40)[3]
    assert np.all(right[0, 3 + LANES :] == NEVER)
    assert np.all(right[0, : 3 + LANES - 1] != NEVER)


def test_an_empty_slice_is_gone_around():
    """A pixel without data has no cells, and its neighbours' paths start anew behind it."""
    low = np.zeros((3, 5), np.float32)
    where = np.ones((3, 5), bool)
    where[1, 2] = False
    slices = Slices.between(low, low + LANES - 1, where=where)
    assert slices.size == 14 * LANES
    rng = np.random.default_rng(2)
    cost = rng.integers(0, 40, slices.size).astype(np.uint8)
    total = np.empty(slices.size + LANES, np.uint16)
    place = (slices.first, slices.count, slices.start)
    guide, p2 = np.zeros((3, 5), np.uint8), np.zeros(256, np.uint8)
    for up in (False, True):
        sweep(cost, *place, guide, np.uint8(0), p2, 0, LANES, up, total)
    # a jump costs nothing: eight paths, each the pixel's own cost
    assert_array_equal(total[: slices.size], 8 * cost.astype(np.uint16))
    best, near, rival, _ = winners(total, *place, 1, 5)
    assert best[1, 2] == 0
    assert near[1, 2, 1] == rival[1, 2] == NOTHING
    own = cost.reshape(14, LANES)
    assert_array_equal(best[where], own.argmin(axis=1))


def test_winners_are_what_sorting_says():
    rng = np.random.default_rng(8)
    low = rng.integers(-4, 4, (4, 6)).astype(np.float32)
    slices = Slices.between(low, low + 2 * LANES - 1)
    total = rng.integers(0, 900, slices.size + LANES).astype(np.uint16)
    place = (slices.first, slices.count, slices.start)
    best, near, rival, right = winners(total, *place, 2, 6)
    own = total[: slices.size].reshape(4, 6, 2 * LANES).astype(int)
    assert_array_equal(best, own.argmin(axis=2) + slices.first)
    assert_array_equal(near[..., 1], own.min(axis=2))
    far = np.abs(np.arange(2 * LANES) - own.argmin(axis=2)[..., None]) >= 4
    assert_array_equal(rival, np.where(far, own, NOTHING).min(axis=2))
    claims = {}
    for r, c, k in np.ndindex(own.shape):
        step = int(slices.first[r, c]) + k
        if step % 2 == 0 and 0 <= c + step // 2 < 6:
            claims.setdefault((r, c + step // 2), []).append((own[r, c, k], c, step))
    for r, x in np.ndindex(right.shape):
        assert right[r, x] == (min(claims[r, x])[2] if (r, x) in claims else NEVER)
