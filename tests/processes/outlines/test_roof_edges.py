"""Outlines moved to the edges of roofs that two images show: made places with a known truth."""

import cv2
import numpy as np
import pytest
import shapely

from processes.core.raster import Grid, Raster
from processes.outlines.roof_edges import Look, measured, on_images
from processes.outlines.sides import redrawn, sides_of

SIZE_M, CELL_M, PIXEL_M, FINE = 60.0, 0.5, 0.5, 5
GROUND_M, ROOF_M = 100.0, 112.0
GRID = Grid.covering((0.0, 0.0, SIZE_M, SIZE_M), CELL_M, "EPSG:32631")
LEANS = ((0.05, 0.3), (-0.05, -0.3))
"""East and north, metres for each metre of height, of two images."""
TURNED = shapely.Polygon([(17.13, 14.2), (39.42, 18.13), (36.46, 34.87), (14.17, 30.94)])


def surface_of(houses):
    """Return heights (row, col) of the ground and of houses, each with its height."""
    x, y = GRID.xy(*np.mgrid[: GRID.height, : GRID.width])
    heights = np.full(GRID.shape, GROUND_M, np.float32)
    for house, height, *_ in houses:
        heights[shapely.contains_xy(house, x, y)] = height
    return Raster(heights, GRID)


def look_of(houses, lean, roof=900.0, ground=500.0, noise=0.0):
    """Return what a slanted camera sees of roofs over the ground, blurred and noisy, two bands."""
    pixels = round(SIZE_M / PIXEL_M)
    place = ((np.arange(pixels * FINE) + 0.5) / FINE) * PIXEL_M
    x, y = np.meshgrid(place, SIZE_M - place)
    seen = np.full(x.shape, ground)
    for house, height, *paint in houses:
        rise = height - GROUND_M
        inside = shapely.contains_xy(house, x + lean[0] * rise, y + lean[1] * rise)
        seen[inside] = paint[0] if paint else roof
    seen = seen.reshape(pixels, FINE, pixels, FINE).mean(axis=(1, 3))
    seen = cv2.GaussianBlur(seen, (0, 0), 0.5)
    chance = np.random.default_rng(7).standard_normal((2, *seen.shape)) * noise
    image = (np.stack([seen, 0.7 * seen]) + chance).astype(np.float32)

    def project(x, y, height):
        x, y = x - lean[0] * (height - GROUND_M), y - lean[1] * (height - GROUND_M)
        return (SIZE_M - y) / PIXEL_M - 0.5, x / PIXEL_M - 0.5

    def read(row, col, height, width):
        out = np.full((2, height, width), np.nan, np.float32)
        rows, cols = np.mgrid[row : row + height, col : col + width]
        inside = (rows >= 0) & (rows < pixels) & (cols >= 0) & (cols < pixels)
        out[:, inside] = image[:, rows[inside], cols[inside]]
        return out

    return Look(project, read, (pixels, pixels))


def looks_of(houses, leans=LEANS, **kind):
    return [look_of(houses, lean, **kind) for lean in leans]


def with_walls_off(house, offsets_m):
    """Return a house with each wall further out by so much."""
    sides = sides_of([house])
    moves = np.zeros(len(offsets_m))
    moves[sides.wall] = offsets_m
    return redrawn([house], sides, moves)[0]


@pytest.mark.parametrize("too_high_m", [0.0, 0.4, -0.4])
def test_the_edges_of_a_roof_are_found_within_a_tenth_of_a_metre(too_high_m):
    """The surface's height may be wrong: what that moves differs from image to image."""
    looks = looks_of([(TURNED, ROOF_M)], noise=20.0)
    off = np.array([0.3, -0.25, 0.2, -0.35])
    drawn = with_walls_off(TURNED, off)
    surface = surface_of([(drawn, ROOF_M + too_high_m)])
    sides = sides_of([drawn])
    found = measured(sides, surface, looks)
    assert found[sides.wall] == pytest.approx(-off, abs=0.1)
    (moved,), ways = on_images([drawn], surface, looks)
    assert len(ways) == 4
    assert shapely.hausdorff_distance(moved, TURNED) < 0.15
    assert shapely.hausdorff_distance(drawn, TURNED) > 0.3


def test_where_no_contrast_is_nothing_moves():
    drawn = with_walls_off(TURNED, np.array([0.3, -0.25, 0.2, -0.35]))
    surface = surface_of([(drawn, ROOF_M)])
    (moved,), ways = on_images([drawn], surface, looks_of([(TURNED, ROOF_M)], roof=500.0))
    assert moved.equals_exact(drawn, 1e-9)
    assert not len(ways)
    (moved,), ways = on_images([drawn], surface, [])
    assert moved.equals_exact(drawn, 1e-9)


def test_an_image_of_another_place_tells_nothing():
    far = look_of([(TURNED, ROOF_M)], LEANS[0])
    for away_m in (5e3, np.nan):

        def project(x, y, height, away_m=away_m):
            return far.project(x + away_m, y, height)

        look = Look(project, far.read, far.shape)
        assert not on_images([TURNED], surface_of([(TURNED, ROOF_M)]), [look])[1].size


