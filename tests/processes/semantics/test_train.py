"""Training: it learns, a seed repeats it, real places take part."""

import numpy as np
import pytest
import torch

from processes.semantics.stack import BUILDING, GROUND
from processes.semantics.train import UNKNOWN, Example, crop, example, train


@pytest.fixture(autouse=True)
def few_towns(monkeypatch):
    """Made-up towns take time."""
    monkeypatch.setattr("processes.semantics.train.POOL", 2)
    monkeypatch.setattr("processes.semantics.train.RENEWED", 100)
    monkeypatch.setattr("processes.semantics.train.CROP_PX", 64)
    monkeypatch.setattr("processes.semantics.train.BATCH", 2)
    monkeypatch.setattr("processes.semantics.train.TOLD", 5)


def test_a_few_steps_teach_something_and_a_seed_repeats_them():
    reports = []
    net = train(20, seed=4, told=reports.append)
    assert [report.step for report in reports] == list(range(5, 21, 5))
    assert reports[-1].loss < reports[0].loss
    again = train(20, seed=4)
    for one, other in zip(net.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


def test_crops_are_seen_by_every_kind_of_sensor():
    place, rng = example(7), np.random.default_rng(0)
    seen = set()
    for _ in range(80):
        values, classes = crop(rng, place)
        assert values.shape[0] == 7
        assert values.shape[1:] == classes.shape
        known = np.isfinite(values).any(axis=(1, 2))
        seen.add(tuple(known[[0, 3, 4]]))
    assert {(True, True, True), (True, False, True), (False, False, True)} <= seen


def test_a_place_smaller_than_a_crop_is_filled_with_unknown(monkeypatch):
    monkeypatch.setattr("processes.semantics.train.CROP_PX", 100)
    flat = np.zeros((70, 90), np.float32)
    place = Example(flat, {}, np.full(flat.shape, GROUND, np.uint8), 1.0)
    values, classes = crop(np.random.default_rng(0), place)
    assert values.shape == (7, 100, 100)
    assert (classes == UNKNOWN).sum() == 100 * 100 - 70 * 90


def test_real_places_take_part():
    wall = np.full((80, 80), 9.0, np.float32)
    real = Example(wall, {}, np.full(wall.shape, BUILDING, np.uint8), 1.0)
    with_real, without = train(8, seed=1, real=[real]), train(8, seed=1)
    one, other = (net.head.weight.detach() for net in (with_real, without))
    assert float((one - other).abs().max()) > 1e-5
