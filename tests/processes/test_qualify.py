"""Quality reports over real files: each kind of comparison, and what is refused."""

import json

import cv2
import geopandas
import numpy as np
import pytest
import rasterio
from shapely import affinity
from shapely.geometry import Point, box

from processes.core.errors import InvalidInput, NothingToCompare
from processes.core.process import Asset, Layer
from processes.core.raster import Grid, Raster
from processes.qualify import QUALIFY, QualifyInputs
from workers.reader import Reader
from workers.workspace import LocalWorkspace

CRS = "EPSG:32631"
GRID = Grid.covering((431000, 5290000, 431100, 5290080), 0.5, CRS)


@pytest.fixture
def work(tmp_path):
    return LocalWorkspace(tmp_path / "products", Reader(cache=tmp_path / "fetched", files=True))


def town(grid=GRID):
    """Return heights with one block, on any lattice: the same ground coordinates, same height."""
    row, col = np.mgrid[: grid.height, : grid.width]
    x, y = grid.xy(row, col)
    block = (abs(x - 431050) < 15) & (abs(y - 5290040) < 10)
    heights = 0.02 * (x - 431000) + 0.01 * (y - 5290000) + np.where(block, 8.0, 0.0)
    return heights.astype(np.float32)


def report(work, product, reference, kind, **more):
    inputs = QualifyInputs(product=product, reference=reference, kind=kind, **more)
    outputs = QUALIFY.run(inputs, work)
    with open(outputs.report.href) as file, open(outputs.page.href) as page:
        return json.load(file), page.read()


def raster(work, name, values, grid=GRID):
    return work.write_raster(name, Raster(values, grid))


def test_a_raster_against_itself_raised_by_half_a_metre(work):
    heights = town()
    void = heights.copy()
    void[:40, :40] = np.nan  # 1600 of 32000
    found, page = report(
        work, raster(work, "mine", void + 0.5), raster(work, "true", heights), "dsm"
    )
    figures = found["figures"]["as_is"]
    assert figures["bias_m"] == pytest.approx(0.5, abs=1e-3)
    assert figures["rmse_m"] == pytest.approx(0.5, abs=1e-3)
    assert figures["nmad_m"] == pytest.approx(0, abs=1e-3)
    assert figures["completeness_1m"] == pytest.approx(0.95)
    assert found["figures"]["within_rim"]["void_share"] == 0
    assert found["figures"]["best_shift"]["dz_m"] == pytest.approx(-0.5, abs=1e-3)
    assert found["figures"]["after_shift"]["bias_m"] == pytest.approx(0, abs=1e-3)
    assert found["classes"]["asprs_vertical"]["class_cm"] is None
    assert "+0.50" in page
    assert page.count("data:image/") == 3
    assert "http" not in page.replace("http://www.w3.org", "")  # nothing to load from anywhere


def test_other_cells_and_another_reference_system_are_resampled(work):
    fine = Grid.covering((431010, 5290010, 431090, 5290070), 0.4, CRS)
    across = raster(work, "fine", town(fine), fine)
    found, _ = report(work, across, raster(work, "true", town()), "dsm")
    assert found["how"].startswith("At every cell of the reference")
    assert found["figures"]["as_is"]["cells"] == 160 * 120
    assert found["figures"]["as_is"]["nmad_m"] < 0.02
    assert found["figures"]["as_is"]["void_share"] == 0


def test_a_reference_in_degrees_is_read_at_the_cells_of_the_product(work):
    from affine import Affine

    degrees = Grid("EPSG:4326", Affine(1e-5, 0, 2.0785, 0, -1e-5, 47.7625), 500, 1200)
    level = np.full((500, 1200), 100, np.float32)
    product = raster(work, "mine", np.full(GRID.shape, 101, np.float32))
    found, _ = report(work, product, raster(work, "dem", level, degrees), "dtm")
    assert found["how"].startswith("At every cell of the product")
    assert found["figures"]["as_is"]["bias_m"] == pytest.approx(1)


def confidence(work, claims_m, grid=GRID, **tags):
    layer = Layer("confidence", band_names=["error_90_m"], tags=tags)
    return work.write_raster(layer, Raster(claims_m, grid))


def noisy(sigma_m):
    """Return heights with errors that go on from cell to cell, as those of stereo do."""
    noise = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 1, GRID.shape), (0, 0), 2)
    return (town() + sigma_m * noise / noise.std()).astype(np.float32)


