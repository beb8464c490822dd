"""PROCESSES: the explicit list of everything that can be asked for.

Importing it is light; a process imports its numbers only when it runs.
"""

from __future__ import annotations

from typing import Any

from processes.core.process import Process
from processes.buildings import BUILDINGS
from processes.dsm import DSM
from processes.echo import ECHO

_ALL: tuple[Process[Any, Any], ...] = (ECHO, DSM, BUILDINGS)

PROCESSES: dict[str, Process[Any, Any]] = {process.id: process for process in _ALL}
