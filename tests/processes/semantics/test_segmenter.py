"""Rules and network behind one signature, on towns that neither has seen."""

import numpy as np
import pytest

from processes.outlines.segment import Sample, limits
from processes.semantics.segmenter import ByNetwork, ByRules, built, factors, settled
from processes.semantics.stack import BUILDING, CLASSES, VEGETATION, WATER, brightness
from processes.semantics.town import town
from processes.semantics.wear import degraded
from processes.semantics.weights import bundled

CELL_M = 0.5


@pytest.fixture(scope="module")
def places():
    """Unseen towns as our products show them: training starts at seed 1000."""
    made = []
    for seed in (3, 5, 11):
        place = town(seed, size=320, cell_m=CELL_M)
        product = degraded(np.random.default_rng(seed), place)
        made.append((place, Sample(product.above_ground, product.above_ground, product.bands)))
    return made


def by_network(sample, cell_m=CELL_M):
    return ByNetwork(cell_m, *bundled(), brightness([sample.bands]))


def by_rules(sample):
    return ByRules(CELL_M, limits([sample], CELL_M))


def iou(found, truth):
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize(("make", "bar"), [(by_rules, 0.65), (by_network, 0.85)])
def test_houses_of_an_unseen_town_are_found(places, make, bar):
    told = np.concatenate([built(make(sample)(sample)).ravel() for _, sample in places])
    true = np.concatenate([(place.classes == BUILDING).ravel() for place, _ in places])
    assert iou(told, true) > bar


def test_the_network_tells_the_other_classes_too(places):
    right = [(by_network(s)(s).argmax(axis=0) == p.classes).mean() for p, s in places]
    assert np.mean(right) > 0.88


@pytest.mark.parametrize("make", [by_rules, by_network])
def test_probabilities_sum_to_one_where_heights_are_known(places, make):
    sample = places[0][1]
    above = sample.above_ground.copy()
    above[40:60, 40:90] = np.nan
    chances = make(sample)(Sample(above, above, sample.bands))
    assert chances.shape == (len(CLASSES), *above.shape)
    np.testing.assert_allclose(chances.sum(axis=0), np.isfinite(above), atol=1e-5)


def test_blocks_with_their_margin_fit_together(places):
    sample = places[1][1]
    network = by_network(sample)
    whole = network(sample)
    margin = round(network.margin_m / CELL_M)
    for top, left in ((37, 0), (90, 121)):
        rows = slice(max(top - margin, 0), top + 100 + margin)
        cols = slice(max(left - margin, 0), left + 100 + margin)
        piece = Sample(
            sample.surface[rows, cols],
            sample.above_ground[rows, cols],
            {name: band[rows, cols] for name, band in sample.bands.items()},
        )
        part = network(piece, (rows.start, cols.start))
        inner = np.s_[
            :,
            top - rows.start : top - rows.start + 100,
            left - cols.start : left - cols.start + 100,
        ]
        np.testing.assert_allclose(
            part[inner], whole[:, top : top + 100, left : left + 100], atol=1e-4
        )


def test_tidying_buildings_loses_few(places):
    raw, tidy, true = [], [], []
    for place, sample in places:
        chances = by_network(sample)(sample)
        better = settled(chances, sample, CELL_M)
        np.testing.assert_allclose(better.sum(axis=0), 1.0, atol=1e-5)
        raw.append(built(chances).ravel())
        tidy.append(built(better).ravel())
        true.append((place.classes == BUILDING).ravel())
    raw, tidy, true = (np.concatenate(parts) for parts in (raw, tidy, true))
    # made-up images are shifted by up to a cell, and edges are sought where the image has them
    assert iou(tidy, true) > iou(raw, true) - 0.06


def test_a_speck_of_building_falls_to_the_likeliest_other_class():
    chances = np.zeros((len(CLASSES), 40, 40), np.float32)
    chances[VEGETATION], chances[WATER], chances[BUILDING] = 0.7, 0.2, 0.1
    chances[:, 20, 20] = 0.2, 0.1, 0.1, 0.1, 0.1
    chances[BUILDING, 20, 20] = 0.6
    flat = np.zeros((40, 40), np.float32)
    better = settled(chances, Sample(flat, flat, {}), CELL_M)
    assert not built(better).any()
    assert better[:, 20, 20].sum() == pytest.approx(1.0)
    assert better[VEGETATION, 0, 0] == pytest.approx(7 / 9)


def test_panchromatic_images_and_heights_alone_still_show_houses(places):
    scores = {}
    for sensor in ("pan", "none"):
        told, true = [], []
        for place, sample in places:
            grey = np.mean([sample.bands[name] for name in ("red", "green", "blue")], axis=0)
            less = Sample(
                sample.surface, sample.above_ground, {"pan": grey} if sensor == "pan" else {}
            )
            told.append(built(by_network(less)(less)).ravel())
            true.append((place.classes == BUILDING).ravel())
        scores[sensor] = iou(np.concatenate(told), np.concatenate(true))
    assert scores["pan"] > 0.75
    assert scores["none"] > 0.6


def test_finer_and_coarser_cells_are_brought_to_the_size_it_knows(places):
    sample = places[0][1]
    size = 160
    fine = {
        name: band[:size, :size].repeat(2, 0).repeat(2, 1) for name, band in sample.bands.items()
    }
    above = sample.above_ground[:size, :size].repeat(2, 0).repeat(2, 1)
    told = built(by_network(sample, 0.25)(Sample(above, above, fine)))
    same = built(by_network(sample)(Sample(*(2 * [sample.above_ground[:size, :size]]), {
        name: band[:size, :size] for name, band in sample.bands.items()})))  # fmt: skip
    np.testing.assert_array_equal(told[::2, ::2], same)
    assert factors(0.25, 0.5) == (2, 1)
    assert factors(1.0, 0.5) == (1, 2)
    assert factors(0.5, 0.5) == factors(0.6, 0.5) == factors(0.4, 0.5) == (1, 1)


def test_rules_tell_a_lake_and_trees_by_colour():
    shape = (80, 80)
    above = np.zeros(shape, np.float32)
    bands = {name: np.full(shape, value, np.float32) for name, value in
             (("red", 300), ("green", 350), ("blue", 250), ("nir", 700))}  # fmt: skip
    bands["nir"][10:30, 10:30] = 90
    above[50:60, 50:60] = 7 + np.random.default_rng(0).normal(0, 1, (10, 10))
    bands["nir"][50:60, 50:60] = 2500
    sample = Sample(above, above, bands)
    found = by_rules(sample)(sample).argmax(axis=0)
    assert found[20, 20] == WATER
    assert found[55, 55] == VEGETATION
