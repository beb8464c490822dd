"""True ortho of a made place: a tower on a chequered plain, seen by slanted cameras."""

import json

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from processes.core.errors import InvalidInput, NoOverlap
from processes.core.process import Asset, Layer
from processes.core.raster import Grid, Image, Raster
from processes.ortho import ORTHO, OrthoInputs
from processes.stereo.orthorectify import lean, match_radiometry, sample, sunlit
from processes.stereo.rpc import read_document
from processes.stereo.shots import Pointing
from workers.reader import Reader
from workers.workspace import LocalWorkspace

CELL_M, SIZE = 0.5, 200
GROUND_M, TOWER_M = 100.0, 130.0
X0, Y0 = 500000.0, 5400000.0
ROOF = np.s_[80:120, 90:130]


def surface():
    z = np.full((SIZE, SIZE), GROUND_M, np.float32)
    z[ROOF] = TOWER_M
    return z


def colours():
    """Return what lies on each cell: stripes on the ground, a bright roof; two bands."""
    row, col = np.mgrid[:SIZE, :SIZE]
    ground = 400 + 200 * np.sin(col / 6) + 150 * np.cos(row / 9)
    red = np.where(surface() > 110, 1500.0, ground)
    return np.stack([red, 0.5 * red + 100])


GRID = Grid.covering((X0, Y0, X0 + SIZE * CELL_M, Y0 + SIZE * CELL_M), CELL_M, "EPSG:32631")


def rpc_text(lean_px_per_m, shift=(0.0, 0.0)):
    """Return the RPC of a parallel camera whose pixels are the cells of the ground.

    Heights above GROUND_M move along the columns; over this small place it is linear.
    """
    from pyproj import Transformer

    rows, cols = np.mgrid[0:SIZE:20, 0:SIZE:20].reshape(2, -1)
    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True).transform
    lon, lat = to_degrees(*GRID.xy(rows, cols))
    offsets = {"LAT": (lat.mean(), 0.01), "LONG": (lon.mean(), 0.01), "HEIGHT": (GROUND_M, 100.0)}
    system = np.stack([np.ones(lon.size), (lon - lon.mean()) * 100, (lat - lat.mean()) * 100], 1)
    middle = SIZE / 2
    lines = [
        f"{name}_OFF: {off:.12f}\n{name}_SCALE: {scale}" for name, (off, scale) in offsets.items()
    ]
    for name, value, move, by_height in (
        ("LINE", rows + 20.0, shift[0], 0.0),
        ("SAMP", cols + 60.0, shift[1], -lean_px_per_m),
    ):
        solved = np.linalg.lstsq(system, (value - middle) / middle, rcond=None)[0]
        number = [*solved, by_height * 100.0 / middle, *[0.0] * 16]
        lines += [f"{name}_OFF: {middle + move}", f"{name}_SCALE: {middle}"]
        lines += [f"{name}_NUM_COEFF_{i}: {v:.15e}" for i, v in enumerate(number, start=1)]
        lines += [f"{name}_DEN_COEFF_{i}: {float(i == 1)}" for i in range(1, 21)]
    return "\n".join(lines)


def picture(lean_px_per_m, gain=1.0, offset=0.0):
    """Return what the camera sees, drawn from the lowest cell to the highest."""
    z, paint = surface(), colours()
    image = np.full((2, SIZE + 40, SIZE + 120), np.nan, np.float32)
    row, col = np.mgrid[:SIZE, :SIZE]
    r = row + 20
    for height in (GROUND_M, *np.arange(GROUND_M, TOWER_M, 0.5), TOWER_M):
        there = z >= height if height > GROUND_M else z >= 0
        c = np.rint(col - lean_px_per_m * (height - GROUND_M) + 60).astype(int)
        # walls are black, roofs and ground have their paint
        shown = np.where((z == height)[None], paint, 5.0)
        image[:, r[there], c[there]] = shown[:, there]
    return gain * image + offset


