"""The segment process over real files: codes, colours, footprints, networks of one's own."""

import json

import geopandas
import numpy as np
import pytest
import rasterio

from processes.core.errors import AssetMissing, InvalidInput
from processes.core.origin import Origin
from processes.core.process import Asset, Layer
from processes.core.raster import Grid, Raster
from processes.footprints import FOOTPRINTS, FootprintsInputs
from processes.segment import CODES, SEGMENT, SegmentInputs
from processes.semantics.modelcard import card_of
from processes.semantics.stack import BUILDING
from processes.semantics.town import town
from processes.semantics.wear import degraded
from processes.semantics.weights import bundled
from workers.reader import Reader
from workers.workspace import LocalWorkspace


@pytest.fixture(scope="module")
def place():
    return town(3, size=320)


@pytest.fixture(scope="module")
def scene(place, tmp_path_factory):
    """A made-up town as files: dsm, dtm and a four-band ortho of counts."""
    folder = tmp_path_factory.mktemp("town")
    work = LocalWorkspace(folder / "in", Reader(cache=folder / "fetched", files=True))
    made = degraded(np.random.default_rng(3), place)
    grid = Grid.covering((500000, 5e6, 500160, 5e6 + 160), 0.5, "EPSG:32631")
    terrain = np.full(place.shape, 200, np.float32)
    pixels = np.nan_to_num(np.stack(list(made.bands.values()))).clip(0, 4095).astype(np.uint16)
    return {
        "dsm": work.write_raster("dsm", Raster(made.above_ground + terrain, grid)),
        "dtm": work.write_raster("dtm", Raster(terrain, grid)),
        "ortho": work.write_raster(
            Layer("ortho", "uint16", band_names=list(made.bands)), Raster(pixels, grid)
        ),
    }


@pytest.fixture
def work(tmp_path):
    return LocalWorkspace(tmp_path / "products", Reader(cache=tmp_path / "fetched", files=True))


def told(work, scene, **inputs):
    made = SEGMENT.run(SegmentInputs(**scene, **inputs), work)
    with rasterio.open(made.classes.href) as file:
        return file.read(1), file.colormap(1), file.tags(), made.classes


def iou(found, truth):
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize("segmenter", ["unet", "rules"])
def test_classes_are_codes_with_colours_and_names(work, scene, place, segmenter):
    codes, colours, tags, _ = told(work, scene, segmenter=segmenter)
    assert set(np.unique(codes)) <= set(CODES)
    assert iou(codes == 1, place.classes == BUILDING) > 0.8
    assert colours[1][0] > colours[1][2]
    assert colours[3][2] > colours[3][0]
    assert tags["OROGRAPH_VALUES"].startswith("1 building, 2 vegetation")


@pytest.mark.parametrize("segmenter", ["unet", "rules"])
def test_filled_heights_beside_a_roof_are_told_by_colour(work, scene, place, segmenter):
    """A strip that no pair saw was filled from the ground: half of all errors lay in such ones."""
    roofs = place.classes == BUILDING
    hidden = roofs & ~np.roll(roofs, 3, axis=1)  # their western rims
    with rasterio.open(scene["dsm"].href) as file:
        surface, grid = file.read(1), Grid(str(file.crs), file.transform, *file.shape)
    surface[hidden] = 200
    origins = np.where(hidden, Origin.FILLED_OCCLUSION, Origin.SEEN).astype(np.uint8)
    seen = scene | {"dsm": work.write_raster("rimless", Raster(surface, grid))}
    mask = work.write_raster(Layer("origins", "uint8"), Raster(origins, grid))
    unaware = told(work, seen, segmenter=segmenter)[0][hidden] == 1
    aware = told(work, seen, segmenter=segmenter, ortho_mask=mask)[0][hidden] == 1
    assert aware.mean() > unaware.mean() + 0.1


def test_blocks_change_nothing(work, scene, monkeypatch, tmp_path):
    whole = told(work, scene)[0]
    monkeypatch.setattr("processes.segment.BLOCK_PX", 112)
    cut = told(LocalWorkspace(tmp_path / "b", Reader(cache=tmp_path / "f", files=True)), scene)[0]
    assert (whole != cut).mean() < 1e-4


def test_a_scene_without_heights_in_places_has_no_class_there(work, scene):
    source = work.open_raster(scene["dsm"])
    values = source.read()[0]
    values[:50, :60] = np.nan
    holed = work.write_raster("holed", Raster(values, source.grid))
    codes = told(work, {**scene, "dsm": holed})[0]
    assert (codes[:50, :60] == 0).all()
    assert (codes[50:] > 0).all()


@pytest.mark.parametrize("how", ["unet", "classes"])
def test_footprints_can_be_drawn_from_the_network(work, scene, place, how):
    given = {"segmenter": "unet"}
    if how == "classes":
        given = {"classes": told(work, scene)[3]}
    made = FOOTPRINTS.run(FootprintsInputs(**scene, **given), work)
    found = geopandas.read_parquet(made.footprints.href)
    drawn = float(found.geometry.area.sum())
    true = float((place.classes == BUILDING).sum()) * 0.25
    assert len(found) > 3
    assert drawn == pytest.approx(true, rel=0.2)


def own(folder, **changes):
    """Write the bundled network as somebody's own."""
    _, content = bundled()
    folder.mkdir(exist_ok=True)
    (folder / "mine.safetensors").write_bytes(content)
    card = card_of("mine", content, "mine.safetensors", "safetensors", {"steps": 1}, 1)
    card["assets"]["weights"].update(changes)
    (folder / "mine.json").write_text(json.dumps(card))
    return Asset(href=str(folder / "mine.json"))


def test_a_network_of_ones_own_is_found_beside_its_item(work, scene, tmp_path):
    mine = told(work, scene, weights=own(tmp_path / "mine"))[0]
    np.testing.assert_array_equal(mine, told(work, scene)[0])


def test_weights_that_are_missing_or_changed_are_refused(work, scene, tmp_path):
    gone = own(tmp_path / "gone", href="other.safetensors")
    with pytest.raises(AssetMissing):
        told(work, scene, weights=gone)
    changed = own(tmp_path / "changed", **{"file:checksum": "1220" + "0" * 64})
    with pytest.raises(InvalidInput, match="checksum"):
        told(work, scene, weights=changed)
