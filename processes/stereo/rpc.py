"""Rational polynomial camera models: reading, checking, projecting, locating.

One convention inside: pixel *centres* are integers, (0, 0) is the middle of the first pixel, as
in RPC00B. Every reader brings its format to it. Longitude and latitude are WGS84 degrees,
heights are metres above the ellipsoid.

| document | first pixel's centre | here |
|---|---|---|
| GeoTIFF tags (GDAL's names), `_RPC.TXT`, `.RPB` | (0, 0) | as it is |
| OSSIM `.geom` | (0, 0) | as it is |
| WorldView .XML (its RPB part) | (0, 0) | as it is |
| DIMAP XML | (1, 1) | less one |

A document may describe a whole acquisition of which the raster is a crop: `shifted` moves the
model by the crop's first row and column.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import BrokenRpc, NoRpc
from processes.stereo.antimeridian import near
from processes.stereo.cubics import inverse, ratios, slopes, values

Floats = NDArray[np.float64]

_SCALARS = (
    "LINE_OFF", "LINE_SCALE", "SAMP_OFF", "SAMP_SCALE", "LAT_OFF", "LAT_SCALE",
    "LONG_OFF", "LONG_SCALE", "HEIGHT_OFF", "HEIGHT_SCALE",
)  # fmt: skip
_POLYNOMIALS = ("LINE_NUM_COEFF", "LINE_DEN_COEFF", "SAMP_NUM_COEFF", "SAMP_DEN_COEFF")
# Where the terms of RPC00B stand in RPC00A (STDI-0002, appendix E: same terms, other order).
_A_TO_B = (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 7, 11, 14, 17, 12, 15, 18, 13, 16, 19)


@dataclass(frozen=True, eq=False)
class RpcModel:
    """Ground to image by ratios of cubic polynomials (STDI-0002, RPC00B), corrected in the image.

    `drow` and `dcol` are added to every projection, and `tilt` times the normalised position in the
    image: what a bundle adjustment found.
    """

    line_num: Floats
    line_den: Floats
    samp_num: Floats
    samp_den: Floats
    row_off: float
    row_scale: float
    col_off: float
    col_scale: float
    lat_off: float
    lat_scale: float
    lon_off: float
    lon_scale: float
    height_off: float
    height_scale: float
    drow: float = 0.0
    dcol: float = 0.0
    tilt: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Rows by normalised row and column, columns by normalised row and column: pixels."""
    name: str = field(default="rpc", compare=False)

    def project(self, lon: Any, lat: Any, height: Any) -> tuple[Floats, Floats]:
        """Return (row, col) of ground points; any shapes that broadcast."""
        row, col = self.normalised(lon, lat, height)
        a, b, c, d = self.tilt
        return (
            row * (self.row_scale + a) + col * b + (self.row_off + self.drow),
            col * (self.col_scale + d) + row * c + (self.col_off + self.dcol),
        )

    def normalised(self, lon: Any, lat: Any, height: Any) -> tuple[Floats, Floats]:
        """Return (row, col) as the polynomials give them: about -1 to 1 over the image."""
        shape, (lon, lat, height) = _flat(lon, lat, height)
        row, col = ratios(lon, lat, height, self._ground, self._tables)
        return row.reshape(shape), col.reshape(shape)

    def anchor(self, height_m: float) -> tuple[float, float]:
        """Return where the first pixel looks, (lon, lat): it tells acquisitions apart."""
        lon, lat = self.locate(0.0, 0.0, height_m)
        return float(lon), float(lat)

    def locate(self, row: Any, col: Any, height: Any) -> tuple[Floats, Floats]:
        """Return (lon, lat) where the rays of pixels meet a height; NaN where Newton fails."""
        shape, (row, col, height) = _flat(row, col, height)
        lon, lat = inverse(row, col, height, self._ground, self._tables, self._to_px)
        return lon.reshape(shape), lat.reshape(shape)

    def near(self, lon: float) -> RpcModel:
        """Return the model of the same ground whose longitudes lie within half a turn of *lon*."""
        lon_off = float(near(self.lon_off, lon))
        return self if lon_off == self.lon_off else replace(self, lon_off=lon_off)

    def corrected(self, drow: float, dcol: float, *tilt: float) -> RpcModel:
        """Return the model with a further image shift and, where four are given, tilts; pixels."""
        a, b, c, d = (
            t + float(more) for t, more in zip(self.tilt, tilt or (0.0,) * 4, strict=True)
        )
        return replace(
            self, drow=self.drow + float(drow), dcol=self.dcol + float(dcol), tilt=(a, b, c, d)
        )

    def shifted(self, row0: float, col0: float) -> RpcModel:
        """Return the model of a crop whose first pixel is (row0, col0) of this one's image."""
        return replace(self, row_off=self.row_off - row0, col_off=self.col_off - col0)

    @cached_property
    def _ground(self) -> Floats:
        """Offset and scale of longitude, latitude and height, (3, 2)."""
        return np.array(
            [
                [self.lon_off, self.lon_scale],
                [self.lat_off, self.lat_scale],
                [self.height_off, self.height_scale],
            ],
            np.float64,
        )

    @cached_property
    def _tables(self) -> Floats:
        return np.array([self.line_num, self.line_den, self.samp_num, self.samp_den], np.float64)

    @cached_property
    def _to_px(self) -> Floats:
        """What brings normalised row and column to pixels, (2, 3)."""
        a, b, c, d = self.tilt
        return np.array(
            [
                [self.row_scale + a, b, self.row_off + self.drow],
                [c, self.col_scale + d, self.col_off + self.dcol],
            ],
            np.float64,
        )


