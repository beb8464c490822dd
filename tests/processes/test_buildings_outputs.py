"""What `buildings` writes beside models: GeoPackage, report, textures, old tiles, lasting ids."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import geopandas
import numpy as np
import pytest
from affine import Affine
from shapely.affinity import translate
from shapely.geometry import Point, Polygon, box

from processes.buildings import BUILDINGS, BuildingsInputs
from processes.core.errors import InvalidInput
from processes.core.process import Asset, Layer
from processes.core.raster import Grid, Raster
from workers.reader import Reader
from workers.workspace import LocalWorkspace

GRID = Grid("EPSG:32631", Affine(0.5, 0, 431000.0, 0, -0.5, 5290100.0), 200, 240)
HOUSES = [box(x, y, x + 12, y + 9) for x in (431010, 431040, 431070) for y in (5290020, 5290060)]
LEAST = ["id", "roof_m", "ground_m", "lod", "reason"]


@pytest.fixture
def work(tmp_path):
    return LocalWorkspace(tmp_path / "out", Reader(tmp_path / "cache", files=True))


@pytest.fixture
def made(work, tmp_path):
    """Return a function: outlines and options → the outputs of the process."""
    x, y = GRID.xy(*np.indices(GRID.shape))
    z = np.full(GRID.shape, 100.0, np.float32)
    for house in HOUSES:
        west, south, east, north = house.buffer(1).bounds
        z[(x > west) & (x < east) & (y > south) & (y < north)] = 107.0
    dsm = work.write_raster("dsm", Raster(z, GRID))
    dtm = work.write_raster("dtm", Raster(np.full(GRID.shape, 100.0, np.float32), GRID))

    def run(shapes, *, earlier=None, name="outlines", **options):
        columns = options.pop("columns", {})
        frame = geopandas.GeoDataFrame(columns, geometry=list(shapes), crs=GRID.crs)
        frame.to_parquet(tmp_path / f"{name}.parquet")
        inputs = BuildingsInputs(
            footprints=Asset(href=str(tmp_path / f"{name}.parquet")), dsm=dsm, dtm=dtm,
            earlier=earlier and Asset(href=str(earlier)), **options,
        )  # fmt: skip
        return BUILDINGS.run(inputs, work)

    return run


def ids(made):
    return geopandas.read_parquet(made.footprints.href).id.to_list()


def test_the_geopackage_holds_the_same_table(made):
    made = made(HOUSES, columns={"name": [f"Maison n° {i}" for i in range(6)]})
    package = geopandas.read_file(made.geopackage.href, layer="buildings")
    parquet = geopandas.read_parquet(made.footprints.href)
    assert set(package.columns) == set(parquet.columns)
    assert package.geometry.geom_equals_exact(parquet.geometry, 1e-9).all()
    for name in ("id", "name", "roof_m", "lod"):
        assert package[name].to_list() == parquet[name].to_list()
    with sqlite3.connect(made.geopackage.href) as database:
        kinds = database.execute("SELECT extension_name FROM gpkg_extensions").fetchall()
    assert ("gpkg_rtree_index",) in kinds


def test_any_column_fits_in_the_geopackage(made):
    columns = {
        "list": [[1, 2], None, [], [3], [4], [5]],
        "Name": list("abcdef"),
        "name": list("ghijkl"),
        "fid": [7] * 6,
    }
    made = made(HOUSES, columns=columns)
    package = geopandas.read_file(made.geopackage.href)
    assert package["list"][0] == "[1 2]" or package["list"][0] == "[1, 2]"
    assert package["name_2"].to_list() == list("ghijkl")
    assert package["fid_2"].to_list() == [7] * 6


def test_every_product_comes_again_with_the_same_bytes(made, work):
    def content():
        return {p: p.read_bytes() for p in work.folder.rglob("*") if p.suffix in (".gpkg", ".json")}

    made(HOUSES)
    first = content()
    made(HOUSES)
    assert content() == first


def test_the_report_counts_what_was_left_out(made, work):
    far = box(432000, 5290000, 432010, 5290010)
    street = box(431025, 5290020, 431035, 5290040)
    speck = box(431012, 5290022, 431012.3, 5290022.3)
    made = made([*HOUSES, far, street, speck, Point(431000, 5290000), Polygon(), None])
    report = json.loads(work.read_text(made.report))
    assert report == {
        "features": 12,
        "outlines": 9,
        "buildings": 6,
        "area_m2": 648.0,
        "lod": {"2": 6},
        "blocks_instead": {},
        "left_out": {
            "no polygon": 3,
            "no surface heights under the outline": 1,
            "the outline encloses no area": 1,
            "the roof is less than 1 m above the ground": 1,
        },
    }


def test_hostile_outlines_stop_nothing_and_are_counted(made, work):
    bow_tie = Polygon([(431010, 5290090), (431022, 5290099), (431022, 5290090), (431010, 5290099)])
    three_cells = box(431080, 5290022, 431081.5, 5290022.5)
    over_the_border = box(430990, 5290018, 431006, 5290030)
    beyond = box(431118, 5290018, 431190, 5290030)
    with np.errstate(invalid="ignore"):
        nowhere, unknown = (
            Polygon([(431000, 5290000), (x, 5290000), (431000, 5290010)]) for x in (np.inf, np.nan)
        )
    far = Polygon([(431000, 5290000), (1e300, 5290000), (431000, 5290010)])
    spike = Polygon([(431040, 5290090), (431052, 5290090), (431052, 5290090.001)])
    odd = [bow_tie, three_cells, over_the_border, beyond, nowhere, unknown, far, spike]
    made = made([*HOUSES, *odd])
    report = json.loads(work.read_text(made.report))
    with np.errstate(invalid="ignore"):
        table = geopandas.read_parquet(made.footprints.href)
    assert report["outlines"] == len(table) == 14
    assert table.lod[: len(HOUSES)].to_list() == [2] * len(HOUSES)
    assert report["buildings"] + sum(report["left_out"].values()) == report["features"]
    lost = "the outline has no place in the system of the surface"
    assert table.reason[10:13].to_list() == [lost, lost, "the outline is wider than 2 km"]
    assert report["left_out"][lost] == 2
    assert table.lod[len(HOUSES) :].isna().all()


def test_a_roof_without_data_and_one_half_off_the_map(made_with_holes):
    made, work = made_with_holes
    table = geopandas.read_parquet(made.footprints.href)
    assert table.reason[0] == "no surface heights under the outline"
    assert table.lod.isna().tolist() == [True, False, False]
    assert table.lod[1:].to_list() == [2, 2]
    assert table.roof_m[2] == pytest.approx(107.0)
    report = json.loads(work.read_text(made.report))
    assert report["left_out"]["no surface heights under the outline"] == 1


@pytest.fixture
def made_with_holes(work, tmp_path):
    """Return the products of a roof without data, a sound one, and one half off the map."""
    x, y = GRID.xy(*np.indices(GRID.shape))
    edge = box(430990, 5290040, 431010, 5290050)
    houses = [HOUSES[0], HOUSES[3], edge]
    z = np.full(GRID.shape, 100.0, np.float32)
    for house in houses:
        west, south, east, north = house.buffer(1).bounds
        z[(x > west) & (x < east) & (y > south) & (y < north)] = 107.0
    west, south, east, north = HOUSES[0].buffer(2).bounds
    z[(x > west) & (x < east) & (y > south) & (y < north)] = np.nan
    dsm = work.write_raster("dsm", Raster(z, GRID))
    dtm = work.write_raster("dtm", Raster(np.full(GRID.shape, 100.0, np.float32), GRID))
    geopandas.GeoDataFrame(geometry=houses, crs=GRID.crs).to_parquet(tmp_path / "three.parquet")
    footprints = Asset(href=str(tmp_path / "three.parquet"))
    return BUILDINGS.run(BuildingsInputs(footprints=footprints, dsm=dsm, dtm=dtm), work), work


def test_nothing_makes_empty_products_and_a_report_of_it(made, work):
    made = made([])
    assert json.loads(work.read_text(made.report))["features"] == 0
    assert len(geopandas.read_file(made.geopackage.href)) == 0


def test_a_rerun_with_other_outlines_keeps_the_ids(made, tmp_path):
    """Outlines drawn half a metre off, in another order, one house gone and one new."""
    first = made(HOUSES)
    kept = Path(first.footprints.href).rename(tmp_path / "first.parquet")
    before = geopandas.read_parquet(kept).id.to_list()
    moved = [translate(house, 0.4, -0.5) for house in HOUSES]
    new = box(431090, 5290080, 431100, 5290090)
    again = made([moved[3], new, *moved[:3], moved[5]], earlier=kept, name="again")
    after = ids(again)
    assert after[0] == before[3]
    assert after[2:] == [*before[:3], before[5]]
    assert after[1] not in before
    cityjson = json.loads(Path(again.cityjson.href).read_text())
    assert before[3] in cityjson["CityObjects"]
    alone = ids(made([moved[3], new, *moved[:3], moved[5]], name="alone"))
    assert alone[2:] != [*before[:3], before[5]], "says nothing: the ids were the same anyway"


def test_earlier_footprints_without_ids_are_refused(made, tmp_path):
    geopandas.GeoDataFrame(geometry=HOUSES, crs=GRID.crs).to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(InvalidInput, match="earlier has no column id"):
        made(HOUSES, earlier=tmp_path / "bare.parquet")


def test_roofs_are_shown_as_the_ortho_shows_them(made, work):
    red = np.zeros((3, *GRID.shape), np.float32)
    red[0] = 200.0
    ortho = work.write_raster(Layer("ortho", "uint8", ("red", "green", "blue")), Raster(red, GRID))
    made = made(HOUSES, ortho=ortho)
    tiles = list(Path(made.tileset.href).parent.glob("tiles/1/**/*.glb"))
    assert tiles
    assert all(b"image/jpeg" in tile.read_bytes() for tile in tiles)


def test_old_clients_get_old_tiles(made):
    made = made(HOUSES, format="b3dm")
    folder = Path(made.tileset.href).parent
    assert json.loads(Path(made.tileset.href).read_text())["asset"]["version"] == "1.0"
    assert [p.suffix for p in folder.glob("tiles/**/*.*")] == [".b3dm"]


def test_many_in_one_place_are_modelled_some_at_a_time(made, work, monkeypatch):
    """The products are the same, row by row."""
    first = geopandas.read_parquet(made(HOUSES * 3).footprints.href)
    city = work.read_text(Asset(href=str(work.folder / "buildings.city.json")))
    monkeypatch.setattr("processes.buildings.MOST_AT_ONCE", 2)
    again = geopandas.read_parquet(made(HOUSES * 3).footprints.href)
    assert again.equals(first)
    assert work.read_text(Asset(href=str(work.folder / "buildings.city.json"))) == city
