"""Pleiades and WorldView say how an image was taken in files beside it."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from processes.core.errors import BrokenRpc
from processes.core.process import Asset
from processes.stereo.rpc import choose, read_document
from workers.acquisitions import acquisitions
from workers.metadata import facts_of
from workers.reader import Reader

DIMAP = """<?xml version="1.0" encoding="ISO-8859-1"?>
<Dimap_Document><Raster_Data><Raster_Access><Raster_Index_List>
<Raster_Index><BAND_ID>B0</BAND_ID><BAND_INDEX>3</BAND_INDEX></Raster_Index>
<Raster_Index><BAND_ID>B2</BAND_ID><BAND_INDEX>1</BAND_INDEX></Raster_Index>
<Raster_Index><BAND_ID>B1</BAND_ID><BAND_INDEX>2</BAND_INDEX></Raster_Index>
<Raster_Index><BAND_ID>B3</BAND_ID><BAND_INDEX>4</BAND_INDEX></Raster_Index>
</Raster_Index_List></Raster_Access></Raster_Data><Geometric_Data><Use_Area>
<Located_Geometric_Values><LOCATION_TYPE>Top Center</LOCATION_TYPE><Solar_Incidences>
<SUN_AZIMUTH unit="deg">1.0</SUN_AZIMUTH></Solar_Incidences></Located_Geometric_Values>
<Located_Geometric_Values><LOCATION_TYPE>Center</LOCATION_TYPE>
<TIME>2013-05-26T10:45:11.5Z</TIME>
<Acquisition_Angles><AZIMUTH_ANGLE unit="deg">180.1</AZIMUTH_ANGLE>
<VIEWING_ANGLE unit="deg">-12.5</VIEWING_ANGLE>
<INCIDENCE_ANGLE unit="deg">14.2</INCIDENCE_ANGLE></Acquisition_Angles>
<Solar_Incidences><SUN_AZIMUTH unit="deg">153.2</SUN_AZIMUTH>
<SUN_ELEVATION unit="deg">61.9</SUN_ELEVATION></Solar_Incidences>
</Located_Geometric_Values></Use_Area></Geometric_Data></Dimap_Document>"""
IMD = """version = "28.3";
BEGIN_GROUP = BAND_B
\tULLon = 2.0;
END_GROUP = BAND_B
BEGIN_GROUP = BAND_G
END_GROUP = BAND_G
BEGIN_GROUP = BAND_R
END_GROUP = BAND_R
BEGIN_GROUP = BAND_N
END_GROUP = BAND_N
BEGIN_GROUP = IMAGE_1
\tfirstLineTime = 2014-03-01T14:02:03.123456Z;
\tmeanSunAz = 55.5;
\tmeanSunEl = 48.25;
\tmeanOffNadirViewAngle = 21.5;
END_GROUP = IMAGE_1
END;
"""


def test_a_dimap_tells_sun_view_time_and_bands() -> None:
    facts, bands = facts_of(DIMAP)
    assert facts == {
        "view:sun_azimuth": 153.2, "view:sun_elevation": 61.9, "view:incidence_angle": 14.2,
        "view:off_nadir": 12.5, "view:azimuth": 180.1, "datetime": "2013-05-26T10:45:11.5Z",
    }  # fmt: skip
    assert bands == ["red", "green", "blue", "nir"]


def test_an_imd_tells_the_same_of_worldview() -> None:
    facts, bands = facts_of(IMD)
    assert facts == {
        "view:sun_azimuth": 55.5, "view:sun_elevation": 48.25, "view:off_nadir": 21.5,
        "datetime": "2014-03-01T14:02:03.123456Z",
    }  # fmt: skip
    assert bands == ["blue", "green", "red", "nir"]


@pytest.mark.parametrize("text", ["", "<a", "<a/>", "BEGIN_GROUP", "{}", "<IMD><x>&y;</x></IMD>"])
def test_other_documents_tell_nothing(text: str) -> None:
    assert facts_of(text) == ({}, [])


def test_a_dimap_whose_bands_have_no_numbers_still_tells_the_time() -> None:
    facts, bands = facts_of(DIMAP.replace("<BAND_INDEX>3<", "<BAND_INDEX>third<"))
    assert facts["datetime"].startswith("2013-05-26")
    assert bands == []


@pytest.mark.parametrize(
    "entity",
    [
        '<!ENTITY told SYSTEM "file://{secret}">',
        '<!ENTITY % more SYSTEM "file://{secret}"> %more;',
        '<!ENTITY e0 "153.2 ">' + "".join(
            f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10)
        ) + '<!ENTITY told "&e9;">',
        '<!ENTITY long "' + "9" * 100_000 + '"><!ENTITY told "' + "&long;" * 10_000 + '">',
    ],
    ids=["a file", "a file of entities", "a billion", "a long one often"],
)  # fmt: skip
def test_entities_of_a_document_read_nothing_and_do_not_grow(tmp_path: Path, entity: str) -> None:
    (tmp_path / "secret").write_text("153.2")
    kind = f"<!DOCTYPE Dimap_Document [{entity.replace('{secret}', str(tmp_path / 'secret'))}]>"
    text = DIMAP.replace("<Dimap_Document>", kind + "<Dimap_Document>").replace(
        ">153.2<", ">&told;<"
    )
    assert facts_of(text) == ({}, [])
    model = text.replace("Geometric_Data", "Rational_Function_Model")
    with pytest.raises(BrokenRpc, match="not well-formed") as fault:
        read_document("RPC_left.XML", model)
    assert "153.2" not in str(fault.value)


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 400_000 + "x",
        "BEGIN_GROUP " + "a" * 400_000,
        "lineNumCoef " + "a=(" * 150_000,
        "line_num_coeff_00: 1\n" + " " * 400_000,
    ],
    ids=["lines", "a word", "brackets", "blanks"],
)
def test_a_document_made_to_be_slow_is_not(text: str) -> None:
    start = time.process_time()
    assert facts_of(text)[1] == []
    with pytest.raises(BrokenRpc):
        choose("left", [("left_RPC.TXT", text)], None)
    assert time.process_time() - start < 5


def worldview(village: Path) -> str:
    """Return a WorldView .XML with the village's left sensor model."""
    text = (village / "left_RPC.TXT").read_text()
    values = dict(re.findall(r"^(\w+):\s*(\S+)", text, re.M))
    parts = [
        f"<{ours}{theirs.upper()}>{values[f'{ours}_{key}']}</{ours}{theirs.upper()}>"
        for ours in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")
        for key, theirs in (("OFF", "offset"), ("SCALE", "scale"))
    ]
    for ours in ("LINE", "SAMP"):
        for key in ("NUM", "DEN"):
            numbers = " ".join(values[f"{ours}_{key}_COEFF_{k}"] for k in range(1, 21))
            tag = f"{ours}{key}COEF"
            parts.append(f"<{tag}List><{tag}>{numbers}</{tag}></{tag}List>")
    imd = (
        "<IMD><BAND_P><ULLON>2</ULLON></BAND_P><IMAGE><FIRSTLINETIME>2014-03-01T14:02:03Z"
        "</FIRSTLINETIME><MEANSUNAZ>55.5</MEANSUNAZ><MEANSUNEL>48.2</MEANSUNEL></IMAGE></IMD>"
    )
    return f"<isd>{imd}<RPB><SPECID>RPC00B</SPECID><IMAGE>{''.join(parts)}</IMAGE></RPB></isd>"


