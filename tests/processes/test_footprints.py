"""The footprints process over real files: whole buildings, blocks, tiles, refusals."""

import geopandas
import numpy as np
import pytest
import shapely

from processes.core.errors import GridMismatch, InvalidInput
from processes.core.process import Layer
from processes.core.raster import Grid, Raster
from processes.footprints import FOOTPRINTS, FootprintsInputs
from workers.reader import Reader
from workers.workspace import LocalWorkspace

CELL_M = 0.5
HOUSES = [
    (shapely.box(20, 20, 34, 30), 6.0),
    (shapely.box(60, 15, 100, 55) - shapely.box(72, 27, 88, 43), 12.0),
    (shapely.box(20, 60, 30, 70), 7.0),
    (shapely.box(30, 60, 40, 70), 9.0),
    (shapely.Polygon([(70, 80), (90, 70), (96, 82), (76, 92)]), 8.0),
]


@pytest.fixture
def work(tmp_path):
    return LocalWorkspace(tmp_path / "products", Reader(cache=tmp_path / "fetched", files=True))


def scene(work, houses=HOUSES, size_m=120):
    """Write a surface and a terrain of a sloping place with houses; return both assets."""
    cells = int(size_m / CELL_M)
    grid = Grid.covering((500000, 5e6, 500000 + size_m, 5e6 + size_m), CELL_M, "EPSG:32631")
    x, y = grid.xy(*np.mgrid[:cells, :cells])
    ground = 200 + 0.04 * (x - 500000)
    surface = ground.copy()
    for house, height in houses:
        inside = shapely.contains_xy(house, x - 500000, y - 5e6)
        surface = np.where(inside, ground[inside].mean() + height if inside.any() else 0, surface)
    return (
        work.write_raster("dsm", Raster(surface.astype(np.float32), grid)),
        work.write_raster("dtm", Raster(ground.astype(np.float32), grid)),
    )


def made(work, dsm, dtm, **inputs):
    outputs = FOOTPRINTS.run(FootprintsInputs(dsm=dsm, dtm=dtm, **inputs), work)
    return geopandas.read_parquet(outputs.footprints.href)


def truth():
    return [shapely.transform(house, lambda xy: np.add(xy, (500000, 5e6))) for house, _ in HOUSES]


def iou(a, b):
    return a.intersection(b).area / a.union(b).area


def test_every_house_is_drawn_once_with_its_height(work):
    found = made(work, *scene(work))
    assert found.crs.to_epsg() == 32631
    assert len(found) == len(HOUSES)
    for house, (_, height) in zip(truth(), HOUSES, strict=True):
        match = found.iloc[found.geometry.map(lambda p, t=house: iou(p, t)).argmax()]
        assert iou(match.geometry, house) > 0.93
        assert match.height_m == pytest.approx(height, abs=0.3)
        assert match.area_m2 == pytest.approx(match.geometry.area, abs=0.01)
        assert 0.9 < match.confidence <= 1.0
    assert found.geometry.is_valid.all()
    assert found.id.is_unique


def test_a_surface_and_a_terrain_that_were_exchanged_are_refused(work):
    dsm, dtm = scene(work)
    with pytest.raises(InvalidInput, match="exchanged"):
        made(work, dtm, dsm)


def test_pits_in_a_field_do_not_make_it_exchanged(work):
    pit = shapely.box(50.0, 50.0, 58.0, 58.0)
    found = made(work, *scene(work, [(pit, -6.0)]))
    assert len(found) == 0


def test_a_courtyard_is_a_hole_unless_too_small(work):
    dsm, dtm = scene(work)
    assert len(made(work, dsm, dtm).interiors.explode().dropna()) == 1
    assert len(made(work, dsm, dtm, min_courtyard_m2=400).interiors.explode().dropna()) == 0


def test_attached_houses_share_their_wall_and_say_so(work):
    found = made(work, *scene(work))
    pair = found[found.part_of.duplicated(keep=False)]
    assert len(pair) == 2
    a, b = pair.geometry
    assert a.intersection(b).area == 0.0
    assert a.boundary.intersection(b.boundary).length == pytest.approx(10, abs=0.6)


def test_tiles_and_blocks_change_nothing(work, monkeypatch):
    dsm, dtm = scene(work)
    whole = made(work, dsm, dtm)
    monkeypatch.setattr("processes.footprints.TILE_PX", 50)
    monkeypatch.setattr("processes.footprints.MASK_BLOCK_PX", 64)
    monkeypatch.setattr("processes.footprints.FIRST_MARGIN_M", 5.0)
    tiled = made(work, dsm, dtm)
    assert set(tiled.id) == set(whole.id)
    union, other = whole.union_all(), tiled.union_all()
    assert union.symmetric_difference(other).area < 1.0


def test_the_number_of_cores_changes_nothing(work, monkeypatch):
    dsm, dtm = scene(work)
    found = []
    monkeypatch.setattr("workers.crew.LEAST", 1)
    for cores in (1, 3):
        monkeypatch.setattr("workers.crew.CORES", cores)
        found.append(made(work, dsm, dtm))
    assert found[0].equals(found[1])


