"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def village() -> Path:
    """The bundled scene: two images with RPC, and the truth."""
    return HERE / "data/scenes/village"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real imagery and lidar that is not part of the project."""
    folder = Path(os.environ.get("OROGRAPH_TEST_DATA", HERE.parent.parent / "shared/data"))
    if not folder.is_dir():
        pytest.skip("real data absent: set OROGRAPH_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def quarter(shared_data: Path) -> Path:
    """The dense tri-stereo scene, whose right image points wrongly."""
    return shared_data / "scenes/quarter"
