"""A tile as others read it: pygltflib, trimesh and the Khronos validator."""

from __future__ import annotations

import io
import json
import struct
from itertools import pairwise

import numpy as np
import pygltflib
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon, box

from processes.core.building import BuildingModel
from processes.roofs.extrude import extrude, tidy
from processes.roofs.planes import Planes, raise_roof
from tiles import metadata
from tiles.glb import Mesh
from tiles.glb import tile as written
from tiles.mesh import face_sizes, faces, normals, starts, triangulate

COURT = box(0, 0, 20, 14).difference(box(5, 5, 9, 9))
STEPPED = Polygon([(0, 0), (4, 0), (8, 0), (8, 3), (8, 6), (4, 6), (0, 6), (0, 3)])
GABLE = Planes(np.array([[0, 0.5, 12.0], [0, -0.5, 12.0]]), (40.0, 4.0))
HOUSE = raise_roof(tidy(box(30, 0, 50, 8))[0], 0.0, GABLE)


def model(ident, *solids, **attributes):
    return BuildingModel(ident, solids, "1.2", attributes)


def block(outline, height_m=6.0):
    return extrude(tidy(outline)[0], 0.0, height_m)


MODELS = [
    model("court", block(COURT), roof_m=106.25, floors=2, heated=True, name="Hôtel", reason=None),
    model("house", HOUSE, roof_m=None, floors=1, heated=False, name="", reason="small"),
    model("stepped", block(STEPPED, 3.5), roof_m=3, floors=1, heated=True, name="x", reason=None),
]


def mesh_of(models):
    """Return a mesh with z up turned to y up, all white."""
    table = faces(models)
    y_up = table.vertices[:, [0, 2, 1]] * (1, 1, -1)
    sizes = face_sizes(table)
    per_model = np.diff(starts(sizes)[starts(table.model_faces)])
    return Mesh(
        y_up[table.corners],
        np.repeat(normals(table, y_up), sizes, axis=0),
        np.full((len(table.corners), 4), 255, np.uint8),
        np.repeat(np.arange(len(models)), per_model),
        triangulate(table, y_up).corners,
    )


def properties(*parts):
    seen = metadata.Attributes()
    for part in parts:
        seen.add(part)
    return seen.properties()


def tile(models):
    return written(mesh_of(models), models, properties(models))


TILE = tile(MODELS)


def parts(content):
    """Return the JSON document and the binary of a GLB."""
    length = struct.unpack_from("<I", content, 12)[0]
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def view(content, number):
    document, binary = parts(content)
    found = document["bufferViews"][number]
    return binary[found["byteOffset"] : found["byteOffset"] + found["byteLength"]]


def test_the_khronos_validator_has_nothing_to_say(khronos, tmp_path):
    wide = [model("a", block(box(0, 0, 9, 9))), model("b", block(box(5000, 0, 5009, 9)))]
    (tmp_path / "short.glb").write_bytes(TILE)
    (tmp_path / "wide.glb").write_bytes(tile(wide))
    assert khronos(sorted(tmp_path.iterdir())) == {"short.glb": [], "wide.glb": []}


def test_trimesh_finds_closed_solids_of_the_right_volume():
    for one, volume in zip(MODELS, (COURT.area * 6, 20 * 8 * 11, 48 * 3.5), strict=True):
        scene = trimesh.load(io.BytesIO(tile([one])), file_type="glb")
        found = scene.to_geometry()
        found.merge_vertices(merge_norm=True, merge_tex=True)
        assert found.is_watertight, one.id
        assert found.volume == pytest.approx(volume, rel=1e-3)


def test_normals_point_out_and_triangles_turn_with_them():
    mesh = mesh_of(MODELS)
    a, b, c = np.moveaxis(mesh.positions[mesh.triangles], 1, 0)
    turn = np.cross(b - a, c - a)
    assert (np.einsum("ij,ij->i", turn, mesh.normals[mesh.triangles[:, 0]]) > 0).all()
    roof = mesh.normals[:, 1] > 0.99
    assert mesh.positions[roof][:, 1].min() > 0


def test_up_is_y_and_north_is_minus_z():
    document, _ = parts(TILE)
    node = document["nodes"][0]
    low = np.array(node["translation"])
    high = low + np.array(document["accessors"][0]["max"]) * node["scale"]
    assert low == pytest.approx([0, 0, -14])
    assert high == pytest.approx([50, 12, 0], abs=0.001)


