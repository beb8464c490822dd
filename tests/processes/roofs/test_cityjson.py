"""CityJSON as its specification wants it, and as cjio reads it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from shapely import union_all
from shapely.geometry import box

from processes.core.building import BuildingModel
from processes.roofs.cityjson import cityjson
from processes.roofs.extrude import extrude, tidy

COURT = box(431000, 5290000, 431020, 5290014).difference(box(431005, 5290005, 431009, 5290009))
TWINS = union_all([box(431040, 5290000, 431046, 5290006), box(431060, 5290000, 431066, 5290006)])


def model(ident, outline, **attributes):
    solids = tuple(extrude(part, 140.0, 146.5) for part in tidy(outline))
    return BuildingModel(ident, solids, "1.2", attributes)


MODELS = [model("court", COURT, roof_m=146.5, reason=None), model("twins", TWINS, lod=1)]


def document(models):
    return json.loads("".join(cityjson(models, "EPSG:32631")))


DOCUMENT = document(MODELS)


def breaches(document):
    """Return what the CityJSON 2.0 specification forbids in a document of solids."""
    found = []
    allowed = {"type", "version", "transform", "metadata", "CityObjects", "vertices"}
    found += [f"member {name}" for name in document if name not in allowed]
    if document["type"] != "CityJSON" or document["version"] != "2.0":
        found.append("type or version")
    if any(len(v) != 3 or any(type(c) is not int for c in v) for v in document["vertices"]):
        found.append("vertices are not triples of integers")
    if len({tuple(v) for v in document["vertices"]}) < len(document["vertices"]):
        found.append("duplicate vertices")
    system = document["metadata"].get("referenceSystem", "")
    if not re.fullmatch(r"https://www\.opengis\.net/def/crs/[^/]+/[^/]+/[^/]+", system):
        found.append("referenceSystem")
    used = set()
    for ident, item in document["CityObjects"].items():
        if item["type"] != "Building" or set(item) - {"type", "attributes", "geometry"}:
            found.append(f"{ident}: not a plain Building")
        for geometry in item["geometry"]:
            if not re.fullmatch(r"\d\.\d", geometry["lod"]):
                found.append(f"{ident}: lod")
            many = geometry["type"] == "MultiSolid"
            bounds, values = geometry["boundaries"], geometry["semantics"]["values"]
            for shells, kinds in zip(
                *((bounds, values) if many else ([bounds], [values])), strict=True
            ):
                for shell, kind in zip(shells, kinds, strict=True):
                    if len(shell) != len(kind):
                        found.append(f"{ident}: semantics do not match the faces")
                    if not all(0 <= k < len(geometry["semantics"]["surfaces"]) for k in kind):
                        found.append(f"{ident}: semantics point nowhere")
                    used |= {i for face in shell for ring in face for i in ring}
    if used != set(range(len(document["vertices"]))):
        found.append("vertices that are unused or missing")
    return found


def test_the_document_keeps_the_rules():
    assert breaches(DOCUMENT) == []
    json.dumps(DOCUMENT, allow_nan=False)


def test_the_same_models_give_the_same_document():
    assert list(cityjson(MODELS, "EPSG:32631")) == list(cityjson(MODELS, "EPSG:32631"))


def test_a_city_in_several_parts_is_the_same_city(monkeypatch):
    """Only vertices of neighbours in different parts are written twice."""
    rows = [
        model(f"row {i}", box(431000 + 6 * i, 5290000, 431006 + 6 * i, 5290009)) for i in range(7)
    ]
    empty = BuildingModel("nothing", (), "1.2", {})
    models = [*rows[:3], empty, *MODELS, *rows[3:]]
    whole = document(models)
    monkeypatch.setattr("processes.roofs.cityjson.AT_ONCE", 2)
    parts = document(models)
    assert breaches(whole) == []
    assert set(breaches(parts)) <= {"duplicate vertices"}
    assert [whole[k] for k in ("transform", "metadata")] == [
        parts[k] for k in ("transform", "metadata")
    ]
    assert list(parts["CityObjects"]) == [m.id for m in models]
    assert [corners(parts, m.id) for m in models] == [corners(whole, m.id) for m in models]
    assert (
        len(whole["vertices"])
        < len(parts["vertices"])
        < sum(len(s.vertices) for m in models for s in m.solids)
    )


def corners(found, ident):
    """Return the boundaries of a building with vertices in place of their numbers."""

    def placed(value):
        return [placed(v) for v in value] if isinstance(value, list) else found["vertices"][value]

    return placed(found["CityObjects"][ident]["geometry"][0]["boundaries"])


def test_vertices_come_back_to_the_millimetre():
    scale, shift = (np.array(DOCUMENT["transform"][k]) for k in ("scale", "translate"))
    back = np.array(DOCUMENT["vertices"]) * scale + shift
    assert back.min(axis=0) == pytest.approx([431000, 5290000, 140], abs=1e-6)
    assert back.max(axis=0) == pytest.approx([431066, 5290014, 146.5], abs=1e-6)


def test_a_courtyard_is_an_inner_ring_and_parts_are_a_multisolid():
    court, twins = (DOCUMENT["CityObjects"][i]["geometry"][0] for i in ("court", "twins"))
    assert court["type"] == "Solid"
    assert [len(face) for face in court["boundaries"][0][:2]] == [2, 2]
    assert (twins["type"], len(twins["boundaries"])) == ("MultiSolid", 2)


def test_absent_attributes_are_left_out():
    assert DOCUMENT["CityObjects"]["court"]["attributes"] == {"roof_m": 146.5}


def test_the_title_says_what_heights_are():
    assert "WGS84 ellipsoid" in DOCUMENT["metadata"]["title"]


def test_cjio_reads_it(tmp_path):
    """In a process of its own: importing cjio changes how `json` writes numbers for everybody."""
    path = tmp_path / "buildings.city.json"
    path.write_text(json.dumps(DOCUMENT))
    command = [sys.executable, "-c", "from cjio.cjio import cli; cli()", str(path), "info"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CityJSON version = 2.0" in done.stdout
    assert "EPSG = 32631" in done.stdout
    assert "Building (2)" in done.stdout


@pytest.mark.skipif(find_spec("cjvalpy") is None, reason="cjio validates with cjvalpy: install it")
def test_the_official_schema_validator_accepts_it(tmp_path):
    path = tmp_path / "buildings.city.json"
    path.write_text(json.dumps(DOCUMENT))
    command = [sys.executable, "-c", "from cjio.cjio import cli; cli()", str(path), "validate"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "invalid" not in done.stdout.lower()


def test_no_building_is_a_document_too():
    empty = document([])
    assert (empty["CityObjects"], empty["vertices"]) == ({}, [])
    assert breaches(empty) == []