def test_the_map_of_errors_lies_where_the_reference_does(work):
    heights = town()
    heights[:4] = np.nan
    inputs = QualifyInputs(
        product=raster(work, "mine", town() + np.float32(0.5)),
        reference=raster(work, "true", heights),
        kind="dsm",
    )
    made = QUALIFY.run(inputs, work).error_map
    with rasterio.open(made.href) as file:
        apart = file.read(1)
        assert (file.crs.to_string(), file.transform) == (CRS, GRID.transform)
    assert np.isnan(apart[:4]).all()
    assert np.abs(apart[4:] - 0.5).max() < 1e-4


def test_figures_by_class_are_named_as_the_raster_names_them(work):
    _, col = np.mgrid[: GRID.height, : GRID.width]
    codes = np.where(col < 50, 1, 3).astype(np.uint8)
    values = {"OROGRAPH_VALUES": "0 outside, 1 measured, 3 filled gap"}
    classes = work.write_raster(Layer("origin", "uint8", tags=values), Raster(codes, GRID))
    mine = town() + np.where(codes == 1, 0.2, 1.4).astype(np.float32)
    found, page = report(
        work, raster(work, "mine", mine), raster(work, "true", town()), "dsm", classes=classes
    )
    figures = found["figures"]["by_class"]
    assert set(figures) == {"measured", "filled gap"}
    assert figures["measured"]["bias_m"] == pytest.approx(0.2, abs=1e-3)
    assert figures["filled gap"]["completeness_1m"] == 0
    assert "filled gap" in page
    x, y, z = check_points(40)
    rows = "\n".join(f"{a},{b},{c}" for a, b, c in zip(x, y, z, strict=True))
    table = work.write_text("points.csv", f"X, Y, Z\n{rows}\n", "text/csv")
    found, _ = report(work, raster(work, "mine", mine), table, "points", classes=classes)
    assert sum(part["cells"] for part in found["figures"]["by_class"].values()) == 40


def test_a_confidence_is_told_whether_it_keeps_its_claims(work):
    claims = np.full(GRID.shape, 1.645 * 0.3, np.float32)
    mine, true = raster(work, "mine", noisy(0.3) + np.float32(2)), raster(work, "true", town())
    found, page = report(work, mine, true, "dsm", confidence=confidence(work, claims))
    figures = found["figures"]["confidence"]
    assert figures["after_shift"]["held_share"] == pytest.approx(0.9, abs=0.02)
    assert figures["as_is"]["held_share"] < 0.1
    assert figures["after_shift"]["median_claim_m"] == pytest.approx(0.4935, abs=1e-3)
    assert page.count("data:image/") == 4


def test_without_a_reference_the_figures_are_predicted_and_say_so(work):
    product = raster(work, "mine", town())
    claims = np.full(GRID.shape, 0.5, np.float32)
    claims[:40] = np.nan
    tags = {"OROGRAPH_LEVEL_ERROR_M": "0.600"}
    found, page = report(work, product, None, "dsm", confidence=confidence(work, claims, **tags))
    figures = found["figures"]["predicted"]
    assert found["predicted"] is True
    assert found["reference"] is None
    assert figures["le90_m"] == pytest.approx(0.5, rel=0.15)
    assert 0.1 < figures["nmad_m"] < 0.4
    assert figures["cells"] == 120 * 200
    # the level of the whole is part of the class, not of the heights beside each other
    assert figures["rmse_m"] < 0.6 < found["figures"]["rmse_with_level_m"]
    classes = found["classes"]
    assert classes["predicted"] is True
    assert classes["asprs_vertical"]["name"].startswith("predicted ASPRS 2024")
    assert classes["asprs_vertical"]["class_cm"] == np.ceil(
        100 * found["figures"]["rmse_with_level_m"]
    )
    assert "Predicted, not measured" in page
    assert "predicted ASPRS 2024" in page


def test_a_better_confidence_predicts_better_figures(work):
    product = raster(work, "mine", town())

    def predicted(claim_m):
        claims = np.full(GRID.shape, claim_m, np.float32)
        found, _ = report(work, product, None, "dsm", confidence=confidence(work, claims))
        return found["figures"]["predicted"]

    good, bad = predicted(0.25), predicted(4.0)
    assert good["rmse_m"] < bad["rmse_m"]
    assert good["completeness_1m"] > 0.97 > bad["completeness_1m"]


