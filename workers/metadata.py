"""What the files beside an image say of how it was taken: DIMAP (Pleiades, SPOT) and WorldView.

DIMAP 2 comes as DIM_….XML, WorldView as .IMD or as one .XML with all of its parts. Facts get the
names that STAC gives them; what an Item says itself counts more.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from typing import Any

Facts = dict[str, Any]

DIMAP_BANDS = {"P": "pan", "PAN": "pan", "B0": "blue", "B1": "green", "B2": "red", "B3": "nir"}
WORLDVIEW_BANDS = {
    "P": "pan", "C": "coastal", "B": "blue", "G": "green", "Y": "yellow", "R": "red",
    "RE": "rededge", "N": "nir", "N2": "nir2",
}  # fmt: skip
DIMAP_ANGLES = {
    "view:sun_azimuth": "SUN_AZIMUTH",
    "view:sun_elevation": "SUN_ELEVATION",
    "view:incidence_angle": "INCIDENCE_ANGLE",
    "view:off_nadir": "VIEWING_ANGLE",
    "view:azimuth": "AZIMUTH_ANGLE",
}
WORLDVIEW_ANGLES = {
    "view:sun_azimuth": ("meansunaz", "sunaz"),
    "view:sun_elevation": ("meansunel", "sunel"),
    "view:off_nadir": ("meanoffnadirviewangle", "offnadirviewangle"),
    "view:azimuth": ("meansataz", "sataz"),
}


def facts_of(text: str) -> tuple[Facts, list[str]]:
    """Return STAC properties and the names of the bands, in order; empty where it tells none."""
    if not text.lstrip("\ufeff \t\r\n").startswith("<"):
        return _imd(text) if "BEGIN_GROUP" in text else ({}, [])
    try:
        root = ET.fromstring(text.lstrip("\ufeff \t\r\n"))
    except ET.ParseError:
        return {}, []
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.find(".//IMD") is not None:
        return _worldview(root)
    return _dimap(root) if root.tag.lower() == "dimap_document" else ({}, [])


def _dimap(root: ET.Element) -> tuple[Facts, list[str]]:
    """Located values are given along the image: those of its centre count."""
    places = root.findall(".//Located_Geometric_Values")
    middle = [place for place in places if place.findtext("LOCATION_TYPE") == "Center"]
    at = (middle or places or [root])[0]
    facts = _numbers({name: at.findtext(f".//{tag}") for name, tag in DIMAP_ANGLES.items()})
    if "view:off_nadir" in facts:
        facts["view:off_nadir"] = abs(facts["view:off_nadir"])
    time = at.findtext("TIME")
    day, hour = root.findtext(".//IMAGING_DATE"), root.findtext(".//IMAGING_TIME")
    facts |= _dated(time or (f"{day}T{hour}" if day and hour else None))
    listed = [
        ((entry.findtext("BAND_INDEX") or "0").strip(), entry.findtext("BAND_ID") or "")
        for entry in root.findall(".//Raster_Index")
    ]
    if not all(re.fullmatch(r"\d{1,4}", index, re.ASCII) for index, _ in listed):
        return facts, []
    bands = [band for _, band in sorted((int(index), band) for index, band in listed)]
    return facts, _named(bands, DIMAP_BANDS)


def _worldview(root: ET.Element) -> tuple[Facts, list[str]]:
    told = {element.tag.lower(): element.text for element in root.iterfind(".//IMD//*")}
    bands = [e.tag[5:] for e in root.iterfind(".//IMD//*") if e.tag.startswith("BAND_") and len(e)]
    return _worldview_facts(told.get), _named(bands, WORLDVIEW_BANDS)


def _imd(text: str) -> tuple[Facts, list[str]]:
    # \b: else each letter of a long word would be tried as the start of one
    told = {k.lower(): v.strip(' "') for k, v in re.findall(r"\b(\w+)\s*=\s*([^;\n]*)", text)}
    bands = re.findall(r"BEGIN_GROUP\s*=\s*BAND_(\w+)", text)
    return _worldview_facts(told.get), _named(bands, WORLDVIEW_BANDS)


def _worldview_facts(told: Callable[[str], str | None]) -> Facts:
    angles = {name: told(a) or told(b) for name, (a, b) in WORLDVIEW_ANGLES.items()}
    return _numbers(angles) | _dated(told("firstlinetime") or told("tlctime"))


def _numbers(told: Mapping[str, str | None]) -> Facts:
    facts = {}
    for name, value in told.items():
        try:
            facts[name] = float(str(value).strip())
        except ValueError:
            continue
    return facts


def _dated(text: str | None) -> Facts:
    moment = (text or "").strip().rstrip("Z")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?", moment):
        return {}
    return {"datetime": moment + "Z"}


def _named(bands: list[str], names: Mapping[str, str]) -> list[str]:
    known = [names.get(band.upper(), band.lower()) for band in bands]
    return known if len(set(known)) == len(known) else []
