"""Pieces of work that do not know of each other, on all cores: this process and forks of it.

What draws or raises a building calls compiled code thousands of times a second and holds the
interpreter's lock in between: two threads took a third more processor time than one and saved a
tenth of the time. A fork knows all that its parent knows, kernels that are loaded and rasters that
are read, so nothing is handed over but what came out; it takes 10 to 20 ms. Pools of the standard
library would start no process below a Celery child, which is a daemon to them.

Forks compute and do nothing else: they open no file, ask no database, and end without a word to
what their parent has open. Locks that other threads of it hold stay locked in them, so *work* may
use NumPy, OpenCV, GEOS and our kernels, which are whole after a fork, and no threads of its own.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from processes.core.crew import in_turn
from workers.family import die_with_parent

In = TypeVar("In")
Out = TypeVar("Out")

CORES = int(os.environ.get("NUMBA_NUM_THREADS") or len(os.sched_getaffinity(0)))
"""Cores that a job may use: those this process may run on, or as many as numba is told."""
LEAST = 5
"""A fork is not worth its start for fewer pieces."""
NUMBER_BYTES, MOST_NUMBERS = 4, 4096
"""A queue is a pipe with so many numbers at most: it holds them without a reader."""


class HelperLost(RuntimeError):
    """A fork ended before it had told what it made."""


@dataclass(frozen=True)
class _Helper:
    """A fork that does its share, until `end`."""

    pid: int
    answer: int
    """What it made comes out here, when it is done."""

    def made(self) -> Any:
        """Return what it made, when it has. Raises what it raised."""
        with os.fdopen(self.answer, "rb", closefd=False) as answer:
            told = answer.read()
        if not told:
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            if ended is not None and ended.si_status == signal.SIGKILL:
                raise MemoryError("a helper was killed: memory ran out")
            raise HelperLost("a helper ended and told nothing")
        made = pickle.loads(told)
        if isinstance(made, Exception):
            raise made
        return made

    def end(self) -> None:
        """See it end, whatever it does."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.answer)


def on_cores(work: Callable[[In], Out], pieces: Iterable[In]) -> list[Out]:
    """Return what *work* makes of each piece, in their order: the same for any number of cores.

    What *work* raises is raised here, with the trace it had. Raises HelperLost, and MemoryError
    where a helper was killed, as the system does when memory runs out.
    """
    known = list(pieces)
    count = min(CORES, len(known) // LEAST) - 1
    if count < 1:
        return in_turn(work, known)
    import cv2  # 0.06 s, and most processes have it by now

    # its threads are not there in a fork, which would wait for them; with one it is as fast
    cv2.setNumThreads(1)
    queue, step = _queue(len(known))

    def share() -> dict[int, Out]:
        """Take pieces for as long as there are any."""
        made = {}
        while number := os.read(queue, NUMBER_BYTES):
            first = int.from_bytes(number)
            for k in range(first, min(first + step, len(known))):
                made[k] = work(known[k])
        return made

    helpers: list[_Helper] = []
    try:
        helpers += (_helper(share) for _ in range(count))
        made = share()
        for helper in helpers:
            made |= helper.made()
    finally:
        os.close(queue)
        for helper in helpers:
            helper.end()
    return [made[k] for k in range(len(known))]


def _queue(count: int) -> tuple[int, int]:
    """Return a pipe with the first of every so many pieces, and how many those are."""
    step = -(-count // MOST_NUMBERS)
    reading, writing = os.pipe()
    os.write(writing, b"".join(k.to_bytes(NUMBER_BYTES) for k in range(0, count, step)))
    os.close(writing)
    return reading, step


def _helper(share: Callable[[], Any]) -> _Helper:
    """Start a fork that does its share."""
    reading, writing = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():
        # said of any process that has threads, even those of a library that forks well
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        os.close(writing)
        return _Helper(pid, reading)
    try:
        die_with_parent()
        if os.getppid() == parent:  # it may have ended just before
            gc.freeze()  # what is looked through is written to, and so copied
            told = _told(share)
            with os.fdopen(writing, "wb") as out:
                out.write(told)
    finally:
        os._exit(0)


def _told(share: Callable[[], Any]) -> bytes:
    """Return what a share became, or what went wrong with it, pickled."""
    try:
        return pickle.dumps(share(), pickle.HIGHEST_PROTOCOL)
    except Exception as fault:
        fault.add_note(f"in a helper:\n{traceback.format_exc()}")
        return pickle.dumps(fault)
