"""One job from two images to the map in a browser: the real stack, real Chromium, pixels read."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from server.demo import SCENE, order
from server.local import stack
from server.settings import Settings

NODE = Path(__file__).parents[1] / "node"
MAP = (slice(100, 780), slice(520, 930))
"""Rows and columns of the picture that show the map alone."""
WEST, SOUTH, EAST, NORTH = 2.0815, 47.7618, 2.0848, 47.7638
AOI = {
    "type": "Polygon",
    "coordinates": [[[WEST, SOUTH], [EAST, SOUTH], [EAST, NORTH], [WEST, NORTH], [WEST, SOUTH]]],
}
"""A quarter of the village: houses, gardens and a part of the wood."""
EMPTY = (223, 231, 238)
"""Colour of the page where there is no map."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What the page said, and the folder of its pictures, once a city was mapped."""
    out = tmp_path_factory.mktemp("pictures")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with stack(Settings(data=tmp_path_factory.mktemp("data"), port=port)) as running:
        assert order(running.settings, aoi=AOI) is not None
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        assert chromium, "apt-get install chromium"
        address = f"{running.settings.url}/viewer/"
        done = subprocess.run(
            ["node", "viewer_shot.mjs", address, str(out), chromium, str(SCENE)],
            cwd=NODE, capture_output=True, text=True, timeout=420,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), out


def pixels(folder: Path, name: str) -> np.ndarray[Any, Any]:
    with Image.open(folder / name) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)[MAP]


def share(where: np.ndarray[Any, Any]) -> float:
    return float(where.mean())


def test_the_page_loads_whole_and_without_complaint(seen):
    said, _ = seen
    assert said["fault"] is None
    assert said["failed"] == []
    assert said["said"] == []


def test_the_finished_map_is_listed_with_every_product(seen):
    said, _ = seen
    assert len(said["maps"]) == 1
    names = {name for name, _ in said["assets"]}
    assert {"dsm", "dtm", "ndsm", "ortho", "footprints", "cityjson", "tileset", "report"} <= names
    assert all(href.startswith("http://127.0.0.1") for _, href in said["assets"])


def test_the_ortho_is_draped_over_the_relief(seen):
    _, out = seen
    shown = pixels(out, "map.png")
    red, green, blue = np.moveaxis(shown, 2, 0)
    assert share((green > red + 8) & (green > blue + 8)) > 0.15, "no gardens and woods to be seen"
    assert share((abs(shown - EMPTY) < 6).all(axis=2)) < 0.6, "most of the page is empty"


def test_buildings_stand_on_it_with_red_roofs(seen):
    _, out = seen
    red, green, blue = np.moveaxis(pixels(out, "map.png"), 2, 0)
    roofs = share((red > green + 40) & (red > blue + 40))
    assert roofs > 0.003
    red, green, blue = np.moveaxis(pixels(out, "surface.png"), 2, 0)
    assert share((red > green + 40) & (red > blue + 40)) < roofs / 4, "they stay when switched off"


def test_the_textured_mesh_lies_where_the_relief_does(seen):
    """The same camera, the same colours: gardens where gardens were, the same outline."""
    _, out = seen
    draped, mesh = (pixels(out, name) for name in ("map.png", "mesh.png"))
    ground, meshed = (~(abs(shown - EMPTY) < 6).all(axis=2) for shown in (draped, mesh))
    assert share(meshed) > 0.3
    assert share(ground & meshed) / share(ground | meshed) > 0.85
    both = ground & meshed
    grey = [shown[both].mean(axis=1) for shown in (draped, mesh)]
    assert np.corrcoef(*grey)[0, 1] > 0.7
    red, green, blue = np.moveaxis(mesh, 2, 0)
    assert share((green > red + 8) & (green > blue + 8)) > 0.15
    assert share((red > green + 40) & (red > blue + 40)) > 0.003, "no buildings stand on it"


