from __future__ import annotations

import numpy as np
import pytest

from processes.core.medians import median_of, ordered_to


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 10, 100, 101])
def test_the_median_is_numpys_whatever_the_order_and_however_many_are_equal(number: int) -> None:
    rng = np.random.default_rng(number)
    for values in (
        rng.normal(size=number),
        rng.integers(0, 3, number).astype(float),
        np.arange(number)[::-1].astype(np.float32),
        np.zeros(number),
    ):
        assert median_of(values.copy()) == np.median(values)


def test_nothing_before_the_place_is_larger() -> None:
    values = np.random.default_rng(1).normal(size=50)
    moved = values.copy()
    assert ordered_to(moved, 20) == np.sort(values)[20]
    assert moved[:20].max() <= moved[20] <= moved[21:].min()
    assert np.array_equal(np.sort(moved), np.sort(values))
