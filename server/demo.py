"""`make demo`: the stack, one `city` job over HTTP on the bundled scene, figures and the map."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from processes.core.errors import InvalidInput, NothingToCompare
from processes.core.process import Asset
from processes.qualify import QUALIFY, Kind, QualifyInputs
from server.auth import HEADER
from server.local import ended_by_signals, stack, wait
from server.sender import Sender
from server.settings import Settings
from server.submit import followed
from server.terminal import DONE, FAILED
from workers.reader import Reader
from workers.workspace import LocalWorkspace

SCENE = Path(__file__).parents[1] / "tests/data/scenes/village"
COVERAGE = SCENE / "truth/coverage.geojson"
UNSEEN, WATER = 32, 8
"""Bits of the truth's mask: ground that not every image saw, and water, which has no texture."""
SHOWN: dict[Kind, tuple[str, ...]] = {
    "dsm": ("completeness_1m", "nmad_m", "rmse_m", "le90_m", "bias_m"),
    "dtm": ("completeness_1m", "nmad_m", "rmse_m", "le90_m", "bias_m"),
    "footprints": ("f1", "precision", "recall", "mean_iou", "mean_polis_m"),
    "buildings": ("median_error_m", "rmse_m", "bias_m", "within_1m", "compared"),
}


@dataclass(frozen=True)
class Map:
    """A finished `city` job: its outputs as the server gave them, and its item's address."""

    outputs: Mapping[str, Any]
    item: str


def demo(settings: Settings, *, leave: bool = False) -> int:
    """Show everything once, then serve until Ctrl-C or *leave*; returns the exit code."""
    if not (SCENE / "stereo.json").is_file():
        raise InvalidInput("the demo's scene is in the repository: run `make demo` in a clone")
    try:
        with ended_by_signals(), stack(settings) as running:
            settings = running.settings
            print(f"Orograph is at {settings.url}/", flush=True)
            made = order(settings)
            if made is None:
                return FAILED
            print_products(made)
            print_accuracy(made, settings)
            collection, key = made.item.rsplit("/", 4)[2::2]
            print(f"\nMap: {settings.url}/viewer/#{collection}/{key}", flush=True)
            if not leave:
                print("Ctrl-C ends it.", flush=True)
                wait(running)
            return DONE
    except KeyboardInterrupt:
        print("Orograph has stopped.")
        return DONE


def order(settings: Settings, **more: Any) -> Map | None:
    """Send the scene and the request as any client would, and follow the job to its end.

    *more* are further inputs of process `city`.
    """
    headers = {"Accept": "application/json", "Prefer": "respond-async"}
    if settings.api_key:
        headers[HEADER] = settings.api_key
    with (
        httpx.Client(headers=headers, timeout=60.0, trust_env=False) as client,
        tempfile.TemporaryDirectory(prefix="orograph-demo-") as cache,
    ):
        here = f"http://{settings.host}:{settings.port}"
        reader = Reader(cache=Path(cache), files=True)
        sender = Sender(client, here, reader, str(SCENE / "request.json"))
        inputs = sender.sent({"images": [{"href": "stereo.json"}], "point_cloud": True} | more)
        answer = client.post(f"{here}/processes/city/execution", json={"inputs": inputs})
        answer.raise_for_status()
        place = answer.headers["location"]
        print(f"job {place}", flush=True)
        start = time.monotonic()
        job = followed(client, place)
        if job["status"] != "successful":
            print(f"The job is {job['status']}: {job.get('message', '')}")
            return None
        print(f"done in {time.monotonic() - start:.0f} s")
        item = next(link["href"] for link in job["links"] if link["rel"] == "item")
        return Map(client.get(f"{place}/results").raise_for_status().json(), item)


def print_products(made: Map) -> None:
    """Say where each product is."""
    print("\nProducts")
    for name, value in made.outputs.items():
        print(f"  {name:12} {value['href'] if isinstance(value, dict) else value}")
    print(f"  {'STAC item':12} {made.item}")


def print_accuracy(made: Map, settings: Settings) -> None:
    """Compare the products with the scene's exact truth, by process `qualify`."""
    print("\nAccuracy against the exact truth, where the images see it")
    with tempfile.TemporaryDirectory(prefix="orograph-truth-") as scratch:
        folder = Path(scratch)
        own = {f"{settings.url}/products": settings.data.resolve() / "products"}
        work = LocalWorkspace(folder / "work", Reader(cache=folder, files=True, own=own))
        for kind, reference in truth(folder).items():
            product = made.outputs["footprints" if kind == "buildings" else kind]
            area = Asset(href=str(COVERAGE)) if kind == "footprints" else None
            inputs = QualifyInputs(
                product=Asset(**product), reference=Asset(href=str(reference)), kind=kind, area=area
            )
            try:
                report = json.loads(work.read_text(work.step(QUALIFY, inputs).report))
            except NothingToCompare as nothing:
                print(f"  {kind:12} {nothing}")
                continue
            figures = report["figures"].get("as_is", report["figures"])
            cells = [f"{name.removesuffix('_m')} {figures[name]:.3g}" for name in SHOWN[kind]]
            print(f"  {kind:12} " + "  ".join(f"{cell:22}" for cell in cells).rstrip())


def truth(folder: Path) -> dict[Kind, Path]:
    """Return the scene's truth, heights without the unseen."""
    import numpy as np
    import rasterio

    def read(name: str) -> Any:
        with rasterio.open(SCENE / f"truth/{name}.tif") as file:
            return file.read(1), file.profile

    counted = (read("mask")[0] & (UNSEEN | WATER)) == 0
    (dsm, profile), (dtm, _) = read("dsm"), read("dtm")
    paths = {}
    for name, heights in {"dsm": dsm, "dtm": dtm, "ndsm": dsm - dtm}.items():
        paths[name] = folder / f"true_{name}.tif"
        with rasterio.open(paths[name], "w", **(profile | {"nodata": np.nan})) as file:
            file.write(np.where(counted, heights, np.nan).astype(profile["dtype"]), 1)
    return {
        "dsm": paths["dsm"],
        "dtm": paths["dtm"],
        "footprints": SCENE / "truth/footprints.gpkg",
        "buildings": paths["ndsm"],
    }
