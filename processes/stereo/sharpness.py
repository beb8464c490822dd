"""How sharp images are: how much of the contrast four pixels apart there is two pixels apart.

Blurred images are matched less exactly than sharp ones of the same texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from processes.stereo.view import View

SAMPLES, SAMPLE_PX = 5, 128
"""Samples across and along each image, and their side."""
TYPICAL = 0.71


def sharpness(views: Sequence[View]) -> float:
    """Return a ratio: 0.5 of images all blur, 0.71 of typical ones, 1 of white noise."""
    near, far = [0.0], [0.0]
    for view in views:
        for row0 in _starts(view.shape[0]):
            for col0 in _starts(view.shape[1]):
                bands = view.read(row0, col0, SAMPLE_PX, SAMPLE_PX)
                grey = bands.mean(axis=0, dtype=np.float64)
                for along in (grey, grey.T):
                    near.append(float(np.nansum((along[3:-1] - along[1:-3]) ** 2)))
                    far.append(float(np.nansum((along[4:] - along[:-4]) ** 2)))
    return float(np.sqrt(sum(near) / sum(far))) if sum(far) > 0 else TYPICAL


def _starts(size_px: int) -> list[int]:
    """Return where the samples of one side of an image begin."""
    room = max(size_px - SAMPLE_PX, 0)
    return [int(room * (k + 0.5) / SAMPLES) for k in range(SAMPLES)]
