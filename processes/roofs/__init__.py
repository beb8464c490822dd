"""Roofs and solids: heights under an outline, blocks, simple roofs, and whether they are valid."""

from processes.core.machine_code import load_at_once

load_at_once()
