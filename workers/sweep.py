"""What nobody needs any more: leftovers of crashes, and uploads nobody asked for lately."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import psycopg

from workers import jobs
from workers.withdraw import recover

EVERY_S = 3600.0
ORPHAN_S = 24 * 3600.0
STEP_S = 30 * 24 * 3600.0


def sweep(
    conn: psycopg.Connection[Any], data: Path, *, keep_uploads_s: float = 30 * 24 * 3600.0
) -> list[Path]:
    """Remove what nothing refers to and nobody will take up; returns what was removed.

    Steps share their files with the products made from them, so that only old ones cost space.
    """
    recover(conn, data / "products")
    gone = [
        path
        for path in _folders(data / "jobs")
        if path.name not in _open_jobs(conn) and _age_s(path) > EVERY_S
    ]
    old = [path for path in _folders(data / "products") if _age_s(path) > ORPHAN_S]
    known = jobs.known_products(conn, [path.name for path in old])
    gone += [path for path in old if path.name not in known]
    gone += [path for path in _folders(data / "steps") if _age_s(path) > STEP_S]
    wanted = _requests(conn)
    gone += [
        path
        for path in _folders(data / "uploads")
        if _age_s(path) > keep_uploads_s and path.name not in wanted
    ]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    for part in (data / "uploads").glob(".*.part"):
        if _age_s(part) > ORPHAN_S:
            part.unlink(missing_ok=True)
    return gone


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # another guardian was first
        return 0.0


def _open_jobs(conn: psycopg.Connection[Any]) -> set[str]:
    rows = conn.execute(
        "SELECT id::text FROM orograph.job WHERE status IN ('accepted', 'running')"
    ).fetchall()
    return {row[0] for row in rows}


def _requests(conn: psycopg.Connection[Any]) -> str:
    """Return what is asked for by jobs that have not ended, as one text."""
    rows = conn.execute(
        "SELECT request::text FROM orograph.job WHERE status IN ('accepted', 'running')"
    ).fetchall()
    return " ".join(row[0] for row in rows)
