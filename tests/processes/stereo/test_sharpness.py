"""How sharp images are is told from samples of them."""

import cv2
import numpy as np
import pytest

from processes.stereo.sharpness import SAMPLE_PX, TYPICAL, sharpness
from processes.stereo.view import View

GRAIN = np.random.default_rng(3).normal(500, 50, (1, 600, 500)).astype(np.float32)


def seen(image):
    def read(row0, col0, height, width):
        return image[:, row0 : row0 + height, col0 : col0 + width]

    return View("one", None, image.shape[1:], read)


def blurred(sigma_px):
    return cv2.GaussianBlur(GRAIN[0], (0, 0), sigma_px)[None]


def test_the_more_an_image_is_blurred_the_less_sharp_it_is():
    found = [
        sharpness([seen(image)]) for image in (GRAIN, blurred(1.0), blurred(2.0), blurred(6.0))
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(1.0, abs=0.01)
    assert found[3] == pytest.approx(0.5, abs=0.02)


def test_contrast_and_haze_change_nothing():
    assert sharpness([seen(0.2 * blurred(1.0) + 900)]) == pytest.approx(
        sharpness([seen(blurred(1.0))]), rel=1e-4
    )


def test_an_edge_without_pixels_counts_for_nothing():
    image = blurred(1.0)
    image[:, :50] = np.nan
    assert sharpness([seen(image)]) == pytest.approx(sharpness([seen(blurred(1.0))]), abs=0.01)


@pytest.mark.parametrize("side", [3, SAMPLE_PX])
def test_an_image_that_shows_nothing_is_taken_for_a_typical_one(side):
    assert sharpness([seen(np.full((1, side, side), 7, np.float32))]) == TYPICAL
