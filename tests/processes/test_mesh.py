"""The process `mesh`, through the same door as on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from catalog.assets import measured
from catalog.items import place
from processes.core.errors import GridMismatch, InvalidInput
from processes.core.process import TILESET, Asset, Layer
from processes.core.raster import Grid, Raster
from processes.mesh import MESH, MeshInputs
from workers.reader import Reader
from workers.results import finished
from workers.workspace import LocalWorkspace

GRID = Grid("EPSG:32631", Affine(0.5, 0, 431000.0, 0, -0.5, 5290100.0), 700, 600)


@pytest.fixture
def work(tmp_path):
    return LocalWorkspace(tmp_path / "out", Reader(tmp_path / "cache", files=True))


@pytest.fixture
def dtm(work):
    x, y = GRID.xy(*np.indices(GRID.shape))
    z = 120 + 8 * np.sin((x - 431000) / 40) * np.cos((y - 5290100) / 55)
    return work.write_raster("dtm", Raster(z.astype(np.float32), GRID))


def test_a_mesh_with_its_ortho_is_written_tile_by_tile(work, dtm):
    values = np.full((3, *GRID.shape), 100, np.float32)
    ortho = work.write_raster(
        Layer("ortho", "uint8", ("red", "green", "blue")), Raster(values, GRID)
    )
    heard = []
    work._on_progress = lambda share, message: heard.append(share)
    made = MESH.run(MeshInputs(dtm=dtm, ortho=ortho), work)
    root = json.loads(work.read_text(made.mesh))["root"]
    assert len(root["children"]) == 4
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(1.0)


def test_an_ortho_of_another_place_is_refused(work, dtm):
    elsewhere = replace(GRID, crs="EPSG:32632")
    values = np.full((3, *GRID.shape), 100, np.float32)
    ortho = work.write_raster(
        Layer("ortho", "uint8", ("red", "green", "blue")), Raster(values, elsewhere)
    )
    with pytest.raises(GridMismatch, match="share no ground"):
        MESH.run(MeshInputs(dtm=dtm, ortho=ortho), work)
    assert not (work.folder / "mesh").exists()


def test_less_tolerance_makes_more_triangles(work, dtm):
    sizes = []
    for tolerance_m in (0.02, 0.5):
        made = MESH.run(MeshInputs(dtm=dtm, tolerance_m=tolerance_m), work)
        tiles = Path(made.mesh.href).parent.glob("tiles/**/*.glb")
        sizes.append(sum(tile.stat().st_size for tile in tiles))
    assert sizes[0] > 1.5 * sizes[1]


def test_the_product_lies_where_its_mesh_does(work, dtm):
    """A mesh alone has no raster and no outlines, and still a place in the catalogue."""
    made = MESH.run(MeshInputs(dtm=dtm), work)
    results = finished(made, work.folder)
    assert results == {"mesh": {"href": "mesh/tileset.json", "type": TILESET}}
    assert {path.name for path in work.folder.iterdir()} == {"mesh"}
    where = place(measured(work.folder, results))
    assert where is not None
    (ring,) = where["coordinates"]
    assert np.ptp(np.array(ring), axis=0) == pytest.approx([300 / 75_000, 350 / 111_200], rel=0.05)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(InvalidInput, match="tolerance_m"):
        MESH.parse({"dtm": {"href": "dtm.tif"}, "tolerance_m": -1})


def test_an_image_is_no_terrain(work, village):
    from processes.core.errors import AssetUnreadable

    with pytest.raises(AssetUnreadable, match="georeferencing"):
        MESH.run(MeshInputs(dtm=Asset(href=str(village / "left.tif"))), work)
