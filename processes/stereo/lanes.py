"""Vector instructions for short loops: what the compiler does not find by itself.

Slices are short (16 to 200 steps) and lie anywhere in flat arrays. For such loops LLVM's
vectoriser needs proof that no array overlaps another, which it cannot have, and long trips, which
there are not; left alone it made scalar code of 16 ns a cell for eight paths. So these loops are
written as vectors of LANES bytes, which LLVM brings to any processor. All arrays are
one-dimensional and contiguous; offsets are counted in their elements and are not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]  # it comes with numba, without stubs
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Slices are a multiple of this many disparities long: one vector register of bytes."""

TAPS = 8
"""Floats in a register: more than the six taps of a kernel, the last two weigh nothing."""

_FLOAT = ir.FloatType()
_BIT, _BYTE, _SHORT, _INT, _LONG = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
U8, U16, I32, I64 = types.uint8, types.uint16, types.int32, types.int64


class Vectors:
    """What it takes to write down vector code in one function."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def pointer(self, kind: Any, array: Any) -> Any:
        from numba.np.arrayobj import make_array  # 0.03 s, for what is compiled only

        return make_array(kind)(self.context, self.builder, array).data

    @contextmanager
    def chunks(self, n: Any) -> Iterator[Any]:
        """Loop over offsets 0, LANES, … below *n*."""
        zero, step = ir.Constant(_LONG, 0), ir.Constant(_LONG, LANES)
        with cgutils.for_range_slice(self.builder, zero, n, step, inc=True) as (k, _):
            yield k

    def at(self, base: Any, offset: Any, lanes: int) -> Any:
        element = base.type.pointee
        place = self.builder.gep(base, [offset])
        return self.builder.bitcast(place, ir.VectorType(element, lanes).as_pointer())

    def load(self, base: Any, offset: Any, lanes: int = LANES) -> Any:
        value = self.builder.load(self.at(base, offset, lanes))
        value.align = _size(base.type.pointee)
        return value

    def store(self, value: Any, base: Any, offset: Any) -> None:
        stored = self.builder.store(value, self.at(base, offset, value.type.count))
        stored.align = _size(base.type.pointee)

    def splat(self, value: Any, lanes: int = LANES) -> Any:
        kind = ir.VectorType(value.type, lanes)
        nothing = ir.Constant(kind, ir.Undefined)
        single = self.builder.insert_element(nothing, value, ir.Constant(_INT, 0))
        return self.builder.shuffle_vector(single, nothing, _constant(_INT, [0] * lanes))

    def floats(self, value: float, lanes: int = LANES) -> Any:
        return _constant(_FLOAT, [value] * lanes)

    def plus(self, offset: Any, k: int) -> Any:
        return self.builder.add(offset, ir.Constant(offset.type, k))

    def least(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.icmp_unsigned("<", a, b), a, b)

    def widened(self, value: Any, bits: int = 16) -> Any:
        return self.builder.zext(value, ir.VectorType(ir.IntType(bits), value.type.count))

    def called(self, name: str, *values: Any, gives: Any = None) -> Any:
        """Call an LLVM function on vectors of one type."""
        kind = values[0].type
        full = f"llvm.{name}.v{kind.count}i{kind.element.width}"
        shape = ir.FunctionType(gives or kind, [v.type for v in values])
        function = cgutils.get_or_insert_function(self.builder.module, shape, full)
        return self.builder.call(function, values)

    def lowest(self, value: Any) -> Any:
        """Return the least of a vector's elements."""
        return self.called("vector.reduce.umin", value, gives=value.type.element)


def _size(element: Any) -> int:
    """Return how many bytes an integer or a float32 takes."""
    return 4 if element == _FLOAT else int(element.width) // 8


def _constant(element: Any, values: list[Any]) -> Any:
    return ir.Constant(ir.VectorType(element, len(values)), values)


Codegen = Callable[[Any, Any, Any, Any], Any]


@intrinsic
def differences(  # type: ignore[no-untyped-def]
    typingctx, code, grey, cap, missing, codes, oks, greys, at, out, to, n
):
    """Write out[to:][:n], uint8: bits in which codes[at:] differ from *code*, plus half of …

    … how far greys[at:] are from *grey*, at most *cap*; *missing* where oks[at:] is 0.
    """

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        v = Vectors(context, builder)
        code, grey, cap, missing = (v.splat(a) for a in args[:4])
        codes, oks, greys, out = (v.pointer(sig.args[i], args[i]) for i in (4, 5, 6, 8))
        at, to, n = args[7], args[9], args[10]
        with v.chunks(n) as k:
            there = builder.add(at, k)
            bits = v.called("ctpop", builder.xor(code, v.load(codes, there)))
            bits = builder.trunc(bits, grey.type)
            other = v.load(greys, there)
            apart = builder.or_(
                v.called("usub.sat", grey, other), v.called("usub.sat", other, grey)
            )
            half = builder.lshr(apart, _constant(_BYTE, [1] * LANES))
            value = builder.add(bits, v.least(half, cap))
            gone = builder.icmp_unsigned("==", v.load(oks, there), _constant(_BYTE, [0] * LANES))
            v.store(builder.select(gone, missing, value), out, builder.add(to, k))
        return context.get_dummy_value()

    arrays = types.void(types.uint32, U8, U8, U8, codes, oks, greys, I64, out, I64, I64)
    return arrays, codegen


