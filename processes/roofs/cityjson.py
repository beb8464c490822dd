"""Building models as a CityJSON 2.0 document, written as they are read.

They pass by three times, some at a time: for what comes first in the document, which depends on
all of them, for the buildings, and for their vertices. So memory does not grow with the city.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.core.building import BuildingModel, Face, Solid

SCALE_M = 0.001
AT_ONCE = 1000
"""Models that are held at a time; they share vertices."""
SURFACES = ("GroundSurface", "WallSurface", "RoofSurface")

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def cityjson(models: Sequence[BuildingModel], crs: str) -> Iterator[str]:
    """Yield, piece by piece, one CityJSON document of *models* with semantic surfaces.

    *crs* is that of x and y, best as `EPSG:n`. CityJSON can name no vertical system that is an
    ellipsoid, so the title says it. Vertices are whole millimetres, shared by models that are
    near each other in *models*.
    """
    reach = _reach(models)
    low = np.zeros(3) if reach is None else np.floor(reach[0])
    head = {
        "type": "CityJSON",
        "version": "2.0",
        "transform": {"scale": [SCALE_M] * 3, "translate": low.tolist()},
        "metadata": _metadata(reach, crs),
    }
    yield _json(head)[:-1] + ',"CityObjects":{'
    yield from _listed(_objects(models, low))
    yield '},"vertices":['
    yield from _listed(_json(part.tolist())[1:-1] for _, part, _ in _shared(models, low))
    yield "]}"


def _listed(members: Iterator[str]) -> Iterator[str]:
    """Yield *members* with commas between them; those that are empty are none."""
    comma = ""
    for member in filter(None, members):
        yield comma + member
        comma = ","


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _parts(models: Sequence[BuildingModel]) -> Iterator[Sequence[BuildingModel]]:
    for first in range(0, len(models), AT_ONCE):
        yield models[first : first + AT_ONCE]


def _objects(models: Sequence[BuildingModel], low: Floats) -> Iterator[str]:
    """Yield each model's id and city object as members of an object."""
    before = 0
    for part, vertices, shared in _shared(models, low):
        numbers = iter((shared + before).tolist())
        for model in part:
            yield f"{_json(model.id)}:{_json(_building(model, numbers))}"
        before += len(vertices)


def _shared(
    models: Sequence[BuildingModel], low: Floats
) -> Iterator[tuple[Sequence[BuildingModel], Numbers, Numbers]]:
    """Yield parts of *models*, their distinct vertices, and which of them each corner is."""
    for part in _parts(models):
        whole = np.round((_corners(part) - low) / SCALE_M).astype(np.int64)
        distinct, number = np.unique(whole, axis=0, return_inverse=True)
        yield part, distinct, number.reshape(-1)


def _corners(models: Sequence[BuildingModel]) -> Floats:
    tables = [solid.vertices for model in models for solid in model.solids]
    return np.concatenate([np.empty((0, 3)), *tables])


def _reach(models: Sequence[BuildingModel]) -> Floats | None:
    """Return the least and the greatest x, y and height, None where there is no corner."""
    found = [_ends(corners) for corners in map(_corners, _parts(models)) if len(corners)]
    return _ends(np.concatenate(found)) if found else None


def _ends(corners: Floats) -> Floats:
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def _building(model: BuildingModel, numbers: Iterator[int]) -> dict[str, Any]:
    """Return a city object; *numbers* are those of the vertices of its solids, one by one."""
    boundaries, values = [], []
    for solid in model.solids:
        own = [next(numbers) for _ in solid.vertices]
        boundaries.append([[_rings(face, own) for face in solid.faces]])
        values.append([_kinds(solid)])
    one = len(boundaries) == 1
    geometry = {
        "type": "Solid" if one else "MultiSolid",
        "lod": model.lod,
        "boundaries": boundaries[0] if one else boundaries,
        "semantics": {
            "surfaces": [{"type": name} for name in SURFACES],
            "values": values[0] if one else values,
        },
    }
    attributes = {name: value for name, value in model.attributes.items() if value is not None}
    return {"type": "Building", "attributes": attributes, "geometry": [geometry]}


def _kinds(solid: Solid) -> list[int]:
    return [SURFACES.index(face.kind) for face in solid.faces]


def _rings(face: Face, numbers: list[int]) -> list[list[int]]:
    return [[numbers[i] for i in ring] for ring in face.rings]


def _metadata(reach: Floats | None, crs: str) -> dict[str, Any]:
    found: dict[str, Any] = {"title": "Buildings; heights are metres above the WGS84 ellipsoid"}
    code = re.fullmatch(r"EPSG:(\d+)", crs.strip(), re.IGNORECASE)
    if code:
        found["referenceSystem"] = f"https://www.opengis.net/def/crs/EPSG/0/{code[1]}"
    if reach is not None:
        found["geographicalExtent"] = np.round(reach.ravel(), 3).tolist()
    return found
