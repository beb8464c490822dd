"""Withdrawing a product: its item, footprints, files and results go together, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psycopg

from catalog.footprint_table import delete_footprints
from catalog.store import delete_item
from workers import jobs

Conn = psycopg.Connection[Any]


def withdraw(conn: Conn, products: Path, key: str) -> bool:
    """Forget the product *key* in *products*; False where there is none.

    Its files get another name, `.KEY`, before the transaction ends, and their own again should it
    fail; `recover` does so after a crash.
    """
    folder, aside = _places(products, key)
    with conn.transaction():
        jobs.hold_product(conn, key)
        _recover(conn, products, key)
    try:
        with conn.transaction():
            jobs.hold_product(conn, key)
            collections = conn.execute(
                "SELECT collection FROM pgstac.items WHERE id = %s", [key]
            ).fetchall()
            for (collection,) in collections:
                delete_item(conn, key, collection)
            delete_footprints(conn, key)
            forgotten = jobs.forget_product(conn, key)
            if folder.is_dir():
                folder.rename(aside)
        return bool(collections or forgotten or aside.is_dir())
    except BaseException:
        if aside.is_dir():
            aside.rename(folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def recover(conn: Conn, products: Path) -> None:
    """End what a crash cut short: a product that is still known gets its files back."""
    for aside in products.glob(".*"):
        key = aside.name[1:]
        with conn.transaction():
            jobs.hold_product(conn, key)
            _recover(conn, products, key)


def _recover(conn: Conn, products: Path, key: str) -> None:
    folder, aside = _places(products, key)
    if not aside.is_dir():
        return
    if key in jobs.known_products(conn, [key]) and not folder.exists():
        aside.rename(folder)
    else:
        shutil.rmtree(aside, ignore_errors=True)


def _places(products: Path, key: str) -> tuple[Path, Path]:
    return products / key, products / f".{key}"