def test_a_prediction_that_nothing_allows_is_refused(work):
    product = raster(work, "mine", town())
    claims = np.full(GRID.shape, 0.5, np.float32)
    with pytest.raises(InvalidInput, match="give a reference, or the confidence"):
        report(work, product, None, "dsm")
    with pytest.raises(InvalidInput, match="only kind dsm"):
        report(work, product, None, "dtm", confidence=confidence(work, claims))
    with pytest.raises(InvalidInput, match="no band error_90_m"):
        report(work, product, None, "dsm", confidence=product)
    elsewhere = Grid.covering((431000, 5290000, 431050, 5290080), 0.5, CRS)
    other = confidence(work, claims[:, :100], elsewhere)
    with pytest.raises(InvalidInput, match="different grids"):
        report(work, product, None, "dsm", confidence=other)
    with pytest.raises(NothingToCompare, match="claims nothing"):
        report(work, product, None, "dsm", confidence=confidence(work, claims * np.nan))


def outlines(work, name, boxes, **columns):
    frame = geopandas.GeoDataFrame(columns, geometry=list(boxes), crs=CRS)
    return work.write_vector(name, frame)


def test_outlines_found_invented_and_missed(work):
    houses = [box(431000 + 20 * i, 5290000, 431010 + 20 * i, 5290008) for i in range(5)]
    mine = [*houses[:4], affinity.translate(houses[0], 0, 60)]
    found, page = report(
        work, outlines(work, "mine", mine), outlines(work, "true", houses), "footprints"
    )
    assert found["figures"]["f1"] == pytest.approx(0.8)
    assert found["figures"]["mean_iou"] == pytest.approx(1)
    assert "80.0" in page
    assert "refused: 4 check points" in page


def test_outlines_beyond_the_area_of_the_reference_are_neither_right_nor_wrong(work):
    """A map ends somewhere: what a product found beyond it was counted as invented."""
    houses = [box(431000 + 20 * i, 5290000, 431010 + 20 * i, 5290008) for i in range(5)]
    beyond, invented = (affinity.translate(houses[0], 0, north) for north in (60, 20))
    mine = outlines(work, "mine", [*houses, beyond, invented])
    true = outlines(work, "true", houses)
    # it cuts the last house
    area = outlines(work, "area", [box(430990, 5289990, 431085, 5290040)])
    strict, _ = report(work, mine, true, "footprints")
    assert strict["figures"]["precision"] == pytest.approx(5 / 7)
    found, page = report(work, mine, true, "footprints", area=area)
    assert found["figures"]["recall"] == 1
    assert found["figures"]["precision"] == pytest.approx(4 / 5)
    assert found["figures"]["product_not_asked"] == 2
    assert found["figures"]["reference_not_asked"] == 1
    assert "where the reference is complete" in page
    with pytest.raises(InvalidInput, match="area is for kind footprints"):
        report(work, mine, true, "buildings", area=area)
    far = outlines(work, "far", [box(0, 0, 1, 1)])
    with pytest.raises(NothingToCompare, match="area"):
        report(work, mine, true, "footprints", area=far)


def test_thirty_outlines_give_a_class_by_position(work):
    houses = [box(431000 + 20 * i, 5290000, 431010 + 20 * i, 5290008) for i in range(30)]
    moved = [affinity.translate(house, 0.24, 0.32) for house in houses]
    found, _ = report(
        work, outlines(work, "mine", moved), outlines(work, "true", houses), "footprints"
    )
    assert found["figures"]["position_rmse_m"] == pytest.approx(0.4)
    assert found["classes"]["asprs_horizontal"]["class_cm"] == 40
    assert found["classes"]["citygml_lod_by_position"] == 3
    assert found["stated"]["asprs_horizontal_cm"] == 40


def test_heights_of_buildings_against_outlines_and_against_a_raster(work):
    houses = [box(431035, 5290030, 431065, 5290050), box(431002, 5290002, 431010, 5290010)]
    mine = outlines(work, "mine", houses, height_m=[8.4, 0.2])
    true = outlines(work, "true", houses, height=[8.0, 0.5])
    found, _ = report(work, mine, true, "buildings")
    assert found["figures"]["median_error_m"] == pytest.approx(0.35)
    plain = town() - town().min() * 0
    above = np.where(plain - np.median(plain) > 4, 8.0, 0.0).astype(np.float32)
    found, _ = report(work, mine, raster(work, "ndsm", above), "buildings")
    assert found["figures"]["bias_m"] == pytest.approx((0.4 + 0.2) / 2)


