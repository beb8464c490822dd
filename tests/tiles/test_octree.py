"""The octree of samples: laws that every cloud keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tiles.octree import DEEPEST, SAMPLES, nodes, parent

SIDE = 6400


def places(count: int, seed: int = 0) -> np.ndarray:
    """Return points of a bumpy surface in a cube of SIDE, some of them twice."""
    rng = np.random.default_rng(seed)
    xy = rng.integers(0, SIDE, (count, 2))
    z = 500 + 300 * np.sin(xy[:, 0] / 700) + rng.integers(0, 50, count)
    return np.column_stack([xy, z]).astype(np.int64)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 3000), depth=st.integers(0, 3), seed=st.integers(0, 99))
def test_every_point_is_in_one_cell_which_holds_it(count: int, depth: int, seed: int) -> None:
    place = places(count, seed)
    found = nodes(place, SIDE, depth)
    assert_array_equal(np.sort(found.order), np.arange(count))
    assert len(set(found.keys)) == len(found.keys) == len(found.begin) - 1
    assert (np.diff(found.begin) > 0).all()
    for key, begin, end in zip(found.keys, found.begin, found.begin[1:], strict=False):
        side = SIDE / 2 ** key[0]
        own = place[found.order[begin:end]] // side
        assert key[0] <= depth
        assert (own == key[1:]).all()


def test_a_cell_shows_one_point_in_each_part_and_its_ancestors_have_the_others() -> None:
    depth, place = 2, places(200_000)
    found = nodes(place, SIDE, depth)
    level = np.empty(len(place), int)
    for key, begin, end in zip(found.keys, found.begin, found.begin[1:], strict=False):
        level[found.order[begin:end]] = key[0]
    for upto in range(depth):
        part = place * (SAMPLES << upto) // SIDE
        shown = np.unique(part[level <= upto], axis=0)
        assert len(shown) == (level <= upto).sum(), "two in one part"
        assert len(shown) == len(np.unique(part, axis=0)), "a part without any"


def test_samples_lean_to_no_side() -> None:
    place = places(400_000, 5)
    found = nodes(place, SIDE, 2)
    root = place[found.order[: found.begin[1]]]
    assert found.keys[0] == (0, 0, 0, 0)
    within = (root[:, :2] % (SIDE // SAMPLES)) / (SIDE // SAMPLES)
    assert within.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.02)


def test_a_column_alone_gives_what_it_gives_among_all() -> None:
    """So a large area can be cut into columns, one after the other."""
    place, depth = places(50_000, 2), 3
    whole = level_of(place, depth)
    for west in (0, SIDE // 2):
        for south in (0, SIDE // 2):
            own = ((place[:, :2] // (SIDE // 2)) * (SIDE // 2) == (west, south)).all(axis=1)
            assert_array_equal(level_of(place[own], depth), whole[own])


def level_of(place: np.ndarray, depth: int) -> np.ndarray:
    found = nodes(place, SIDE, depth)
    level = np.empty(len(place), int)
    for key, begin, end in zip(found.keys, found.begin, found.begin[1:], strict=False):
        level[found.order[begin:end]] = key[0]
    return level


def test_the_deepest_tree_has_room_for_its_numbers() -> None:
    side = SAMPLES << DEEPEST
    far = np.array([[0, 0, 0], [side - 1] * 3, [side - 1, 0, 0], [side - 2, 0, 0]])
    found = nodes(far, side, DEEPEST)
    assert sorted(key[0] for key in found.keys) == [0, DEEPEST]
    with pytest.raises(ValueError, match=str(DEEPEST)):
        nodes(far, side, DEEPEST + 1)


def test_parents_lead_to_the_root() -> None:
    assert parent((2, 3, 1, 2)) == (1, 1, 0, 1)
    assert parent((1, 1, 0, 1)) == (0, 0, 0, 0)
