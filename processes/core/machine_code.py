"""Kernels from the cache start at once: numba loads what compiling takes only when it compiles.

Before it looks into its cache, numba registers everything that a kernel could ever call, and looks
for SciPy's BLAS. Both are for compiling, which does it once more by itself, and together they were
0.4 s of every start, as much as all other imports.
"""

from __future__ import annotations

from typing import Any

from numba.core.caching import Cache
from numba.core.runtime import rtsys
from numba.np import linalg


def load_at_once() -> None:
    """Change how numba starts, in this Python; called by the packages whose files hold kernels."""
    Cache.load_overload = _load_overload
    _without_blas()


def _load_overload(self: Any, signature: Any, target: Any) -> Any:
    """Load machine code as numba does, but for `target.refresh()`, which registers everything."""
    rtsys.initialize(target)  # what allocates memory, a part of refresh that kernels call
    with self._guard_against_spurious_io_errors():
        return self._load_overload(signature, target)


def _without_blas() -> None:
    """Load numba's array functions but not a BLAS: no kernel here multiplies matrices."""

    def no_blas() -> None:
        raise ImportError

    ensure_blas = linalg.ensure_blas
    linalg.ensure_blas = no_blas
    try:
        from numba.np import arraymath  # noqa: F401 – looks
    finally:
        linalg.ensure_blas = ensure_blas