def test_buildings_of_a_cityjson_document(work):
    x, y = 431035.0, 5290030.0
    floor = [[x, y, 100], [x + 30, y, 100], [x + 30, y + 20, 100], [x, y + 20, 100]]
    city = {
        "type": "CityJSON",
        "version": "2.0",
        "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/32631"},
        "transform": {"scale": [1, 1, 1], "translate": [0, 0, 0]},
        "vertices": floor + [[a, b, 107.5] for a, b, _ in floor],
        "CityObjects": {
            "b1": {
                "type": "Building",
                "geometry": [
                    {
                        "type": "Solid",
                        "lod": "1.2",
                        "boundaries": [
                            [[[0, 3, 2, 1]], [[4, 5, 6, 7]], [[0, 1, 5, 4]], [[1, 2, 6, 5]]]
                        ],
                    }
                ],
            }
        },
    }
    mine = work.write_json("mine.city.json", city, "application/city+json")
    true = outlines(work, "true", [box(x, y, x + 30, y + 20)], height_m=[8.0])
    found, _ = report(work, mine, true, "buildings")
    assert found["figures"]["bias_m"] == pytest.approx(-0.5)
    assert found["classes"]["citygml_lod_by_height"] == 3


def check_points(count):
    rng = np.random.default_rng(1)
    x, y = 431005 + 20 * rng.random(count), 5290005 + 20 * rng.random(count)
    return x, y, 0.02 * (x - 431000) + 0.01 * (y - 5290000)


def test_thirty_check_points_give_an_accuracy_class(work):
    x, y, z = check_points(30)
    rows = "\n".join(f"{a},{b},{c}" for a, b, c in zip(x, y, z - 0.1, strict=True))
    table = work.write_text("points.csv", f"X, Y, Z\n{rows}\n", "text/csv")
    found, _ = report(work, raster(work, "mine", town()), table, "points")
    assert found["figures"]["as_is"]["bias_m"] == pytest.approx(0.1, abs=1e-3)
    assert found["classes"]["asprs_vertical"]["class_cm"] in (10, 11)


def test_fewer_points_and_points_in_degrees(work):
    x, y, z = check_points(12)
    points = [Point(*place) for place in zip(x, y, z, strict=True)]
    there = geopandas.GeoDataFrame(geometry=points, crs=CRS).to_crs(4326)
    found, page = report(
        work, raster(work, "mine", town()), work.write_vector("points", there), "points"
    )
    assert found["figures"]["as_is"]["rmse_m"] < 0.01
    assert "refused" in page


def test_two_places_have_nothing_to_compare(work):
    elsewhere = Grid.covering((531000, 5290000, 531100, 5290080), 0.5, CRS)
    with pytest.raises(NothingToCompare, match="one place"):
        report(work, raster(work, "a", town()), raster(work, "b", town(), elsewhere), "dsm")


def test_an_empty_product_or_reference_is_named(work):
    empty, full = np.full(GRID.shape, np.nan, np.float32), town()
    with pytest.raises(NothingToCompare, match="the product knows no height"):
        report(work, raster(work, "a", empty), raster(work, "b", full), "dsm")
    with pytest.raises(NothingToCompare, match="the reference knows no height"):
        report(work, raster(work, "a", full), raster(work, "b", empty), "dsm")


def test_what_cannot_be_compared_is_refused_by_name(work):
    house = [box(431000, 5290000, 431010, 5290010)]
    with pytest.raises(InvalidInput, match="height_m"):
        report(work, outlines(work, "a", house), outlines(work, "b", house), "buildings")
    table = work.write_text("points.csv", "a,b\n1,2\n", "text/csv")
    with pytest.raises(InvalidInput, match="columns x, y and z"):
        report(work, raster(work, "mine", town()), table, "points")
    with pytest.raises(InvalidInput, match="3 bands"):
        report(work, raster(work, "c", np.stack([town()] * 3)), raster(work, "d", town()), "dsm")


def test_an_unknown_kind_is_refused_before_anything_runs():
    values = {"product": {"href": "a.tif"}, "reference": {"href": "b.tif"}, "kind": "beauty"}
    with pytest.raises(InvalidInput, match="kind"):
        QUALIFY.parse(values)
    assert QualifyInputs(product=Asset(href="a"), reference=Asset(href="b"), kind="dsm")
