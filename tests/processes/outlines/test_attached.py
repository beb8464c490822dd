"""Party walls in rows and blocks that were built for the test."""

import numpy as np
import pytest

from processes.outlines.attached import grown, parts

CELL_M = 0.5


def row_of_houses(angle_deg=27.0, step_m=1.5, colours=(1, 1, 1, 1), noise_m=0.0, seed=0):
    """Return mask, surface, one band and true house numbers of four gabled houses in a row."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:150, :150]
    a = np.radians(angle_deg)
    u = ((col - 75) * np.cos(a) + (row - 75) * np.sin(a)) * CELL_M
    v = (-(col - 75) * np.sin(a) + (row - 75) * np.cos(a)) * CELL_M
    mask = (np.abs(u) < 14) & (np.abs(v) < 4.5)
    house = np.clip(((u + 14) // 7).astype(int), 0, 3)
    surface = 50 + step_m * house - 0.6 * np.abs(v) + rng.normal(0, noise_m, u.shape)
    shade = np.where(v < 0, 0.6, 1.0)
    band = 500 * np.array(colours)[house] * shade * (1 + rng.normal(0, 0.02, u.shape))
    return mask, surface, {"pan": band}, np.where(mask, house + 1, 0)


def found(labels, truth):
    """Return how many true houses have a part with IoU ≥ 0.8, and the number of parts."""
    hits = 0
    for house in np.unique(truth[truth > 0]):
        own = truth == house
        label = np.bincount(labels[own]).argmax()
        mine = labels == label
        hits += (own & mine).sum() / (own | mine).sum() >= 0.8
    return hits, len(np.unique(labels[labels > 0]))


def test_steps_of_height_divide_a_row():
    mask, surface, _, truth = row_of_houses()
    assert found(parts(mask, surface, CELL_M), truth) == (4, 4)


@pytest.mark.parametrize("seed", range(3))
def test_colour_divides_where_heights_are_equal_and_noisy(seed):
    mask, surface, bands, truth = row_of_houses(
        step_m=0.0, colours=(1, 1.4, 0.9, 1.3), noise_m=0.2, seed=seed
    )
    assert found(parts(mask, surface, CELL_M, bands), truth) == (4, 4)


@pytest.mark.parametrize("seed", range(3))
def test_a_gabled_house_is_one_though_its_sides_differ_in_shade(seed):
    mask, surface, bands, truth = row_of_houses(step_m=0.0, noise_m=0.15, seed=seed)
    assert found(parts(mask, surface, CELL_M, bands), np.minimum(truth, 1)) == (1, 1)


@pytest.mark.parametrize("pitch", [0.15, 0.6])
def test_a_ridge_is_no_party_wall_however_the_light_colours_its_sides(pitch):
    row, col = np.mgrid[:60, :60]
    mask = (abs(row - 30) < 11) & (abs(col - 30) < 8)
    surface = 60.0 - pitch * CELL_M * np.abs(row - 30)
    sun, sky = np.array((1.0, 0.95, 0.85, 1.1)), np.array((0.5, 0.55, 0.7, 0.45))
    tint = np.where((row < 30)[..., None], sun, sky)
    assert parts(mask, surface, CELL_M, four_bands(mask, tint.transpose(2, 0, 1))).max() == 1
    level = np.full(mask.shape, 60.0)
    assert parts(mask, level, CELL_M, four_bands(mask, tint.transpose(2, 0, 1))).max() == 2


def test_the_edge_of_a_shadow_is_no_wall():
    mask, surface, bands, truth = row_of_houses(step_m=0.0)
    shadow = mask & (np.arange(150)[None] > 80)
    bands["pan"] = np.where(shadow, 0.25 * bands["pan"], bands["pan"])
    assert found(parts(mask, surface, CELL_M, bands, shadow=shadow), np.minimum(truth, 1)) == (1, 1)


def test_wings_of_a_ring_are_told_apart():
    mask = np.zeros((140, 140), bool)
    mask[10:130, 10:130] = True
    mask[40:100, 40:100] = False
    row, col = np.mgrid[:140, :140]
    surface = np.where(row < 70, 60.0, 64.0) + 0 * col
    labels = parts(mask, surface, CELL_M)
    assert labels.max() == 2
    assert len(np.unique(labels[mask & (row < 69)])) == 1
    assert len(np.unique(labels[mask & (row > 71)])) == 1


def four_bands(mask, tint, seed=0):
    rng = np.random.default_rng(seed)
    names = ("red", "green", "blue", "nir")
    return {
        name: 900 * np.where(mask, tint[index], 1.0) * (1 + rng.normal(0, 0.02, mask.shape))
        for index, name in enumerate(names)
    }


def test_signs_that_alone_would_not_do_add_up():
    mask, surface, _, truth = row_of_houses(step_m=0.0, noise_m=0.05)
    tints = np.array([(0.986, 1.014, 0.9916, 1.0), (1.0,) * 4])
    bands = four_bands(mask, tints[np.clip(truth - 1, 0, 3) % 2].transpose(2, 0, 1))
    stepped = surface + 0.2 * ((truth + 1) % 2)
    assert parts(mask, surface, CELL_M, bands).max() < 4
    assert parts(mask, stepped, CELL_M).max() < 4
    assert found(parts(mask, stepped, CELL_M, bands), truth) == (4, 4)


def test_houses_of_a_wing_at_a_slant_are_told_apart():
    row, col = np.mgrid[:160, :200]
    along = (col - 20) - (row - 20) * 0.75
    mask = (np.abs(along) < 22) & (row >= 10) & (row < 150)
    surface = np.where(col < 80, 60.0, 66.0) + 0.0 * row
    truth = np.where(mask, np.where(col < 80, 1, 2), 0)
    assert found(parts(mask, surface, CELL_M), truth) == (2, 2)


def test_a_porch_belongs_to_its_house():
    row, col = np.mgrid[:60, :80]
    house = (row >= 15) & (row < 45) & (col >= 10) & (col < 50)
    porch = (row >= 20) & (row < 40) & (col >= 50) & (col < 57)
    surface = np.where(house, 58.0, np.where(porch, 54.5, 50.0))
    assert parts(house | porch, surface, CELL_M).max() == 1


def test_a_long_block_needs_less_to_be_two_houses_than_a_compact_one():
    row, col = np.mgrid[:60, :140]
    surface = np.where(col < 40, 58.0, 58.7)
    compact = (row >= 15) & (row < 39) & (col >= 22) & (col < 58)
    long = (row >= 15) & (row < 39) & (col >= 10) & (col < 110)
    assert parts(compact, surface, CELL_M).max() == 1
    assert parts(long, surface, CELL_M).max() == 2


@pytest.mark.parametrize(("deep_m", "wide_m", "count"), [(10, 13, 1), (14, 18, 2)])
def test_a_block_too_large_for_one_house_needs_less_to_be_two(deep_m, wide_m, count):
    row, col = np.mgrid[:60, :80]
    mask = (row >= 10) & (row < 10 + 2 * deep_m) & (col >= 10) & (col < 10 + 2 * wide_m)
    surface = np.where(col < 10 + wide_m, 58.0, 59.5)
    assert parts(mask, surface, CELL_M).max() == count


@pytest.mark.parametrize(("away_m", "count"), [(3.5, 1), (8, 2)])
def test_faint_signs_cut_whole_houses_off_a_row_and_no_slices(away_m, count):
    row, col = np.mgrid[:40, :80]
    mask = (row >= 10) & (row < 28) & (col >= 10) & (col < 66)
    surface = np.where(col < 10 + 2 * away_m, 58.0, 58.5)
    assert parts(mask, surface, CELL_M).max() == count


@pytest.mark.parametrize(("paint", "count"), [(1.0, 1), (1.3, 2)])
def test_a_step_on_a_level_roof_is_a_wall_only_where_the_image_shows_one(paint, count):
    row, col = np.mgrid[:60, :180]
    mask = (row >= 15) & (row < 45) & (col >= 10) & (col < 170)
    surface = np.where(col < 90, 62.0, 62.9)  # a patch of noise
    bands = four_bands(mask, np.where(col < 90, 1.0, paint) * np.ones((4, 1, 1)))
    assert parts(mask, surface, CELL_M, bands).max() == count
    assert parts(mask, surface + 1.5 * (col >= 90), CELL_M, bands).max() == 2


def test_the_roofs_of_a_row_may_be_patchy_and_those_of_a_large_block_not():
    row, col = np.mgrid[:60, :300]
    patch = (row >= 20) & (row < 25)
    light = (col // 14 % 2 == 1) ^ patch  # the other way round than the rest of the roof
    paint = np.where(light, 1.3, 1.0) * np.ones((4, 1, 1))
    for wide, count in ((70, 5), (280, 1)):
        mask = (row >= 15) & (row < 37) & (col >= 14) & (col < 14 + wide)
        assert (
            parts(mask, np.full(mask.shape, 60.0), CELL_M, four_bands(mask, paint)).max() == count
        )


def test_cells_without_a_house_go_to_the_nearest_and_a_far_speck_goes_away():
    labels = np.zeros((20, 40), np.int32)
    labels[5:15, 5:15], labels[5:15, 20:30] = 1, 2
    mask = labels > 0
    mask[5:15, 15:20] = True
    mask[0, 39] = True
    whole = grown(labels, mask)
    assert (whole[5:15, 5:17] == 1).all()
    assert (whole[5:15, 18:30] == 2).all()
    assert whole[0, 39] == 0
    assert (whole[labels > 0] == labels[labels > 0]).all()


@pytest.mark.parametrize("angle_deg", [0.0, 27.0, 90.0])
def test_party_walls_lean_to_no_side(angle_deg):
    """The cells that a cut runs through all went to the part north or west of it."""
    mask, surface, _, truth = row_of_houses(angle_deg=angle_deg)
    names = np.where(mask, parts(mask, surface, CELL_M), 0)
    seen = {int(np.bincount(names[truth == house]).argmax()): house for house in range(1, 5)}
    ours = np.vectorize(lambda name: seen.get(name, 0))(names)
    too_far_on = (ours[mask] - truth[mask]).sum() / (3 * 9.0 / CELL_M)
    assert abs(too_far_on) < 0.25  # cells a wall
