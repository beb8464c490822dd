"""Which device a process computes on."""

from __future__ import annotations

import sys

import pytest

from processes.core import gpu
from processes.core.errors import InvalidInput


def test_without_a_driver_auto_is_the_processor_and_torch_is_not_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu, "DRIVER", "libnothing.so.1")
    monkeypatch.setitem(sys.modules, "torch", None)  # an import would fail
    assert gpu.chosen("auto") == "cpu"
    assert gpu.chosen("cpu") == "cpu"


def test_a_gpu_that_is_asked_for_and_absent_is_an_error() -> None:
    import torch

    if torch.cuda.is_available():
        assert gpu.chosen("cuda") == gpu.chosen("auto") == "cuda"
    else:
        with pytest.raises(InvalidInput, match="no GPU"):
            gpu.chosen("cuda")
