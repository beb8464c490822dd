"""Pointing: what wrong attitude did to the sensor models is measured and undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter, shift

from processes.stereo.pointing import Ties, View, adjust, refine, ties_of
from processes.stereo.rpc import RpcModel, read_document

SCENE = Path(__file__).parents[2] / "data/scenes/village"
LEFT, RIGHT = (
    read_document(name, (SCENE / f"truth/{name}_true_RPC.TXT").read_text())
    for name in ("left", "right")
)
RNG = np.random.default_rng(11)


def between(a: RpcModel, b: RpcModel, at: float) -> RpcModel:
    """A made-up third camera whose line of sight lies between two others."""
    from dataclasses import replace

    mixed = {
        name: (1 - at) * getattr(a, name) + at * getattr(b, name)
        for name in ("line_num", "samp_num", "line_den", "samp_den")
    }
    return replace(a, **mixed)


def ties_through(models: list[RpcModel], count: int = 300, noise_px: float = 0.0) -> Ties:
    lon, lat = LEFT.locate(RNG.uniform(50, 850, count), RNG.uniform(50, 850, count), 150.0)
    height = RNG.uniform(130, 190, count)
    seen = [m.project(lon, lat, height) for m in models]
    rows, cols = (np.stack([s[k] for s in seen]) for k in (0, 1))
    return Ties(
        rows + RNG.normal(0, noise_px, rows.shape), cols + RNG.normal(0, noise_px, cols.shape)
    )


def test_a_wrong_image_is_brought_back_across_the_epipolar_lines() -> None:
    ties = ties_through([LEFT, RIGHT], noise_px=0.1)
    tied = adjust([LEFT, RIGHT.corrected(0.4, -2.5)], ties, height_m=150.0)
    assert tied.shifts_px[0] == (0.0, 0.0)
    assert tied.shifts_px[1][1] == pytest.approx(2.5, abs=0.06)
    assert tied.before_px > 1.0
    assert tied.after_px < 0.15


def test_one_in_four_wrong_matches_does_no_harm() -> None:
    ties = ties_through([LEFT, RIGHT], noise_px=0.05)
    wrong = RNG.choice(ties.count, ties.count // 4, replace=False)
    ties.cols[1, wrong] += RNG.uniform(0.5, 3.0, wrong.size)
    tied = adjust([LEFT, RIGHT.corrected(0.0, 1.5)], ties, height_m=150.0)
    assert tied.shifts_px[1][1] == pytest.approx(-1.5, abs=0.05)


def test_with_three_images_the_wrong_one_is_moved_along_too() -> None:
    middle = between(LEFT, RIGHT, 0.5)
    ties = ties_through([LEFT, RIGHT, middle], noise_px=0.05)
    given = [LEFT, RIGHT.corrected(1.7, -2.3), middle]
    tied = adjust(given, ties, height_m=150.0)
    _, (row, col), (mid_row, mid_col) = tied.shifts_px
    assert col == pytest.approx(2.3, abs=0.1)
    assert row < -1.0
    # what three images do tell: heights from all pairs agree
    assert mid_row - 0.5 * row == pytest.approx(0.85, abs=0.1)
    assert abs(mid_col) < 0.1


def test_a_patch_is_found_to_a_twentieth_of_a_pixel() -> None:
    image = gaussian_filter(RNG.normal(0, 1, (200, 200)), 1.2)
    left = (1000 + 400 * image).astype(np.float32)
    right = (500 + 300 * shift(image, (0.3, -1.4), order=5)).astype(np.float32)
    at = RNG.uniform(30, 170, (100, 2))
    found = refine(left, right, np.concatenate([at, at], axis=1))
    good = np.isfinite(found).all(axis=1)
    assert good.mean() > 0.9
    off = found[good, 2:] - at[good]
    assert_allclose(np.median(off, axis=0), [0.3, -1.4], atol=0.02)
    assert np.abs(off - [0.3, -1.4]).max() < 0.2


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
    assert tied.shifts_px[1][1] == pytest.approx(1.8, abs=0.12)
