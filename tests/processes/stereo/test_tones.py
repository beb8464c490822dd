"""How bright a view shows a place, between the dark and the bright end of its scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from processes.stereo.greys import Tones
from processes.stereo.rpc import read_document
from processes.stereo.tones import Toned
from processes.stereo.view import View

RPC = Path(__file__).parents[2] / "data/scenes/village/truth/left_true_RPC.TXT"
MODEL = read_document("left", RPC.read_text())
IMAGE = np.full((2, 900, 900), 100.0, np.float32)
IMAGE[:, 400:450, 500:560] = [[[200.0]], [[600.0]]]


def read(row0: int, col0: int, height: int, width: int) -> NDArray[np.float32]:
    around = np.pad(IMAGE, ((0, 0), (9, 9), (9, 9)), constant_values=np.nan)
    return around[:, row0 + 9 : row0 + 9 + height, col0 + 9 : col0 + 9 + width]


def test_chance_matches_under_a_cloud_are_not_the_bright_end_of_an_image() -> None:
    rng = np.random.default_rng(2)
    left = np.sort(rng.lognormal(5.5, 0.4, 4000)).astype(np.float32)
    right = (0.8 * left + 30 + rng.normal(0, 8, 4000)).astype(np.float32)
    clear = Tones.of_pairs(left, right)
    assert clear == Tones.of(left, right)
    right[rng.choice(4000, 800, replace=False)] = 3000
    assert clear.right == pytest.approx(Tones.of_pairs(left, right).right, rel=0.03)
    assert Tones.of(left, right).right[1] == 3000


def test_tones_are_shares_between_the_ends_and_nothing_is_seen_beside_the_image() -> None:
    row, col = np.array([420.0, 300.0, -50.0]), np.array([530.0, 300.0, 20.0])
    height = np.full(3, 145.0, np.float32)
    view = View("left", MODEL, (900, 900), read)
    places = *MODEL.locate(row, col, height), height
    seen = Toned.of(view, (100.0, 500.0), *places).at(*places)
    np.testing.assert_allclose(seen, [0.75, 0.0, np.nan], atol=1e-6)


def test_a_place_at_the_border_of_the_image_does_not_hide_the_others() -> None:
    row, col = np.array([420.0, 0.0, 300.0]), np.array([530.0, 530.0, 0.0])
    height = np.full(3, 145.0, np.float32)
    view = View("left", MODEL, (900, 900), read)
    places = *MODEL.locate(row, col, height), height
    seen = Toned.of(view, (100.0, 500.0), *places).at(*places)
    assert np.isfinite(seen[0])
    assert seen[0] == pytest.approx(0.75)


def test_points_beside_what_was_read_are_not_seen() -> None:
    row, col = np.array([420.0, 440.0]), np.array([530.0, 540.0])
    height = np.full(2, 145.0, np.float32)
    places = *MODEL.locate(row, col, height), height
    seen = Toned.of(View("left", MODEL, (900, 900), read), (100.0, 500.0), *places)
    far = *MODEL.locate(row + 300, col, height), height
    assert np.isnan(seen.at(*far)).all()
    assert np.isfinite(seen.at(*places)).all()
