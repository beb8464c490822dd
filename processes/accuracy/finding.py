"""What a report says of one comparison, for programs and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from processes.accuracy.plots import Plot
from processes.core.raster import Raster


@dataclass(frozen=True)
class Finding:
    """Figures of a comparison, and how a page shows them. Keys name numbers with their units."""

    how: str
    """In words: what was compared with what, and what counts as a failure."""
    figures: dict[str, Any]
    classes: dict[str, Any]
    """The accuracy classes that the figures allow."""
    tiles: dict[str, Any]
    """The few numbers to see first."""
    tables: dict[str, Any]
    plots: list[Plot]
    error_map: Raster | None = None
    """Product minus reference, metres, where both are rasters."""
