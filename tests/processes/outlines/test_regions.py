"""Regions are those that SciPy finds, in its order."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from processes.outlines.regions import labelled, windows

SPECKLED = ndimage.gaussian_filter(np.random.default_rng(1).random((300, 200)), 1.0) > 0.5


@pytest.mark.parametrize(("across_corners", "structure"), [(False, None), (True, np.ones((3, 3)))])
def test_regions_are_numbered_by_their_first_cells(
    across_corners: bool, structure: np.ndarray | None
) -> None:
    names, count = labelled(SPECKLED, across_corners=across_corners)
    known, known_count = ndimage.label(SPECKLED, structure)
    assert count == known_count > 50
    assert_array_equal(names, known)
    assert windows(names) == ndimage.find_objects(known)


def test_nothing_has_no_regions() -> None:
    for shape in ((4, 5), (0, 5)):
        names, count = labelled(np.zeros(shape, bool))
        assert names.shape == shape
        assert count == 0
        assert windows(names) == []


def test_a_number_without_cells_has_an_empty_window() -> None:
    first, last = windows(np.array([[0, 2, 2]], np.int32))
    assert first == (slice(0, 0), slice(0, 0))
    assert last == (slice(0, 1), slice(1, 3))
