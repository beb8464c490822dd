"""Refinement: the disparity of a pixel as that of the best plane through its own surface around it.

Neighbours count by distance and by how near they lie to the pixel's plane, so a plane ends where
its surface ends. Passes grow wider and stricter: the first removes noise and steps of the matching,
the last one averages over what is flat indeed and leaves the rest alone; every other neighbour is
enough for that.

LANES pixels of a row are fitted at a time, their nine sums kept in registers: 80 ns a pixel, where
sums kept in rows of memory took 300.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]  # it comes with numba, without stubs
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from processes.stereo.lanes import I64, LANES, Vectors

PASSES = ((3, 1, 1.0), (5, 1, 0.5), (8, 2, 0.3))
"""Radius (px), which neighbours within it (1: all, 2: those of one colour of a chessboard), and …

… the distance from the plane (px) at which a neighbour counts a quarter.
"""

RIDGE = 0.5
"""Added to the spread of the support (px²): a plane on few points keeps its slope."""

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Planes(NamedTuple):
    """The plane through each pixel's own surface, arrays (row, col)."""

    disparity: Floats
    """px, at the pixel."""
    support: Floats
    """Share of the surroundings that lies on it, 0 to 1."""
    by_col: Floats
    by_row: Floats
    """What a pixel to the right and one further down have more, px."""


def refine(disparity: Floats, matched: Mask, wanted: Mask | None = None) -> Planes:
    """Return the planes that fit disparities best around each pixel.

    Only *matched* pixels have a say; only *wanted* ones are refined, by default all.
    """
    rows, cols = disparity.shape
    rim = max(radius for radius, _, _ in PASSES)
    beside = ((rim, rim), (rim, rim + LANES))
    measured = np.pad(disparity.astype(np.float32, copy=False), beside)
    weight = np.pad(matched.astype(np.float32), beside)
    asked = np.pad(np.ones(disparity.shape, np.bool_) if wanted is None else wanted, beside)
    now = np.stack([measured, np.zeros_like(measured), np.zeros_like(measured)])
    after = now.copy()
    support, full = np.zeros_like(measured), np.float32(1.0)
    for radius, every, tau in PASSES:
        table = disk(radius, every=every)
        full = np.float32(table[:, 2].sum())
        _fit_planes(measured, weight, asked, now, after, support, table, tau, rim, rows, cols)
        now, after = after, now
    inside = (slice(rim, rim + rows), slice(rim, rim + cols))
    height, by_col, by_row = (np.ascontiguousarray(values[inside]) for values in now)
    return Planes(height, support[inside] / full, by_col, by_row)


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_planes(  # type: ignore[no-untyped-def]
    measured, weight, asked, now, after, support, table, tau, rim, rows, cols
):
    stride = measured.shape[1]
    offsets = np.empty(table.shape[0], np.int64)
    for k in range(table.shape[0]):
        offsets[k] = int(table[k, 1]) * stride + int(table[k, 0])
    flat = (measured.reshape(-1), weight.reshape(-1), now.reshape(-1), after.reshape(-1))
    size = measured.size
    for r in range(rim, rim + rows):
        for c in range(rim, rim + cols, LANES):
            if not asked[r, c : c + LANES].any():
                continue
            fit_planes(
                flat[0], flat[1], flat[2], flat[3], support.reshape(-1), size, r * stride + c,
                offsets, table.reshape(-1), table.shape[0],
                np.float32(1.0 / (tau * tau)), np.float32(RIDGE),
            )  # fmt: skip
            for k in range(c, c + LANES):
                if not asked[r, k]:
                    after[:, r, k] = now[:, r, k]


