"""A rerun draws the same houses a little differently; each keeps its id."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import translate
from shapely.geometry import Polygon, box

from processes.core.identity import kept_ids, place_ids, same


def street(count, *, gap=2.0):
    return np.array([box(i * (10 + gap), 0, i * (10 + gap) + 10, 8) for i in range(count)], object)


NAMES = [f"old{i}" for i in range(40)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_outlines_that_moved_half_a_metre_keep_their_ids(seed):
    rng = np.random.default_rng(seed)
    earlier = street(40)
    west, south, east, north = (shapely.bounds(earlier) + rng.uniform(-0.5, 0.5, (40, 4))).T
    moved = shapely.box(west, south, east, north)
    order = rng.permutation(40)
    fresh = [f"new{i}" for i in range(40)]
    assert kept_ids(moved[order], fresh, earlier, NAMES) == [NAMES[i] for i in order]


def test_a_new_house_gets_its_own_id_and_a_lost_one_takes_its_id_with_it():
    earlier = street(3)
    later = np.array([earlier[0], box(500, 0, 510, 8), earlier[2]], object)
    assert kept_ids(later, ["a", "b", "c"], earlier, NAMES[:3]) == ["old0", "b", "old2"]


def test_of_two_halves_the_larger_keeps_the_id():
    earlier = np.array([box(0, 0, 20, 10)], object)
    halves = np.array([box(0, 0, 7, 10), box(7, 0, 20, 10)], object)
    assert kept_ids(halves, ["a", "b"], earlier, ["whole"]) == ["a", "whole"]


def test_a_neighbour_that_touches_is_another_building():
    earlier = np.array([box(0, 0, 10, 10)], object)
    assert same(np.array([box(10, 0, 20, 10)], object), earlier) == []


def test_an_own_id_that_is_borne_elsewhere_gets_a_number():
    earlier = street(2)
    later = np.array([translate(earlier[0], 900), translate(earlier[0], 950)], object)
    assert kept_ids(later, ["x", "x"], earlier, ["x", "y"]) == ["x-2", "x-3"]


def test_bow_ties_and_nothing_stop_nothing():
    tie = np.array([Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])], object)
    assert kept_ids(tie, ["a"], tie, ["old"]) == ["old"]
    none = np.array([], object)
    assert kept_ids(none, [], tie, ["old"]) == []
    assert kept_ids(tie, ["a"], none, []) == ["a"]


def test_names_come_from_places_to_the_metre():
    names = place_ids([2.0000011, 2.0000012, 2.001, 2.0000013], [47.0] * 4)
    assert names[1] == f"{names[0]}-2"
    assert names[3] == f"{names[0]}-3"
    assert len(set(names)) == 4
    assert names[2] == place_ids([2.001], [47.0])[0]


def test_each_of_a_hundred_thousand_houses_keeps_its_id():
    x, y = np.meshgrid(np.arange(400) * 15.0, np.arange(250) * 15.0)
    earlier = np.asarray(shapely.box(x, y, x + 10, y + 8)).ravel()
    later = shapely.transform(earlier, lambda xy: xy + 0.4)
    ids = kept_ids(later, [""] * len(later), earlier, [str(i) for i in range(len(earlier))])
    assert ids == [str(i) for i in range(len(earlier))]
