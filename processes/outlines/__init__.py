"""Building outlines: a mask of buildings, and the polygons behind it."""

from processes.core.machine_code import load_at_once

load_at_once()
