"""COPC as laspy reads it: the whole file as LAZ, and piece by piece as COPC."""

from __future__ import annotations

from pathlib import Path

import laspy
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from pyproj import CRS

from tiles.copc import CopcFile, Extra, point_format
from tiles.octree import SAMPLES, nodes

STEP_M, SIDE = 0.01, 51200
CORNER = (431_000.0, 5_290_000.0, 120.0)
EXTRAS = (Extra("error_cm", "centimetres", "uint16"), Extra("images", "it was measured in"))
COUNT = 60_000


@pytest.fixture(scope="module")
def records() -> np.ndarray:
    rng = np.random.default_rng(1)
    found = np.zeros(COUNT, point_format(EXTRAS, infrared=True).dtype())
    for axis, most in zip("XYZ", (SIDE, SIDE, 6000), strict=True):
        found[axis] = rng.integers(0, most, COUNT)
    for name in ("red", "green", "blue", "nir"):
        found[name] = rng.integers(0, 256, COUNT) * 257
    found["error_cm"], found["images"] = rng.integers(0, 60_000, COUNT), 2
    found["bit_fields"] = 0x11
    return found


@pytest.fixture(scope="module")
def path(records: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copc") / "points.copc.laz"
    write(path, records)
    return path


def write(path: Path, records: np.ndarray) -> None:
    wkt = CRS("EPSG:32631").to_wkt("WKT1_GDAL")
    side_m = SIDE * STEP_M
    form = point_format(EXTRAS, infrared=True)
    file = CopcFile(path, form, wkt, STEP_M, CORNER, side_m, side_m / SAMPLES)
    place = np.stack([records[axis] for axis in "XYZ"], axis=1).astype(np.int64)
    found = nodes(place, SIDE, 2)
    for key, begin, end in zip(found.keys, found.begin, found.begin[1:], strict=False):
        file.write(key, records[found.order[begin:end]])
    file.finish()


def ordered(records: np.ndarray) -> np.ndarray:
    return np.sort(records, order=["X", "Y", "Z", "red", "green", "blue"])


def test_any_reader_of_laz_gets_every_point(path: Path, records: np.ndarray) -> None:
    read = laspy.read(path)
    assert read.header.version == "1.4"
    assert read.header.point_format.id == 8
    assert read.header.parse_crs().to_epsg() == 32631
    assert read.header.point_count == COUNT
    assert list(read.header.number_of_points_by_return[:2]) == [COUNT, 0]
    assert list(read.point_format.extra_dimension_names) == ["error_cm", "images"]
    assert_array_equal(ordered(read.points.array), ordered(records))
    places = np.stack([records[axis] for axis in "XYZ"], axis=1) * STEP_M + CORNER
    assert read.header.mins == pytest.approx(places.min(axis=0), abs=1e-6)
    assert read.header.maxs == pytest.approx(places.max(axis=0), abs=1e-6)


def test_the_first_record_is_where_copc_wants_it(path: Path) -> None:
    start = path.read_bytes()[375 : 375 + 54]
    assert start[2:18].rstrip(b"\0") == b"copc"
    assert int.from_bytes(start[18:20], "little") == 1
    assert int.from_bytes(start[20:22], "little") == 160


def test_a_reader_of_copc_fetches_a_piece_or_a_sample(path: Path, records: np.ndarray) -> None:
    with laspy.CopcReader.open(path) as file:
        whole, sample = file.query(), file.query(resolution=4.0)
        low, high = np.array(CORNER[:2]) + 100, np.array(CORNER[:2]) + 130
        piece = file.query(bounds=laspy.copc.Bounds(low, high))
    assert len(whole) == COUNT
    x, y = (records[axis] * STEP_M + corner for axis, corner in zip("XY", CORNER, strict=False))
    inside = (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])
    assert len(piece) == pytest.approx(inside.sum(), abs=3)  # on its edge, rounding decides
    spacing = np.stack([records[axis] // (SIDE // SAMPLES) for axis in "XYZ"])
    assert len(sample) == len(np.unique(spacing, axis=1).T)


def test_a_cell_without_points_still_leads_to_those_below(tmp_path: Path) -> None:
    form = point_format((), infrared=False)
    file = CopcFile(
        tmp_path / "deep.copc.laz", form, CRS("EPSG:32631").to_wkt("WKT1_GDAL"), STEP_M, CORNER,
        512.0, 4.0,
    )  # fmt: skip
    records = np.zeros(3, form.dtype())
    file.write((3, 0, 0, 0), records)
    file.finish()
    with laspy.CopcReader.open(tmp_path / "deep.copc.laz") as read:
        assert len(read.query()) == 3


def test_no_points_are_a_file_too(tmp_path: Path, records: np.ndarray) -> None:
    write(tmp_path / "none.copc.laz", records[:0])
    assert len(laspy.read(tmp_path / "none.copc.laz")) == 0


def test_equal_points_make_equal_files(tmp_path: Path, records: np.ndarray) -> None:
    for name in ("one", "other"):
        write(tmp_path / name, records[:5000])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_what_is_abandoned_is_gone(tmp_path: Path) -> None:
    form = point_format((), infrared=False)
    file = CopcFile(tmp_path / "half", form, "", STEP_M, CORNER, 512.0, 4.0)
    file.abandon()
    assert list(tmp_path.iterdir()) == []