def test_the_sensor_model_of_a_worldview_xml_is_that_of_its_rpb(village: Path) -> None:
    got = read_document("left.XML", worldview(village))
    true = read_document("left_RPC.TXT", (village / "left_RPC.TXT").read_text())
    at = (true.lon_off + 1e-3, true.lat_off - 1e-3, 150.0)
    np.testing.assert_allclose(got.project(*at), true.project(*at), atol=1e-9)


def test_an_image_with_one_xml_beside_it_needs_nothing_else(village: Path, tmp_path: Path) -> None:
    with rasterio.open(village / "left.tif") as file:
        pixels, profile = file.read([1]), file.profile
    profile.update(count=1, crs=None)
    with rasterio.open(tmp_path / "wv.tif", "w", **profile) as file:
        file.write(pixels)
    (tmp_path / "wv.XML").write_text(worldview(village))
    reader = Reader(tmp_path / "cache", files=True)
    (found,) = acquisitions(Asset(href=str(tmp_path / "wv.tif")), reader, None)
    image = found.opened()
    assert image.raster.band_names == ("pan",)
    assert image.properties["view:sun_elevation"] == 48.2
    assert choose(image.id, image.rpc_documents, None).lon_off == pytest.approx(2.08, abs=0.01)


def test_a_dimap_beside_a_pleiades_image_names_its_bands(village: Path, tmp_path: Path) -> None:
    name = "IMG_PHR1B_PMS_201305261045115_SEN_1_R1C1"
    shutil.copy(village / "left.tif", tmp_path / f"{name}.TIF")
    shutil.copy(village / "left_RPC.TXT", tmp_path / f"{name}_RPC.TXT")
    (tmp_path / "DIM_PHR1B_PMS_201305261045115_SEN_1.XML").write_text(DIMAP)
    reader = Reader(tmp_path / "cache", files=True)
    (found,) = acquisitions(Asset(href=str(tmp_path / f"{name}.TIF")), reader, None)
    image = found.opened()
    assert image.raster.band_names == ("red", "green", "blue", "nir")
    assert image.properties["datetime"].startswith("2013-05-26")
