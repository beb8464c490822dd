"""Settings as an operator writes them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from server.cli import main
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


def test_a_worker_with_a_gpu_takes_one_job_at_a_time(monkeypatch):
    monkeypatch.setenv("OROGRAPH_DATABASE_URL", "postgresql://")
    monkeypatch.setenv("OROGRAPH_BROKER_URL", "redis://")
    monkeypatch.setenv("OROGRAPH_WORKERS", "4")
    assert WorkerSettings().at_once == 4
    monkeypatch.setenv("OROGRAPH_QUEUES", "cpu, gpu")
    assert (WorkerSettings().queues, WorkerSettings().at_once) == (("cpu", "gpu"), 1)


@pytest.mark.parametrize(
    ("name", "text"), [("QUEUES", "gqu"), ("QUEUES", "[]"), ("DEVICE", "tpu"), ("WORKERS", "0")]
)
def test_what_no_worker_knows_is_refused(monkeypatch, name, text):
    monkeypatch.setenv("OROGRAPH_DATABASE_URL", "postgresql://")
    monkeypatch.setenv("OROGRAPH_BROKER_URL", "redis://")
    monkeypatch.setenv(f"OROGRAPH_{name}", text)
    with pytest.raises(ValidationError, match=name.lower()):
        WorkerSettings()


@pytest.mark.parametrize("text", ["maps.example", "ftp://maps.example", "https://", "https://a/?b"])
def test_an_outside_url_that_is_none_is_refused(monkeypatch, capsys, text):
    monkeypatch.setenv("OROGRAPH_PUBLIC_URL", text)
    assert main(["up"]) == 2
    assert capsys.readouterr().err.startswith("orograph: OROGRAPH_PUBLIC_URL: ")
    monkeypatch.setenv("OROGRAPH_PUBLIC_URL", "https://maps.example:8443/prefix/")
    assert Settings().url == "https://maps.example:8443/prefix"


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    monkeypatch.setenv("OROGRAPH_API_KEY", "")
    monkeypatch.setenv("OROGRAPH_PORT", "")
    assert Settings().api_key is None
    assert Settings().port == 8000


def test_a_setting_that_does_not_fit_is_named_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv("OROGRAPH_PORT", "many")
    assert main(["up"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("orograph: OROGRAPH_PORT: ")
    assert said.count("\n") == 1
