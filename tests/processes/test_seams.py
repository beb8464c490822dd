"""A surface made of many blocks is the surface made of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from processes import dsm
from processes.dsm import DSM
from workers.reader import Reader
from workers.workspace import LocalWorkspace

NEAR = 10
"""Cells on both sides of a border."""


def test_no_seam_between_blocks(
    village: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for side in (4000, 600):
        monkeypatch.setattr(dsm, "BLOCK_PX", side)
        work = LocalWorkspace(tmp_path / str(side), Reader(tmp_path / "cache", files=True))
        model = DSM.run(DSM.parse({"images": [{"href": str(village / "stereo.json")}]}), work)
        with (
            rasterio.open(model.dsm.href) as heights,
            rasterio.open(model.ortho_mask.href) as origin,
            rasterio.open(model.confidence.href) as error,
        ):
            made.append((heights.read(1), origin.read(1), error.read(1)))
    (one, from_one, error_one), (many, from_many, error_many) = made
    side = int(np.ceil(max(one.shape) / 2))  # blocks share the grid evenly
    beside = np.zeros(one.shape, bool)
    beside[side - NEAR : side + NEAR] = True
    beside[:, side - NEAR : side + NEAR] = True
    apart = np.abs(many - one)
    assert np.array_equal(np.isfinite(one)[beside], np.isfinite(many)[beside])
    measured = (from_one == 1) & (from_many == 1)
    assert np.mean(apart[beside & measured] <= 0.05) > 0.999
    assert np.mean(apart[measured] <= 0.05) > 0.999
    # a filled cell may hang on one far measurement
    assert np.mean(apart[beside & np.isfinite(apart)] <= 0.05) > 0.997
    # a step would show across the border itself, and nowhere else
    for axis in (0, 1):
        here, there = (np.take(many - one, side - k, axis) for k in (0, 1))
        assert abs(float(np.nanmean(np.clip(here - there, -1, 1)))) < 0.01
    # what is claimed of a height does not hang on its block either: its steps are 3 %
    same = np.abs(error_many / error_one - 1) < 0.1
    assert np.mean(same[measured]) > 0.997
    assert np.mean(same[beside & measured]) > 0.997
