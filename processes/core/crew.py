"""Many pieces of work that do not know of each other: who spreads them over cores, and who not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Crew(Protocol):
    """Does pieces of work, in turn or side by side, as `Workspace.on_cores` does."""

    def __call__(self, work: Callable[[In], Out], pieces: Iterable[In]) -> list[Out]:
        """Return what *work* makes of each piece, in their order: the same for any crew."""


def in_turn(work: Callable[[In], Out], pieces: Iterable[In]) -> list[Out]:
    """Return what *work* makes of each piece: a crew of one."""
    return [work(piece) for piece in pieces]
