"""Blocks come out the same on threads and on a cluster, whatever ends in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import rasterio

from processes import dsm
from processes.core.errors import Cancelled, InvalidInput
from processes.core.process import Layer
from processes.core.raster import Grid, Raster
from processes.dsm import DSM, DsmOutputs
from processes.pointcloud import POINTCLOUD
from workers import blocks
from workers.blocks import ClusterUnavailable, Values, Window, on_threads, windows
from workers.offline import OFFLINE
from workers.rasters import RasterFile
from workers.reader import Reader
from workers.workspace import LocalWorkspace

ROOT = Path(__file__).parents[2]
GRID = Grid.covering((431000, 5290000, 431150, 5290100), 0.5, "EPSG:32631")
AOI = {
    "type": "Polygon",
    "coordinates": [
        [[2.0815, 47.7620], [2.0835, 47.7620], [2.0835, 47.7632], [2.0815, 47.7632],
         [2.0815, 47.7620]]
    ],
}  # fmt: skip
PRODUCTS = ("dsm.tif", "confidence.tif", "ortho_mask.tif")


class Cluster:
    """A Dask scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        found = folder / "scheduler.json"
        self.scheduler = self._started("scheduler", "--port=0", f"--scheduler-file={found}")
        end = time.monotonic() + 60
        while not found.exists() or not found.read_text().endswith("}"):
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.05)
        self.address = str(json.loads(found.read_text())["address"])

    def worker(self) -> None:
        """Add a worker with one thread, and without a nanny that would start it again."""
        self.workers.append(
            self._started(
                "worker", self.address, "--no-nanny", "--nthreads=1", "--memory-limit=0",
                f"--local-directory={self.folder}",
            )
        )  # fmt: skip

    def _started(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard", "--host=127.0.0.1"]
        own = {name: value for name, value in os.environ.items() if name not in OFFLINE}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=own, stdout=log, stderr=log)

    def tasks(self) -> int:
        """Return how many tasks the scheduler knows."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            return int(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
        for process in (*self.workers, self.scheduler):
            process.wait(30)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        made.worker()
        made.worker()
        yield made
    finally:
        made.stop()


def village_model(
    folder: Path,
    village: Path,
    *,
    dask: str | None = None,
    hear: Callable[[str], None] = lambda message: None,
) -> DsmOutputs:
    work = LocalWorkspace(
        folder,
        Reader(folder / "cache", files=True),
        on_progress=lambda fraction, message: hear(message),
        dask=dask,
    )
    inputs = {"images": [{"href": str(village / "stereo.json")}], "aoi": AOI}
    made: DsmOutputs = DSM.run(DSM.parse(inputs), work)
    return made


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsm, "BLOCK_PX", 90)
    monkeypatch.setattr(dsm, "SMALLEST_BLOCK_PX", 90)


@pytest.mark.usefixtures("small_blocks")
def test_a_cluster_that_loses_a_worker_makes_the_same_surface_to_the_byte(
    cluster: Cluster, village: Path, tmp_path: Path
) -> None:
    village_model(tmp_path / "here", village)
    heard: list[str] = []

    def hear(message: str) -> None:
        heard.append(message)
        if message.startswith("surface: block 2 of") and cluster.workers[0].poll() is None:
            cluster.workers[0].send_signal(signal.SIGKILL)

    village_model(tmp_path / "there", village, dask=cluster.address, hear=hear)
    assert cluster.workers[0].wait(30) == -signal.SIGKILL
    assert "surface: block 12 of 12" in heard
    for name in PRODUCTS:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    left = {path.name for path in (tmp_path / "there").iterdir()}
    assert left <= {*PRODUCTS, "cache"}
    assert cluster.tasks() == 0


@pytest.mark.usefixtures("small_blocks")
def test_points_of_a_cluster_are_those_of_one_process_to_the_byte(
    cluster: Cluster, village: Path, tmp_path: Path
) -> None:
    asked = POINTCLOUD.parse({"images": [{"href": str(village / "stereo.json")}], "aoi": AOI})
    made: list[dict[Path, bytes]] = []
    heard: list[str] = []
    for dask in (None, cluster.address):
        work = LocalWorkspace(
            tmp_path / str(len(made)),
            Reader(tmp_path / "cache", files=True),
            on_progress=lambda fraction, message: heard.append(message),
            dask=dask,
        )
        outputs = POINTCLOUD.run(asked, work)
        tree = Path(outputs.point_tileset.href).parent
        files = [Path(outputs.points.href), *(path for path in tree.rglob("*") if path.is_file())]
        made.append({path.relative_to(work.folder): path.read_bytes() for path in files})
    here, there = made
    assert len(next(iter(here.values()))) > 100_000
    assert "surface: block 12 of 12" in heard
    assert there == here
    assert cluster.tasks() == 0


@pytest.mark.usefixtures("small_blocks")
def test_a_dismissed_job_takes_its_blocks_off_the_cluster(
    cluster: Cluster, village: Path, tmp_path: Path
) -> None:
    def hear(message: str) -> None:
        if message.startswith("surface: block 1 of"):
            raise Cancelled("the job was dismissed")

    with pytest.raises(Cancelled):
        village_model(tmp_path, village, dask=cluster.address, hear=hear)
    end = time.monotonic() + 30
    while cluster.tasks():
        assert time.monotonic() < end
        time.sleep(0.2)
    assert not list(tmp_path.glob("*.tif*"))
    assert not list(tmp_path.glob(".block-*"))


def test_a_fault_in_a_block_is_told_as_it_was_raised(cluster: Cluster, tmp_path: Path) -> None:
    def fails(grid: Grid) -> Raster:
        raise InvalidInput(f"nothing at {grid.bounds[0]:.0f}")

    work = LocalWorkspace(tmp_path, Reader(tmp_path / "cache", files=True), dask=cluster.address)
    with pytest.raises(InvalidInput, match="nothing at 431000"):
        work.map_blocks("none", fails, grid=GRID, block_px=128)
    assert not list(tmp_path.glob("none*"))


def test_rasters_that_blocks_are_made_from_are_opened_on_the_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    work = LocalWorkspace(tmp_path, Reader(tmp_path / "cache", files=True), dask=cluster.address)
    values = np.arange(GRID.height * GRID.width, dtype=np.float32).reshape(GRID.shape)
    source = work.write_raster("source", Raster(values, GRID))

    def doubled(raster: Raster) -> Raster:
        return Raster(raster.values * 2, raster.grid)

    told: list[tuple[int, int, float]] = []
    (made,) = work.map_layers(
        [Layer("doubled")], lambda r: (doubled(r),), source, block_px=128, margin_m=1.0,
        each=lambda done, of, found: told.append((done, of, float(found[0].max()))),
    )  # fmt: skip
    with rasterio.open(made.href) as file:
        np.testing.assert_array_equal(file.read(1), values * 2)
    assert [done for done, _, _ in told] == list(range(1, 7))
    assert told[-1][2] == values.max() * 2


def test_blocks_that_take_longer_to_fetch_than_we_wait_at_a_time_arrive(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A fetch that was given up went on to spoil the next: UnboundLocalError, under load."""
    monkeypatch.setattr(blocks, "LOOK_S", 0.002)
    wide = Grid.covering((431000, 5290000, 433000, 5291000), 0.5, "EPSG:32631")
    work = LocalWorkspace(tmp_path, Reader(tmp_path / "cache", files=True), dask=cluster.address)

    def ones(grid: Grid) -> Raster:
        return Raster(np.ones(grid.shape, np.float32), grid)

    made = work.map_blocks("ones", ones, grid=wide, block_px=1024)
    assert (work.open_raster(made).read() == 1).all()