class Source:
    """An image in memory."""

    def __init__(self, pixels, names=("red", "nir"), dtype="uint16"):
        self.pixels, self.band_names, self.dtype = pixels, names, dtype
        self.shape, self.grid, self.tags, self.rpc_tags = pixels.shape, None, {}, None
        self.origin = (0.0, 0.0)

    def read(self, row0=0, col0=0, height=None, width=None, bands=None):
        picked = self.pixels if bands is None else self.pixels[list(bands)]
        rows, cols = np.mgrid[row0 : row0 + height, col0 : col0 + width]
        return np.stack(
            [ndimage.map_coordinates(band, [rows, cols], order=0, cval=np.nan) for band in picked]
        ).astype(np.float32)


class Desk(LocalWorkspace):
    """A workspace whose images are handed in."""

    shots: tuple[Image, ...] = ()

    def images(self, refs):
        return list(self.shots)


@pytest.fixture
def work(tmp_path):
    return Desk(tmp_path / "products", Reader(cache=tmp_path / "fetched", files=True))


def taken(work, *shots, tags=None, values=None):
    """Run the process; a shot is (name, lean, picture options[, camera shift])."""
    images = []
    for name, slant, options, *shift in shots:
        model = [(f"{name}_RPC.TXT", rpc_text(slant, *shift))]
        facts = {"view:sun_azimuth": 150.0, "view:sun_elevation": 50.0}
        images.append(Image(name, Source(picture(slant, **options)), model, facts))
    work.shots = tuple(images)
    layer = Layer("dsm", tags=tags or {})
    dsm = work.write_raster(layer, Raster(surface() if values is None else values, GRID))
    outputs = ORTHO.run(OrthoInputs(images=[Asset(href="x")], dsm=dsm), work)
    with rasterio.open(outputs.ortho.href) as o, rasterio.open(outputs.ortho_source.href) as s:
        return o.read(), s.read(1), (o.dtypes, o.descriptions, o.tags())


def inner(mask):
    """Leave out the cells beside an edge, where pixels mix."""
    return ndimage.binary_erosion(mask, iterations=2)


def roof():
    mask = np.zeros((SIZE, SIZE), bool)
    mask[ROOF] = True
    return mask


def hidden(slant):
    """Return the ground that the tower hides from a camera with this lean."""
    reach = round(slant * (TOWER_M - GROUND_M))
    mask = np.zeros((SIZE, SIZE), bool)
    step = np.sign(reach)
    for k in range(1, abs(reach) + 1):
        mask |= np.roll(roof(), -step * k, axis=1)
    return mask & ~roof()


def test_the_roof_lies_where_the_tower_stands_and_hidden_ground_is_empty(work):
    pixels, source, file = taken(work, ("only", 0.5, {}))
    assert file[:2] == (("uint16", "uint16"), ("red", "nir"))
    assert (pixels[0][inner(roof())] == 1500).all()
    behind = inner(hidden(0.5))
    assert behind.sum() > 300
    assert (source[behind] == 0).all()
    assert (pixels[:, behind] == 0).all()
    seen = inner(~roof() & ~ndimage.binary_dilation(hidden(0.5), iterations=2))
    assert np.abs(pixels[0][seen] - colours()[0][seen]).max() <= 1


def test_hidden_ground_is_filled_from_the_other_image_in_the_same_radiometry(work):
    other = ("other", -0.7, {"gain": 1.6, "offset": 120.0})
    pixels, source, file = taken(work, other, ("near", 0.5, {}))
    assert json.loads(file[2]["OROGRAPH_IMAGES"]) == {"1": "near", "2": "other"}
    behind = inner(hidden(0.5))
    assert (source[behind] == 2).all()
    assert np.abs(pixels[0][behind] - colours()[0][behind]).max() < 12
    assert (source[inner(roof())] == 1).all()


def test_a_cloudy_image_serves_last_though_it_is_nearest_to_the_vertical(work):
    white = {"gain": 0.0, "offset": 3000.0}
    shots = ("white", 0.1, white), ("left", 0.5, {}), ("right", -0.7, {})
    pixels, _, file = taken(work, *shots)
    assert json.loads(file[2]["OROGRAPH_IMAGES"]) == {"1": "left", "2": "right", "3": "white"}
    assert (pixels[0][inner(roof())] == 1500).all()


def test_pointing_found_by_the_surface_model_is_used(work):
    shift = (-3.0, 7.0)
    tags = {"OROGRAPH_POINTING": json.dumps({"only": [3.0, -7.0]})}
    pixels, _, _ = taken(work, ("only", 0.5, {}, shift), tags=tags)
    assert (pixels[0][inner(roof())] == 1500).all()