def test_walls_that_houses_share_stay_shared_and_yards_stay():
    yard = shapely.box(18.0, 20.0, 28.0, 30.0)
    west, east = shapely.box(10.0, 12.0, 34.0, 38.0) - yard, shapely.box(34.0, 12.0, 48.0, 38.0)
    true = [
        shapely.box(10.2, 12.2, 34.0, 37.8) - yard.buffer(-0.2),
        shapely.box(34, 12.2, 47.7, 37.8),
    ]
    houses = [(house, ROOF_M) for house in true]
    one, other = on_images([west, east], surface_of(houses), looks_of(houses))[0]
    assert one.is_valid
    assert other.is_valid
    assert shapely.area(one & other) == 0.0
    party = shapely.boundary(one) & shapely.boundary(other)
    assert party.length == pytest.approx(37.8 - 12.2, abs=0.1)
    x, _ = shapely.get_coordinates(party).T
    assert x == pytest.approx(34.0, abs=1e-9)
    assert len(one.interiors) == 1
    for moved, house in zip((one, other), true, strict=True):
        assert shapely.hausdorff_distance(moved, house) < 0.1
        assert shapely.get_num_coordinates(moved) == shapely.get_num_coordinates(house)


def test_an_edge_behind_a_higher_house_is_left_to_the_other_image():
    """The tower in the north hides the edge from the camera there, whose picture shows its own."""
    house, tower = shapely.box(15.0, 14.0, 40.0, 30.0), shapely.box(10.0, 31.5, 45.0, 45.0)
    houses = [(house, 108.0), (tower, 150.0)]
    surface = surface_of(houses)
    sides = sides_of([house])
    north = sides.wall[sides.normal[:, 1] > 0.9]
    hidden = look_of([(house, 108.0), (tower, 150.0)], (0.0, 0.3))
    assert measured(sides, surface, [hidden])[north] == pytest.approx(0.0, abs=1e-12)
    free = look_of([(house, 108.0)], (0.0, 0.3))
    assert abs(measured(sides, surface_of(houses[:1]), [free])[north]) > 1e-3


def test_a_house_that_would_turn_inside_out_stays_with_the_corners_it_shares():
    thin, wide = shapely.box(0.0, 0.0, 10.0, 1.0), shapely.box(10.0, 0.0, 20.0, 1.0).buffer(0)
    wide = shapely.box(10.0, 0.0, 20.0, 9.0)
    sides = sides_of([thin, wide])
    inwards = np.full(sides.wall.max() + 1, -0.8)
    left, right = redrawn([thin, wide], sides, inwards)
    assert left.equals_exact(thin, 1e-9)
    assert right.is_valid
    assert {(10.0, 0.0)} <= {tuple(xy) for xy in shapely.get_coordinates(right)}
    assert not right.equals_exact(wide, 1e-3)


def test_a_wall_along_two_houses_moves_as_one():
    one, other = shapely.box(10.0, 10.0, 22.0, 20.0), shapely.box(22.0, 10.0, 34.0, 20.0)
    sides = sides_of([one, other])
    south = sides.wall[sides.normal[:, 1] < -0.9]
    assert len(south) == 2
    assert south[0] == south[1] >= 0
    west, east = np.flatnonzero((sides.start[:, 0] == 22.0) & (sides.stop[:, 0] == 22.0))
    assert sides.wall[west] == sides.wall[east] >= 0
    assert sides.facing[west] == -sides.facing[east]


def test_a_wall_shared_along_a_part_of_its_line_stays():
    long, short = shapely.box(10.0, 10.0, 22.0, 30.0), shapely.box(22.0, 10.0, 34.0, 20.0)
    sides = sides_of([long, short])
    on_line = (sides.start[:, 0] == 22.0) & (sides.stop[:, 0] == 22.0)
    assert sides.wall[on_line].tolist() == [-1, -1]


@pytest.mark.parametrize("step_m", [0.0, 3.0, -3.0])
def test_a_shared_wall_moves_for_both_houses(step_m):
    """To where their roofs differ in the images, as the higher one's edge shows it."""
    west, east = shapely.box(10.0, 12.0, 30.3, 38.0), shapely.box(30.3, 12.0, 48.0, 38.0)
    true = [(west, 108.0, 900.0), (east, 108.0 + step_m, 650.0)]
    true.sort(key=lambda house: house[1])  # what is higher is drawn over what is lower
    drawn = [shapely.box(10.0, 12.0, 30.0, 38.0), shapely.box(30.0, 12.0, 48.0, 38.0)]
    surface = surface_of([(drawn[0], 108.0), (drawn[1], 108.0 + step_m)])
    along = looks_of(true, leans=((0.0, 0.3), (0.0, -0.3)), noise=10.0)
    one, other = on_images(drawn, surface, along)[0]
    assert shapely.area(one & other) < 1e-9
    assert shapely.area(one | other) == pytest.approx(38.0 * 26.0, rel=0.01)
    assert one.bounds[2] == pytest.approx(30.3, abs=0.1)
    assert other.bounds[0] == one.bounds[2]