@intrinsic
def relax(  # type: ignore[no-untyped-def]
    typingctx, lines, out, one, two, jump1, less1, jump2, less2, p1, cost, at, n
):
    """Write the path costs lines[out:][:n] that follow from those of two neighbours, return …

    … the least of them. *one* and *two* are where their costs of the same disparities begin;
    *less* is the least cost of each, *jump* that plus the penalty for any change.
    """

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        v = Vectors(context, builder)
        lines, cost = v.pointer(sig.args[0], args[0]), v.pointer(sig.args[9], args[9])
        (out, one, two), (at, n) = args[1:4], args[10:12]
        jump1, less1, jump2, less2, p1 = (v.splat(a) for a in args[4:9])
        ones = _constant(_BYTE, [1] * LANES)
        low = cgutils.alloca_once_value(builder, _constant(_BYTE, [255] * LANES))
        with v.chunks(n) as k:

            def step(place: Any, jump: Any, less: Any) -> Any:
                place = builder.add(place, k)
                beside = v.least(v.load(lines, v.plus(place, -1)), v.load(lines, v.plus(place, 1)))
                # what was not looked at costs 255, and saturates
                beside = v.called("uadd.sat", beside, p1)
                stay = v.least(v.load(lines, place), jump)
                return builder.sub(v.least(beside, stay), less)

            a, b = step(one, jump1, less1), step(two, jump2, less2)
            mean = builder.add(builder.and_(a, b), builder.lshr(builder.xor(a, b), ones))
            path = builder.add(mean, v.load(cost, builder.add(at, k)))
            v.store(path, lines, builder.add(out, k))
            builder.store(v.least(builder.load(low), path), low)
        return v.lowest(builder.load(low))

    return U8(lines, I64, I64, I64, U8, U8, U8, U8, U8, cost, I64, I64), codegen


@intrinsic
def forget(typingctx, lines, at, n):  # type: ignore[no-untyped-def]
    """Set lines[at:][:n], uint8, to 255."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        v = Vectors(context, builder)
        lines = v.pointer(sig.args[0], args[0])
        with v.chunks(args[2]) as k:
            v.store(_constant(_BYTE, [255] * LANES), lines, builder.add(args[1], k))
        return context.get_dummy_value()

    return types.void(lines, I64, I64), codegen


@intrinsic
def gather(typingctx, lines, at, apart, total, to, n, more):  # type: ignore[no-untyped-def]
    """Write total[to:][:n], uint16: twice the sum of two lines that begin *apart* from each other.

    It is added to what is there if *more*. Two path costs together fit in a byte.
    """

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        v = Vectors(context, builder)
        lines, total = v.pointer(sig.args[0], args[0]), v.pointer(sig.args[3], args[3])
        at, apart, to, n = args[1], args[2], args[4], args[5]
        more = builder.icmp_unsigned("!=", args[6], ir.Constant(args[6].type, 0))
        kept = v.splat(builder.sext(more, _SHORT))
        with v.chunks(n) as k:
            place = builder.add(at, k)
            both = builder.add(v.load(lines, place), v.load(lines, builder.add(place, apart)))
            twice = builder.shl(v.widened(both), _constant(_SHORT, [1] * LANES))
            before = builder.and_(v.load(total, builder.add(to, k)), kept)
            v.store(builder.add(twice, before), total, builder.add(to, k))
        return context.get_dummy_value()

    return types.void(lines, I64, I64, total, I64, I64, types.boolean), codegen


@intrinsic
def lowest(typingctx, total, at, n):  # type: ignore[no-untyped-def]
    """Return the least of total[at:][:n], uint16."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        v = Vectors(context, builder)
        total = v.pointer(sig.args[0], args[0])
        low = cgutils.alloca_once_value(builder, _constant(_SHORT, [0xFFFF] * LANES))
        with v.chunks(args[2]) as k:
            here = v.load(total, builder.add(args[1], k))
            builder.store(v.least(builder.load(low), here), low)
        return v.lowest(builder.load(low))

    return U16(total, I64, I64), codegen


