"""Where to compute: a GPU where one is asked for or at hand, else the processor."""

from __future__ import annotations

import ctypes
from typing import Literal

from processes.core.errors import InvalidInput
from processes.core.process import Device

DRIVER = "libcuda.so.1"


def chosen(device: Device) -> Literal["cpu", "cuda"]:
    """Return what *device* means on this machine. Raises InvalidInput where it has no GPU to give.

    torch takes seconds to import, so that "auto" looks for a driver first.
    """
    if device == "cpu" or (device == "auto" and not has_driver()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise InvalidInput("this machine has no GPU that torch can use: choose device auto or cpu")
    return "cpu"


def has_driver() -> bool:
    """Say whether an NVIDIA driver is installed; quick."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True