def test_an_address_within_a_file_is_not_followed(
    cluster: Cluster, snare: Callable[[Path], Path], tmp_path: Path
) -> None:
    given = str(snare(tmp_path))

    def counted(grid: Grid) -> Raster:
        import pyogrio

        found = len(pyogrio.read_dataframe(given))
        return Raster(np.full(grid.shape, found, np.float32), grid)

    work = LocalWorkspace(tmp_path, Reader(tmp_path / "cache", files=True), dask=cluster.address)
    made = work.map_blocks("houses", counted, grid=GRID, block_px=128)
    assert (work.open_raster(made).read() == 1).all()


def test_no_scheduler_is_a_plain_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ANSWER_S", 1)
    work = LocalWorkspace(
        tmp_path, Reader(tmp_path / "cache", files=True), dask="tcp://127.0.0.1:9"
    )
    with pytest.raises(ClusterUnavailable, match="no Dask scheduler"):
        work.map_blocks("none", lambda grid: Raster(np.zeros(grid.shape), grid), grid=GRID,
                        block_px=128)  # fmt: skip


def test_an_opened_raster_is_pickled_without_its_handle(village: Path) -> None:
    source = RasterFile(village / "left.tif", "left.tif", band_names=list("rgbn"), nodata=0.0)
    packed = cloudpickle.dumps(source)
    assert len(packed) < 1000
    again = cloudpickle.loads(packed)
    assert again.band_names == source.band_names
    np.testing.assert_array_equal(again.read(5, 6, 7, 8), source.read(5, 6, 7, 8))


def test_blocks_come_in_order_and_few_are_computed_ahead() -> None:
    started: list[Window] = []

    def block(window: Window) -> Values:
        started.append(window)
        time.sleep(0.01 * (window[1] == 0))
        return [np.array(window)]

    wanted = windows(GRID, 32)
    came = []
    with closing(on_threads(block, wanted, lambda: None)) as found:
        for window, values in found:
            assert tuple(values[0]) == window
            came.append(window)
            assert len(started) <= len(came) + 2 * blocks.CORES + 1
    assert came == wanted


def test_large_blocks_are_computed_one_at_a_time() -> None:
    running, most = [0], [0]

    def block(window: Window) -> Values:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.02)
        running[0] -= 1
        return []

    wanted = windows(GRID, 100)
    list(on_threads(block, wanted, lambda: None, block_bytes=blocks.MEMORY_BYTES))
    assert most == [1]


def test_what_is_raised_while_waiting_ends_the_computation() -> None:
    def idle() -> None:
        raise Cancelled("dismissed")

    def block(window: Window) -> Values:
        time.sleep(1.5 * blocks.LOOK_S)
        return []

    with pytest.raises(Cancelled):
        list(on_threads(block, windows(GRID, 50), idle))
