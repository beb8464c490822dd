"""Blocks, steps and products, over real files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from pydantic import Field
from rasterio.enums import MaskFlags
from scipy import ndimage
from shapely.geometry import box

from processes.core.errors import AssetMissing, GridMismatch, InvalidInput
from processes.core.process import Asset, Inputs, Layer, Outputs, Process
from processes.core.raster import Grid, Raster
from workers.cog import TILE_PX, BlockFile
from workers.rasters import CACHE
from workers.reader import Reader
from workers.results import finished, results
from workers.workspace import LocalWorkspace

GRID = Grid.covering((431000, 5290000, 431150, 5290100), 0.5, "EPSG:32631")


@pytest.fixture
def work(tmp_path):
    reader = Reader(cache=tmp_path / "fetched", files=True)
    return LocalWorkspace(tmp_path / "products", reader, steps=tmp_path / "steps")


@pytest.fixture
def heights():
    noise = np.random.default_rng(1).normal(150, 5, GRID.shape).astype(np.float32)
    noise[10:20, 30:40] = np.nan
    return noise


def smoothed(raster: Raster) -> Raster:
    return Raster(ndimage.convolve(raster.values, np.full((9, 9), 1 / 81)), raster.grid)


def test_a_raster_is_written_as_a_cloud_optimised_geotiff(work, heights):
    from rio_cogeo import cog_validate

    asset = work.write_raster(Layer("dsm", tags={"SOURCE": "test"}), Raster(heights, GRID))
    valid, errors, warnings = cog_validate(asset.href, strict=True)
    assert valid, errors + warnings
    with rasterio.open(asset.href) as file:
        assert file.crs.to_epsg() == 32631
        assert file.tags()["SOURCE"] == "test"
        assert np.isnan(file.nodata)
        np.testing.assert_array_equal(file.read(1), heights)


def test_blocks_with_their_margin_equal_one_big_block(work, heights):
    whole = np.nan_to_num(heights, nan=150)
    asset = work.write_raster("dsm", Raster(whole, GRID))
    small = work.map_blocks("small", smoothed, asset, margin_m=2, block_px=64)
    large = work.map_blocks("large", smoothed, asset, margin_m=2, block_px=4096)
    inside = (slice(None), slice(4, -4), slice(4, -4))
    np.testing.assert_array_equal(
        work.open_raster(small).read()[inside], work.open_raster(large).read()[inside]
    )


def test_a_kernel_without_sources_gets_the_widened_block_as_far_as_the_lattice_goes(work):
    seen = []

    def place(grid: Grid) -> Raster:
        seen.append((*GRID.rowcol(*grid.xy(0, 0)), *grid.shape))
        x, _ = grid.xy(*np.indices(grid.shape))
        return Raster(x, grid)

    asset = work.map_blocks(
        Layer("x", dtype="float64"), place, grid=GRID, margin_m=1, block_px=(60, 128)
    )
    rows, cols = GRID.shape
    assert sorted(seen) == [
        (max(row - 2, 0), max(col - 2, 0), min(row + 62, rows) - max(row - 2, 0),
         min(col + 130, cols) - max(col - 2, 0))
        for row in range(0, rows, 60) for col in range(0, cols, 128)
    ]  # fmt: skip
    with rasterio.open(asset.href) as file:
        np.testing.assert_allclose(file.read(1)[0], GRID.xy(0, np.arange(cols))[0])


def test_a_failing_kernel_leaves_no_file_behind(work, heights):
    asset = work.write_raster("dsm", Raster(heights, GRID))

    def fails(raster: Raster) -> Raster:
        if raster.grid.bounds[0] > 431050:
            raise InvalidInput("no")
        return raster

    with pytest.raises(InvalidInput):
        work.map_blocks("bad", fails, asset, block_px=64)
    assert [p.name for p in work.folder.iterdir()] == ["dsm.tif"]


def test_rasters_of_different_lattices_are_refused(work, heights):
    one = work.write_raster("one", Raster(heights, GRID))
    other = work.write_raster(
        "other", Raster(heights, Grid.covering((431000.2, 5290000, 431150, 5290100), 0.3, GRID.crs))
    )
    with pytest.raises(GridMismatch):
        work.map_blocks("sum", lambda a, b: Raster(a.values + b.values, a.grid), one, other)


def test_rasters_of_different_places_are_refused(work, heights):
    one = work.write_raster("one", Raster(heights, GRID))
    there = replace(GRID, transform=GRID.transform @ GRID.transform.translation(5000, 0))
    other = work.write_raster("other", Raster(heights, there))
    with pytest.raises(GridMismatch, match="one place"):
        work.map_blocks("sum", lambda a, b: Raster(a.values + b.values, a.grid), one, other)


def test_absence_survives_the_way_through_integers(work):
    values = np.array([[0, 7], [255, 3]], np.uint8)
    asset = work.write_raster(Layer("mask", dtype="uint8"), Raster(values, GRID.window(0, 0, 2, 2)))
    np.testing.assert_array_equal(work.open_raster(asset).read()[0], [[np.nan, 7], [255, 3]])


def test_vectors_come_back_as_they_went(work):
    frame = geopandas.GeoDataFrame(
        {"height_m": [3.5]}, geometry=[box(431000, 5290000, 431010, 5290010)], crs=GRID.crs
    )
    back = work.read_vector(work.write_vector("footprints", frame))
    assert back.height_m.tolist() == [3.5]
    assert back.crs.to_epsg() == 32631
    assert back.geometry[0].equals(frame.geometry[0])


class CountInputs(Inputs):
    source: Asset
    times: int = Field(default=1)


class CountOutputs(Outputs):
    count: int
    copy_of: Asset


class TreeOutputs(Outputs):
    count: Asset
    tiles: Asset


def counting(calls):
    def run(inputs, work):
        calls.append(inputs.times)
        work.progress(0.5, "counting")
        return CountOutputs(
            count=inputs.times, copy_of=work.write_json("count.json", {"n": inputs.times})
        )

    return Process("count", "Count", "Counts.", "1", CountInputs, CountOutputs, run)


def test_an_equal_step_is_found_and_not_run_again(work, tmp_path):
    calls: list[int] = []
    process = counting(calls)
    source = work.write_json("source.json", {"a": 1})
    first = work.step(process, CountInputs(source=source, times=3))
    again = LocalWorkspace(tmp_path / "again", work._reader, steps=tmp_path / "steps")
    source = again.write_json("source.json", {"a": 1})
    second = again.step(process, CountInputs(source=source, times=3))
    assert calls == [3]
    assert second.count == first.count
    assert json.loads(again.read_text(second.copy_of)) == {"n": 3}
    assert results(second, again.folder)["copy_of"]["href"] == "count/count.json"


def test_what_is_no_output_is_not_kept(tmp_path):
    def run(inputs, work):
        work.write_json("between.json", 1)
        (work.folder / "more").mkdir()
        return CountOutputs(count=1, copy_of=work.write_json("count.json", 2))

    process = Process("count", "Count", "Counts.", "1", CountInputs, CountOutputs, run)
    work = LocalWorkspace(tmp_path / "job", Reader(tmp_path / "cache", files=True))
    made = work.step(process, CountInputs(source=work.write_json("s.json", 1)))
    assert [path.name for path in (work.folder / "count").iterdir()] == ["count.json"]
    assert finished(made, work.folder) == results(made, work.folder)
    assert [path.name for path in work.folder.iterdir()] == ["count"]


def test_tiles_of_a_tileset_are_kept_and_what_lies_beside_outputs_of_steps_is_not(tmp_path):
    folder = tmp_path / "job"
    for name in ("s/count.json", "s/more.json", "s/t/tileset.json", "s/t/1/0.glb", "s/u/x/y.tif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    made = TreeOutputs(
        count=Asset(href=str(folder / "s/count.json")),
        tiles=Asset(href=str(folder / "s/t/tileset.json")),
    )
    finished(made, folder)
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {"s/count.json", "s/t/tileset.json", "s/t/1/0.glb"}
    assert not (folder / "s/u").exists()


def test_a_step_with_other_content_is_run(work):
    calls: list[int] = []
    process = counting(calls)
    work.step(process, CountInputs(source=work.write_json("s.json", {"a": 1})))
    work.step(process, CountInputs(source=work.write_json("s.json", {"a": 2})))
    assert len(calls) == 2


def test_a_steps_progress_moves_its_job(tmp_path):
    heard = []
    work = LocalWorkspace(
        tmp_path, Reader(tmp_path, files=True), on_progress=lambda f, m: heard.append((f, m))
    )
    work.progress(0.2, "start")
    work.step(counting([]), CountInputs(source=work.write_json("s.json", 1)), until=0.6)
    assert heard[-1] == (pytest.approx(0.4), "counting")


def test_a_missing_file_is_named(work):
    with pytest.raises(AssetMissing, match=r"nowhere\.tif"):
        work.open_raster(Asset(href="/tmp/nowhere.tif"))


def test_a_row_of_blocks_fits_into_the_cache() -> None:
    """rasterio hands a number on as bytes: 128 made GDAL read each block again for each row."""
    a_row_of_tiles = 20 * TILE_PX * TILE_PX * np.dtype(np.float32).itemsize
    assert CACHE["GDAL_CACHEMAX"] > a_row_of_tiles


WRITING = """
import resource, sys
from pathlib import Path
import numpy as np
from affine import Affine
from processes.core.process import Layer
from processes.core.raster import Grid
from workers.cog import BlockFile

