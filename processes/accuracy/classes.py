"""Accuracy classes: what a product may be called by the published standards."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isfinite

MIN_CHECK_POINTS = 30
"""ASPRS 2024: an accuracy from fewer check points may not be stated as a class."""
CITYGML_LODS = ((3, 0.5), (2, 2.0), (1, 5.0))
"""Level of detail and the accuracy, position and height, it asks for in metres."""


@dataclass(frozen=True)
class AsprsClass:
    """A class of the ASPRS Positional Accuracy Standards for Digital Geospatial Data, Ed. 2, 2024.

    *class_cm* is the smallest whole X ≥ RMSE, or None with the reason why it is refused.
    """

    class_cm: int | None
    name: str
    reason: str


def asprs_predicted(rmse_m: float) -> AsprsClass:
    """Return the vertical class to expect of an RMSE that nobody measured; its name says so."""
    found = asprs_class(rmse_m, MIN_CHECK_POINTS, direction="vertical")
    if found.class_cm is None:
        return found
    reason = "predicted from the confidence, not tested by check points"
    return AsprsClass(found.class_cm, f"predicted {found.name}", reason)


def asprs_class(rmse_m: float, check_points: int, *, direction: str) -> AsprsClass:
    """Return the class of an RMSE; *direction* is "horizontal" or "vertical"."""
    if check_points < MIN_CHECK_POINTS:
        reason = f"{check_points} check points: at least {MIN_CHECK_POINTS} are needed"
        return AsprsClass(None, "none", reason)
    if not isfinite(rmse_m):
        return AsprsClass(None, "none", "no error was measured")
    # 0.15 m is 15 cm although 0.15 * 100 is a little more in binary
    centimetres = max(1, ceil(round(rmse_m * 100, 6)))
    letter = {"horizontal": "H", "vertical": "V"}[direction]
    name = f"ASPRS 2024 {centimetres}-cm {direction} accuracy class (RMSE_{letter})"
    return AsprsClass(centimetres, name, "")


def citygml_lod(horizontal_m: float, vertical_m: float) -> int:
    """Return the highest CityGML level of detail whose accuracy both errors meet: 3, 2, 1 or 0."""
    worst = max(horizontal_m, vertical_m)
    return next((lod for lod, limit_m in CITYGML_LODS if worst <= limit_m), 0)