def _flat(*values: Any) -> tuple[tuple[int, ...], list[Floats]]:
    """Return the shape that arrays broadcast to, and each as one contiguous line of it."""
    arrays = [np.asarray(value, np.float64) for value in values]
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    # a broadcast array is a view that numba would take for another kind of array
    lines = [a if a.shape == shape else np.broadcast_to(a, shape).copy() for a in arrays]
    return shape, [np.ascontiguousarray(line).reshape(-1) for line in lines]


def choose(
    image_name: str,
    documents: Sequence[tuple[str, str]],
    tags: Mapping[str, str] | None,
    *,
    origin: tuple[float, float] = (0.0, 0.0),
) -> RpcModel:
    """Return the sensor model of an image out of what lies beside it and in it.

    A document named after the image comes first, then any other document, then the GeoTIFF's
    tags. The first choice is the only one read: a fault in it is an error, since falling back to
    another model would move the scene silently. `origin` is the raster's first row and column in
    the image that the documents describe; the tags describe the raster itself.
    """
    named: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    stem = _stem(image_name)
    for name, text in documents:
        if _reader(name, text) is not None:
            mine = _stem(name).startswith(stem)
            (named if mine else others).append((name, text))
    found = sorted(named) or sorted(others)
    if found:
        return read_document(*found[0]).shifted(*origin)
    if tags:
        return from_tags(tags, name=f"the RPC tags of {image_name}")
    raise NoRpc(
        f"{image_name} has no sensor model: give RPC tags or a _RPC.TXT, .RPB, .geom or DIMAP file"
    )


