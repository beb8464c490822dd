"""The building mask on a made garden: houses, trees, a fence of noise."""

import numpy as np
import pytest
from scipy import ndimage

from processes.outlines.segment import Sample, building_mask, limits, roughness, standing
from processes.outlines.sharpen import sharpened

CELL_M = 0.5
ROOF, GRASS, LEAF, STREET = (
    dict(zip(("red", "green", "blue", "nir"), values, strict=True))
    for values in ((0.30, 0.18, 0.14, 0.36), (0.10, 0.14, 0.08, 0.40),
                   (0.05, 0.08, 0.04, 0.35), (0.20, 0.20, 0.21, 0.22))
)  # fmt: skip


@pytest.fixture
def garden():
    """Return surface, nDSM, bands and the true mask: two houses (one with a yard), six trees."""
    rng = np.random.default_rng(4)
    row, col = np.mgrid[:160, :200]
    ground = 100 + 0.03 * row * CELL_M
    house = np.zeros(row.shape, bool)
    house[20:60, 20:70] = True
    house[90:140, 30:90] = True
    house[105:125, 50:70] = False
    ridge = 5 + 2 - np.abs((row - 40) * CELL_M) * 0.2
    above = np.where(house, np.where(row < 80, ridge, 9.0), 0.0)
    tree = np.zeros(row.shape, bool)
    for r, c in ((30, 120), (60, 150), (100, 120), (120, 160), (75, 60), (140, 180)):
        crown = np.hypot(row - r, col - c) * CELL_M
        tree |= (crown < 4) & ~house
        above = np.where((crown < 4) & ~house, 8 - crown + rng.normal(0, 0.8, row.shape), above)
    bands = {
        name: np.where(house, ROOF[name], np.where(tree, LEAF[name], GRASS[name]))
        * (1 + rng.normal(0, 0.03, row.shape))
        for name in ROOF
    }
    return ground + above, above, bands, house


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    ("names", "least"),
    [(("red", "green", "blue", "nir"), 0.99), (("red", "green", "blue"), 0.98), ((), 0.95)],
)
def test_houses_are_found_and_trees_are_not(garden, names, least):
    surface, above, bands, house = garden
    mask = building_mask(Sample(surface, above, {n: bands[n] for n in names}), CELL_M)
    assert iou(mask, house) > least


def test_a_courtyard_stays_open(garden):
    surface, above, bands, _ = garden
    mask = building_mask(Sample(surface, above, bands), CELL_M)
    assert not mask[107:123, 52:68].any()


def test_a_plane_is_smooth_however_steep_and_beside_a_wall():
    row, col = np.mgrid[:60, :60]
    slope = 0.6 * row + 0.3 * col
    assert roughness(slope, CELL_M).max() < 1e-6
    stepped = slope + 7 * (col > 30)
    assert roughness(stepped, CELL_M).max() < 1e-6


def test_noise_of_the_surface_raises_the_limit_of_roughness():
    noise = np.random.default_rng(1).normal(0, 0.3, (120, 120))
    calm = Sample(noise * 0, noise * 0, {})
    assert limits([Sample(noise, noise * 0, {})], CELL_M).roughness_m > 0.3
    assert limits([calm], CELL_M).roughness_m == pytest.approx(0.25)


def test_edges_blurred_in_the_surface_are_found_in_the_image():
    truth = np.zeros((80, 80), bool)
    truth[20:60, 25:60] = True
    blown = ndimage.binary_dilation(truth, iterations=3)
    blown[30:45, :] = np.roll(blown[30:45, :], 2, axis=1)
    bands = {name: np.where(truth, ROOF[name], STREET[name]) for name in ROOF}
    mask = sharpened(blown, bands, CELL_M)
    assert iou(blown, truth) < 0.8
    assert iou(mask, truth) > 0.98


def test_a_street_that_was_filled_from_the_roofs_is_told_by_its_colour():
    roofs = np.zeros((100, 160), bool)
    roofs[10:40, 30:130] = roofs[60:90, 30:130] = True
    lost = np.zeros_like(roofs)
    lost[40:60, 50:90] = True
    bands = {name: np.where(roofs, ROOF[name], STREET[name]) for name in ROOF}
    assert iou(sharpened(roofs | lost, bands, CELL_M), roofs) < 0.9
    assert iou(sharpened(roofs | lost, bands, CELL_M, filled=lost), roofs) > 0.98


def test_a_terrace_is_no_building_and_a_house_on_a_slope_is():
    row, col = np.mgrid[:120, :120]
    surface = 100.0 - 4.0 * (row // 40) + 0.0 * col
    terrace = (row >= 40) & (row < 80)
    assert not standing(terrace, surface, CELL_M).any()
    slope = 100 + 0.3 * row * CELL_M
    house = (row > 30) & (row < 60) & (col > 40) & (col < 80)
    surface = np.where(house, slope[45, 60] + 6, slope)
    np.testing.assert_array_equal(standing(house, surface, CELL_M), house)


def test_nothing_raised_or_nothing_known_gives_an_empty_mask():
    flat = np.zeros((50, 50))
    assert not building_mask(Sample(flat, flat, {}), CELL_M).any()
    void = np.full((50, 50), np.nan)
    assert not building_mask(Sample(void, void, {"red": void, "nir": void}), CELL_M).any()