@intrinsic
def fit_planes(  # type: ignore[no-untyped-def]
    typingctx, measured, weight, now, after, support, size, at, offsets, table, n, sharp, ridge
):
    """Fit planes to LANES pixels from *at* on: heights and slopes *now* give those *after*.

    Both hold the disparity, and its slopes by column and by row from *size* and 2 · *size* on. A
    neighbour lies *offsets* away, and *table* has its column, row and weight beside the pixel's.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        v = Vectors(context, builder)
        measured, weight, now, after, support = (v.pointer(sig.args[i], args[i]) for i in range(5))
        offsets, table = (v.pointer(sig.args[i], args[i]) for i in (7, 8))
        size, at, n = args[5], args[6], args[9]
        sharp, ridge = v.splat(args[10]), v.splat(args[11])
        twice = builder.add(size, size)

        def add(a: Any, *more: Any) -> Any:
            for b in more:
                a = builder.fadd(a, b, flags=("fast",))
            return a

        def sub(a: Any, b: Any) -> Any:
            return builder.fsub(a, b, flags=("fast",))

        def mul(a: Any, *more: Any) -> Any:
            for b in more:
                a = builder.fmul(a, b, flags=("fast",))
            return a

        def div(a: Any, b: Any) -> Any:
            return builder.fdiv(a, b, flags=("fast",))

        zero, one, few = (v.floats(value) for value in (0.0, 1.0, 1e-6))
        places = (at, builder.add(at, size), builder.add(at, twice))
        own, by_c, by_r = (v.load(now, place) for place in places)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(9)]
        with cgutils.for_range(builder, n) as loop:
            k = loop.index
            entry = builder.mul(k, ir.Constant(k.type, 3))
            x, y, near = (
                v.splat(builder.load(builder.gep(table, [v.plus(entry, i)]))) for i in range(3)
            )
            other = builder.add(at, builder.load(builder.gep(offsets, [k])))
            plane = add(own, mul(by_c, x), mul(by_r, y))
            off = sub(v.load(now, other), plane)
            beyond = add(one, mul(off, off, sharp))
            w = div(mul(near, v.load(weight, other)), mul(beyond, beyond))
            m = mul(w, sub(v.load(measured, other), plane))
            w_x, w_y = mul(w, x), mul(w, y)
            parts = (w, w_x, w_y, mul(w_x, x), mul(w_x, y), mul(w_y, y), m, mul(m, x), mul(m, y))
            for total, part in zip(sums, parts, strict=True):
                builder.store(add(builder.load(total), part), total)
        s, s_x, s_y, s_xx, s_xy, s_yy, s_m, s_xm, s_ym = (builder.load(total) for total in sums)
        enough = builder.fcmp_ordered(">", s, few)
        share = div(one, builder.select(enough, s, one))
        x, y, m = mul(s_x, share), mul(s_y, share), mul(s_m, share)
        xx = add(sub(mul(s_xx, share), mul(x, x)), ridge)
        xy = sub(mul(s_xy, share), mul(x, y))
        yy = add(sub(mul(s_yy, share), mul(y, y)), ridge)
        xm, ym = sub(mul(s_xm, share), mul(x, m)), sub(mul(s_ym, share), mul(y, m))
        det = sub(mul(xx, yy), mul(xy, xy))
        steeper_c = div(sub(mul(xm, yy), mul(ym, xy)), det)
        steeper_r = div(sub(mul(ym, xx), mul(xm, xy)), det)
        higher = sub(sub(m, mul(steeper_c, x)), mul(steeper_r, y))
        for old, change, place in zip(
            (own, by_c, by_r), (higher, steeper_c, steeper_r), places, strict=True
        ):
            v.store(builder.select(enough, add(old, change), old), after, place)
        v.store(s, support, at)
        return context.get_dummy_value()

    f32 = types.float32
    shape = types.void(
        measured, weight, now, after, support, I64, I64, offsets, table, I64, f32, f32
    )
    return shape, codegen


def disk(radius: int, *, every: int = 1) -> Floats:
    """Return column, row and Gaussian weight of the neighbours within *radius* pixels, (n, 3).

    With *every* 2, half of them, as the pixel itself on a chessboard.
    """
    side = range(-radius, radius + 1)
    inside = [
        (c, r)
        for r in side
        for c in side
        if r * r + c * c <= radius * radius + 0.5 and (r + c) % every == 0
    ]
    place = np.array(inside, np.float32)
    sigma = radius / 1.5
    weight = np.exp(-(place**2).sum(axis=1) / (2 * sigma**2))
    return np.ascontiguousarray(np.column_stack([place, weight]), np.float32)
