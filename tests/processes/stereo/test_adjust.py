"""Bundle adjustment: what wrong attitude did to the sensor models is undone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from processes.stereo.adjust import Control, Pointing, Ties, adjust
from processes.stereo.rpc import RpcModel, read_document

SCENE = Path(__file__).parents[2] / "data/scenes/village"
LEFT, RIGHT = (
    read_document(name, (SCENE / f"truth/{name}_true_RPC.TXT").read_text())
    for name in ("left", "right")
)
RNG = np.random.default_rng(11)


def between(a: RpcModel, b: RpcModel, at: float) -> RpcModel:
    """A made-up third camera whose line of sight lies between two others."""
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
    assert tied.corrections_px[0] == (0.0, 0.0)
    assert tied.corrections_px[1][1] == pytest.approx(2.5, abs=0.06)
    assert tied.before_px > 1.0
    assert tied.after_px < 0.15


def test_one_in_four_wrong_matches_does_no_harm() -> None:
    ties = ties_through([LEFT, RIGHT], noise_px=0.05)
    wrong = RNG.choice(ties.count, ties.count // 4, replace=False)
    ties.cols[1, wrong] += RNG.uniform(0.5, 3.0, wrong.size)
    tied = adjust([LEFT, RIGHT.corrected(0.0, 1.5)], ties, height_m=150.0)
    assert tied.corrections_px[1][1] == pytest.approx(-1.5, abs=0.05)


def test_with_three_images_the_wrong_one_is_moved_along_too() -> None:
    middle = between(LEFT, RIGHT, 0.5)
    ties = ties_through([LEFT, RIGHT, middle], noise_px=0.05)
    given = [LEFT, RIGHT.corrected(1.7, -2.3), middle]
    tied = adjust(given, ties, height_m=150.0)
    _, (row, col), (mid_row, mid_col) = tied.corrections_px
    assert col == pytest.approx(2.3, abs=0.1)
    assert row < -1.0
    # what three images do tell: heights from all pairs agree
    assert mid_row - 0.5 * row == pytest.approx(0.85, abs=0.1)
    assert abs(mid_col) < 0.1


def off_px(found: RpcModel, true: RpcModel) -> float:
    """Return how far a model projects the village from where the true one does, at worst."""
    lon, lat = LEFT.locate(RNG.uniform(50, 850, 200), RNG.uniform(50, 850, 200), 150.0)
    a, b = (m.project(lon, lat, 150.0) for m in (found, true))
    return float(np.hypot(a[0] - b[0], a[1] - b[1]).max())


def tilted(model: RpcModel) -> RpcModel:
    """The model with an attitude that drifts by 1.5 px across the scene."""
    at = [model.project(*LEFT.locate(r, c, 150.0), 150.0) for r, c in ((50, 50), (850, 850))]
    reach = (at[1][1] - at[0][1]) / model.col_scale
    return replace(model, tilt=(0.0, 0.0, 0.0, 1.5 / reach))


def test_a_drift_across_the_lines_is_taken_out() -> None:
    truth = [LEFT, RIGHT, between(LEFT, RIGHT, 0.5)]
    ties = ties_through(truth, count=600, noise_px=0.1)
    given = [LEFT, tilted(RIGHT), truth[2]]
    tied = adjust(given, ties, height_m=150.0)
    assert tied.before_px > 0.16
    assert tied.after_px < 0.12
    assert len(tied.corrections_px[1]) == 6


def test_images_without_drift_are_not_tilted() -> None:
    ties = ties_through([LEFT, RIGHT], count=600, noise_px=0.1)
    tied = adjust([LEFT, RIGHT.corrected(0.0, -1.0)], ties, height_m=150.0)
    assert all(len(correction) == 2 for correction in tied.corrections_px)


def controlled(given: list[RpcModel], truth: list[RpcModel], wrong_px: float = 0.0) -> Pointing:
    lon, lat = LEFT.locate(RNG.uniform(50, 850, 8), RNG.uniform(50, 850, 8), 150.0)
    height = RNG.uniform(130, 190, 8)
    seen = np.stack([m.project(lon, lat, height) for m in truth])
    seen += RNG.normal(0.0, 0.1, seen.shape)
    seen[0, :, 0] += wrong_px
    control = Control(
        view=np.repeat(np.arange(len(truth)), 8),
        row=seen[:, 0].ravel(),
        col=seen[:, 1].ravel(),
        lon=np.tile(lon, len(truth)),
        lat=np.tile(lat, len(truth)),
        height_m=np.tile(height, len(truth)),
    )
    ties = ties_through(truth, noise_px=0.1)
    return adjust(given, ties, height_m=150.0, control=control)


def test_control_points_move_all_images_to_where_they_belong() -> None:
    truth = [LEFT, RIGHT]
    tied = controlled([LEFT.corrected(-4.0, 3.0), RIGHT.corrected(2.0, -2.5)], truth)
    assert max(off_px(m, t) for m, t in zip(tied.models, truth, strict=True)) < 0.3
    assert tied.control_px < 0.3


def test_one_wrong_control_point_does_no_harm() -> None:
    truth = [LEFT, RIGHT]
    tied = controlled([LEFT.corrected(-4.0, 3.0), RIGHT], truth, wrong_px=40.0)
    assert max(off_px(m, t) for m, t in zip(tied.models, truth, strict=True)) < 0.5
