"""The containers' files, judged without an engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from server.settings import Settings
from workers.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker/Dockerfile"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker/compose.yaml").read_text()))


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    said = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True)
    assert said.stdout == ""
    assert said.returncode == 0


def test_compose_follows_the_specification(compose: dict[str, Any]) -> None:
    parsed = PyCompose.from_json(json.dumps(compose))
    assert set(parsed.service_names()) == {"api", "worker-cpu", "worker-gpu", "postgis", "redis"}


def test_every_target_volume_and_dependency_of_compose_exists(compose: dict[str, Any]) -> None:
    text = DOCKERFILE.read_text()
    for name, service in compose["services"].items():
        assert "image" in service or f" AS {service['build']['target']}\n" in text, name
        assert set(service.get("depends_on", {})) <= set(compose["services"]), name
        used = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert used <= set(compose["volumes"]), name


def test_compose_sets_only_what_the_programs_read(compose: dict[str, Any]) -> None:
    known = {
        f"OROGRAPH_{field.upper()}"
        for model in (Settings, WorkerSettings)
        for field in model.model_fields
    }
    for name in ("api", "worker-cpu", "worker-gpu"):
        assert set(compose["services"][name]["environment"]) <= known


def test_everything_the_dockerfile_copies_exists() -> None:
    for line in DOCKERFILE.read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source


def test_the_scene_that_kernels_are_compiled_with_is_sent_to_the_builder() -> None:
    bound = re.findall(r"--mount=type=bind,source=([^,]+)", DOCKERFILE.read_text())
    ignored = (ROOT / "docker/Dockerfile.dockerignore").read_text().split()
    assert bound
    for source in bound:
        assert (ROOT / source / "request.json").exists()
        assert f"!{source}" in ignored


@pytest.mark.parametrize("script", sorted((ROOT / "docker").glob("*.sh")), ids=lambda p: p.name)
def test_scripts_are_shell_that_a_plain_sh_can_read(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", script]).returncode == 0
