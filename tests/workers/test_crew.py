"""Pieces of work on several cores: all of them done, in order, and no fork left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import cv2
import numpy as np
import psutil
import pytest

from workers import crew
from workers.crew import HelperLost, on_cores
from workers.family import living


@pytest.fixture(autouse=True)
def three_cores(monkeypatch):
    """Three cores, whatever this machine has; whoever forks sees all of its forks end."""
    monkeypatch.setattr(crew, "CORES", 3)
    before = set(psutil.Process().children())
    yield
    assert set(psutil.Process().children()) <= before


def slowly(number):
    """Return a number and who saw it, late enough for others to take their share."""
    time.sleep(0.01)
    return number, os.getpid()


def in_a_fork(number, then):
    """Return a number; in a fork, do *then* first."""
    if os.getpid() != MAIN:
        then()
    time.sleep(0.01)
    return number


MAIN = os.getpid()


def test_all_pieces_are_done_in_order_and_by_several_processes():
    made = on_cores(slowly, range(60))
    assert [number for number, _ in made] == list(range(60))
    assert len({pid for _, pid in made}) == 3


def test_more_pieces_than_a_queue_holds_are_done_too():
    assert on_cores(lambda k: k + 1, range(50_001)) == list(range(1, 50_002))


@pytest.mark.parametrize("count", [0, 1, 9])
def test_few_pieces_are_done_without_a_fork(count):
    made = on_cores(slowly, range(count))
    assert [number for number, _ in made] == list(range(count))
    assert {pid for _, pid in made} <= {os.getpid()}


def test_much_comes_back_from_a_fork():
    made = on_cores(lambda k: np.full(100_000, k), range(30))
    assert all((values == k).all() for k, values in enumerate(made))


def test_what_a_fork_raises_is_raised_with_its_trace():
    def fail():
        raise ValueError("no such roof")

    with pytest.raises(ValueError, match="no such roof") as caught:
        on_cores(lambda k: in_a_fork(k, fail), range(60))
    assert "in fail" in caught.value.__notes__[0]


def test_what_is_raised_here_ends_the_forks():
    def work(number):
        if os.getpid() == MAIN:
            raise KeyboardInterrupt
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        on_cores(work, range(60))


def test_a_fork_that_the_system_killed_ran_out_of_memory():
    with pytest.raises(MemoryError):
        on_cores(lambda k: in_a_fork(k, lambda: os.kill(os.getpid(), signal.SIGKILL)), range(60))


def test_a_fork_that_ends_without_a_word_is_a_fault():
    with pytest.raises(HelperLost):
        on_cores(lambda k: in_a_fork(k, lambda: os._exit(3)), range(60))


def test_what_cannot_come_back_is_a_fault():
    with pytest.raises(AttributeError, match="Can't pickle"):
        on_cores(lambda k: (slowly(k), lambda: k), range(60))


def test_libraries_that_have_used_their_threads_work_in_forks():
    image = np.random.default_rng(0).random((2000, 2000), np.float32)
    matrix = image[:600, :600]

    def work(_):
        return float(cv2.GaussianBlur(image, (0, 0), 2.0).sum() + (matrix @ matrix).sum())

    here = work(0)
    assert on_cores(work, range(24)) == [here] * 24


def test_forks_end_with_a_parent_that_is_killed(tmp_path):
    told = tmp_path / "pids"
    program = textwrap.dedent("""
        import os, sys, time
        from workers import crew
        crew.CORES = 3
        def work(number):
            with open(sys.argv[1], "a") as out:
                print(os.getpid(), file=out)
            time.sleep(600)
        crew.on_cores(work, range(60))
    """)
    parent = subprocess.Popen([sys.executable, "-c", program, str(told)])
    try:
        last = time.monotonic() + 60
        while not told.exists() or len(told.read_text().split()) < 3:
            assert time.monotonic() < last
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    forks = {int(pid) for pid in told.read_text().split()} - {parent.pid}
    assert len(forks) == 2
    last = time.monotonic() + 10
    while any(living(pid) for pid in forks):
        assert time.monotonic() < last
        time.sleep(0.05)
