"""PROCESSES: the explicit list of everything that can be asked for.

Importing it is light; a process imports its numbers only when it runs.
"""

from __future__ import annotations

from typing import Any

from processes.core.process import Process

_ALL: tuple[Process[Any, Any], ...] = ()

PROCESSES: dict[str, Process[Any, Any]] = {process.id: process for process in _ALL}
