"""Tilesets as the client draws them that most people use: Cesium, in Chromium, pixels read."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from pyproj import Transformer
from shapely.geometry import box

from processes.core.building import BuildingModel
from processes.core.raster import Grid, Raster
from processes.roofs.extrude import extrude, tidy
from processes.roofs.planes import Planes, raise_roof
from tiles.api import CESIUM, VIEWER
from tiles.terrain import write_terrain
from tiles.tileset import write
from workers.reader import Reader
from workers.workspace import LocalWorkspace

NODE = Path(__file__).parents[1] / "node"
CRS, WEST, SOUTH = "EPSG:32631", 431000.0, 5290000.0
VOID = (255, 0, 255)


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    """Return a function: folders of tilesets and a view → the picture, and what was drawn."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "apt-get install chromium"
    root = tmp_path_factory.mktemp("served")
    (root / "cesium").symlink_to(VIEWER / CESIUM)
    handler = functools.partial(_Quiet, directory=str(root))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    origin = f"http://127.0.0.1:{server.server_address[1]}"
    browser = subprocess.Popen(  # one for all pictures: it takes seconds to start
        ["node", "tileset_shot.mjs", chromium, origin],
        cwd=NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def take(paths, place, **view):
        for path in paths:
            link = root / path.parent.name
            if not link.exists():
                link.symlink_to(path.parent)
        lon, lat = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True).transform(*place[:2])
        wanted = {
            "tilesets": [f"/{path.parent.name}/{path.name}" for path in paths],
            "at": [lon, lat, place[2]],
            **view,
        }
        out = root / "shot.png"
        browser.stdin.write(json.dumps({"out": str(out), **wanted}) + "\n")
        browser.stdin.flush()
        line = browser.stdout.readline()
        assert line, "the browser ended: its messages are above"
        said = json.loads(line)
        assert said["said"] == []
        with Image.open(out) as picture:
            return np.asarray(picture.convert("RGB")).astype(int), said["drawn"]

    try:
        yield take
    finally:
        browser.communicate(timeout=60)
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@functools.cache
def houses(count):
    """Return houses with gables on a square of 25 m lots; every fifth has a flat roof."""
    side = int(np.ceil(np.sqrt(count)))
    models = []
    for number in range(count):
        x, y = WEST + 25 * (number % side), SOUTH + 25 * (number // side)
        part = tidy(box(x, y, x + 14, y + 9))[0]
        if number % 5:
            gable = Planes(np.array([[0, 0.5, 108.0], [0, -0.5, 108.0]]), (x + 7, y + 4.5))
            solid, kind = raise_roof(part, 100.0, gable), "gable"
        else:
            solid, kind = extrude(part, 100.0, 106.0), "flat"
        models.append(BuildingModel(f"b{number}", (solid,), "2.0", {"roof_type": kind}))
    return models


def red(picture):
    return picture[..., 0] > picture[..., 2] + 40


def void(picture):
    return (np.abs(picture - VOID) < 8).all(axis=2)


def test_an_implicit_town_is_drawn_as_the_listed_one_is(shot, tmp_path):
    """From near, every house in sight with its gable; the two pictures are the same."""
    models = houses(1200)
    middle = (WEST + 430, SOUTH + 430, 100.0)
    view = {"range": 300, "pitch": -0.6, "error": 4}
    pictures = []
    for name, listed in (("listed", 10_000), ("implicit", 0)):
        path = write(models, CRS, tmp_path / name, most=100, listed=listed)
        picture, seen = shot([path], middle, **view)
        pictures.append(picture)
        assert seen[0]["features"] > 100
    assert (np.abs(pictures[0] - pictures[1]).max(axis=2) > 30).mean() < 0.002
    assert red(pictures[1]).mean() > 0.03, "no gables to be seen"


def test_b3dm_is_drawn_too(shot, tmp_path):
    path = write(houses(60), CRS, tmp_path / "b3dm", form="b3dm")
    picture, drawn = shot([path], (WEST + 90, SOUTH + 90, 100.0), range=300, pitch=-0.6, error=1)
    assert drawn[0]["features"] == 60
    assert red(picture).mean() > 0.01


def test_a_far_town_takes_few_triangles(shot, tmp_path):
    path = write(houses(1200), CRS, tmp_path / "far", most=100)
    middle = (WEST + 430, SOUTH + 430, 100.0)
    _, near = shot([path], middle, range=300, pitch=-0.6, error=8)
    _, far = shot([path], middle, range=6000, pitch=-0.6, error=8)
    assert far[0]["features"] < 200
    assert far[0]["triangles"] < near[0]["triangles"] / 5


def test_no_crack_is_seen_between_tiles_of_different_levels(shot, tmp_path):
    """Rough land, seen flat: below its horizon there is no pixel of the void."""
    grid = Grid(CRS, Affine(0.5, 0, WEST, 0, -0.5, SOUTH + 1024), 2049, 2049)
    x, y = grid.xy(*np.indices(grid.shape))
    z = 100 + 6 * np.sin(x / 11) * np.cos(y / 13) + 3 * np.sin(x / 3.1 + y / 4.3)
    work = LocalWorkspace(tmp_path / "work", Reader(tmp_path / "cache", files=True))
    dtm = work.write_raster("dtm", Raster(z.astype(np.float32), grid))
    path = write_terrain(work.open_raster(dtm), tmp_path / "land", tolerance_m=0.5)
    picture, drawn = shot(
        [path], (WEST + 300, SOUTH + 300, 110.0), range=250, pitch=-0.25, error=40
    )
    levels = json.loads(path.read_text())["root"]["geometricError"]
    assert drawn[0]["tiles"] >= 4
    assert levels > 0
    land = ~void(picture)
    assert land.mean() > 0.4
    inner = land[:, 50:-50]
    horizon = inner.argmax(axis=0)
    below = np.arange(len(inner))[:, None] > horizon + 2
    assert inner[below].all(), f"{(~inner[below]).sum()} pixels of void show through"
