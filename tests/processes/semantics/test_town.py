"""Made-up towns: their labels are exact, their wear is like that of our own products."""

import numpy as np
import pytest

from processes.semantics.stack import BUILDING, CLASSES, GROUND, ROAD, VEGETATION, WATER
from processes.semantics.town import town
from processes.semantics.wear import degraded


@pytest.fixture(scope="module")
def towns():
    return [town(seed, size=256) for seed in range(6)]


def test_a_seed_is_a_town(towns):
    again = town(3, size=256)
    for name in ("ground", "surface", "classes", "bands"):
        np.testing.assert_array_equal(getattr(again, name), getattr(towns[3], name))
    assert (towns[3].classes != towns[4].classes).mean() > 0.1


def test_every_class_occurs_and_none_takes_all(towns):
    share = np.mean([[(t.classes == c).mean() for c in range(len(CLASSES))] for t in towns], axis=0)
    assert (share > 0.002).all(), share
    assert share[BUILDING] > 0.08
    assert share.max() < 0.75


def test_heights_fit_the_classes(towns):
    for place in towns:
        above = place.surface - place.ground
        assert np.median(above[place.classes == BUILDING]) > 2.2
        assert (above[place.classes == VEGETATION] > 0.2).mean() > 0.95
        assert np.abs(above[place.classes == WATER]).max(initial=0) < 1e-3
        level = above[(place.classes == ROAD) | (place.classes == GROUND)]
        assert np.abs(np.median(level)) < 0.05


def test_plants_are_green_in_near_infrared_and_roofs_mostly_not(towns):
    ndvi, classes = [], []
    for place in towns:
        red, nir = place.bands[0], place.bands[3]
        ndvi.append(((nir - red) / (nir + red)).ravel())
        classes.append(place.classes.ravel())
    ndvi, classes = np.concatenate(ndvi), np.concatenate(classes)
    assert np.median(ndvi[classes == VEGETATION]) > np.quantile(ndvi[classes == BUILDING], 0.9)


def test_wear_hits_edges_and_spares_the_middle_of_roofs(towns):
    from scipy.ndimage import binary_erosion

    inner, edge = [], []
    for seed, place in enumerate(towns):
        made = degraded(np.random.default_rng(seed), place)
        assert np.isfinite(made.above_ground).all()
        error = np.abs(made.above_ground - (place.surface - place.ground))
        house = place.classes == BUILDING
        deep = binary_erosion(house, iterations=4)
        inner.append(error[deep])
        edge.append(error[house & ~binary_erosion(house)])
    inner, edge = np.concatenate(inner), np.concatenate(edge)
    assert np.median(inner) < 0.5
    # our own on the village: a tenth of the roof cells err by more than a metre, at edges
    assert 0.1 < (edge > 1.0).mean() < 0.7
    assert (inner > 1.0).mean() < 0.5 * (edge > 1.0).mean()
