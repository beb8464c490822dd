"""Coarser lattices hold what the finer ones do."""

import numpy as np
import pytest

from processes.terrain.blocks import block_extremes, block_means, doubled, repeated

HEIGHTS = np.random.default_rng(0).normal(0, 5, (13, 20)).astype(np.float32)


@pytest.mark.parametrize("step", [1, 2, 4, 5])
def test_every_block_holds_its_cells(step):
    means, (low, high) = block_means(HEIGHTS, step), block_extremes(HEIGHTS, step)
    assert means.shape == low.shape == high.shape == (-(-13 // step), -(-20 // step))
    inside = HEIGHTS[step : 2 * step, :step]
    assert means[1, 0] == pytest.approx(inside.mean(), abs=1e-5)
    assert (low[1, 0], high[1, 0]) == (inside.min(), inside.max())


def test_blocks_at_their_cells():
    np.testing.assert_array_equal(repeated(HEIGHTS, 2, (25, 40))[::2, ::2], HEIGHTS)
    plane = np.add.outer(np.arange(6), 3 * np.arange(8)).astype(np.float32)
    fine = doubled(plane, (11, 16))
    assert fine.shape == (11, 16)
    np.testing.assert_allclose(np.diff(fine[2:9, 2:13], axis=0), 0.5, atol=1e-5)