def test_cells_without_height_stay_empty(work):
    values = surface()
    values[10:30, 10:30] = np.nan
    pixels, source, _ = taken(work, ("only", 0.0, {}), values=values)
    assert (source[10:30, 10:30] == 0).all()
    assert (pixels[:, 10:30, 10:30] == 0).all()
    assert (source[40:60, 10:30] == 1).all()


def test_blocks_join_without_a_seam(work, monkeypatch):
    whole, _, _ = taken(work, ("near", 0.5, {}), ("other", -0.7, {}))
    monkeypatch.setattr("processes.ortho.BLOCK_PX", 64)
    blocks, _, _ = taken(work, ("near", 0.5, {}), ("other", -0.7, {}))
    assert (np.abs(whole.astype(int) - blocks) <= 1).mean() > 0.999


def test_the_sun_is_handed_on(work):
    _, _, file = taken(work, ("only", 0.2, {}))
    assert json.loads(file[2]["OROGRAPH_SUN"]) == [150.0, 50.0]


def test_images_of_another_place_are_refused(work):
    with pytest.raises(NoOverlap):
        taken(work, ("far", 0.2, {}, (5000.0, 0.0)))


def test_a_broken_pointing_tag_is_named():
    assert Pointing.of({}).correction("left", (2.0, 47.0)) == (0.0, 0.0)
    with pytest.raises(InvalidInput, match="pointing"):
        Pointing.of({"OROGRAPH_POINTING": "[1, 2"})
    with pytest.raises(InvalidInput, match="pointing"):
        Pointing.of({"OROGRAPH_POINTING": '{"left": [1, 2, 3]}'})


def test_an_image_is_known_again_under_another_name():
    tags = {
        "OROGRAPH_POINTING": '{"item-left": [0, 0], "item-right": [0.3, 1.8]}',
        "OROGRAPH_ANCHORS": '{"item-left": [2.08, 47.76], "item-right": [2.09, 47.76]}',
    }
    found = Pointing.of(tags)
    assert found.correction("item-right", (0.0, 0.0)) == (0.3, 1.8)
    assert found.correction("right", (2.09 + 1e-9, 47.76)) == (0.3, 1.8)
    assert found.correction("another", (2.1, 47.8)) == (0.0, 0.0)


def test_lean_is_read_off_the_sensor_model():
    from pyproj import Transformer

    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True).transform
    ray = lean(read_document("a_RPC.TXT", rpc_text(0.5)), to_degrees, X0 + 50, Y0 + 50, GROUND_M)
    assert ray.dx_dh == pytest.approx(0.5 * CELL_M, abs=1e-3)
    assert ray.dy_dh == pytest.approx(0.0, abs=1e-3)


def test_radiometry_is_matched_despite_outliers():
    rng = np.random.default_rng(0)
    other = rng.uniform(100, 900, (2, 5000)).astype(np.float32)
    reference = 1.7 * other - 30
    reference[:, :300] = 4000
    gain, offset = match_radiometry(reference, other)
    np.testing.assert_allclose(gain, 1.7, rtol=0.1)
    np.testing.assert_allclose(gain * 500 + offset, 1.7 * 500 - 30, rtol=0.08)


def test_cubic_sampling_keeps_planes_and_survives_holes():
    row, col = np.mgrid[:40, :50]
    image = (3.0 * row + 2.0 * col)[None].astype(np.float32)
    image[0, 10, 10] = np.nan
    at_row, at_col = np.array([20.25, 5.5, 10.6, 10.1]), np.array([30.5, 7.75, 11.4, 9.9])
    got = sample(Source(image).read, at_row, at_col, 1)[0]
    np.testing.assert_allclose(got[:2], (3 * at_row + 2 * at_col)[:2], atol=1e-3)
    assert np.isfinite(got[2])
    assert np.isnan(got[3])


def test_a_wall_throws_its_shadow_away_from_the_sun():
    z = np.zeros((40, 40))
    z[20, :] = 10.0
    lit = sunlit(z, 1.0, 180.0, 45.0)
    assert not lit[12:19].any()
    assert lit[:9].all()
    assert lit[20:].all()
