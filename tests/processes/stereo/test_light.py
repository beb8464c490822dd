"""A cloud's shadow and haze on one image of a pair; even light leaves everything as it was."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from processes.stereo import match as matching
from processes.stereo.light import light_of
from processes.stereo.match import Tones, match

SHAPE = (300, 380)


@pytest.fixture(scope="module")
def pair():
    """Disparities of a house on a lawn with dark and bright beds, and both images."""
    rng = np.random.default_rng(3)
    truth = np.full(SHAPE, 1.0)
    truth[100:200, 140:240] = 9.0
    beds, grain = (gaussian_filter(rng.normal(size=SHAPE), sigma) for sigma in (5, 0.8))
    left = 500 + 100 * beds / beds.std() + 60 * grain / grain.std()
    left[100:200, 140:240] += 150
    right = np.roll(left, 1, axis=1)
    right[100:200, 149:249] = left[100:200, 140:240]
    noisy = (image + rng.normal(0, 4, SHAPE) for image in (left, right))
    return truth, *(image.astype(np.float32) for image in noisy)


def shaded(image, left_over=0.7):
    """Return an image with a cloud's shadow below a slanting line."""
    row, col = np.indices(image.shape)
    shadow = 1 / (1 + np.exp(-(row + 0.4 * col - 220) / 20))
    return (image * (1 - (1 - left_over) * shadow)).astype(np.float32)


def right_share(found, truth):
    return float(np.mean(np.abs(found.disparity[:, 20:-20] - truth[:, 20:-20]) < 1))


def test_a_shadow_on_one_image_costs_little(pair, monkeypatch):
    truth, left, right = pair
    even = right_share(match(left, right, -20, 20), truth)
    for images in ((shaded(left), right), (left, shaded(right))):
        assert right_share(match(*images, -20, 20), truth) > even - 0.05
    deep = shaded(left, 0.6), right
    told = right_share(match(*deep, -20, 20), truth)
    monkeypatch.setattr(matching, "light_of", lambda *_: None)
    assert right_share(match(*deep, -20, 20), truth) < told - 0.2


def test_a_cloud_in_one_image_takes_what_it_hides_and_no_more(pair):
    truth, left, right = pair
    rng = np.random.default_rng(5)
    blobs, curls = (gaussian_filter(rng.normal(size=SHAPE), sigma) for sigma in (25, 3))
    cloud = np.clip((blobs / blobs.std() - 0.6) / 0.25, 0, 1)
    white = 4000 + 150 * curls / curls.std()
    clouded = (right * (1 - cloud) + white * cloud).astype(np.float32)
    clear = gaussian_filter(cloud, 3) < 0.01
    ends = np.percentile(left, (2, 98))
    found = match(left, clouded, -20, 20, tones=Tones(tuple(ends), tuple(ends)))
    right_there = np.abs(found.disparity - truth)[clear] < 1
    assert 0.5 < clear.mean() < 0.8
    assert np.mean(right_there) > 0.85


def test_even_light_is_left_alone(pair, monkeypatch):
    _, left, right = pair
    found = match(left, right, -20, 20)
    monkeypatch.setattr(matching, "light_of", lambda *_: None)
    plain = match(left, right, -20, 20)
    assert np.array_equal(found.disparity, plain.disparity, equal_nan=True)


def test_light_is_what_brings_one_image_to_the_other(pair):
    _, left, _ = pair
    ends = (0.0, 1000.0)
    darker = left * 0.5
    light = light_of(darker / 1000, left / 1000, 0)
    assert light is not None
    lit = light.on(darker, ends, 0)
    assert abs(float(np.mean(lit - left))) < 1000 * 0.03
    assert 0.8 < np.std(lit) / np.std(left) < 1.0
    assert light_of(left / 1000, np.full_like(left, np.nan), 0) is None


def test_the_device_sees_the_same_light(pair, monkeypatch):
    torch = pytest.importorskip("torch")
    from processes.stereo.match_gpu import match as match_on

    device = "cuda" if torch.cuda.is_available() else "cpu"
    _, left, right = pair
    edge = np.s_[105:235, 60:200]  # of the shadow
    images = [np.ascontiguousarray(image[edge]) for image in (shaded(left, 0.6), right)]
    ours = match(*images, -20, 20, base_to_height=0.6)
    with monkeypatch.context() as patch:
        patch.setattr(matching, "light_of", lambda *_: None)
        blind = match(*images, -20, 20, base_to_height=0.6)
    assert not np.array_equal(blind.disparity, ours.disparity, equal_nan=True), "no light is seen"
    on_device = (torch.as_tensor(image, device=device) for image in images)
    theirs = match_on(*on_device, -20, 20, base_to_height=0.6)
    disparity = theirs.disparity.cpu().numpy()
    assert np.mean(np.isfinite(disparity) == np.isfinite(ours.disparity)) > 0.999
    assert np.nanpercentile(np.abs(disparity - ours.disparity), 99) < 1e-3
