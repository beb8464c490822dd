"""Kernels come from the cache without all that compiling them takes."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from processes.core.machine_code import load_at_once

KERNEL = """
from numba import njit

@njit(cache=True, nogil=True)
def risen(heights, by):
    return heights + by
"""
AGAIN = """
import sys
sys.path.insert(0, {folder!r})
from processes.core.machine_code import load_at_once
load_at_once()
import numpy as np
from kernel import risen
assert risen(np.array([3.0, 1.0]), 2.0).tolist() == [5.0, 3.0]
assert sum(risen.stats.cache_hits.values()) == 1 and not risen.stats.cache_misses, risen.stats
known = sys.modules["numba.core.registry"].cpu_target.typing_context._functions
assert not known, "everything was registered"
assert "scipy.linalg" not in sys.modules, "a BLAS was looked for"
assert "numba.np.arrayobj" not in sys.modules, "what was compiled into it was imported"
assert risen(np.array([3, 1]), 2).tolist() == [5, 3], "it still compiles for other kinds"
assert known
from numba import njit

@njit
def twice(heights):
    return risen(risen(heights, 2.0), 1.0)

assert twice(np.array([3.0, 1.0])).tolist() == [6.0, 4.0], "and with other kernels"
"""


def test_a_cached_kernel_is_loaded_without_registering_what_compiling_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    monkeypatch.syspath_prepend(tmp_path)
    load_at_once()
    kernel = importlib.import_module("kernel")
    assert kernel.risen(np.array([3.0, 1.0]), 2.0).tolist() == [5.0, 3.0]
    again = [sys.executable, "-c", AGAIN.format(folder=str(tmp_path))]
    done = subprocess.run(again, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_line_imports_only_what_a_command_takes() -> None:
    look = (
        "import sys, server.cli; print({'numpy', 'numba', 'pydantic', 'rasterio'} & {*sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_only_the_models_of_what_is_asked_for_are_made() -> None:
    """To make those of all processes took 0.05 s of every start."""
    look = (
        "from processes import PROCESSES; PROCESSES['dsm'].parse({'images': [{'href': 'a.tif'}]}); "
        "print(*(PROCESSES[name].inputs.__pydantic_complete__ for name in ('dsm', 'city')))"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "True False"


def test_outlines_and_roofs_take_nothing_of_scipy() -> None:
    """To import it took .3 s of every start, a tenth of a village."""
    look = (
        "import sys, processes.outlines.attached, processes.outlines.regularise, "
        "processes.outlines.segment, processes.roofs.reconstruct; "
        "print({'scipy.linalg', 'scipy.ndimage', 'scipy.spatial'} & {*sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
