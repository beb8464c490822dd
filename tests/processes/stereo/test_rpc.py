"""Sensor models: read from every format, checked, projected and inverted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from processes.core.errors import BrokenRpc, NoRpc
from processes.stereo.rpc import (
    RpcModel,
    choose,
    from_tags,
    read_document,
    read_rpc_txt,
)

VILLAGE = Path(__file__).parents[2] / "data/scenes/village"
LEFT = (VILLAGE / "left_RPC.TXT").read_text()
MODEL = read_rpc_txt("left_RPC.TXT", LEFT)
GROUND = np.array([2.081, 2.0835, 2.0865]), np.array([47.7615, 47.7625, 47.7645])
TABLES = ("line_num", "line_den", "samp_num", "samp_den")


def scalars(model: RpcModel) -> dict[str, float]:
    return {
        "LINE_OFF": model.row_off, "LINE_SCALE": model.row_scale,
        "SAMP_OFF": model.col_off, "SAMP_SCALE": model.col_scale,
        "LAT_OFF": model.lat_off, "LAT_SCALE": model.lat_scale,
        "LONG_OFF": model.lon_off, "LONG_SCALE": model.lon_scale,
        "HEIGHT_OFF": model.height_off, "HEIGHT_SCALE": model.height_scale,
    }  # fmt: skip


def tags(model: RpcModel) -> dict[str, str]:
    out = {key: repr(value) for key, value in scalars(model).items()}
    for name in TABLES:
        out[f"{name.upper()}_COEFF"] = " ".join(repr(float(c)) for c in getattr(model, name))
    return out


def geom(model: RpcModel) -> str:
    lines = [f"{key.lower()}:  {value!r}" for key, value in scalars(model).items()]
    for name in TABLES:
        table = getattr(model, name)
        lines += [f"{name}_coeff_{i:02d}:  {float(c)!r}" for i, c in enumerate(table)]
    return "\n".join(["image_id:  ", *lines, "polynomial_format:  B", "type:  ossimRpcModel"])


def rpb(model: RpcModel) -> str:
    names = {"LINE": "line", "SAMP": "samp", "LAT": "lat", "LONG": "long", "HEIGHT": "height"}
    lines = []
    for key, value in scalars(model).items():
        ours, kind = key.rsplit("_", 1)
        lines.append(f"\t{names[ours]}{'Offset' if kind == 'OFF' else 'Scale'} = {value!r};")
    for name in TABLES:
        axis, part = name.split("_")
        values = ",\n\t\t\t".join(repr(float(c)) for c in getattr(model, name))
        lines.append(f"\t{axis}{part.capitalize()}Coef = (\n\t\t\t{values});")
    body = "\n".join(lines)
    return f'satId = "WV02";\nSpecId = "RPC00B";\nBEGIN_GROUP = IMAGE\n{body}\nEND_GROUP = IMAGE\n'


def dimap(model: RpcModel, first: float = 1.0) -> str:
    """A Pleiades file: the first pixel is (1, 1)."""
    values = scalars(model)
    values["LINE_OFF"] += first
    values["SAMP_OFF"] += first
    polynomials = "".join(
        f"<{name.upper()}_COEFF_{i}>{float(c)!r}</{name.upper()}_COEFF_{i}>"
        for name in TABLES
        for i, c in enumerate(getattr(model, name), 1)
    )
    validity = "".join(f"<{key}>{value!r}</{key}>" for key, value in values.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Dimap_Document><Rational_Function_Model>'
        f"<Global_RFM><Inverse_Model>{polynomials}</Inverse_Model>"
        f"<RFM_Validity>{validity}</RFM_Validity></Global_RFM>"
        "</Rational_Function_Model></Dimap_Document>"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("left_RPC.TXT", LEFT),
        ("left.geom", geom(MODEL)),
        ("left.RPB", rpb(MODEL)),
        ("RPC_left.XML", dimap(MODEL)),
    ],
)
def test_every_format_tells_the_same_pixel(name: str, text: str) -> None:
    assert_allclose(
        read_document(name, text).project(*GROUND, 150.0), MODEL.project(*GROUND, 150.0), atol=1e-6
    )


def test_tags_of_a_geotiff_tell_the_same_pixel() -> None:
    model = from_tags(tags(MODEL), name="left.tif")
    assert_allclose(model.project(*GROUND, 150.0), MODEL.project(*GROUND, 150.0), atol=1e-9)


def test_terms_of_rpc00a_are_put_in_order() -> None:
    to_a = [0, 1, 2, 3, 4, 5, 6, 10, 7, 8, 9, 11, 14, 17, 12, 15, 18, 13, 16, 19]
    text = geom(MODEL).replace("polynomial_format:  B", "polynomial_format:  A")
    for name in TABLES:
        for i, b in enumerate(to_a):
            value = float(getattr(MODEL, name)[b])
            text = re.sub(
                rf"^{name}_coeff_{i:02d}:.*$", f"{name}_coeff_{i:02d}:  {value!r}", text, flags=re.M
            )
    assert_allclose(
        read_document("a.geom", text).project(*GROUND, 300.0),
        MODEL.project(*GROUND, 300.0),
        atol=1e-6,
    )


@settings(max_examples=50, deadline=None)
@given(row=st.floats(-200, 1100), col=st.floats(-200, 1100), height=st.floats(-200, 500))
def test_locating_undoes_projecting(row: float, col: float, height: float) -> None:
    lon, lat = MODEL.locate(row, col, height)
    assert_allclose(MODEL.project(lon, lat, height), (row, col), atol=1e-5)


def test_a_correction_moves_the_pixel_and_is_undone_by_locating() -> None:
    moved = MODEL.corrected(1.7, -2.3)
    row, col = MODEL.project(*GROUND, 150.0)
    assert_allclose(moved.project(*GROUND, 150.0), (row + 1.7, col - 2.3))
    assert_allclose(moved.locate(row + 1.7, col - 2.3, 150.0), GROUND, atol=1e-10)


def test_a_crop_counts_from_its_own_first_pixel() -> None:
    row, col = MODEL.project(*GROUND, 150.0)
    assert_allclose(MODEL.shifted(100, 30).project(*GROUND, 150.0), (row - 100, col - 30))


def test_the_scene_s_true_cameras_differ_by_the_known_bias() -> None:
    given_model = read_document("right", (VILLAGE / "right_RPC.TXT").read_text())
    true_model = read_document("right", (VILLAGE / "truth/right_true_RPC.TXT").read_text())
    off = np.subtract(given_model.project(*GROUND, 150.0), true_model.project(*GROUND, 150.0))
    assert_allclose(off, [[-0.3] * 3, [-1.8] * 3], atol=1e-6)


def test_a_document_named_after_the_image_is_preferred_to_others_and_to_tags() -> None:
    other = MODEL.shifted(500, 0)
    documents = [("a_other.geom", geom(other)), ("left.geom", geom(MODEL)), ("notes.xml", "<a/>")]
    chosen = choose("left.tif", documents, tags(other))
    assert chosen.row_off == MODEL.row_off
    assert choose("left.tif", [], tags(other)).row_off == other.row_off


def test_the_origin_of_a_crop_applies_to_documents_and_not_to_tags() -> None:
    assert choose("x", [("x.geom", geom(MODEL))], None, origin=(50, 20)).row_off == (
        MODEL.row_off - 50
    )
    assert choose("x", [], tags(MODEL), origin=(50, 20)).row_off == MODEL.row_off


def test_an_image_without_a_model_is_named() -> None:
    with pytest.raises(NoRpc, match=r"left\.tif has no sensor model"):
        choose("left.tif", [], None)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda t: t.replace("LINE_NUM_COEFF_7", "LINE_NUM_COEFF_X"), "LINE_NUM_COEFF_7 is missin"),
        (lambda t: re.sub("LAT_OFF: .*", "LAT_OFF: nan", t), "LAT_OFF is not finite"),
        (lambda t: re.sub("SAMP_SCALE: .*", "SAMP_SCALE: 0", t), "SAMP_SCALE is zero"),
        (lambda t: re.sub("LONG_OFF: .*", "LONG_OFF: east", t), "'east', not a number"),
        (lambda t: re.sub("LAT_OFF: .*", "LAT_OFF: 4776.0", t), "no place on Earth"),
        (lambda t: re.sub("LINE_DEN_COEFF_2: .*", "LINE_DEN_COEFF_2: 3.0", t), "vanishes"),
        (
            lambda t: re.sub(r"(SAMP_NUM_COEFF_\d+): .*", r"\1: 0.0", t),
            "cannot be inverted",
        ),
        (lambda t: t[: len(t) // 2], "is missing"),
    ],
)
def test_a_broken_model_is_refused_with_its_file_and_fault(change, fault: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BrokenRpc, match=f"left_RPC.TXT.*{fault}"):
        read_document("left_RPC.TXT", change(LEFT))


def test_malformed_xml_is_refused() -> None:
    with pytest.raises(BrokenRpc, match=r"RPC_a\.XML is not well-formed"):
        read_document("RPC_a.XML", dimap(MODEL)[:-30])


def test_a_short_coefficient_list_is_refused() -> None:
    broken = tags(MODEL) | {"SAMP_DEN_COEFF": "1 0 0"}
    with pytest.raises(BrokenRpc, match="SAMP_DEN_COEFF has 3 coefficients"):
        from_tags(broken, name="left.tif")


def test_the_geom_and_the_dimap_of_one_real_image_agree(shared_data: Path) -> None:
    folder = shared_data / "stereo/ventoux"
    ossim = read_document("left_image.geom", (folder / "left_image.geom").read_text())
    xml = next(folder.glob("RPC_*.XML"))
    airbus = read_document(xml.name, xml.read_text())
    lon, lat = ossim.locate([0, 5000, 40000], [0, 5200, 38000], [200, 600, 1500])
    apart = np.subtract(
        ossim.project(lon, lat, [200, 600, 1500]), airbus.project(lon, lat, [200, 600, 1500])
    )
    assert np.abs(apart).max() < 1e-3


def test_a_dimap_whose_two_models_disagree_is_refused(shared_data: Path) -> None:
    xml = next((shared_data / "stereo/ventoux").glob("RPC_*.XML"))
    text = xml.read_text()
    broken = re.sub(r"<SAMP_NUM_COEFF_1>[^<]*", "<SAMP_NUM_COEFF_1>0.25", text, count=1)
    with pytest.raises(BrokenRpc, match="pixels apart"):
        read_document(xml.name, broken)
