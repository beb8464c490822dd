"""Values put aside on disk: a job that makes many keeps none of them in memory."""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar, overload
from weakref import finalize

Value = TypeVar("Value")


class Aside(Sequence[Value]):
    """Values in a file without a name, which goes when this object does; read when asked for."""

    def __init__(self, values: Iterable[Value], folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 – open as long as we are
        finalize(self, self._file.close)
        self._starts = array("q", [0])
        for value in values:
            size = self._file.write(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
            self._starts.append(self._starts[-1] + size)
        self._file.flush()

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, number: int) -> Value: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Value]: ...
    def __getitem__(self, number: int | slice) -> Value | Sequence[Value]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        place = range(len(self))[number]
        start, end = self._starts[place], self._starts[place + 1]
        self._file.seek(start)
        value: Value = pickle.loads(self._file.read(end - start))
        return value
