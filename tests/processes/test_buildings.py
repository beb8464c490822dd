"""The process `buildings`, through the same door as on the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import geopandas
import numpy as np
import pytest
from affine import Affine
from shapely.geometry import Point, Polygon, box

from processes.buildings import BUILDINGS, BuildingsInputs
from processes.core.errors import GridMismatch, OutsideArea, UnknownCrs
from processes.core.origin import Origin
from processes.core.process import Asset, Layer
from processes.core.raster import Grid, Raster
from processes.roofs.heights import NoHeights, inset_of, under
from workers.reader import Reader
from workers.workspace import LocalWorkspace

GRID = Grid("EPSG:32631", Affine(0.5, 0, 431000.0, 0, -0.5, 5290100.0), 200, 240)
FLAT, HOUSE = box(431010, 5290020, 431022, 5290040), box(431050, 5290020, 431062, 5290040)
COURT = box(431080, 5290020, 431110, 5290050).difference(box(431090, 5290030, 431100, 5290040))
CHECKERED = box(431010, 5290060, 431030, 5290080)
GROUND_M = 140.0


def surface():
    """Return heights of a flat building, a gable house, a courtyard and one of squares."""
    x, y = GRID.xy(*np.mgrid[0 : GRID.height, 0 : GRID.width])
    z = np.full(GRID.shape, GROUND_M, np.float32)
    z = np.where(_over(FLAT, x, y), 147.5, z)
    z = np.where(_over(HOUSE, x, y), 150 - 0.5 * np.abs(x - 431056), z)
    step = 5.0 * ((np.floor(x / 2) + np.floor(y / 2)) % 2)
    z = np.where(_over(CHECKERED, x, y), 145 + step, z)
    return Raster(np.where(_over(COURT, x, y), 152.0, z).astype(np.float32), GRID)


def _over(outline, x, y):
    import shapely

    return shapely.contains_xy(outline, x, y)


def outlines(shapes, crs="EPSG:32631", **columns):
    return geopandas.GeoDataFrame(columns, geometry=list(shapes), crs=crs)


@pytest.fixture
def work(tmp_path):
    return LocalWorkspace(tmp_path / "out", Reader(tmp_path / "cache", files=True))


@pytest.fixture
def models(work, tmp_path):
    """Return a function that runs the process and reads its products back."""
    dsm = work.write_raster("dsm", surface())
    dtm = work.write_raster("dtm", Raster(np.full(GRID.shape, GROUND_M, np.float32), GRID))

    def run(frame, **options):
        path = tmp_path / "outlines.parquet"
        frame.to_parquet(path)
        options = {"lod": 1, "dsm": dsm} | options
        inputs = BuildingsInputs(footprints=Asset(href=str(path)), dtm=dtm, **options)
        made = BUILDINGS.run(inputs, work)
        city = json.loads(work.read_text(made.cityjson))
        tileset = json.loads(work.read_text(made.tileset))
        return geopandas.read_parquet(made.footprints.href), city, tileset

    return run


def test_three_buildings_have_their_known_heights(models):
    table, city, tileset = models(outlines([FLAT, HOUSE, COURT]))
    assert table.roof_m.round(1).tolist() == [147.5, pytest.approx(148.5, abs=0.1), 152.0]
    assert table.ground_m.tolist() == table.base_m.tolist() == [GROUND_M] * 3
    assert (table.height_m - (table.roof_m - table.ground_m)).abs().max() < 0.0015
    assert table.loc[1, "max_m"] == pytest.approx(149.9, abs=0.15)
    assert table.lod.tolist() == [1, 1, 1]
    assert table.reason.isna().all()
    assert list(city["CityObjects"]) == table.id.to_list()
    assert "content" in tileset["root"]


def test_attributes_reach_the_city_model(models):
    frame = outlines([FLAT], id=["way/7"], name=["Mairie"], floors=[2])
    _, city, _ = models(frame)
    attributes = city["CityObjects"]["way/7"]["attributes"]
    assert (attributes["name"], attributes["floors"], attributes["roof_m"]) == ("Mairie", 2, 147.5)
    assert attributes["height_m"] == 7.5
    assert attributes["lod"] == 1


def test_level_two_gives_the_house_its_gable(models):
    table, city, _ = models(outlines([FLAT, HOUSE, COURT]), lod=2)
    assert table.roof_type.tolist() == ["flat", "gable", "flat"]
    assert table.loc[1, "pitch_deg"] == pytest.approx(np.degrees(np.arctan(0.5)), abs=0.1)
    assert table.loc[1, "eave_m"] == pytest.approx(147.0, abs=0.05)
    assert table.loc[1, "ridge_m"] == pytest.approx(150.0, abs=0.05)
    _, house, court = (city["CityObjects"][name]["geometry"][0] for name in table.id)
    assert house["lod"] == "2.0"
    assert [len(face) for face in court["boundaries"][0]].count(2) == 2


def test_of_a_roof_what_was_filled_says_nothing(models, work):
    void = box(431010, 5290020, 431022, 5290030), HOUSE
    x, y = GRID.xy(*np.mgrid[0 : GRID.height, 0 : GRID.width])
    lost = _over(void[0], x, y) | _over(void[1], x, y)
    filled = Raster(np.where(lost, np.float32(GROUND_M + 0.5), surface().values), GRID)
    codes = np.where(lost, Origin.FILLED_OCCLUSION, Origin.SEEN).astype(np.uint8)
    told = {
        "dsm": work.write_raster("filled", filled),
        "ortho_mask": work.write_raster(Layer("origin", "uint8"), Raster(codes, GRID)),
    }
    table, _, _ = models(outlines([FLAT, HOUSE]), lod=2, **told)
    assert (table.roof_type[0], table.roof_m[0]) == ("flat", 147.5)
    assert table.reason[1] == "no surface heights under the outline"
    untold, _, _ = models(outlines([FLAT, HOUSE]), lod=2, dsm=told["dsm"])
    assert untold.roof_m[0] != 147.5


def test_where_heights_come_from_must_be_said_on_their_own_cells(models, work):
    aside = replace(GRID, transform=GRID.transform @ Affine.translation(0.4, 0.0))
    codes = Raster(np.full(GRID.shape, Origin.SEEN, np.uint8), aside)
    with pytest.raises(GridMismatch):
        models(outlines([FLAT]), ortho_mask=work.write_raster(Layer("origin", "uint8"), codes))


def test_a_roof_that_fits_no_shape_becomes_a_block_with_a_reason(models):
    table, city, _ = models(outlines([CHECKERED]), lod=2)
    assert table.lod.tolist() == [1]
    assert table.reason[0] == "block instead of a roof: no simple roof fits its surface"
    assert city["CityObjects"][table.id[0]]["geometry"][0]["lod"] == "1.2"


def test_what_cannot_be_modelled_keeps_its_row_and_a_reason(models):
    outside, street = box(432000, 5290000, 432010, 5290010), box(431025, 5290020, 431035, 5290040)
    table, city, _ = models(outlines([FLAT, outside, street]))
    assert list(city["CityObjects"]) == [table.id[0]]
    assert table.reason[1] == "no surface heights under the outline"
    assert table.reason[2] == "the roof is less than 1 m above the ground"
    assert table.lod.isna().tolist() == [False, True, True]
    assert np.isnan(table.roof_m[1])


def test_outlines_in_another_system_are_brought_over(models):
    table, _, _ = models(outlines([FLAT]).to_crs("EPSG:4326"))
    assert table.crs.to_epsg() == 32631
    assert table.roof_m[0] == 147.5


def test_no_outlines_make_empty_products(models):
    table, city, tileset = models(outlines([], id=np.array([], np.int64)))
    assert len(table) == 0
    assert {"roof_m", "ground_m", "lod", "reason"} <= set(table.columns)
    assert city["CityObjects"] == {}
    assert "content" not in tileset["root"]


def test_outlines_without_a_system_are_refused(models):
    with pytest.raises(UnknownCrs, match="footprints"):
        models(outlines([FLAT], crs=None))


def test_a_country_and_the_pole_are_no_buildings(models):
    country = box(400000, 5200000, 500000, 5300000)
    table, city, _ = models(outlines([country, FLAT]))
    assert table.reason[0] == "the outline is wider than 2 km"
    assert list(city["CityObjects"]) == [table.id[1]]
    pole = box(-170, 89.9999, 170, 95)
    here = outlines([FLAT]).to_crs("EPSG:4326").geometry[0]
    frame = outlines([here, pole], crs="EPSG:4326")
    table, _, _ = models(frame)
    assert table.reason[1] == "the outline has no place in the system of the surface"


def test_outlines_of_another_place_are_refused(models):
    with pytest.raises(OutsideArea, match="no footprint lies on dsm"):
        models(outlines([box(451000, 5290000, 451010, 5290010)]))


def test_points_and_twice_used_ids_do_no_harm(models):
    shapes = [FLAT, Point(431000, 5290000), Polygon(), HOUSE]
    table, city, _ = models(outlines(shapes, id=["a", "b", "c", "a"]))
    assert len(set(table.id)) == len(table) == 2
    assert list(city["CityObjects"]) == table.id.to_list()


def test_a_second_run_gives_the_same_bytes(models, work):
    def products():
        return {
            p.name: p.read_bytes() for p in work.folder.rglob("*") if p.suffix in (".json", ".glb")
        }

    models(outlines([FLAT, HOUSE, COURT]), lod=2)
    first = products()
    models(outlines([FLAT, HOUSE, COURT]), lod=2)
    assert products() == first


def test_blocks_of_the_village_are_within_six_decimetres(village, work):
    """The bar of the first delivery: median height error at most 0.6 m against the truth."""
    truth = village / "truth"
    inputs = BuildingsInputs(
        footprints=Asset(href=str(truth / "footprints.gpkg")),
        dsm=Asset(href=str(truth / "dsm.tif")),
        dtm=Asset(href=str(truth / "dtm.tif")),
        lod=1,
    )
    made = BUILDINGS.run(inputs, work)
    table = geopandas.read_parquet(made.footprints.href)
    dsm = work.open_raster(inputs.dsm)
    surface = Raster(dsm.read()[0], dsm.grid)
    errors = []
    for row in table.itertuples():
        try:
            known = under(row.geometry.buffer(1.0), surface)
            z = known.z[known.depth_m >= inset_of(known)]
        except NoHeights:
            continue
        errors.append(abs(row.roof_m - np.nanmedian(z)))
    assert len(errors) > 120
    assert np.median(errors) <= 0.6
    assert (table.ground_m - table.ground_h).abs().median() < 0.05


def test_bow_ties_are_mended(models):
    tie = Polygon([(431010, 5290020), (431022, 5290040), (431022, 5290020), (431010, 5290040)])
    table, _, _ = models(outlines([tie]))
    assert table.lod.tolist() == [1]
