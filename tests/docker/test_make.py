"""What a bare clone relies on: targets, scripts and pinned versions."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# triton only runs tests here; a CUDA build of torch must be free to bring its own
UNPINNED = {"orograph", "pip", "setuptools", "wheel", "triton"}


@pytest.mark.parametrize("target", ["env", "test", "check", "demo", "up", "bench", "clean", "help"])
def test_make_knows_its_targets(target: str) -> None:
    said = subprocess.run(
        ["make", "--no-print-directory", "-n", target], cwd=ROOT, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr


def test_ci_runs_exactly_make_test() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "exec make test"


def test_the_demo_ends_by_itself_where_asked() -> None:
    command = ["make", "--no-print-directory", "-n", "demo", "DEMO_EXIT=1"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said.stdout.splitlines()[-1].endswith("orograph demo --exit")


def test_every_installed_package_is_pinned_at_its_version() -> None:
    """Else a clone made tomorrow gets other versions than those that were tested."""
    pinned = _pinned()
    installed = {_plain(d.metadata["Name"]): d.version.split("+")[0] for d in distributions()}
    loose = {name: v for name, v in installed.items() if pinned.get(name) != v}
    assert loose.keys() - UNPINNED == set()


def test_what_only_debians_python_needs_is_pinned_too() -> None:
    """Debian 12 has Python 3.11.2; some packages fill gaps that 3.11.3 closed."""
    debians = {"python_full_version": "3.11.2", "extra": ""}
    needed = (Requirement(r) for d in distributions() for r in d.requires or ())
    names = {_plain(r.name) for r in needed if r.marker is None or r.marker.evaluate(debians)}
    assert names - set(_pinned()) - UNPINNED == set()


def test_packages_that_are_there_are_not_installed_again() -> None:
    script = ROOT / "docker/system-packages.sh"
    said = subprocess.run([script, "services"], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "")


def test_an_unknown_group_of_packages_is_refused() -> None:
    script = ROOT / "docker/system-packages.sh"
    said = subprocess.run([script, "everything"], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (2, f"{script}: no group everything\n")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {_plain(name): version for name, version in pins}
