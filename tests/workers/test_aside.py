"""Values put aside on disk come back as they were, and leave nothing behind."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from processes.core.building import BuildingModel, Face, Solid
from workers.aside import Aside
from workers.reader import Reader
from workers.workspace import LocalWorkspace


def models(count):
    """Yield models that are nowhere all at once."""
    for number in range(count):
        vertices = np.arange(9.0).reshape(3, 3) + number
        solid = Solid(vertices, (Face(((0, 1, 2),), "RoofSurface"),))
        yield BuildingModel(f"b{number}", (solid,), "1.2", {"floors": number, "name": None})


@pytest.fixture
def work(tmp_path):
    return LocalWorkspace(tmp_path / "out", Reader(tmp_path / "cache"))


def test_models_come_back_whole_in_any_order(work):
    found = work.put_aside(models(30))
    assert len(found) == 30
    assert [found[n].id for n in (29, 3, -1, 3)] == ["b29", "b3", "b29", "b3"]
    assert [model.attributes["floors"] for model in found] == list(range(30))
    assert [model.id for model in found[28:40]] == ["b28", "b29"]
    assert found[7].solids[0].faces == (Face(((0, 1, 2),), "RoofSurface"),)
    np.testing.assert_array_equal(found[7].solids[0].vertices, np.arange(9.0).reshape(3, 3) + 7)
    with pytest.raises(IndexError):
        found[30]


def test_what_is_aside_is_no_file_of_the_job(work):
    found = work.put_aside(models(3))
    assert list(work.folder.iterdir()) == []
    assert list(work.put_aside(iter(()))) == []
    del found
    gc.collect()  # an open file would be a warning, which is an error here


def test_values_are_taken_one_by_one(tmp_path):
    """The second is asked for when the first is on disk: a fault keeps none waiting."""
    alive = []

    def values():
        for number in range(3):
            alive.append(number)
            yield number
        raise RuntimeError("the job was dismissed")

    with pytest.raises(RuntimeError, match="dismissed"):
        Aside(values(), tmp_path)
    assert alive == [0, 1, 2]
