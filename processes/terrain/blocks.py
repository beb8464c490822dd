"""Rasters on lattices that are coarser by whole numbers of cells, and back."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Heights = NDArray[np.float32]


def block_means(values: Heights, step: int) -> Heights:
    """Return the means over *step* by *step* cells; the last blocks go on as their edges."""
    if step == 1:
        return values
    even = _even(values, step)
    size = (even.shape[1] // step, even.shape[0] // step)
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.float32)


def block_extremes(values: Heights, step: int) -> tuple[Heights, Heights]:
    """Return the least and the largest of *step* by *step* cells."""
    even = _even(values, step)
    low, high = even[::step], even[::step]
    for at in range(1, step):
        low, high = np.minimum(low, even[at::step]), np.maximum(high, even[at::step])
    least, most = low[:, ::step], high[:, ::step]
    for at in range(1, step):
        least, most = np.minimum(least, low[:, at::step]), np.maximum(most, high[:, at::step])
    return least, most


def repeated(values: NDArray[Any], step: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return *values* at the finer cells of an array of *shape*, as they are."""
    if step == 1:
        return values
    return np.repeat(np.repeat(values, step, 0), step, 1)[: shape[0], : shape[1]]


def doubled(coarse: Heights, shape: tuple[int, ...]) -> Heights:
    """Return *coarse*, bilinear, on cells half as wide, level beyond the last middles."""
    size = (2 * coarse.shape[1], 2 * coarse.shape[0])
    fine = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(fine[: shape[0], : shape[1]], np.float32)


def _even(values: Heights, step: int) -> Heights:
    rows, cols = (-n % step for n in values.shape)
    if not (rows or cols):
        return values
    return np.asarray(cv2.copyMakeBorder(values, 0, rows, 0, cols, cv2.BORDER_REPLICATE))
