"""How much a folder may hold, whoever fills it.

What it holds is measured now and then, for others clear it; what arrives meanwhile is counted. Of
several servers over one folder each knows what the others took when it measures again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from server.errors import NoRoom

MEASURED_EVERY_S = 60.0


class Room:
    """What is left of *most_bytes* in *folder*. Used from the one thread of the event loop."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most = folder, most_bytes
        self._used, self._measured_at = 0, -MEASURED_EVERY_S

    async def ask(self, size: int) -> None:
        """Raise NoRoom where *size* bytes, or a single one, would be too much."""
        if time.monotonic() - self._measured_at >= MEASURED_EVERY_S:
            self._used = await run_in_threadpool(held, self._folder)
            self._measured_at = time.monotonic()
        self._check(max(size, 1))

    @contextmanager
    def arriving(self) -> Iterator[Callable[[int], None]]:
        """Yield what counts bytes as they come, and raises NoRoom; a fault gives them back."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            self._check(size)
            taken += size
            self._used += size

        try:
            yield take
        except BaseException:
            self._used -= taken
            raise

    def _check(self, size: int) -> None:
        if self._used + size > self._most:
            raise NoRoom(
                f"all uploads together may take {self._most} bytes, and {self._used} are taken: "
                "old ones go by themselves, or the operator makes room"
            )


def held(folder: Path) -> int:
    """Return the bytes of all files in *folder* and its folders, those being written included."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # it was cleared just now
                total += os.stat(os.path.join(place, name)).st_size
    return total
