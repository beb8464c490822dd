"""How a process describes itself."""

from __future__ import annotations

import pytest

from processes import PROCESSES
from processes.core.process import title_of


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("largest_object_m", "Largest object (m)"),
        ("min_area_m2", "Least area (m²)"),
        ("aoi", "Area of interest"),
        ("ortho_mask", "Ortho mask"),
        ("m", "M"),
    ],
)
def test_names_become_titles(name: str, title: str) -> None:
    assert title_of(name) == title


@pytest.mark.parametrize("process", PROCESSES.values(), ids=lambda process: process.id)
def test_everything_has_a_title_and_a_description(process) -> None:  # type: ignore[no-untyped-def]
    whole = process.describe()
    for entry in (*whole["inputs"].values(), *whole["outputs"].values()):
        assert entry["title"]
        assert "_" not in entry["title"]
        assert entry["description"] or process.id == "echo"
