"""Many pieces of work that do not know of each other, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from numba import config

In = TypeVar("In")
Out = TypeVar("Out")

THREADS = int(config.NUMBA_NUM_THREADS)
"""One a core, unless NUMBA_NUM_THREADS says otherwise."""


def each(work: Callable[[In], Out], pieces: Iterable[In]) -> list[Out]:
    """Return what *work* makes of each piece, in their order: the same for any number of threads.

    It pays where most of the time goes into compiled code, which lets other threads run.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, pieces))
