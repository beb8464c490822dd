"""What a command costs with everything it starts: wall and CPU seconds, memory.

A plain `time` misses fork-server workers and whatever else outlives the process that started it.
This program makes itself their reaper (Linux, prctl(2)): in the end the kernel hands it each of
them, with the CPU time of all that each has waited for.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_S, GRACE_S = 0.2, 20.0
"""Between two looks at memory; until what is left behind is ended."""


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    wall_s: float
    cpu_s: float
    """User and system time of the command and all its descendants."""
    peak_mib: float
    """Largest sum over the processes alive, shared pages counted once (PSS), sampled."""
    exit_code: int


def measured(command: Sequence[str], log: Path, cores: Sequence[int]) -> Cost:
    """Run a command to its end on the given cores; what it says goes to *log*."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    start, wall_s, cpu_s, peak, code = time.perf_counter(), 0.0, 0.0, 0, -1
    others = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # inherited by the command
    with log.open("wb") as said:
        running = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    os.sched_setaffinity(0, others)
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return Cost(wall_s, cpu_s, peak / 2**20, code)
        if pid:
            cpu_s += usage.ru_utime + usage.ru_stime
            if pid == running.pid:
                wall_s = time.perf_counter() - start
                code = running.returncode = os.waitstatus_to_exitcode(status)
            continue
        memory = 0
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
                memory += process.memory_full_info().pss
                if wall_s and time.perf_counter() - start > wall_s + GRACE_S:
                    process.kill()
        peak = max(peak, memory)
        time.sleep(SAMPLE_S)
