"""Echo gives back what it gets, waits as long as it is told, and stops when it is dismissed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from processes.core.errors import Cancelled, InvalidInput
from processes.echo import ECHO
from server.dialect import oas30
from workers.reader import Reader
from workers.results import results
from workers.workspace import LocalWorkspace


def work(folder: Path, **how: Any) -> LocalWorkspace:
    return LocalWorkspace(folder, Reader(cache=folder / "cache"), **how)


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"message": "grüezi"},
        {"numbers": [3, -1, 2**40]},
        {"choice": "a text"},
        {"choice": {"text": "a text", "times": 3}},
        {"box": {"bbox": [1.0, 2.0, 3.0, 4.0], "crs": "urn:ogc:def:crs:EPSG:6.6:4326"}},
        {"image": "SUkqAA=="},
        {"image": {"href": "https://tiles.example/a.tif", "type": "image/tiff"}},
    ],
)
def test_what_is_sent_comes_back(tmp_path: Path, inputs: dict[str, Any]) -> None:
    outputs = ECHO.run(ECHO.parse(inputs), work(tmp_path))
    assert results(outputs, tmp_path) == inputs


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("message", 3),
        ("numbers", ["one"]),
        ("numbers", 3),
        ("choice", {"words": "x"}),
        ("box", {"bbox": [1, 2, 3]}),
        ("image", {"type": "wrong/type"}),
        ("pause", 601),
        ("shout", "x"),
    ],
)
def test_a_bad_input_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=name):
        ECHO.parse({name: value})


def test_it_waits_and_says_so(tmp_path: Path) -> None:
    said: list[float] = []
    start = time.monotonic()
    ECHO.run(
        ECHO.parse({"pause": 1}), work(tmp_path, on_progress=lambda part, _: said.append(part))
    )
    assert 0.95 < time.monotonic() - start < 30
    assert said == sorted(said)
    assert len(said) > 5


def test_it_stops_when_it_is_dismissed(tmp_path: Path) -> None:
    def dismissed(part: float, message: str) -> None:
        raise Cancelled("dismissed")

    with pytest.raises(Cancelled):
        ECHO.run(ECHO.parse({"pause": 600}), work(tmp_path, on_progress=dismissed))


def test_its_description_is_what_the_official_tests_look_for() -> None:
    described = ECHO.describe()
    schemas = {name: oas30(entry["schema"]) for name, entry in described["inputs"].items()}
    assert next(iter(schemas.items())) == ("message", {"type": "string"})
    assert schemas["numbers"]["items"] == {"type": "integer"}
    assert [option["type"] for option in schemas["choice"]["oneOf"]] == ["string", "object"]
    assert list(schemas).index("choice") < list(schemas).index("box")
    assert set(described["outputs"]) == set(described["inputs"]) - {"pause"}
