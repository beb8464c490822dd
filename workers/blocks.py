"""Where the blocks of a raster are computed: on threads here, or on a Dask cluster.

A cluster shares this machine's folders: its workers open images and products by the same paths and
give their blocks back; only this process writes. Blocks come back in order and few are under way at
a time, so memory does not grow with the area. What a worker did that dies is done again by another;
the same blocks give the same numbers wherever they are computed.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from processes.core.process import BlockSize
from processes.core.raster import Grid, Points, Raster, RasterSource
from workers.crew import CORES
from workers.offline import go_offline
from workers.program import program

Window = tuple[int, int, int, int]
"""First row, first column, height, width."""
Values = list[NDArray[Any]]
Idle = Callable[[], None]
"""Called about once a second while blocks are computed; what it raises ends the computation."""

MEMORY_BYTES = 1_000_000_000
"""What blocks that are computed at once on this machine may take together."""
LOOK_S = 1.0
ANSWER_S, WORKERS_S = 20, 60
"""A scheduler answers within the first, and has a worker within the second."""


class ClusterUnavailable(RuntimeError):
    """The Dask cluster cannot be reached, or is lost."""


@dataclass(frozen=True)
class Block:
    """What makes one block out of a window: rasters are read with a margin, which is cut off."""

    kernel: Callable[..., Sequence[Raster | Points]]
    sources: Sequence[RasterSource]
    offsets: Sequence[tuple[int, int]]
    """Rows and columns from the lattice to each source's own cells."""
    lattice: Grid
    margin: int

    def __call__(self, window: Window) -> Values:
        row0, col0, height, width = window
        margin = self.margin
        top, left = row0 - margin, col0 - margin
        bottom, right = row0 + height + margin, col0 + width + margin
        if not self.sources:  # nothing is read, so nothing lies beyond the lattice
            top, left = max(top, 0), max(left, 0)
            bottom, right = min(bottom, self.lattice.height), min(right, self.lattice.width)
        wide = self.lattice.window(top, left, bottom - top, right - left)
        rasters = [
            Raster(_squeezed(source.read(top + dr, left + dc, *wide.shape)), wide)
            for source, (dr, dc) in zip(self.sources, self.offsets, strict=True)
        ]
        made = self.kernel(*rasters) if rasters else self.kernel(wide)
        first_row, first_col = row0 - top, col0 - left
        inner = slice(first_row, first_row + height), slice(first_col, first_col + width)
        own = self.lattice.window(*window)
        return [
            part.within(own).values
            if isinstance(part, Points)
            else np.ascontiguousarray(part.values[..., *inner])
            for part in made
        ]


def _squeezed(values: NDArray[Any]) -> NDArray[Any]:
    return values[0] if values.shape[0] == 1 else values


def windows(grid: Grid, block_px: BlockSize) -> list[Window]:
    """Return the windows of a grid, row by row."""
    rows, cols = shape_of(block_px)
    return [
        (row0, col0, min(rows, grid.height - row0), min(cols, grid.width - col0))
        for row0 in range(0, grid.height, rows)
        for col0 in range(0, grid.width, cols)
    ]


def shape_of(block_px: BlockSize) -> tuple[int, int]:
    """Return rows and columns of a block."""
    return (block_px, block_px) if isinstance(block_px, int) else block_px


def on_threads(
    block: Callable[[Window], Values],
    wanted: Iterable[Window],
    idle: Idle,
    *,
    block_bytes: float = 0.0,
) -> Generator[tuple[Window, Values]]:
    """Yield blocks in order, as many computed at a time as cores and MEMORY_BYTES allow."""
    at_once = max(1, min(CORES, int(MEMORY_BYTES / max(block_bytes, 1.0))))

    def computed(window: Window) -> Values:
        try:
            return block(window)
        finally:
            if block_bytes:
                give_back()

    with ThreadPoolExecutor(at_once) as pool:
        waiting: deque[tuple[Window, Future[Values]]] = deque()

        def first() -> tuple[Window, Values]:
            window, future = waiting.popleft()
            while not wait([future], timeout=LOOK_S).done:
                idle()
            return window, future.result()

        try:
            for window in wanted:
                waiting.append((window, pool.submit(computed, window)))
                if len(waiting) > at_once:
                    yield first()
            while waiting:
                yield first()
        finally:
            for _, future in waiting:
                future.cancel()


def give_back() -> None:
    """Give freed memory back to the system: glibc keeps what threads freed, 100 MB a block."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def on_cluster(
    block: Callable[[Window], Values],
    wanted: Iterable[Window],
    idle: Idle,
    *,
    scheduler: str,
    folder: Path,
) -> Generator[tuple[Window, Values]]:
    """Yield blocks in order, computed by the workers of a Dask *scheduler* (tcp://host:port).

    What computes them is handed over as a file in *folder*, which the workers must see.
    Raises ClusterUnavailable.
    """
    import cloudpickle
    from distributed import KilledWorker
    from distributed import wait as wait_for

    name = uuid4().hex
    handed = folder / f".block-{name}.pkl"
    with ExitStack() as stack:
        client = stack.enter_context(_connected(scheduler))
        stack.callback(handed.unlink, missing_ok=True)
        handed.write_bytes(cloudpickle.dumps(block))
        waiting: deque[tuple[Window, Any]] = deque()
        stack.callback(lambda: client.cancel([future for _, future in waiting], force=True))

        def first() -> tuple[Window, Values]:
            window, future = waiting[0]
            while True:
                try:
                    with client.as_current():
                        wait_for([future], timeout=LOOK_S)  # type: ignore[no-untyped-call]  # untyped
                    # given time: a fetch that is given up spoils the next one, which joins it
                    values: Values = future.result(timeout=WORKERS_S)
                except TimeoutError:
                    if client.status != "running":
                        raise ClusterUnavailable(f"{scheduler} went away") from None
                    idle()
                except KilledWorker:
                    raise ClusterUnavailable(
                        f"block {window} ended every worker that took it: has each enough memory?"
                    ) from None
                else:
                    waiting.popleft()
                    return window, values

        for window in wanted:
            key = f"block-{name}-{window[0]}-{window[1]}"
            waiting.append(
                (
                    window,
                    client.submit(compute, str(handed), program(), window, key=key, pure=False),
                )
            )
            # workers have the next block at hand, and never many done ones
            while len(waiting) > max(2, 2 * sum(client.nthreads().values())):
                yield first()
        while waiting:
            yield first()


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    """Return a client of a cluster that has workers."""
    from distributed import Client

    try:
        client = Client(scheduler, timeout=ANSWER_S, set_as_default=False)  # type: ignore[no-untyped-call]  # distributed has no types
    except (OSError, ValueError):
        raise ClusterUnavailable(f"no Dask scheduler answers at {scheduler}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError:
            raise ClusterUnavailable(f"the scheduler at {scheduler} has no workers") from None
        yield client


def compute(handed: str, version: str, window: Window) -> Values:
    """Return one block, on a worker of the cluster, which must run the same program."""
    go_offline()
    if program() != version:
        raise ClusterUnavailable("a Dask worker runs another version of Orograph: update it")
    try:
        return _unpacked(handed)(window)
    finally:
        give_back()


@lru_cache(maxsize=2)
def _unpacked(handed: str) -> Callable[[Window], Values]:
    import cloudpickle

    try:
        packed = Path(handed).read_bytes()
    except FileNotFoundError:
        raise ClusterUnavailable(
            "a Dask worker does not see the job's folder: mount it at the same path"
        ) from None
    block: Callable[[Window], Values] = cloudpickle.loads(packed)
    return block