def test_a_rerun_gives_the_same_ids(work):
    dsm, dtm = scene(work)
    assert list(made(work, dsm, dtm).id) == list(made(work, dsm, dtm).id)


def test_small_things_are_left_out_as_asked(work):
    dsm, dtm = scene(work)
    assert len(made(work, dsm, dtm, min_area_m2=120)) == 3


def test_colour_tells_a_tree_from_a_house(work):
    round_roof = [(shapely.Point(60, 60).buffer(8), 9.0), (shapely.box(20, 20, 40, 35), 6.0)]
    dsm, dtm = scene(work, round_roof)
    grid = work.open_raster(dsm).grid
    green = shapely.contains_xy(round_roof[0][0], *(v - o for v, o in zip(
        grid.xy(*np.mgrid[: grid.height, : grid.width]), (500000, 5e6), strict=True)))  # fmt: skip
    red, nir = np.where(green, 300, 900), np.where(green, 1800, 1000)
    pixels = np.stack([red, nir]).astype(np.uint16)
    layer = Layer("ortho", "uint16", band_names=["red", "nir"])
    ortho = work.write_raster(layer, Raster(pixels, grid))
    assert len(made(work, dsm, dtm)) == 2
    found = made(work, dsm, dtm, ortho=ortho)
    assert len(found) == 1
    assert found.geometry[0].centroid.x < 500045


def test_a_place_without_houses_gives_an_empty_table(work):
    found = made(work, *scene(work, []))
    assert len(found) == 0
    assert {"id", "area_m2", "height_m", "confidence", "geometry"} <= set(found.columns)


def test_a_bridge_is_no_building(work):
    deck = (shapely.box(0, 96, 120, 104), 5.0)
    dsm, dtm = scene(work, [*HOUSES, deck])
    grid = work.open_raster(dsm).grid
    x, y = grid.xy(*np.mgrid[: grid.height, : grid.width])
    # ends of decks pass for ground
    seen = shapely.contains_xy(shapely.box(12, 95, 108, 105), x - 500000, y - 5e6)
    origins = np.where(seen, 3, 1).astype(np.uint8)
    told = work.write_raster(Layer("terrain_mask", "uint8"), Raster(origins, grid))
    assert len(made(work, dsm, dtm)) == len(HOUSES) + 1
    found = made(work, dsm, dtm, terrain_mask=told)
    assert len(found) == len(HOUSES)
    assert found.union_all().symmetric_difference(shapely.union_all(truth())).area < 90


def test_grids_that_differ_are_refused(work):
    dsm, dtm = scene(work)
    grid = work.open_raster(dtm).grid
    values = work.open_raster(dtm).read()[0]
    coarse = work.write_raster("coarse", Raster(values, Grid(grid.crs, grid.transform * grid.transform.scale(2), *grid.shape)))  # fmt: skip  # noqa: E501
    with pytest.raises(GridMismatch):
        made(work, dsm, coarse)
    two = work.write_raster("two", Raster(np.stack([values, values]), grid))
    with pytest.raises(InvalidInput, match="2 bands"):
        made(work, two, dtm)


def test_half_a_roof_that_was_filled_from_the_ground_is_drawn_by_its_colour(work):
    """One image does not show the slope away from it: the surface has ground there."""
    dsm, dtm = scene(work, [(shapely.box(40, 20, 60, 30), 8.0)])
    grid = work.open_raster(dsm).grid
    x, y = grid.xy(*np.mgrid[: grid.height, : grid.width])
    heights, ground = (work.open_raster(asset).read()[0] for asset in (dsm, dtm))
    # the last 2 m of the roof, and as much of the grass behind it
    lost = shapely.contains_xy(shapely.box(40, 28, 60, 32), x - 500000, y - 5e6)
    lower = Raster(np.where(lost, ground, heights), grid)
    dsm = work.write_raster("lower", lower)
    rng = np.random.default_rng(8)
    roof = shapely.contains_xy(shapely.box(40, 20, 60, 30), x - 500000, y - 5e6)
    pixels = np.where(roof, [[[600]], [[500]]], [[[200]], [[500]]])
    pixels = (pixels * rng.normal(1, 0.03, pixels.shape)).astype(np.uint16)
    layer = Layer("ortho", "uint16", band_names=["red", "nir"])
    ortho = work.write_raster(layer, Raster(pixels, grid))
    codes = np.where(lost, 2, 1).astype(np.uint8)
    origins = work.write_raster(Layer("ortho_mask", "uint8"), Raster(codes, grid))
    true = shapely.box(500040, 5e6 + 20, 500060, 5e6 + 30)
    blind = made(work, dsm, dtm, ortho=ortho)
    told = made(work, dsm, dtm, ortho=ortho, ortho_mask=origins)
    assert len(blind) == len(told) == 1
    assert iou(blind.geometry[0], true) < 0.85
    assert iou(told.geometry[0], true) > 0.95
