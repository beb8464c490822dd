"""Seven channels from whatever a sensor gives."""

import numpy as np
import pytest

from processes.semantics.stack import CHANNELS, brightness, stack

RED, GREEN, BLUE, NIR = (np.full((4, 5), value, np.float32) for value in (300, 400, 200, 900))
ABOVE = np.full((4, 5), 6.0, np.float32)
ALL = {"red": RED, "green": GREEN, "blue": BLUE, "nir": NIR}


def channels(bands):
    return dict(zip(CHANNELS, stack(ABOVE, bands, brightness([bands])), strict=True))


def test_the_seven_channels_are_what_their_names_say():
    found = channels(ALL)
    assert found["red"][0, 0] == pytest.approx(1.0)  # 300 over (300 + 400 + 200) / 3
    assert found["nir"][0, 0] == pytest.approx(3.0)
    assert found["ndsm"][0, 0] == 6.0
    assert found["ndvi"][0, 0] == pytest.approx(0.5)
    assert found["c3"][0, 0] == pytest.approx(np.arctan(200 / 400))


def test_the_unit_of_the_counts_does_not_matter():
    twice = {name: 7.3 * band for name, band in ALL.items()}
    for one, other in zip(channels(ALL).values(), channels(twice).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_panchromatic_band_stands_in_for_colours():
    found = channels({"pan": GREEN})
    for name in ("red", "green", "blue"):
        np.testing.assert_allclose(found[name], 1.0)
    for name in ("nir", "ndvi", "c3"):
        assert np.isnan(found[name]).all()


def test_without_an_image_there_are_heights_alone():
    found = channels({})
    assert (found["ndsm"] == 6.0).all()
    assert all(np.isnan(found[name]).all() for name in CHANNELS if name != "ndsm")


def test_cells_that_no_image_saw_are_unknown_not_dark():
    hidden = {name: np.where(np.eye(4, 5, dtype=bool), np.nan, band) for name, band in ALL.items()}
    found = channels(hidden)
    assert np.isnan(found["ndvi"][1, 1])
    assert found["ndvi"][1, 2] == pytest.approx(0.5)
