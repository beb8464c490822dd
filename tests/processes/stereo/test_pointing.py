"""Pointing: what wrong attitude did to the sensor models is measured and undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter, shift

from processes.stereo.adjust import adjust
from processes.stereo.pointing import refine, ties_of
from processes.stereo.rpc import read_document
from processes.stereo.view import View

SCENE = Path(__file__).parents[2] / "data/scenes/village"
LEFT, RIGHT = (
    read_document(name, (SCENE / f"truth/{name}_true_RPC.TXT").read_text())
    for name in ("left", "right")
)
RNG = np.random.default_rng(11)


def test_a_patch_is_found_to_a_twentieth_of_a_pixel() -> None:
    image = gaussian_filter(RNG.normal(0, 1, (200, 200)), 1.2)
    left = (1000 + 400 * image).astype(np.float32)
    right = (500 + 300 * shift(image, (0.3, -1.4), order=5)).astype(np.float32)
    at = RNG.uniform(30, 170, (100, 2))
    found, doubt = refine(left, right, np.concatenate([at, at], axis=1))
    good = np.isfinite(found).all(axis=1)
    assert np.array_equal(good, np.isfinite(doubt))
    assert good.mean() > 0.9
    off = found[good, 2:] - at[good]
    assert_allclose(np.median(off, axis=0), [0.3, -1.4], atol=0.02)
    assert np.abs(off - [0.3, -1.4]).max() < 0.2


def test_a_patch_across_a_step_is_doubted() -> None:
    """Its two sides moved by different amounts, so no one fit is right for both."""
    image = gaussian_filter(RNG.normal(0, 1, (120, 240)), 1.2)
    left = (1000 + 400 * image).astype(np.float32)
    right = left.copy()
    right[:, 120:] = 1000 + 400 * shift(image, (0.0, 1.5), order=5)[:, 120:]
    row = np.arange(20.0, 100.0, 4.0)
    doubts = {}
    for col in (60.0, 121.0, 180.0):
        at = np.stack([row, np.full(row.size, col)] * 2, axis=1)
        doubts[col] = np.median(refine(left, right, at)[1])
    assert doubts[121.0] > 3 * max(doubts[60.0], doubts[180.0])


def test_the_bundled_pair_is_brought_together() -> None:
    views = []
    for name in ("left", "right"):
        with rasterio.open(SCENE / f"{name}.tif") as file:
            pixels = file.read().astype(np.float32)
        model = read_document(name, (SCENE / f"{name}_RPC.TXT").read_text())

        def read(r: int, c: int, h: int, w: int, a: np.ndarray = pixels) -> np.ndarray:
            return a[:, r : r + h, c : c + w]

        views.append(View(name, model, pixels.shape[1:], read))
    piece = LEFT.locate([200, 200, 700, 700], [200, 700, 700, 200], 150.0)
    ties = ties_of(views, [(0, 1, [piece])], heights_m=(-200, 500), gsd_m=0.5)
    assert ties.count > 100
    tied = adjust([v.model for v in views], ties, height_m=150.0)
    assert tied.corrections_px[1][1] == pytest.approx(1.807, abs=0.06)
