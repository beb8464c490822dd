"""Roofs on surfaces that round their ridges off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin
from scipy.ndimage import convolve1d
from shapely import box, contains_xy

from processes.core.raster import Grid, Raster
from processes.roofs.blur import BLURS, SHARP, as_shown, blur_of, middle_near, seen, settled, shown
from processes.roofs.heights import under
from processes.roofs.reconstruct import misfits, reconstruct

HOUSE, TURNED = box(5, 5, 19, 14), box(5, 3, 14, 17)
PITCH_DEG = 35.0
NOISE_M = 0.03
EAST, NORTH = (3.2, 0.7), (0.7, 3.2)


def smeared(values, blur):
    """Return *values* under windows whose weight falls as exp(−cells / width) along each axis."""
    away = np.abs(np.arange(-40, 41))
    for axis, width in ((1, blur[0]), (0, blur[1])):
        values = convolve1d(values, np.exp(-away / width), axis=axis, mode="constant")
    return values


def scene(blur, house=HOUSE, seed=1):
    """Return a house on level ground, ridge rounded and walls kept, and the ground.

    HOUSE has a gable with its ridge from west to east, TURNED one from south to north.
    """
    grid = Grid("EPSG:32631", from_origin(0, 20, 0.5, 0.5), 40, 50)
    x, y = grid.xy(*np.mgrid[:40, :50])
    from_ridge = np.abs(y - 9.5) if house is HOUSE else np.abs(x - 9.5)
    roof = 146 + (4.5 - from_ridge) * np.tan(np.radians(PITCH_DEG))
    inside = contains_xy(house, x, y)
    if blur != SHARP:
        weight = smeared(inside.astype(float), blur)
        seen = smeared(np.where(inside, roof, 0.0), blur)
        roof = seen / np.maximum(weight, 1e-9)
    values = np.where(inside, roof, 140.0)
    values += np.random.default_rng(seed).normal(0, NOISE_M, values.shape)
    level = np.full(values.shape, 140.0, np.float32)
    return Raster(values.astype(np.float32), grid), Raster(level, grid)


@pytest.mark.parametrize("blur", [SHARP, (2.2, 2.2), EAST, NORTH])
@pytest.mark.parametrize("house", [HOUSE, TURNED], ids=["east", "north"])
def test_the_pitch_is_right_where_the_blur_is_known(house, blur):
    dsm, dtm = scene(blur, house)
    found = reconstruct(house, dsm, dtm, 2, blur=blur)
    assert found.roof is not None
    assert found.roof.type == "gable"
    assert found.roof.pitch_deg == pytest.approx(PITCH_DEG, abs=1.0)


def test_a_blur_nobody_knows_of_makes_roofs_flatter():
    dsm, dtm = scene((2.2, 2.2))
    found = reconstruct(HOUSE, dsm, dtm, 2)
    assert found.roof is not None
    assert found.roof.pitch_deg < PITCH_DEG - 3


def test_a_blur_along_the_ridge_flattens_nothing():
    dsm, dtm = scene(EAST)
    found = reconstruct(HOUSE, dsm, dtm, 2)
    assert found.roof is not None
    assert found.roof.pitch_deg == pytest.approx(PITCH_DEG, abs=3.0)


@pytest.mark.parametrize("blur", BLURS)
def test_roofs_tell_how_their_surface_is_blurred(blur):
    houses = [(house, seed) for house in (HOUSE, TURNED) for seed in range(6)]
    costs = [misfits(house, scene(blur, house, seed)[0]) for house, seed in houses]
    assert None not in costs
    assert blur_of(costs) == blur


def test_too_few_roofs_or_flat_ones_tell_nothing():
    dsm, dtm = scene((2.2, 2.2))
    costs = misfits(HOUSE, dsm)
    assert costs is not None
    assert blur_of([costs] * 2) == SHARP
    assert misfits(HOUSE, dtm) is None
    assert blur_of([[1.0] * len(BLURS)] * 9) == SHARP


def test_one_roof_that_says_a_lot_does_not_decide_against_many():
    costs = [[0.04 * (1.0 if blur == (1.4, 0.7) else 1.1) for blur in BLURS] for _ in range(15)]
    loud = [0.04 * (0.01 if blur == (3.2, 0.7) else 1.0) for blur in BLURS]
    assert blur_of([*costs, loud]) == (1.4, 0.7)


def test_roofs_that_agree_settle_it_and_roofs_that_do_not_never_do():
    rng = np.random.default_rng(3)
    level = np.full((40, len(BLURS)), 0.04) * np.exp(rng.normal(0, 0.1, (40, len(BLURS))))
    east = np.array([blur == (2.2, 0.7) for blur in BLURS])
    agreed = np.where(east, level / 2, level)
    assert blur_of(agreed) == (2.2, 0.7)
    assert settled(agreed)
    assert not settled(agreed[:10])
    north = np.array([blur == (0.7, 3.2) for blur in BLURS])
    split = np.where(rng.random((40, 1)) < 0.5, agreed, np.where(north, level / 2, level))
    assert not settled(split)


HEIGHTS = st.floats(0, 1e3, width=16)


@given(values=st.lists(HEIGHTS, min_size=1, max_size=60), guess=HEIGHTS | st.just(np.inf))
def test_the_middle_is_the_median_whatever_was_guessed(values, guess):
    off = np.array(values)
    spare = np.empty(len(off))
    for near in (guess, float(np.median(off))):
        assert middle_near(off, near, spare) == np.median(off)
    np.testing.assert_array_equal(off, values)


def test_a_roof_that_is_thinned_out_is_fitted_by_the_machine_code_of_all() -> None:
    """It made numba compile the bank of roofs once more, in the middle of somebody's job."""
    cells = under(HOUSE, scene(SHARP)[0])
    roofs = [seen(cells, 0.5, EAST, whole=True, most=most) for most in (10_000, 50)]
    assert len(roofs[0].z) > 2 * len(roofs[1].z)
    kinds = []
    for roof in roofs:
        as_shown(roof.every_z, roof.flat)
        kinds.append(len(as_shown.signatures))
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("blur", [(1.4, 0.7), (0.7, 3.2), (2.0, 0.0), (0.0, 2.0)])
def test_heights_are_shown_as_windows_that_fall_off_along_each_axis_say(blur):
    values = np.random.default_rng(3).normal(size=(9, 14))
    row, col = (place.ravel() for place in np.mgrid[:9, :14])
    keep = [np.exp(-1 / width) if width else 0.0 for width in blur]
    found = shown(values.ravel(), row, col, np.ones(values.size), *keep)
    expected = values
    for axis, share in ((1, keep[0]), (0, keep[1])):
        window = np.array([share**cells for cells in np.abs(np.arange(-20, 21))])
        expected = convolve1d(expected, window, axis=axis, mode="constant")
    np.testing.assert_allclose(found.reshape(values.shape), expected, atol=1e-9)
