"""Serving, side by side with stock titiler and stock pygeoapi: milliseconds a request.

    python tests/benchmarks/serving.py [REQUESTS]

Each server is one uvicorn process; requests go to them in turns, one at a time. Tiles are of one
COG, each asked for once, so that nothing is found in a cache; both get the same stretch. A job is
ordered with `respond-async` and asked for once: our `echo` on the whole stack, with a worker that
runs it meanwhile, and pygeoapi's `hello-world` with its own manager (TinyDB), which runs it in a
thread. What each is durable against differs: ours is in PostgreSQL before the answer leaves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import httpx
import morecantile
import numpy as np
import psutil
import rasterio
from affine import Affine
from machine import measured_on
from rasterio.warp import transform_bounds

from processes.core.raster import Grid, Raster
from server.private import free_port
from workers.reader import Reader
from workers.workspace import LocalWorkspace

KEY, SIDE_PX, ZOOM = "bench", 4096, 18
OURS = """
from fastapi import FastAPI
from pathlib import Path
from tiles.raster import router
app = FastAPI()
app.include_router(router(Path(FOLDER)))
"""
TITILER = """
from fastapi import FastAPI
from titiler.core.factory import TilerFactory
app = FastAPI()
app.include_router(TilerFactory().router)
"""
SERVE = "\nimport uvicorn; uvicorn.run(app, port=PORT, log_level='warning')"
PYGEOAPI = """
server:
  bind: {{host: 127.0.0.1, port: {port}}}
  url: http://127.0.0.1:{port}
  mimetype: application/json; charset=UTF-8
  encoding: utf-8
  languages: [en-US]
  limits: {{default_items: 10, max_items: 10}}
  map: {{url: "https://tile.example/{{z}}/{{x}}/{{y}}.png", attribution: none}}
  manager: {{name: TinyDB, connection: {folder}/jobs.db, output_dir: {folder}}}
logging: {{level: ERROR}}
metadata:
  identification: {{title: a, description: b, keywords: [c], keywords_type: theme,
                   terms_of_service: d, url: "https://e.example"}}
  license: {{name: f, url: "https://e.example"}}
  provider: {{name: g, url: "https://e.example"}}
  contact: {{name: h}}
resources:
  hello-world: {{type: process, processor: {{name: HelloWorld}}}}
"""
Times = dict[str, list[float]]


def main(count: int) -> None:
    print(f"Measured on {measured_on()}, {count} requests each; milliseconds, median | 95 %")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shown("tile, PNG", *tiles(folder, "png", count))
        shown("tile, WebP", *tiles(folder, "webp", count))
        for what, times in jobs(folder, count).items():
            shown(what, times)


def tiles(folder: Path, form: str, count: int) -> tuple[Times, dict[str, float]]:
    """Return the times of tiles, and the processor's seconds each server took for one."""
    path = cog(folder)
    with ExitStack() as kept, httpx.Client(timeout=60) as client:
        ours = kept.enter_context(serving(OURS.replace("FOLDER", repr(str(folder)))))
        peer = kept.enter_context(serving(TITILER))
        addresses = {
            "Orograph": f"{ours[0]}/raster/{KEY}/dsm/tiles/WebMercatorQuad/",
            "titiler": f"{peer[0]}/tiles/WebMercatorQuad/",
        }
        query = f"rescale=90,130&resampling=bilinear&reproject=bilinear&url={path}"
        at = [f"{x.z}/{x.x}/{x.y}.{form}?{query}" for x in places(path)]
        asked = {name: [address + tile for tile in at] for name, address in addresses.items()}
        in_turns(client, {name: urls[:5] for name, urls in asked.items()})
        before = [seconds(process) for _, process in (ours, peer)]
        measured = {name: urls[5 : count + 5] for name, urls in asked.items()}
        times = in_turns(client, measured)
        after = [seconds(process) for _, process in (ours, peer)]
        spent = zip(times, before, after, strict=True)
        return times, {name: 1000 * (b - a) / count for name, a, b in spent}


def jobs(folder: Path, count: int) -> dict[str, Times]:
    """Return the times of ordering a job, and of asking for one."""
    with ExitStack() as kept, httpx.Client(timeout=60) as client:
        orders = {
            "Orograph": (kept.enter_context(orograph(folder / "data")), "echo", "message"),
            "pygeoapi": (kept.enter_context(pygeoapi(folder)), "hello-world", "name"),
        }
        made: dict[str, list[str]] = {name: [] for name in orders}

        def order(name: str) -> None:
            url, process, text = orders[name]
            answer = client.post(
                f"{url}/processes/{process}/execution",
                json={"inputs": {text: "hello"}},
                headers={"Prefer": "respond-async"},
            )
            made[name].append(answer.raise_for_status().headers["location"])

        ordered = turns(order, orders, count)
        place = {name: iter(places) for name, places in made.items()}
        asked = turns(lambda name: got(client, next(place[name])), orders, count)
        return {"job, ordered": ordered, "job, asked for": asked}


