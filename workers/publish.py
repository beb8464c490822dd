"""Publishing: a job's folder becomes a product, and its row, item and footprints appear at once.

Files come first: the folder is complete before it gets its name, by one rename. Then one
transaction says that the job is done, that the item is in the catalogue and the footprints in
PostGIS. A crash in between leaves a folder that nobody knows, which the next attempt takes up,
since equal inputs have an equal key.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from processes.core.process import Inputs, Process
from workers import jobs
from workers.thumbnail import thumbnail

RESULTS = "results.json"
THUMBNAIL = "thumbnail.png"
COLLECTION = "orograph"


def has_files(values: Mapping[str, Any]) -> bool:
    """Say whether any result is a file: others are in the row and need no product."""
    return any(isinstance(value, dict) and "href" in value for value in values.values())


def is_kept(product: Path) -> bool:
    """Say whether a product is there, whole."""
    return (product / RESULTS).is_file()


def keep(folder: Path, values: Mapping[str, Any], product: Path) -> None:
    """Make *folder*, with its results, the product; the first of equal ones stays."""
    for name in ("ortho", "dsm", "dtm"):
        href = values.get(name, {}).get("href") if isinstance(values.get(name), dict) else None
        if href:
            thumbnail(folder / href, folder / THUMBNAIL)
            break
    (folder / RESULTS).write_text(json.dumps(values, indent=2) + "\n")
    product.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(product)
    except OSError:
        if not is_kept(product):
            raise
        shutil.rmtree(folder)


def publish(
    conn: psycopg.Connection[Any],
    job: jobs.Job,
    process: Process[Any, Any],
    inputs: Inputs,
    product: Path,
) -> None:
    """Finish the job and show its product, in one transaction. Raises FenceLost."""
    values = json.loads((product / RESULTS).read_text())
    key = product.name
    with conn.transaction():
        jobs.finish(conn, job.id, job.fence, key, values)
