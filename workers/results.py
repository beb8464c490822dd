"""Results of a process: what of its folder is kept, told by output id, and found again.

A step that was done before is taken from the folder that keeps steps, by hard links.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from processes.core.process import Asset, Outputs, Process

TREE = "tileset.json"


def finished(outputs: Outputs, folder: Path) -> dict[str, Any]:
    """Return the results, and remove from *folder* what is none of them: intermediate files."""
    values = results(outputs, folder)
    wanted = [folder / value["href"] for value in values.values() if _is_file(value)]
    # the tiles of a tileset lie beside and below it
    _keep_only({path.parent if path.name == TREE else path for path in wanted}, folder)
    return values


def _keep_only(wanted: set[Path], folder: Path) -> None:
    """Remove what is below *folder* and neither among *wanted* nor below one of them."""
    for path in folder.iterdir():
        if path in wanted:
            continue
        if path.is_dir() and not path.is_symlink():
            _keep_only(wanted, path)
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink()


def _is_file(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("href"), str)


def results(outputs: Outputs, folder: Path) -> dict[str, Any]:
    """Return output id → value or {"href", "type"} with hrefs relative to *folder*."""

    def relative(value: Any) -> Any:
        if isinstance(value, Asset):
            return {
                "href": str(Path(value.href).relative_to(folder)),
                "type": value.type or "application/octet-stream",
            }
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json", exclude_none=True)
        return value

    values = {name: relative(getattr(outputs, name)) for name in type(outputs).model_fields}
    return {name: value for name, value in values.items() if value is not None}


def restored(steps: Path | None, key: str, process: Process[Any, Any], folder: Path) -> Any:
    """Bring the files of an earlier equal step into *folder* by hard links, or return None."""
    kept = steps / key if steps else None
    if kept is None or not (kept / "outputs.json").is_file():
        return None
    shutil.copytree(kept, folder, copy_function=os.link, dirs_exist_ok=True)
    described: Mapping[str, Any] = json.loads((folder / "outputs.json").read_text())
    (folder / "outputs.json").unlink()

    def absolute(value: Any) -> Any:
        if isinstance(value, dict) and "href" in value:
            return value | {"href": str(folder / value["href"])}
        return value

    return process.outputs.model_validate({k: absolute(v) for k, v in described.items()})


def keep(steps: Path | None, key: str, outputs: Outputs, folder: Path) -> None:
    """Keep the files of a step for a later equal one; whoever is first wins."""
    if steps is None or (steps / key).exists():
        return
    part = steps / f"{key}.{os.getpid()}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(folder, part, copy_function=os.link)
    (part / "outputs.json").write_text(json.dumps(results(outputs, folder)))
    try:
        part.rename(steps / key)
    except OSError:  # another worker was first with the same step
        shutil.rmtree(part)
