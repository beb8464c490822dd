"""A process and those below it: which of them run, and their end."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import time

import psutil

END_S = 5.0
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def living(parent: int) -> list[int]:
    """Return the processes below and including *parent* that run."""
    try:
        family = [process := psutil.Process(parent), *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    return [member.pid for member in family if _runs(member.pid)]


def end(parent: subprocess.Popen[bytes]) -> None:
    """Kill a process and wait for those below it, which die with it."""
    family = living(parent.pid)
    parent.kill()
    parent.wait()
    last = time.monotonic() + END_S
    while any(map(_runs, family)) and time.monotonic() < last:
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    """Say whether a process computes still; one that ended may long be listed, as in a container
    whose first process is slow to take note."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
