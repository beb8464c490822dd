"""Settings as an operator writes them."""

from __future__ import annotations

import pytest

from server.settings import Settings
from workers.settings import WorkerSettings


@pytest.mark.parametrize(
    "text", ["a.example,b.example", " a.example , b.example,", '["a.example", "b.example"]']
)
def test_hosts_are_written_with_commas_or_as_json(monkeypatch, text):
    monkeypatch.setenv("OROGRAPH_ALLOWED_HOSTS", text)
    assert Settings().allowed_hosts == ("a.example", "b.example")
    worker = WorkerSettings(database_url="postgresql://", broker_url="redis://")
    assert worker.allowed_hosts == ("a.example", "b.example")


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    monkeypatch.setenv("OROGRAPH_API_KEY", "")
    monkeypatch.setenv("OROGRAPH_PORT", "")
    assert Settings().api_key is None
    assert Settings().port == 8000
