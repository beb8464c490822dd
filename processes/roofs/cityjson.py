"""Building models as a CityJSON 2.0 document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.core.building import BuildingModel, Face, Solid

SCALE_M = 0.001


def cityjson(models: Sequence[BuildingModel], crs: str) -> dict[str, Any]:
    """Return *models* as one CityJSON document with semantic surfaces.

    *crs* is that of x and y, best as `EPSG:n`. CityJSON can name no vertical system that is an
    ellipsoid, so the title says it. Vertices are whole millimetres and shared.
    """
    tables = [solid.vertices for model in models for solid in model.solids]
    corners = np.concatenate([np.empty((0, 3)), *tables])
    low = np.floor(corners.min(axis=0)) if len(corners) else np.zeros(3)
    vertices, shared = _shared(np.round((corners - low) / SCALE_M).astype(np.int64))
    objects: dict[str, Any] = {}
    first = 0
    for model in models:
        boundaries, values = [], []
        for solid in model.solids:
            numbers = shared[first : first + len(solid.vertices)].tolist()
            first += len(solid.vertices)
            boundaries.append([[_rings(face, numbers) for face in solid.faces]])
            values.append([_kinds(solid)])
        objects[model.id] = _building(model, boundaries, values)
    return {
        "type": "CityJSON",
        "version": "2.0",
        "transform": {"scale": [SCALE_M] * 3, "translate": low.tolist()},
        "metadata": _metadata(corners, crs),
        "CityObjects": objects,
        "vertices": vertices.tolist(),
    }


SURFACES = ("GroundSurface", "WallSurface", "RoofSurface")


def _building(model: BuildingModel, boundaries: list[Any], values: list[Any]) -> dict[str, Any]:
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


def _shared(whole: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each distinct row once, and for each given row the number of its equal."""
    if not len(whole):
        return whole, np.empty(0, np.int64)
    distinct, number = np.unique(whole, axis=0, return_inverse=True)
    return distinct, number.reshape(-1)


def _metadata(corners: NDArray[np.float64], crs: str) -> dict[str, Any]:
    found: dict[str, Any] = {"title": "Buildings; heights are metres above the WGS84 ellipsoid"}
    code = re.fullmatch(r"EPSG:(\d+)", crs.strip(), re.IGNORECASE)
    if code:
        found["referenceSystem"] = f"https://www.opengis.net/def/crs/EPSG/0/{code[1]}"
    if len(corners):
        extent = np.round([*corners.min(axis=0), *corners.max(axis=0)], 3)
        found["geographicalExtent"] = extent.tolist()
    return found
