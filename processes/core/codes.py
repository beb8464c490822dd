"""What the codes of a raster mean, as one of its tags says: "0 outside, 1 measured"."""

from __future__ import annotations

import re
from collections.abc import Mapping

TAG = "OROGRAPH_VALUES"


def tagged(meanings: Mapping[int, str]) -> dict[str, str]:
    """Return the tag that says what codes mean."""
    return {TAG: ", ".join(f"{int(code)} {meaning}" for code, meaning in meanings.items())}


def meanings(tags: Mapping[str, str]) -> dict[int, str]:
    """Return what the codes mean that the tag names; nothing where a raster has no such tag."""
    named = re.findall(r"(\d+) ([^,]+)", tags.get(TAG, ""))
    return {int(code): meaning.strip() for code, meaning in named}