@intrinsic
def first_of(typingctx, total, at, n, value):  # type: ignore[no-untyped-def]
    """Return the first k < n with total[at + k] == value, or a number ≥ n."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        v = Vectors(context, builder)
        total, value = v.pointer(sig.args[0], args[0]), v.splat(args[3])
        mask_kind = ir.IntType(LANES)
        count = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(mask_kind, [mask_kind, _BIT]), f"llvm.cttz.i{LANES}"
        )
        found = cgutils.alloca_once_value(builder, args[2])
        with v.chunks(args[2]) as k:
            equal = builder.icmp_unsigned("==", v.load(total, builder.add(args[1], k)), value)
            mask = builder.bitcast(equal, mask_kind)
            some = builder.icmp_unsigned("!=", mask, ir.Constant(mask_kind, 0))
            bit = builder.call(count, [mask, ir.Constant(_BIT, 0)])
            place = builder.add(k, builder.zext(bit, _LONG))
            known = builder.load(found)
            better = builder.and_(some, builder.icmp_signed("<", place, known))
            builder.store(builder.select(better, place, known), found)
        return builder.load(found)

    return I64(total, I64, I64, U16), codegen


@intrinsic
def lowest_beyond(typingctx, total, at, n, middle, gap):  # type: ignore[no-untyped-def]
    """Return the least of total[at:][:n] at least *gap* places off *middle*; 0xFFFF if none."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        v = Vectors(context, builder)
        total = v.pointer(sig.args[0], args[0])
        nothing = _constant(_SHORT, [0xFFFF] * LANES)
        low = cgutils.alloca_once_value(builder, nothing)
        gap = builder.trunc(args[4], _SHORT)
        inner = v.splat(v.plus(gap, -1))
        across = v.splat(builder.sub(builder.add(gap, gap), ir.Constant(_SHORT, 1)))
        with v.chunks(args[2]) as k:
            off = builder.trunc(builder.sub(k, args[3]), _SHORT)
            off = builder.add(v.splat(off), _constant(_SHORT, list(range(LANES))))
            # -gap < off < gap, as one unsigned comparison
            near = builder.icmp_unsigned("<", builder.add(off, inner), across)
            here = builder.select(near, nothing, v.load(total, builder.add(args[1], k)))
            builder.store(v.least(builder.load(low), here), low)
        return v.lowest(builder.load(low))

    return U16(total, I64, I64, I64, I64), codegen


@intrinsic
def claim(typingctx, total, at, n, best, steps, to, first):  # type: ignore[no-untyped-def]
    """Put total[at + k] for k < n into best[to + k] where it is less, *first* + k into steps."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        _claimed(context, builder, sig, args, 1)
        return context.get_dummy_value()

    return types.void(total, I64, I64, best, steps, I64, I32), codegen


@intrinsic
def claim_half(typingctx, total, at, n, best, steps, to, first):  # type: ignore[no-untyped-def]
    """As `claim`, of every other k: best[to + k / 2]."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        _claimed(context, builder, sig, args, 2)
        return context.get_dummy_value()

    return types.void(total, I64, I64, best, steps, I64, I32), codegen


def _claimed(context: Any, builder: Any, sig: Any, args: Any, every: int) -> None:
    v = Vectors(context, builder)
    total, best, steps = (v.pointer(sig.args[i], args[i]) for i in (0, 3, 4))
    at, n, to, first = args[1], args[2], args[5], args[6]
    picked = list(range(0, LANES, every))
    own = _constant(_INT, picked)
    with v.chunks(n) as k:
        here = v.load(total, builder.add(at, k))
        here = builder.shuffle_vector(here, here, own)
        place = builder.add(to, builder.udiv(k, ir.Constant(_LONG, every)))
        known = v.load(best, place, len(picked))
        less = builder.icmp_unsigned("<", here, known)
        v.store(builder.select(less, here, known), best, place)
        step = v.splat(builder.add(first, builder.trunc(k, _INT)), len(picked))
        step = builder.add(step, own)
        v.store(builder.select(less, step, v.load(steps, place, len(picked))), steps, place)


@intrinsic
def weighted(typingctx, image, at, stride, table, down, across):  # type: ignore[no-untyped-def]
    """Return the sum of six rows of TAPS pixels, image[at + row · stride:], float32, by weights.

    Those of the rows begin at table[down], those of the columns at table[across].
    """

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        v = Vectors(context, builder)
        image, table = v.pointer(sig.args[0], args[0]), v.pointer(sig.args[3], args[3])
        at, stride, down, across = args[1], args[2], args[4], args[5]
        rows = None
        for row in range(6):
            weight = v.splat(builder.load(builder.gep(table, [v.plus(down, row)])), TAPS)
            product = builder.fmul(weight, v.load(image, at, TAPS), flags=("fast",))
            rows = product if rows is None else builder.fadd(rows, product, flags=("fast",))
            at = builder.add(at, stride)
        columns = builder.fmul(rows, v.load(table, across, TAPS), flags=("fast",))
        shape = ir.FunctionType(_FLOAT, [_FLOAT, columns.type])
        total = cgutils.get_or_insert_function(
            builder.module, shape, f"llvm.vector.reduce.fadd.v{TAPS}f32"
        )
        return builder.call(total, [ir.Constant(_FLOAT, -0.0), columns], fastmath=("reassoc",))

    return types.float32(image, I64, I64, table, I64, I64), codegen
