"""A cache by size: what was asked for last, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values by name; the one asked for longest ago is forgotten first. Threads may share it."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._size = most_bytes, 0
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> Value | None:
        with self._lock:
            if name not in self._values:
                return None
            self._values.move_to_end(name)
            return self._values[name][0]

    def put(self, name: str, value: Value, size_bytes: int) -> None:
        """Keep a value; one that would push out most others is not kept."""
        with self._lock:
            if name in self._values or size_bytes > self._most // 4:
                return
            self._values[name] = (value, size_bytes)
            self._size += size_bytes
            while self._size > self._most:
                _, (_, freed) = self._values.popitem(last=False)
                self._size -= freed