grid = Grid("EPSG:32631", Affine(0.5, 0, 0, 0, -0.5, 0), 10000, 10000)
file, block = BlockFile(Path(sys.argv[1]), Layer("dsm"), grid, 1), np.ones((1000, 1000), np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for place in range(100):
    file.write(block, 1000 * (place // 10), 1000 * (place % 10))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
file.abandon()
"""


def test_what_writing_keeps_does_not_grow_with_the_area(tmp_path: Path) -> None:
    """The bound held while rasters were read; what was written stayed in up to a 20th of memory."""
    writing = [sys.executable, "-c", WRITING, str(tmp_path / "dsm.tif")]
    done = subprocess.run(writing, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 250, "380 MiB were written, 128 may be kept"


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_near_infrared_is_not_taken_for_transparency(tmp_path: Path, dtype: str) -> None:
    layer = Layer("ortho", dtype=dtype, band_names=["red", "green", "blue", "nir"])
    file = BlockFile(tmp_path / "ortho.tif", layer, GRID, 4)
    file.write(np.ones((4, *GRID.shape), np.float32), 0, 0)
    file.finish()
    with rasterio.open(tmp_path / "ortho.tif") as ortho:
        assert [band.name for band in ortho.colorinterp] == ["red", "green", "blue", "undefined"]
        assert MaskFlags.alpha not in ortho.mask_flag_enums[3]


def test_a_text_may_be_written_in_parts(work):
    whole = work.write_text("whole.txt", "é\nb", "text/plain")
    parts = work.write_text("parts.txt", (part for part in ("é", "\n", "b")), "text/plain")
    assert work.read_text(whole) == work.read_text(parts) == "é\nb"
