"""Cells of a lattice inside of polygons, row by row: 2 ns a cell, where asking each took 70."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def filled(rings: Sequence[Floats], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which cell centres lie inside of closed rings, (point, 2: row, col), by even and odd.

    So holes may be given beside what they are cut from. Whole numbers are cell centres.
    """
    out = np.zeros(shape, np.bool_)
    if rings:
        edges = np.concatenate([np.hstack([ring[:-1], ring[1:]]) for ring in rings])
        _fill(np.ascontiguousarray(edges, np.float64), out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(edges, out):  # type: ignore[no-untyped-def]
    crossings = np.empty(edges.shape[0])
    for r in range(out.shape[0]):
        n = 0
        for k in range(edges.shape[0]):
            r0, c0, r1, c1 = edges[k]
            # an edge has its upper end and not its lower one, so no corner counts twice
            if (r0 <= r) != (r1 <= r):
                col = c0 + (r - r0) / (r1 - r0) * (c1 - c0)
                k_in = n
                while k_in > 0 and crossings[k_in - 1] > col:
                    crossings[k_in] = crossings[k_in - 1]
                    k_in -= 1
                crossings[k_in] = col
                n += 1
        for k in range(0, n - 1, 2):
            first = max(int(np.ceil(crossings[k])), 0)
            last = min(int(np.floor(crossings[k + 1])), out.shape[1] - 1)
            out[r, first : max(last + 1, first)] = True
