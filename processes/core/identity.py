"""The same building again: ids that outlive the run that first drew it.

Footprints of one house differ a little from run to run, so an id cannot be computed from the
outline alone: whatever is rounded, some houses lie on the border of two roundings. A new
building is therefore named after its place, and a building that an earlier product already has
keeps the name it has there: the one whose outline it covers best, measured by the intersection
over the union, one to one, best first.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_IOU = 0.3
"""Below this share of their union two outlines are not of one building. Outlines from other
images of the same house mostly share 0.5 to 0.9; neighbours that touch, next to nothing."""
DEGREES_DIGITS = 5
"""Of a place in a name: a metre."""

Shapes = NDArray[np.object_]


def kept_ids(
    shapes: Shapes, own: Sequence[str], earlier: Shapes, earlier_ids: Sequence[str]
) -> list[str]:
    """Return an id for each of *shapes*: that of the same building in *earlier*, else its own.

    All shapes are in one system. Ids come out unique: an own id that an earlier building
    elsewhere bears gets a number.
    """
    ids = list(own)
    matched = same(shapes, earlier)
    for new, old in matched:
        ids[new] = earlier_ids[old]
    taken = set(earlier_ids)
    found = {new for new, _ in matched}
    for row, name in enumerate(ids):
        if row in found:
            continue
        number, unique = 1, name
        while unique in taken:
            number += 1
            unique = f"{name}-{number}"
        ids[row] = unique
        taken.add(unique)
    return ids


def same(shapes: Shapes, earlier: Shapes) -> list[tuple[int, int]]:
    """Return pairs of rows that are one building in both."""
    import shapely

    if not len(shapes) or not len(earlier):
        return []
    one, other = _valid(shapes), _valid(earlier)
    new, old = shapely.STRtree(other).query(one, predicate="intersects")
    common = shapely.area(shapely.intersection(one[new], other[old]))
    union = shapely.area(one)[new] + shapely.area(other)[old] - common
    iou = common / np.maximum(union, 1e-30)
    new, old, iou = (part[iou >= LEAST_IOU] for part in (new, old, iou))
    used_new: set[int] = set()
    used_old: set[int] = set()
    pairs = []
    for row in np.lexsort((old, new, -iou)).tolist():
        i, j = int(new[row]), int(old[row])
        if i not in used_new and j not in used_old:
            used_new.add(i)
            used_old.add(j)
            pairs.append((i, j))
    return sorted(pairs)


def place_ids(longitudes: Sequence[float], latitudes: Sequence[float]) -> list[str]:
    """Return names from places in degrees, rounded to a metre; a second one there gets a number."""
    seen: dict[str, int] = {}
    ids = []
    for lon, lat in zip(longitudes, latitudes, strict=True):
        place = f"{lat:.{DEGREES_DIGITS}f} {lon:.{DEGREES_DIGITS}f}"
        name = "b" + sha256(place.encode()).hexdigest()[:14]
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return ids


def _valid(shapes: Shapes) -> Shapes:
    import shapely

    valid = np.asarray(shapely.is_valid(shapes))
    if valid.all():
        return shapes
    mended: Any = shapes.copy()
    mended[~valid] = shapely.make_valid(shapes[~valid])
    return np.asarray(mended, object)
