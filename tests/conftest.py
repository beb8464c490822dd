"""Fixtures that every room shares."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import hypothesis
import psutil
import psycopg
import pytest
from psycopg import sql

from server.local import FOLDERS, migrate
from server.private import postgis, redis
from server.settings import Settings
from workers.offline import OFFLINE

HERE = Path(__file__).parent
LONG = (
    "test_viewer.py", "test_worker.py", "test_in_cesium.py", "test_local.py", "test_city.py",
    "test_sensors.py", "test_sgm_gpu.py", "test_blocks.py",
)  # fmt: skip
"""Files that take longest; the first of them mostly computes, the second mostly waits."""

ONLINE = {name: os.environ.get(name) for name in OFFLINE}

# how long an example takes says how busy the machine is, and what was compiled
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# torch's threads wait by spinning, which takes the cores from the other processes of the suite
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not Path("/dev/nvidiactl").exists():
    # before anything imports Triton: its kernels are interpreted where there is no GPU
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collectstart() -> None:
    """Look for no garbage among what is imported: there is none, and there is much of it."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for it from now on, but not again and again among what was imported."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start long files first, so that none runs alone at the end while other processes idle."""
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """What takes its process offline, as `orograph run` does, does so for one test only.

    Or for what fixtures of many tests do before the first of them.
    """
    go_online()
    yield
    go_online()


def go_online() -> None:
    """Give this process the network that it had when the tests began."""
    for name, value in ONLINE.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def village() -> Path:
    """The bundled scene: two images with RPC, and the truth."""
    return HERE / "data/scenes/village"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real imagery and lidar that is not part of the project."""
    folder = Path(os.environ.get("OROGRAPH_TEST_DATA", HERE.parent.parent / "shared/data"))
    if not folder.is_dir():
        pytest.skip("real data absent: set OROGRAPH_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def quarter(shared_data: Path) -> Path:
    """The dense tri-stereo scene, whose right image points wrongly."""
    return shared_data / "scenes/quarter"


# -- services: a PostGIS and a Redis of the test run's own, started when the first test asks


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    """A folder whose parents PostgreSQL's account may enter: pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="orograph-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster(services_folder: Path) -> Iterator[str]:
    """URL of a private PostGIS whose database `orograph` is migrated; nobody connects to it."""
    folder = services_folder
    with postgis(folder / "postgres", folder / "postgres.log", durable=False) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def new_database(cluster: str) -> Callable[[], AbstractContextManager[str]]:
    """A function that gives a migrated, empty database of its own: for module-wide fixtures."""

    @contextmanager
    def database() -> Iterator[str]:
        name = f"test_{uuid4().hex[:12]}"
        server, template = cluster.rsplit("/", 1)
        with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
            try:
                yield f"{server}/{name}"
            finally:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    return database


@pytest.fixture
def database(new_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """URL of a migrated, empty database for this test alone."""
    with new_database() as url:
        yield url


@pytest.fixture(scope="session")
def broker(services_folder: Path) -> Iterator[str]:
    """Celery URL of a private Redis, shared by the run: queues may hold what others left."""
    with redis(services_folder / "redis.log") as url:
        yield url


@pytest.fixture
def settings(database: str, broker: str, tmp_path: Path) -> Settings:
    """Settings of a server that has a database and a data folder for this test alone."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    return Settings(data=tmp_path, database_url=database, broker_url=broker)


@pytest.fixture(scope="session")
def left_over() -> Callable[..., list[psutil.Process]]:
    """A function that waits for processes to end; returns those that still run after a time.

    One that ended but is not yet taken note of by its parent (PID 1, by then) does not run.
    """

    def runs(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def waited(family: list[psutil.Process], patience_s: float) -> list[psutil.Process]:
        end = time.monotonic() + patience_s
        while (found := list(filter(runs, family))) and time.monotonic() < end:
            time.sleep(0.02)
        return found

    return waited


# -- a finished product


@pytest.fixture(scope="session")
def product_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product as a worker leaves it: a slope with two houses, 200 m by 150 m, cells of 0.5 m.

    Ground is 100 m at the west edge and rises 2 cm a cell eastwards; the houses are 10 m high.
    The westmost 40 columns are unknown. The folder's name is the product's key.
    """
    import geopandas
    import numpy as np
    from affine import Affine
    from shapely.geometry import box

    from processes.core.building import BuildingModel
    from processes.core.process import Asset, Layer, Outputs
    from processes.core.raster import Grid, Raster
    from processes.roofs.extrude import extrude, tidy
    from workers.publish import keep
    from workers.reader import Reader
    from workers.results import results
    from workers.workspace import LocalWorkspace

    class Made(Outputs):
        dsm: Asset
        dtm: Asset
        ndsm: Asset
        ortho: Asset
        ortho_mask: Asset
        footprints: Asset
        tileset: Asset

    grid = Grid("EPSG:32631", Affine(0.5, 0, 430_000, 0, -0.5, 5_290_150), 300, 400)
    outlines = [box(x, y, x + 20, y + 20) for x, y in ((430_050, 5_290_050), (430_120, 5_290_080))]
    ground = np.broadcast_to(100 + 0.02 * np.arange(400, dtype=np.float32), grid.shape)
    x, y = grid.xy(*np.indices(grid.shape))
    inside = np.zeros(grid.shape, bool)
    for outline in outlines:
        west, south, east, north = outline.bounds
        inside |= (x > west) & (x < east) & (y > south) & (y < north)
    known = np.where(np.arange(400) < 40, np.nan, np.float32(1))
    colours = np.where(inside, 2000, 500)[None] * np.array([1.0, 0.8, 0.6, 1.5])[:, None, None]
    colours = np.where(np.isnan(known), 0, colours)
    origins = np.where(np.isnan(known), 0, np.where(inside, 2, 1)).astype(np.uint8)
    work = LocalWorkspace(
        tmp_path_factory.mktemp("work") / "job", Reader(tmp_path_factory.getbasetemp())
    )
    values = {"OROGRAPH_VALUES": "0 outside, 1 measured, 2 filled occlusion"}
    frame = geopandas.GeoDataFrame(
        {"id": [1, 2], "roof_m": [112.0, 115.5], "height_m": [10.0, 10.0], "lod": [1, 1]},
        geometry=outlines,
        crs=grid.crs,
    )
    models = [
        BuildingModel(str(n), (extrude(tidy(outline)[0], 101.0, 111.0),), "1.2", {"roof_m": 111.0})
        for n, outline in enumerate(outlines, 1)
    ]
    made = Made(
        dsm=work.write_raster("dsm", Raster((ground + 10 * inside) * known, grid)),
        dtm=work.write_raster("dtm", Raster(ground * known, grid)),
        ndsm=work.write_raster("ndsm", Raster(10 * inside * known, grid)),
        ortho=work.write_raster(
            Layer("ortho", "uint16", ("red", "green", "blue", "nir")), Raster(colours, grid)
        ),
        ortho_mask=work.write_raster(
            Layer("ortho_mask", "uint8", tags=values), Raster(origins, grid)
        ),
        footprints=work.write_vector("footprints", frame),
        tileset=work.write_tileset("tileset", models, grid.crs),
    )
    folder = tmp_path_factory.mktemp("products") / "0123456789abcdef0123456789abcdef"
    keep(work.folder, results(made, work.folder), folder)
    return folder
