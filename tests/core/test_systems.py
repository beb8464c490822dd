"""Small systems are solved in place."""

import numpy as np
from numpy.testing import assert_allclose

from processes.core.systems import solved


def test_a_symmetric_system_is_solved_in_place() -> None:
    terms = np.random.default_rng(3).normal(size=(20, 4))
    answer = np.array([3.0, -1.0, 0.5, 2.0])
    right = terms.T @ terms @ answer
    assert solved(terms.T @ terms, right)
    assert_allclose(right, answer)


def test_a_system_that_says_one_thing_twice_has_no_solution() -> None:
    assert not solved(np.array([[1.0, 2.0], [2.0, 4.0]]), np.array([1.0, 2.0]))
