"""`orograph run` has no network of its own either; see test_worker.py and test_blocks.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from workers.offline import OFFLINE


def test_the_command_line_follows_no_address_within_a_file(
    snare: Callable[[Path], Path], tmp_path: Path
) -> None:
    own = {"href": str(snare(tmp_path / "given"))}
    request = tmp_path / "request.json"
    inputs = {"product": own, "reference": own, "kind": "footprints"}
    request.write_text(json.dumps({"inputs": inputs}))
    command = [sys.executable, "-m", "server.cli", "run", "qualify", str(request)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")],
        env={name: value for name, value in os.environ.items() if name not in OFFLINE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
