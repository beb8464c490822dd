"""What the codes of a raster mean is written as it is read."""

from __future__ import annotations

from processes.core.codes import meanings, tagged


def test_meanings_are_read_as_they_were_written() -> None:
    said = {0: "outside", 12: "filled gap"}
    assert meanings(tagged(said)) == said
    assert meanings({"OTHER": "3 things"}) == {}