def turns(ask: Callable[[str], None], names: Iterable[str], count: int) -> Times:
    times: Times = {name: [] for name in names}
    for _ in range(count):
        for name, found in times.items():
            start = time.perf_counter()
            ask(name)
            found.append(1000 * (time.perf_counter() - start))
    return times


def in_turns(client: httpx.Client, urls: dict[str, list[str]]) -> Times:
    waiting = {name: iter(addresses) for name, addresses in urls.items()}
    count = min(map(len, urls.values()))
    return turns(lambda name: got(client, next(waiting[name])), urls, count)


def got(client: httpx.Client, url: str) -> None:
    client.get(url, headers={"Accept": "application/json, image/*"}).raise_for_status()


def seconds(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def shown(what: str, times: Times, cpu_ms: dict[str, float] | None = None) -> None:
    for name, found in times.items():
        middle, slow = np.percentile(found, [50, 95])
        cpu = f", {cpu_ms[name]:5.1f} of the processor" if cpu_ms else ""
        print(f"  {what:15} {name:9} {middle:6.1f} | {slow:6.1f}{cpu}", flush=True)


def cog(folder: Path) -> Path:
    """Return a surface model of 2 km by 2 km, as a product of this server."""
    path = folder / KEY / "dsm.tif"
    if not path.exists():
        grid = Grid("EPSG:32631", Affine(0.5, 0, 430_000, 0, -0.5, 5_290_000), SIDE_PX, SIDE_PX)
        rows, cols = np.indices(grid.shape, np.float32)
        noise = np.random.default_rng(1).normal(0, 0.2, grid.shape)
        heights = (110 + 9 * np.sin(rows / 300) * np.cos(cols / 200) + noise).astype(np.float32)
        path.parent.mkdir()
        work = LocalWorkspace(path.parent, Reader(folder))
        asset = work.write_raster("dsm", Raster(heights, grid))
        results = {"dsm": {"href": path.name, "type": asset.type}}
        (path.parent / "results.json").write_text(json.dumps(results))
    return path


def places(path: Path) -> list[morecantile.Tile]:
    """Return tiles that are full, in an order that is nobody's."""
    with rasterio.open(path) as file:
        west, south, east, north = transform_bounds(file.crs, "OGC:CRS84", *file.bounds)
    found = list(morecantile.tms.get("WebMercatorQuad").tiles(west, south, east, north, ZOOM))
    cols, rows = {tile.x for tile in found}, {tile.y for tile in found}
    inner = product(sorted(cols)[2:-2], sorted(rows)[2:-2])
    full = [morecantile.Tile(x, y, ZOOM) for x, y in inner]
    return [full[number] for number in np.random.default_rng(2).permutation(len(full))]


@contextmanager
def serving(program: str) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    command = [sys.executable, "-c", program + SERVE.replace("PORT", str(port))]
    with until_up(command, f"http://127.0.0.1:{port}", "/openapi.json") as found:
        yield found


@contextmanager
def orograph(data: Path) -> Iterator[str]:
    port = free_port()
    own = {"OROGRAPH_DATA": str(data), "OROGRAPH_PORT": str(port)}
    command = [sys.executable, "-m", "server.cli", "up"]
    with until_up(command, f"http://127.0.0.1:{port}", "/conformance", **own) as (url, _):
        yield url


@contextmanager
def pygeoapi(folder: Path) -> Iterator[str]:
    port = free_port()
    config, document = folder / "pygeoapi.yml", folder / "openapi.yml"
    config.write_text(PYGEOAPI.format(port=port, folder=folder))
    own = {"PYGEOAPI_CONFIG": str(config), "PYGEOAPI_OPENAPI": str(document)}
    generate = [str(Path(sys.executable).parent / "pygeoapi"), "openapi", "generate", str(config)]
    text = subprocess.run(generate, env=os.environ | own, check=True, stdout=subprocess.PIPE).stdout
    document.write_bytes(text)
    command = [sys.executable, "-m", "uvicorn", "pygeoapi.starlette_app:APP"]
    command += ["--port", str(port), "--log-level", "warning"]
    with until_up(command, f"http://127.0.0.1:{port}", "/conformance", **own) as (url, _):
        yield url


@contextmanager
def until_up(
    command: list[str], url: str, path: str, **own: str
) -> Iterator[tuple[str, psutil.Process]]:
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=os.environ | own, **silent) as process:
        try:
            while True:
                try:
                    httpx.get(url + path, timeout=20)
                    break
                except httpx.TransportError:
                    if process.poll() is not None:
                        raise SystemExit(f"{command[-1]} did not start") from None
                    time.sleep(0.1)
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
