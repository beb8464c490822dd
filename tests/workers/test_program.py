"""A product's key changes with whatever computes it, and with nothing else."""

from __future__ import annotations

from pathlib import Path

from workers.program import digest, program

LIBRARIES = {"numpy": "2.3.0"}


def test_code_data_and_libraries_count_and_compiled_files_do_not(tmp_path: Path) -> None:
    source = tmp_path / "stereo/match.py"
    source.parent.mkdir()
    source.write_text("P1 = 10")
    before = digest([tmp_path], LIBRARIES)
    (tmp_path / "stereo/__pycache__").mkdir()
    (tmp_path / "stereo/__pycache__/match.nbi").write_bytes(b"machine code")
    (tmp_path / "viewer").mkdir()
    (tmp_path / "viewer/page.html").write_text("shows it")
    assert digest([tmp_path], LIBRARIES) == before
    assert digest([tmp_path], {"numpy": "2.4.0"}) != before
    source.write_text("P1 = 11")
    assert digest([tmp_path], LIBRARIES) != before


def test_ours_is_found_and_stays() -> None:
    assert len(program()) == 64
    assert program() == program.__wrapped__()
