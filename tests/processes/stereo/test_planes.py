"""Plane refinement, against one pixel computed plainly and against surfaces that are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from processes.stereo import planes
from processes.stereo.planes import RIDGE, disk, refine

RNG = np.random.default_rng(4)


def plainly(disparity, matched, row, col, passes):
    """One pixel's refinement as the formulae say it; all pixels are needed for the later passes."""
    shape = disparity.shape
    now = np.stack([disparity, np.zeros(shape), np.zeros(shape)]).astype(float)
    support = np.zeros(shape)
    for radius, every, tau in passes:
        after = now.copy()
        table = disk(radius, every=every)
        for r in range(shape[0]):
            for c in range(shape[1]):
                sums, right = np.zeros((3, 3)), np.zeros(3)
                for x, y, near in table.astype(float):
                    rr, cc = r + int(y), c + int(x)
                    if not (0 <= rr < shape[0] and 0 <= cc < shape[1] and matched[rr, cc]):
                        continue
                    plane = now[:, r, c] @ [1.0, x, y]
                    off = now[0, rr, cc] - plane
                    w = near / (1 + (off / tau) ** 2) ** 2
                    term = np.array([1.0, x, y])
                    sums += w * np.outer(term, term)
                    right += w * (disparity[rr, cc] - plane) * term
                support[r, c] = sums[0, 0]
                if sums[0, 0] < 1e-6:
                    continue
                sums[[1, 2], [1, 2]] += RIDGE * sums[0, 0]
                after[:, r, c] += np.linalg.solve(sums, right)
        now = after
    return now[0][row, col], support[row, col] / table[:, 2].sum()


def test_a_pixel_is_refined_as_the_formulae_say(monkeypatch):
    monkeypatch.setattr(planes, "PASSES", ((2, 1, 1.0), (3, 2, 0.5)))
    disparity = (0.1 * np.arange(19) + RNG.normal(0, 0.3, (11, 19))).astype(np.float32)
    disparity[:, 12:] += 4
    matched = RNG.random((11, 19)) > 0.2
    refined, support, *_ = refine(disparity, matched)
    for at in ((5, 9), (0, 0), (10, 18), (4, 12)):
        value, share = plainly(disparity, matched, *at, planes.PASSES)
        assert refined[at] == pytest.approx(value, abs=1e-4)
        assert support[at] == pytest.approx(share, abs=1e-4)


def test_noise_on_a_slope_goes_and_a_step_stays():
    row, col = np.mgrid[:60, :90]
    truth = 0.05 * row + 0.1 * col + 3.0 * (col >= 45)
    noisy = (truth + RNG.normal(0, 0.2, truth.shape)).astype(np.float32)
    refined, support, *_ = refine(noisy, np.ones(truth.shape, bool))
    off = np.abs(refined - truth)
    assert np.median(off) < 0.04
    assert off[:, 40:50].max() < 0.5
    assert support[30, 44] < 0.7 < support[30, 20]


def test_what_is_not_matched_has_no_say_and_what_is_not_wanted_stays():
    disparity = np.full((40, 50), 2.0, np.float32)
    matched = np.ones(disparity.shape, bool)
    matched[10:14, 10:14] = False
    disparity[~matched] = 2.4
    disparity[30:, :] = 7.0
    wanted = np.zeros(disparity.shape, bool)
    wanted[:20] = True
    refined = refine(disparity, matched, wanted).disparity
    assert_allclose(refined[:20], 2.0, atol=0.15)
    assert np.array_equal(refined[20:], disparity[20:])
