"""Epipolar frames: one ground point, one row, whatever its height."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from processes.core.errors import NoOverlap
from processes.stereo.epipolar import (
    STEP_PX,
    EpipolarFrame,
    Lattice,
    base_to_height,
    ground_sampling_m,
    rectify,
    resample,
)
from processes.stereo.rpc import read_document

TRUTH = Path(__file__).parents[2] / "data/scenes/village/truth"
LEFT, RIGHT = (
    read_document(name, (TRUTH / f"{name}_true_RPC.TXT").read_text()) for name in ("left", "right")
)
LON, LAT = LEFT.locate([0, 0, 899, 899], [0, 899, 899, 0], 150.0)


@pytest.fixture(scope="module")
def frame() -> EpipolarFrame:
    return rectify(LEFT, RIGHT, LON, LAT, heights_m=(100, 250), height_m=150.0, gsd_m=0.5)


def rectified_position(frame: EpipolarFrame, side: str, row: float, col: float) -> np.ndarray:
    """Invert a lattice by Newton from the middle."""
    lattice: Lattice = getattr(frame, side)
    at = np.array([frame.shape[0] / 2, frame.shape[1] / 2])
    for _ in range(20):
        here = np.array(lattice.at(*at))
        jac = np.stack([np.array(lattice.at(*(at + step))) - here for step in np.eye(2)], axis=1)
        at = at + np.linalg.solve(jac, np.array([row, col]) - here)
    return at


@pytest.mark.parametrize("height_m", [105.0, 150.0, 240.0])
def test_both_images_show_a_point_on_one_row(frame: EpipolarFrame, height_m: float) -> None:
    for lon, lat in zip(LON * 0.8 + LON.mean() * 0.2, LAT * 0.8 + LAT.mean() * 0.2, strict=True):
        left = rectified_position(frame, "left", *LEFT.project(lon, lat, height_m))
        right = rectified_position(frame, "right", *RIGHT.project(lon, lat, height_m))
        assert abs(left[0] - right[0]) < 0.01
        disparity = right[1] - left[1]
        assert_allclose(disparity, (height_m - 150.0) * frame.px_per_m, atol=0.05)


def test_pixels_between_the_nodes_are_where_the_sensor_model_puts_them(
    frame: EpipolarFrame,
) -> None:
    rows, cols = np.array([100.5, 333.3, 801.0]), np.array([77.7, 512.0, 640.25])
    lon = Lattice(frame.lon, frame.lat).at(rows, cols)
    exact = LEFT.project(*lon, 150.0)
    assert np.abs(np.subtract(frame.left.at(rows, cols), exact)).max() < 1e-3


def test_everything_on_the_ground_between_the_heights_is_on_the_grid(frame: EpipolarFrame) -> None:
    for height_m in (100.0, 250.0):
        for model, side in ((LEFT, "left"), (RIGHT, "right")):
            for lon, lat in zip(LON, LAT, strict=True):
                at = rectified_position(frame, side, *model.project(lon, lat, height_m))
                assert (at >= 0).all()
                assert (at <= np.array(frame.shape) - 1).all()


def test_what_stands_on_a_piece_of_ground_is_shown_and_little_else() -> None:
    middle = np.linspace(-0.2, 0.2, 5)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])  # askew, as blocks of a map are
    corners = turn @ np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]]) * 0.2
    east, north = corners
    lon, lat = LON.mean() + east * np.ptp(LON), LAT.mean() + north * np.ptp(LAT)
    frame = rectify(LEFT, RIGHT, lon, lat, heights_m=(130, 190), height_m=150.0, gsd_m=0.5)
    for model, side, shown in zip((LEFT, RIGHT), ("left", "right"), frame.shown, strict=True):
        assert 0.5 < shown.mean() < 0.8
        for u, v in zip(*(axis.ravel() for axis in np.meshgrid(middle, middle)), strict=True):
            east, north = turn @ (u, v)
            ground = LON.mean() + east * np.ptp(LON), LAT.mean() + north * np.ptp(LAT)
            for height_m in (130.0, 150.0, 190.0):
                row, col = rectified_position(frame, side, *model.project(*ground, height_m))
                assert shown[round(row), round(col)]


def test_two_images_from_one_direction_are_refused() -> None:
    with pytest.raises(NoOverlap, match="same direction"):
        rectify(LEFT, replace(LEFT), LON, LAT, heights_m=(100, 200), height_m=150.0, gsd_m=0.5)


def test_base_and_sampling_are_those_the_scene_was_made_with() -> None:
    lon, lat = float(LON.mean()), float(LAT.mean())
    assert base_to_height(LEFT, RIGHT, lon, lat, 150.0) == pytest.approx(0.35, abs=0.01)
    assert ground_sampling_m(LEFT, lon, lat, 150.0) == pytest.approx(0.5, abs=0.005)


def identity(rows: int, cols: int, drow: float = 0.0, dcol: float = 0.0) -> Lattice:
    r, c = np.mgrid[0:rows, 0:cols] * float(STEP_PX)
    return Lattice(r + drow, c + dcol)


def test_resampling_at_pixel_centres_changes_nothing() -> None:
    image = np.random.default_rng(1).normal(100, 20, (2, 40, 50)).astype(np.float32)
    assert_allclose(resample(image, identity(4, 5), (40, 50)), image, rtol=1e-5)


def test_a_smooth_image_is_resampled_between_pixels() -> None:
    r, c = np.mgrid[0:64, 0:64]
    wave = np.sin(0.6 * r + 0.4 * c)[None].astype(np.float32)
    got = resample(wave, identity(5, 5, 0.37, 0.61), (60, 60))[0]
    want = np.sin(0.6 * (r + 0.37) + 0.4 * (c + 0.61))[:60, :60]
    assert np.abs(got - want)[4:-4, 4:-4].max() < 0.01


def test_outside_the_image_and_over_nodata_is_nan() -> None:
    image = np.ones((1, 32, 32), np.float32)
    image[:, 10:14, 10:14] = np.nan
    got = resample(image, identity(5, 5, -4.0, 0.0), (50, 50))[0]
    assert np.isnan(got[:3]).all()
    assert np.isnan(got[37:]).all()
    assert np.isnan(got[14:18, 10:14]).all()
    assert_allclose(got[5:13, :30], 1.0, rtol=1e-6)
