"""PROCESSES: the explicit list of everything that can be asked for.

Importing it is light; a process imports its numbers only when it runs.
"""

from __future__ import annotations

from typing import Any

from processes.buildings import BUILDINGS
from processes.city import CITY
from processes.core.process import Process
from processes.dsm import DSM
from processes.dtm import DTM
from processes.echo import ECHO
from processes.footprints import FOOTPRINTS
from processes.mesh import MESH
from processes.ortho import ORTHO
from processes.pointcloud import POINTCLOUD
from processes.qualify import QUALIFY
from processes.segment import SEGMENT

_ALL: tuple[Process[Any, Any], ...] = (
    ECHO,
    CITY,
    DSM,
    DTM,
    ORTHO,
    POINTCLOUD,
    SEGMENT,
    FOOTPRINTS,
    BUILDINGS,
    MESH,
    QUALIFY,
)

PROCESSES: dict[str, Process[Any, Any]] = {process.id: process for process in _ALL}
