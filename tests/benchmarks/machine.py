"""What was measured on: the date and the processor, as the tables say it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path


def measured_on() -> str:
    """Return date, processor and the number of cores this process may use."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0))
    date = datetime.now(UTC).strftime("%d %B %Y")
    return f"{date}, {next(models, 'unknown processor')}, {cores} cores"
