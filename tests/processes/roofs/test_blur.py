"""Roofs on surfaces that round their ridges off."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.transform import from_origin
from scipy.ndimage import convolve1d
from shapely.geometry import box

from processes.core.raster import Grid, Raster
from processes.roofs.blur import WIDTHS_M, blur_of
from processes.roofs.reconstruct import misfits, reconstruct

HOUSE = box(5, 5, 19, 14)
PITCH_DEG = 35.0


def smeared(values, blur_m):
    """Return *values* under windows whose weight falls as exp(−distance / *blur_m*)."""
    away = np.abs(np.arange(-40, 41)) * 0.5
    for axis in (0, 1):
        values = convolve1d(values, np.exp(-away / blur_m), axis=axis, mode="constant")
    return values


def scene(blur_m):
    """Return a gabled house on level ground whose ridge is rounded, walls kept; and the ground."""
    grid = Grid("EPSG:32631", from_origin(0, 20, 0.5, 0.5), 40, 50)
    rows, cols = np.mgrid[:40, :50]
    _, y = grid.xy(rows, cols)
    roof = 146 + (4.5 - np.abs(y - 9.5)) * np.tan(np.radians(PITCH_DEG))
    inside = (rows >= 12) & (rows < 30) & (cols >= 10) & (cols < 38)
    if blur_m:
        weight = smeared(inside.astype(float), blur_m)
        seen = smeared(np.where(inside, roof, 0.0), blur_m)
        roof = seen / np.maximum(weight, 1e-9)
    values = np.where(inside, roof, 140.0)
    values += np.random.default_rng(1).normal(0, 0.03, values.shape)
    level = np.full(values.shape, 140.0, np.float32)
    return Raster(values.astype(np.float32), grid), Raster(level, grid)


@pytest.mark.parametrize("blur_m", [0.0, 1.1])
def test_the_pitch_is_right_where_the_blur_is_known(blur_m):
    dsm, dtm = scene(blur_m)
    found = reconstruct(HOUSE, dsm, dtm, 2, blur_m=blur_m)
    assert found.roof is not None
    assert found.roof.type == "gable"
    assert found.roof.pitch_deg == pytest.approx(PITCH_DEG, abs=1.0)


def test_a_blur_nobody_knows_of_makes_roofs_flatter():
    dsm, dtm = scene(1.1)
    found = reconstruct(HOUSE, dsm, dtm, 2)
    assert found.roof is not None
    assert found.roof.pitch_deg < PITCH_DEG - 3


@pytest.mark.parametrize("blur_m", [0.0, 0.7, 1.3])
def test_roofs_tell_how_blurred_their_surface_is(blur_m):
    costs = misfits(HOUSE, scene(blur_m)[0])
    assert costs is not None
    assert blur_of([costs] * 9) == pytest.approx(blur_m, abs=0.21)


def test_too_few_roofs_or_flat_ones_tell_nothing():
    dsm, dtm = scene(1.1)
    costs = misfits(HOUSE, dsm)
    assert costs is not None
    assert blur_of([costs] * 2) == 0.0
    assert misfits(HOUSE, dtm) is None
    assert blur_of([[1.0] * len(WIDTHS_M)] * 9) == 0.0
