"""A raster of classes from process segment, as a catalogue and a map show it."""

import cv2
import numpy as np
import pytest
from affine import Affine
from fastapi import FastAPI
from starlette.testclient import TestClient

from catalog.assets import measure
from catalog.items import product_item
from catalog.origins import Made
from processes.core.process import COG, Layer, Outputs
from processes.core.raster import Grid, Raster
from processes.segment import CODES, COLOURS, SegmentOutputs
from tiles import raster
from workers.publish import keep
from workers.reader import Reader
from workers.results import results
from workers.workspace import LocalWorkspace

KEY = "fedcba9876543210fedcba9876543210"


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """Five classes in vertical strips of 40 m; the first row of cells is unknown."""
    work = LocalWorkspace(
        tmp_path_factory.mktemp("work") / "job", Reader(tmp_path_factory.mktemp("f"))
    )
    grid = Grid("EPSG:32631", Affine(0.5, 0, 430_000, 0, -0.5, 5_290_150), 300, 400)
    codes = np.broadcast_to(1 + np.arange(400) // 80, grid.shape).astype(np.uint8).copy()
    codes[0] = 0
    tags = {"OROGRAPH_VALUES": ", ".join(f"{code} {name}" for code, name in CODES.items())}
    layer = Layer("classes", "uint8", ["class"], tags, colours=COLOURS)
    made: Outputs = SegmentOutputs(classes=work.write_raster(layer, Raster(codes, grid)))
    folder = tmp_path_factory.mktemp("products") / KEY
    keep(work.folder, results(made, work.folder), folder)
    return folder


def test_a_map_shows_each_class_in_its_colour(product):
    app = FastAPI()
    app.include_router(raster.router(product.parent))
    with TestClient(app) as client:
        response = client.get(f"/raster/{KEY}/classes/preview.png?max_size=400")
        assert response.status_code == 200, response.text
        shown = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)
    height, width = shown.shape[:2]
    for number, colour in enumerate(COLOURS.values()):
        place = shown[height // 2, int(width * (number + 0.5) / 5)]
        assert tuple(place[[2, 1, 0]]) == colour


def test_a_catalogue_names_each_class_and_its_colour(product):
    from datetime import UTC, datetime

    facts = measure("classes", product, "classes.tif", COG)
    made = Made("segment", "Classes", "1.0.0", datetime(2026, 1, 1, tzinfo=UTC))
    item = product_item(KEY, made, [facts], collection="orograph")
    classes = item["assets"]["classes"]["bands"][0]["classification:classes"]
    assert [(c["value"], c["name"]) for c in classes] == list(CODES.items())
    assert classes[0]["color_hint"] == "".join(f"{v:02X}" for v in COLOURS[1])
    assert any(link["rel"] == "xyz" and "/classes/" in link["href"] for link in item["links"])
