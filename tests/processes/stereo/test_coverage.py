"""What images see together, and what a coarse elevation model adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from shapely.geometry import box

from processes.core.errors import InvalidInput, NoOverlap, OutsideArea
from processes.core.raster import Grid
from processes.stereo.adjust import Pointing
from processes.stereo.coverage import footprint, pairs_of, pieces
from processes.stereo.elevation import (
    heights_at,
    lift_m,
    lifted,
    likely_reference,
    require_credible,
    void_of,
)
from processes.stereo.geoid import undulation_m
from processes.stereo.rpc import read_document
from processes.stereo.triangulate import intersect
from processes.stereo.view import View

SCENE = Path(__file__).parents[2] / "data/scenes/village/truth"


def nothing(row0: int, col0: int, height: int, width: int) -> NDArray[np.float32]:
    return np.full((1, height, width), np.nan, np.float32)


LEFT, RIGHT = (
    View(
        name, read_document(name, (SCENE / f"{name}_true_RPC.TXT").read_text()), (900, 900), nothing
    )
    for name in ("left", "right")
)


def test_a_pair_shares_the_ground_in_the_middle() -> None:
    (pair,), heights = pairs_of([LEFT, RIGHT], [50.0, 150.0, 250.0])
    assert pair.base_to_height == pytest.approx(0.35, abs=0.01)
    assert heights == (50.0, 250.0)
    assert 0.8 < pair.ground.area / footprint(LEFT, 150.0).area < 1.1


def test_small_images_that_overlap_at_some_heights_only_are_a_pair() -> None:
    shifted = replace(RIGHT, model=RIGHT.model.shifted(880.0, 0.0))
    _, (low, high) = pairs_of([LEFT, shifted], [150.0, 250.0, 350.0, 450.0, 800.0, 1000.0])
    assert high < 1000.0 or low > 150.0


def test_images_apart_and_areas_apart_are_told_from_each_other() -> None:
    far = replace(RIGHT, model=RIGHT.model.shifted(9000.0, 0.0))
    with pytest.raises(NoOverlap, match="left and right share no ground"):
        pairs_of([LEFT, far], [150.0])
    with pytest.raises(OutsideArea):
        pairs_of([LEFT, RIGHT], [150.0], box(3.0, 40.0, 3.1, 40.1))


def test_images_from_one_side_and_from_opposite_ones_are_told_from_each_other() -> None:
    with pytest.raises(NoOverlap, match=r"too alike .* is 0\.00, at least 0\.05 .* further apart"):
        pairs_of([LEFT, LEFT], [150.0])
    slanted = [replace(v, model=replace(v.model, height_scale=v.model.height_scale / 4))
               for v in (LEFT, RIGHT)]  # fmt: skip
    with pytest.raises(NoOverlap, match=r"too unlike .* is 1\.4\d, at most 1\.2 .* between them"):
        pairs_of(slanted, [150.0])


def test_a_large_ground_is_looked_at_in_pieces_inside_it() -> None:
    ground = box(2.0, 47.0, 2.1, 47.05)
    found = pieces(ground, 500.0)
    assert len(found) == 9
    assert all(
        ground.buffer(1e-9).contains(box(x.min(), y.min(), x.max(), y.max())) for x, y in found
    )
    assert len(pieces(box(2.0, 47.0, 2.005, 47.003), 500.0)) == 1


def test_the_geoid_stands_where_it_is_known_to_stand() -> None:
    # Munich, Marseille, Giza: published EGM96 undulations
    lon, lat = [11.58, 5.443, 31.13], [48.14, 43.26, 29.98]
    assert_allclose(undulation_m(lon, lat), [45.5, 49.3, 15.4], atol=0.2)
    assert_allclose(undulation_m(-180.0, 10.0), undulation_m(180.0, 10.0))
    assert np.isfinite(undulation_m([0, 359.99], [90, -90])).all()


class Plane:
    """A raster that is a plane, with one void."""

    grid = Grid("EPSG:4326", Affine(0.001, 0, 2.0, 0, -0.001, 48.0), 50, 60)
    shape = (1, 50, 60)

    def read(
        self, row0: int, col0: int, height: int, width: int, bands: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        row, col = np.mgrid[row0 : row0 + height, col0 : col0 + width].astype(np.float32)
        z = 100 + row + 2 * col
        z[(row < 0) | (col < 0) | (row > 49) | (col > 59) | ((row == 20) & (col == 20))] = np.nan
        return z[None]


def test_a_coarse_model_is_read_between_its_cells() -> None:
    z = heights_at(Plane(), np.array([2.0105, 2.0110, 2.5]), np.array([47.9895, 47.9890, 47.99]))  # type: ignore[arg-type]
    assert_allclose(z[:2], [130.0, 131.5], atol=1e-3)
    assert np.isnan(z[2])


@pytest.mark.parametrize("void", [-32768.0, -9999.0, 32767.0])
def test_a_void_that_no_file_declares_is_no_height(void: float) -> None:
    class Holed(Plane):
        def read(self, *window: int, bands: Sequence[int] | None = None) -> NDArray[np.float32]:
            return np.where(super().read(*window) < 105, np.float32(void), super().read(*window))

    z = heights_at(Holed(), np.array([2.0005, 2.0105]), np.array([47.9995, 47.9895]))  # type: ignore[arg-type]
    assert np.isnan(z[0])
    assert z[1] == pytest.approx(130.0, abs=1e-3)


def test_heights_on_the_geoid_are_recognised() -> None:
    lon, lat = np.full(50, 2.08), np.full(50, 47.76)
    height = np.linspace(140, 160, 50)
    assert likely_reference(height, height - 45.0, lon, lat) == "geoid"
    assert likely_reference(height, height + 4.0, lon, lat) == "ellipsoid"


def test_a_scene_is_lifted_most_of_the_way_to_a_coarse_model() -> None:
    height = np.linspace(140, 160, 5000)
    assert 2.0 < lift_m(height, height + 3.0, px_per_m=0.7) < 3.0
    assert lift_m(height[:10], height[:10] + 3.0, px_per_m=0.7) == 0.0


def test_pointing_that_proved_wrong_holds_a_scene_less_than_a_coarse_model() -> None:
    height = np.linspace(140, 160, 5000)
    assert lift_m(height, height + 30.0, px_per_m=0.7) < 26.0
    assert lift_m(height, height + 30.0, px_per_m=0.7, off_px=20.0) > 29.0


def test_a_model_that_cannot_be_of_this_place_is_refused() -> None:
    height = np.linspace(140, 160, 5000)
    with pytest.raises(InvalidInput, match="dem lies 344 m above what the images show"):
        require_credible(height, height + 344.0, 0.7, 0.0, even=False)
    with pytest.raises(InvalidInput, match=r"30 m below .* voids declared as nodata"):
        require_credible(height, height - 30.0, 0.7, 0.0, even=True)
    require_credible(height, height - 30.0, 0.7, 0.0, even=False)
    require_credible(height, height + 344.0, 0.7, off_px=60.0, even=False)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("pointing_m", [-30.0, 0.0, 30.0])
def test_voids_of_nought_stand_alone(share: float, pointing_m: float) -> None:
    rng = np.random.default_rng(3)
    ground = rng.normal(150.0, 9.0, 20_000)
    height = ground + rng.normal(pointing_m, 4.0, ground.size)
    ground[rng.random(ground.size) < share] = 0.0
    assert void_of(ground, height) == 0.0


def test_lakes_and_plains_in_whole_metres_are_no_voids() -> None:
    rng = np.random.default_rng(3)
    land = rng.normal(0.0, 1.0, 20_000).round() + np.where(rng.random(20_000) < 0.3, 12.0, 0.0)
    assert void_of(land, land + rng.normal(8.0, 4.0, land.size)) is None
    fine = rng.normal(150.0, 9.0, 20_000)
    assert void_of(fine, fine + 5.0) is None
    assert void_of(np.full(20_000, np.nan), fine) is None


def test_lifted_rays_meet_higher_and_the_first_image_stays() -> None:
    lon, lat = LEFT.model.locate([100.0, 400.0, 800.0], [200.0, 700.0, 300.0], 150.0)
    height = np.array([150.0, 160.0, 140.0])
    tied = Pointing((LEFT.model, RIGHT.model), ((0, 0), (0, 0)), 3, (3, 3), 0, 0, lon, lat, height)
    higher = lifted(tied, 5.0)
    assert higher.models[0] is LEFT.model
    seen = [m.project(lon, lat, height) for m in tied.models]
    rows, cols = (np.stack([s[k] for s in seen]) for k in (0, 1))
    met = intersect(higher.models, rows, cols, 150.0)
    assert_allclose(met[2], height + 5.0, atol=0.01)
