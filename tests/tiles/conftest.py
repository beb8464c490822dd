"""The outside judge of GLB files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).parent.parent / "node"


@pytest.fixture(scope="session")
def khronos():
    """Return a function: GLB paths → errors and warnings of the Khronos validator, by file."""

    def judge(paths):
        command = ["node", str(NODE / "gltf_report.mjs"), *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stderr}\nrun `make env`: it installs the validator"
        reports = json.loads(done.stdout)
        assert len(reports) == len(paths)
        return {
            Path(report["uri"]).name: [
                f"{m['code']} {m['pointer']}: {m['message']}"
                for m in report["issues"]["messages"]
                if m["severity"] < 2
            ]
            for report in reports
        }

    return judge


@pytest.fixture(scope="session")
def cesium_tools():
    """Return a function: a tileset's path → its tiles as Cesium's 3D Tiles tools read them."""

    def read(path):
        command = ["node", str(NODE / "tileset_report.mjs"), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stderr}\nrun `make env`: it installs the tools"
        return json.loads(done.stdout)

    return read