def test_each_vertex_knows_its_building():
    read = pygltflib.GLTF2().load_from_bytes(TILE)
    accessor = read.accessors[read.meshes[0].primitives[0].attributes.__dict__["_FEATURE_ID_0"]]
    stride = read.bufferViews[accessor.bufferView].byteStride
    raw = read.binary_blob()
    ids = [
        struct.unpack_from("<H", raw, accessor.byteOffset + i * stride)[0]
        for i in range(accessor.count)
    ]
    corners = [sum(len(r) for s in m.solids for f in s.faces for r in f.rings) for m in MODELS]
    assert [ids.count(i) for i in range(3)] == corners


def test_attributes_come_back_from_the_property_table():
    document, _ = parts(TILE)
    extension = document["extensions"]["EXT_structural_metadata"]
    members = extension["schema"]["classes"]["building"]["properties"]
    table = extension["propertyTables"][0]["properties"]

    def strings(name):
        offsets = np.frombuffer(view(TILE, table[name]["stringOffsets"]), "<u4")
        raw = view(TILE, table[name]["values"])
        return [raw[a:b].decode() for a, b in pairwise(offsets)]

    assert strings("id") == ["court", "house", "stepped"]
    assert strings("name") == ["Hôtel", "", "x"]
    assert strings("reason") == ["", "small", ""]
    assert members["reason"]["noData"] == ""
    assert members["roof_m"]["noData"] == -9999.0
    assert members["roof_m"]["componentType"] == "FLOAT32"
    assert np.frombuffer(view(TILE, table["roof_m"]["values"]), "<f4").tolist() == [
        106.25,
        -9999.0,
        3.0,
    ]
    assert np.frombuffer(view(TILE, table["floors"]["values"]), "<i4").tolist() == [2, 1, 1]
    assert view(TILE, table["heated"]["values"]) == b"\x05"


def test_every_view_and_the_binary_start_on_eight_bytes():
    document, binary = parts(TILE)
    assert (len(TILE) - len(binary)) % 8 == 0
    assert all(v["byteOffset"] % 8 == 0 for v in document["bufferViews"])
    assert struct.unpack_from("<I", TILE, 8)[0] == len(TILE)


def test_the_same_models_give_the_same_bytes():
    assert tile(MODELS) == TILE


def test_names_that_the_schema_forbids_are_kept_beside_an_identifier():
    strange = properties([model("a", HOUSE, **{"2nd höhe": 1.0, "_nd h_he": "x"})])
    assert [p.id for p in strange] == ["id", "_2nd_h_he", "_nd_h_he"]
    assert [p.name for p in strange] == ["id", "2nd höhe", "_nd h_he"]


def test_a_tile_that_numbers_cannot_reach_is_refused():
    with pytest.raises(ValueError, match="split"):
        written(mesh_of(MODELS), MODELS * 30_000, [])


def test_numbers_that_32_bits_would_round_keep_64():
    easting = [model("a", HOUSE, x=431234.567, h=101.234), model("b", HOUSE, x=1.5, h=None)]
    types = {p.id: p.type for p in properties(easting)}
    assert types == {"id": "STRING", "x": "FLOAT64", "h": "FLOAT32"}
    x, h = properties(easting)[1:]
    assert metadata.plain(x, easting[::-1]) == [1.5, 431234.567]
    assert metadata.plain(h, easting) == [101.234, None]


def test_types_are_those_of_all_parts():
    """A tileset's buildings pass by some at a time: what one part lacks, another may have."""
    first = [model("a", HOUSE, floors=2, height=3, name=None, kept=True)]
    second = [model("b", HOUSE, floors=None, height=3.5, year=1893), model("c", HOUSE, kept=False)]
    apart, at_once = properties(first, second), properties([*first, *second])
    assert apart == at_once
    assert {p.id: (p.type, p.optional) for p in apart} == {
        "id": ("STRING", False),
        "floors": ("INT32", True),
        "height": ("FLOAT32", True),
        "name": ("STRING", True),
        "kept": ("STRING", True),
        "year": ("INT32", True),
    }


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 5), st.integers(1, 5)),
        min_size=1,
        max_size=6,
    )
)
def test_any_face_is_covered_exactly_once(cuts):
    """Law: triangles of a face with corners on straight sides and holes add up to its area."""
    outline = box(-1, -1, 14, 14)
    for x, y, w, h in cuts:
        outline = outline.difference(box(x, y, x + w, y + h))
    for part in tidy(outline):
        solid = extrude(part, 0.0, 1.0)
        table = faces([model("a", solid)])
        corners = triangulate(table, table.vertices).corners
        found = trimesh.Trimesh(solid.vertices, table.corners[corners], process=False)
        assert found.is_watertight
        assert found.volume == pytest.approx(part.area)