def test_the_points_lie_where_the_relief_does_in_its_colours(seen):
    """Roofs too: the buildings are switched off. Where nothing was measured, nothing is shown."""
    said, out = seen
    assert said["points"] > 20_000
    draped, points = (pixels(out, name) for name in ("map.png", "points.png"))
    ground, cloud = (~(abs(shown - EMPTY) < 6).all(axis=2) for shown in (draped, points))
    assert share(cloud & ground) / share(cloud) > 0.95, "points beside the map"
    assert share(cloud & ground) / share(ground) > 0.5, "most of the map has no points"
    both = ground & cloud
    grey = [shown[both].mean(axis=1) for shown in (draped, points)]
    assert np.corrcoef(*grey)[0, 1] > 0.5
    red, green, blue = np.moveaxis(points, 2, 0)
    assert share((green > red + 8) & (green > blue + 8)) > 0.08
    assert share((red > green + 40) & (red > blue + 40)) > 0.002, "no roofs"


def test_the_surface_is_a_grey_hillshade(seen):
    _, out = seen
    shown = pixels(out, "surface.png")
    map_part = ~(abs(shown - EMPTY) < 6).all(axis=2)
    spread = shown.max(axis=2) - shown.min(axis=2)
    assert share(spread[map_part] < 12) > 0.9
    assert shown[map_part].std() > 15, "a hillshade without shade"


def test_a_legend_names_the_colours_that_are_on_the_map(seen):
    said, out = seen
    assert said["legends"]["dsm"] == [], "a hillshade's greys mean nothing by themselves"
    ((heights, _),) = said["legends"]["ndsm"]
    assert heights == "0 to 25 m and more above ground"
    classes = dict(said["legends"]["classes"])
    assert {"Building", "Vegetation", "Road", "Ground"} <= classes.keys()
    shown = pixels(out, "classes.png")
    for name in ("Building", "Vegetation"):
        colour = [int(part) for part in re.findall(r"\d+", classes[name])]
        assert share((abs(shown - colour) < 12).all(axis=2)) > 0.01, f"no {name} in its colour"


def test_a_click_on_a_building_tells_its_heights(seen):
    said, out = seen
    assert said["building"]["title"].startswith("Building ")
    assert "roof (m)" in said["building"]["facts"]
    own = said["building"]["title"].removeprefix("Building ")
    assert own not in said["building"]["facts"], "it is said to be part of itself"
    marked, before = (yellowed(pixels(out, name)) for name in ("building.png", "map.png"))
    assert marked > before + 5, "the chosen building is not marked"


def yellowed(shown: np.ndarray[Any, Any]) -> int:
    """Return how many pixels the mark's yellow took the blue from, gardens not among them."""
    red, green, blue = np.moveaxis(shown, 2, 0)
    return int(((blue < 0.42 * green) & (red > green) & (red > 60)).sum())


def test_the_form_orders_a_job_and_shows_it_to_its_end(seen):
    said, _ = seen
    assert "city" in said["processes"]
    assert said["job"]["during"].split(":")[0] in {"Waiting", "Working"}
    assert said["job"]["bar"] == 100


def test_images_of_the_users_own_computer_are_mapped(seen):
    said, _ = seen
    assert said["files"]["none"].startswith("None of these files is an image")
    assert said["files"]["state"].startswith("Working: ")


def test_an_order_without_images_is_told_in_plain_words_until_the_next(seen):
    said, _ = seen
    assert said["empty"].startswith("Name the images")
    assert said["after"] is True


def test_a_job_that_fails_says_why_where_it_is_seen(seen):
    said, _ = seen
    assert said["refused"]["text"].startswith("Failed: host 127.0.0.1 is not public")
    assert said["refused"]["seen"] is True


def test_the_page_is_used_by_keyboard_alone(seen):
    said, _ = seen
    assert said["keyboard"] == {
        "tab": ["tab-products", False],
        "within": "close",
        "ring": "solid",
        "closed": True,
        "back": "tell",
    }


def test_on_a_phone_the_map_is_to_be_seen(seen):
    said, _ = seen
    assert said["phone"] == {"middle": "CANVAS", "wide": 390}
