"""The GPU's volume says what the processor's says, to the bit.

Without a GPU Triton's interpreter runs the same kernels, a thousand times slower (conftest.py).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from processes.stereo import sgm
from processes.stereo.census import Seen, Slices, census, window

P1, P2 = np.uint8(12), (14 + 22 * np.exp(-np.arange(256) / 12.0)).astype(np.uint8)


@pytest.fixture(scope="module")
def gpu() -> tuple[Any, str]:
    """The module, and the device it runs on."""
    from processes.stereo import sgm_gpu

    return sgm_gpu, "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


def strip(rows: int, cols: int, per_px: int, seed: int) -> tuple[Any, ...]:
    """Noise with holes in both images, ranges that differ everywhere, some beyond the border."""
    rng = np.random.default_rng(seed)
    left = rng.normal(0, 1, (rows, cols)).astype(np.float32)
    right = rng.normal(0, 1, (rows, cols * per_px)).astype(np.float32)
    left[2:4, 3:5] = np.nan
    right[rows - 2, 4:9] = np.nan
    lo = rng.uniform(-6, -2, left.shape).astype(np.float32)
    hi = lo + rng.uniform(2, 12, left.shape).astype(np.float32)
    codes, valid = census(left, window(5, 5))
    codes2, valid2 = census(right, window(5, 5, spread=per_px))
    slices = Slices.between(lo, hi, per_px=per_px, where=valid != 0)
    low, high = int(slices.first.min()), int((slices.first + slices.count).max())
    pad = max(0, -low, cols * per_px + high - right.shape[1]) + 1
    grey, grey2 = (
        np.clip(np.nan_to_num(a) * 30 + 128, 0, 255).astype(np.uint8) for a in (left, right)
    )
    padded = [np.pad(a, [(0, 0), (pad, pad)]) for a in (codes2, valid2, grey2)]
    return Seen(codes, valid, grey), Seen(*padded), pad, slices, P1, P2, cols


@pytest.mark.parametrize("shape", [(5, 7, 2), (4, 6, 1), (1, 6, 1), (6, 1, 2)])
def test_both_give_the_same_to_the_bit(gpu: tuple[Any, str], shape: tuple[int, int, int]) -> None:
    module, device = gpu
    case = strip(*shape, seed=sum(shape))
    for ours, theirs in zip(sgm.solve(*case), module.solve(*case, device=device), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_a_large_strip_on_a_real_gpu(gpu: tuple[Any, str]) -> None:
    module, device = gpu
    if device != "cuda":
        pytest.skip("no GPU: rows that run at the same time cannot be tried")
    case = strip(300, 500, 2, seed=3)
    for ours, theirs in zip(sgm.solve(*case), module.solve(*case), strict=True):
        np.testing.assert_array_equal(ours, theirs)