def _stem(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()


def read_document(name: str, text: str) -> RpcModel:
    """Return the model in a sidecar document, its kind told by its content."""
    reader = _reader(name, text)
    if reader is None:
        raise BrokenRpc(f"{name} is no sensor model that is known here")
    return reader(name, text)


def from_tags(tags: Mapping[str, Any], *, name: str) -> RpcModel:
    """Return the model of GDAL's RPC metadata: scalars and space-separated coefficient lists."""
    values = {key.upper(): value for key, value in tags.items()}
    return _model(name, values.get, 1)


def _reader(name: str, text: str) -> Callable[[str, str], RpcModel] | None:
    head = text.lstrip("\ufeff \t\r\n")
    if head.startswith("<"):
        if re.search(r"<(\w+:)?RPB>", text):
            return read_worldview
        return read_dimap if "Rational_Function_Model" in text else None
    if re.search(r"^[ \t]*(line_num_coeff_00|polynomial_format)[ \t]*:", text, re.M):
        return read_geom
    if re.search(r"lineNumCoef|^[ \t]*BEGIN_GROUP[ \t]*=[ \t]*IMAGE", text, re.M):
        return read_rpb
    lower = name.lower()
    if re.search(r"^[ \t]*LINE_(OFF|NUM_COEFF)", text, re.M) or lower.endswith("_rpc.txt"):
        return read_rpc_txt
    if lower.endswith(".rpb"):
        return read_rpb
    return read_geom if lower.endswith(".geom") else None


def read_rpc_txt(name: str, text: str) -> RpcModel:
    """Return the model of an `_RPC.TXT` (`KEY: value units`)."""
    return _model(name, _key_values(text).get, 1)


def read_geom(name: str, text: str) -> RpcModel:
    """Return the model of an OSSIM `.geom` key-value list."""
    values = _key_values(text)
    polynomial = values.get("POLYNOMIAL_FORMAT", "B").upper()
    return _model(name, values.get, 0, order_a=polynomial == "A")


def read_rpb(name: str, text: str) -> RpcModel:
    """Return the model of a DigitalGlobe `.RPB` (`key = value;`, lists in brackets)."""
    pairs = re.findall(r"\b(\w+)\s*=\s*(\([^()]*\)|[^;\n]*)", text)
    given = {key.lower(): value.strip("() \t\r\n").replace(",", " ") for key, value in pairs}
    values = {}
    for ours, theirs in {"LINE": "line", "SAMP": "samp", "LAT": "lat", "LONG": "long",
                         "HEIGHT": "height"}.items():  # fmt: skip
        values[f"{ours}_OFF"] = given.get(f"{theirs}offset")
        values[f"{ours}_SCALE"] = given.get(f"{theirs}scale")
        values[f"{ours}_NUM_COEFF"] = given.get(f"{theirs}numcoef")
        values[f"{ours}_DEN_COEFF"] = given.get(f"{theirs}dencoef")
    order_a = given.get("specid", "").strip('"').upper() == "RPC00A"
    return _model(name, values.get, 1, order_a=order_a)


def read_worldview(name: str, text: str) -> RpcModel:
    """Return the model in the RPB part of a WorldView .XML: as in its `.RPB`."""
    root = _xml(name, text)
    part = root.find(".//RPB")
    given = {e.tag.upper(): (e.text or "").strip() for e in (root if part is None else part).iter()}
    values = {}
    for ours in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT"):
        values[f"{ours}_OFF"] = given.get(f"{ours}OFFSET")
        values[f"{ours}_SCALE"] = given.get(f"{ours}SCALE")
        values[f"{ours}_NUM_COEFF"] = given.get(f"{ours}NUMCOEF")
        values[f"{ours}_DEN_COEFF"] = given.get(f"{ours}DENCOEF")
    return _model(name, values.get, 1, order_a=given.get("SPECID", "").upper() == "RPC00A")


def _xml(name: str, text: str) -> ET.Element:
    """Return a document whose tags have lost their namespaces. Raises BrokenRpc."""
    try:
        root = ET.fromstring(text.lstrip("\ufeff \t\r\n"))
    except ET.ParseError as fault:
        raise BrokenRpc(f"{name} is not well-formed XML: {fault}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def read_dimap(name: str, text: str) -> RpcModel:
    """Return the model of a DIMAP RPC file (Pleiades, SPOT 6/7): first pixel is (1, 1).

    The file holds image-to-ground too ("direct"); the two must tell the same ground.
    """
    root = _xml(name, text)
    inverse, direct = root.find(".//Inverse_Model"), root.find(".//Direct_Model")
    validity = root.find(".//RFM_Validity")
    if inverse is None or validity is None:
        raise BrokenRpc(f"{name} lacks Inverse_Model or RFM_Validity")

    def value_of(part: ET.Element) -> Callable[[str], str | None]:
        return lambda key: part.findtext(key) or validity.findtext(key)

    model = _model(name, value_of(inverse), 1)
    if direct is not None:
        _check_direct(name, model, value_of(direct))
    return model.shifted(1.0, 1.0)


def _check_direct(name: str, model: RpcModel, value: Callable[[str], str | None]) -> None:
    """Refuse a DIMAP file whose two models disagree by more than a pixel at its centre."""
    back = _model(name, value, 1)
    # at the middle every term but the first is nought
    lon = back.samp_num[0] / back.samp_den[0] * model.lon_scale + model.lon_off
    lat = back.line_num[0] / back.line_den[0] * model.lat_scale + model.lat_off
    row, col = model.project(lon, lat, model.height_off)
    apart = float(np.hypot(row - model.row_off, col - model.col_off))
    if not apart < 1.0:
        raise BrokenRpc(f"{name}: direct and inverse model are {apart:.1f} pixels apart")


def _key_values(text: str) -> dict[str, str]:
    pairs = re.findall(r"^[ \t]*([\w.]+)[ \t]*[:=][ \t]*(\S+)", text, re.M)
    return {key.upper(): value for key, value in pairs}


def _model(
    name: str, value: Callable[[str], Any], first: int, *, order_a: bool = False
) -> RpcModel:
    """Build and check a model from a look-up by GDAL's names; *first* numbers the coefficients."""
    scalars = {key: _number(name, key, value(key)) for key in _SCALARS}
    for key in scalars:
        if key.endswith("SCALE") and scalars[key] == 0.0:
            raise BrokenRpc(f"{name}: {key} is zero")
    tables = []
    for key in _POLYNOMIALS:
        table = _coefficients(name, key, value, first)
        tables.append(table[list(_A_TO_B)] if order_a else table)
    model = RpcModel(
        line_num=tables[0], line_den=tables[1], samp_num=tables[2], samp_den=tables[3],
        row_off=scalars["LINE_OFF"], row_scale=scalars["LINE_SCALE"],
        col_off=scalars["SAMP_OFF"], col_scale=scalars["SAMP_SCALE"],
        lat_off=scalars["LAT_OFF"], lat_scale=scalars["LAT_SCALE"],
        lon_off=scalars["LONG_OFF"], lon_scale=scalars["LONG_SCALE"],
        height_off=scalars["HEIGHT_OFF"], height_scale=scalars["HEIGHT_SCALE"],
        name=name,
    )  # fmt: skip
    _check_domain(model)
    return model


def _coefficients(name: str, key: str, value: Callable[[str], Any], first: int) -> Floats:
    listed = value(key)
    if listed is None:
        numbered = [
            value(f"{key}_{i:02d}") or value(f"{key}_{i}") for i in range(first, first + 20)
        ]
    elif isinstance(listed, str):
        numbered = list(listed.split())
    else:
        numbered = list(listed)
    if len(numbered) != 20:
        raise BrokenRpc(f"{name}: {key} has {len(numbered)} coefficients where 20 are needed")
    return np.array([_number(name, f"{key}_{first + i}", v) for i, v in enumerate(numbered)])


def _number(name: str, key: str, value: Any) -> float:
    if value is None or value == "":
        raise BrokenRpc(f"{name}: {key} is missing")
    try:
        number = float(str(value).split()[0])
    except (ValueError, IndexError):
        raise BrokenRpc(f"{name}: {key} is {value!r}, not a number") from None
    if not np.isfinite(number):
        raise BrokenRpc(f"{name}: {key} is not finite")
    return number


def _check_domain(model: RpcModel) -> None:
    """Refuse a model whose denominators vanish, or that maps its ground to a line or a point."""
    if abs(model.lat_off) > 90.0 or abs(model.lon_off) > 360.0:
        raise BrokenRpc(f"{model.name}: LAT_OFF or LONG_OFF is no place on Earth")
    steps = np.linspace(-1.0, 1.0, 7)
    x, y, z = (axis.ravel() for axis in np.meshgrid(steps, steps, steps, indexing="ij"))
    for key, table in (("LINE_DEN_COEFF", model.line_den), ("SAMP_DEN_COEFF", model.samp_den)):
        den = values(table, x, y, z)
        if den.min() * den.max() <= 0.0 or np.abs(den).min() < 1e-6 * np.abs(den).max():
            raise BrokenRpc(f"{model.name}: {key} vanishes inside the model's domain")
    jac = slopes(x, y, z, model._tables)
    area = jac[0, 0] * jac[1, 1] - jac[0, 1] * jac[1, 0]
    if area.min() * area.max() <= 0.0:
        raise BrokenRpc(f"{model.name}: the model cannot be inverted inside its domain")
