"""Planes as grey levels want them: beside true ones, in other light, and where there is nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.ndimage import gaussian_filter, map_coordinates

from processes.stereo.greys import Tones
from processes.stereo.least_squares import fitted
from processes.stereo.planes import Planes

SHAPE = (60, 90)
ROW, COL = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
EVERYWHERE = np.ones(SHAPE, bool)
ROOF = (slice(22, 38), slice(36, 54))


def roof(by_col: float, by_row: float) -> Planes:
    """Return planes (px) through a point in the middle that lean as told."""
    height = 4 + by_col * (COL - 45) + by_row * (ROW - 30)
    full = (np.full(SHAPE, value, np.float32) for value in (1, by_col, by_row))
    return Planes(height.astype(np.float32), *full)


def pair_of(surface: Planes, *, gain: float = 1.0, more: float = 0.0) -> tuple[Any, Any]:
    """Return the left and the right image of a surface, the left one in other light, with noise."""
    rng = np.random.default_rng(5)
    paint = gaussian_filter(rng.normal(0, 120, (SHAPE[0], SHAPE[1] + 20)), 0.8) + 400
    left = gain * map_coordinates(paint, [ROW, COL + surface.disparity], order=3) + more
    both = (image + rng.normal(0, 4, image.shape) for image in (left, paint))
    left, right = (image.astype(np.float32) for image in both)
    return left, right


def test_an_image_that_is_brighter_by_far_tells_as_much() -> None:
    """As sensors of 16 bit are: sums of squares would have no digits left for the rest."""
    left, right = pair_of(roof(0.2, 0.0))
    alone, sure = fitted(roof(0.16, 0.0), EVERYWHERE, EVERYWHERE, left, right, 1.0)
    brighter, as_sure = fitted(roof(0.16, 0.0), EVERYWHERE, EVERYWHERE, left + 60_000, right, 1.0)
    assert (sure == as_sure)[ROOF].all()
    assert np.abs(brighter.by_col - alone.by_col)[ROOF].max() < 1e-5


@pytest.mark.parametrize(("by_col", "by_row"), [(0.2, 0.0), (0.0, 0.25), (-0.12, 0.15)])
def test_a_roof_found_too_flat_leans_as_it_should(by_col: float, by_row: float) -> None:
    found, sure = fitted(
        roof(0.8 * by_col, 0.8 * by_row),
        EVERYWHERE,
        EVERYWHERE,
        *pair_of(roof(by_col, by_row)),
        1.0,
    )
    assert sure[ROOF].all()
    for values, true in ((found.by_col, by_col), (found.by_row, by_row)):
        assert np.abs(values[ROOF] - true).max() < 0.02
        assert np.median(values[ROOF]) == pytest.approx(true, abs=0.002)
    assert np.abs((found.disparity - roof(by_col, by_row).disparity)[ROOF]).max() < 0.1


def test_light_is_no_lean() -> None:
    """Twice the contrast, as the tones of both images tell, and a brightness that nobody told."""
    left, right = pair_of(roof(0.2, 0.0), gain=2.0, more=80.0)
    told = Tones((0.0, 2000.0), (0.0, 1000.0)).gain
    found, sure = fitted(roof(0.16, 0.0), EVERYWHERE, EVERYWHERE, left, right, told)
    assert sure[ROOF].all()
    assert np.abs(found.by_col[ROOF] - 0.2).max() < 0.02


def test_what_is_level_or_shows_nothing_is_not_sure_to_lean() -> None:
    """Neither a level roof that was found to lean, nor unlike images; and both stay as found."""
    first = roof(0.06, 0.03)
    left, right = pair_of(roof(0.0, 0.0))
    level, sure = fitted(first, EVERYWHERE, EVERYWHERE, left, right, 1.0)
    leaning = sure & (np.hypot(level.by_col, level.by_row) > 0.05)
    assert leaning[ROOF].mean() < 0.01
    unlike, sure = fitted(first, EVERYWHERE, EVERYWHERE, left[::-1, ::-1].copy(), right, 1.0)
    assert sure.mean() < 0.1
    for theirs, ours in zip(unlike, first, strict=True):
        assert_array_equal(theirs[~sure], ours[~sure])


def test_gaps_and_what_is_not_wanted_stay() -> None:
    left, right = pair_of(roof(0.2, 0.0))
    left[20:40, 34:44] = np.nan
    first, wanted = roof(0.16, 0.0), COL > 30
    found, sure = fitted(first, wanted, EVERYWHERE, left, right, 1.0)
    assert not sure[COL <= 30].any()
    assert not sure[29:31, 38:39].any()
    assert sure[26:34, 48:52].all()
    for theirs, ours in zip(found, first, strict=True):
        assert np.isfinite(theirs).all()
        assert_array_equal(theirs[~sure], ours[~sure])
