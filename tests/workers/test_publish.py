"""From a claimed row to what everybody sees: the row, the item, the footprints, or the fault."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psycopg
import pystac
import pytest
from affine import Affine
from pydantic import Field

from catalog.addresses import ROOT, absolute
from catalog.features import features
from catalog.store import get_item
from processes.core.errors import NoOverlap
from processes.core.process import Asset, Inputs, Outputs, Process, StacObject, Workspace
from processes.core.raster import Grid, Raster
from processes.qualify import QUALIFY
from server.settings import Settings
from workers import jobs
from workers.publish import self_link
from workers.sweep import sweep
from workers.tasks import run_job
from workers.withdraw import withdraw

GRID = Grid("EPSG:32631", Affine(0.5, 0, 690000, 0, -0.5, 4792000), 64, 48)
SQUARE = [(690002, 4791980), (690012, 4791980), (690012, 4791990), (690002, 4791990)]

Conn = psycopg.Connection[Any]


class HillInputs(Inputs):
    """A hill."""

    height_m: float = 10.0
    image: Asset | None = None
    collection: str = "orograph"


class HillOutputs(Outputs):
    """Its surface and the one house on it."""

    dsm: Asset
    footprints: Asset
    note: str = Field(description="A value beside the files.")


@dataclass
class Hills:
    """Makes hills, and counts how often it was asked; *between* happens while it computes."""

    between: Callable[[], None] = lambda: None
    runs: int = 0

    def run(self, inputs: HillInputs, work: Workspace) -> HillOutputs:
        import geopandas
        from shapely.geometry import Polygon

        self.runs += 1
        work.progress(0.5, "heaping")
        self.between()
        time.sleep(0.01)
        work.progress(0.6, "after")
        rows, cols = np.mgrid[0 : GRID.height, 0 : GRID.width]
        heights = inputs.height_m * np.exp(-((rows - 32) ** 2 + (cols - 24) ** 2) / 200)
        houses = geopandas.GeoDataFrame(
            {"id": [1], "height_m": [7.5]}, geometry=[Polygon(SQUARE)], crs=GRID.crs
        )
        return HillOutputs(
            dsm=work.write_raster("dsm", Raster(heights.astype(np.float32), GRID)),
            footprints=work.write_vector("footprints", houses),
            note="made of sand",
        )


def hill(run: Callable[[HillInputs, Workspace], HillOutputs]) -> Process[Any, Any]:
    return Process("hill", "Hill", "A hill.", "1.0.0", HillInputs, HillOutputs, run)


class DeviceOutputs(Outputs):
    """What may compute."""

    device: str


def told_device(inputs: Inputs, work: Workspace) -> DeviceOutputs:
    return DeviceOutputs(device=work.device)


def step_told_device(inputs: Inputs, work: Workspace) -> DeviceOutputs:
    asked = Process("asked", "Asked", "Asked.", "1.0.0", Inputs, DeviceOutputs, told_device)
    return work.step(asked, Inputs())


@dataclass
class Bench:
    """Jobs run in this process, on processes made for the test."""

    settings: Settings
    conn: Conn
    made: list[str] = field(default_factory=list)

    def job(self, process: Process[Any, Any], **inputs: Any) -> jobs.Job:
        job = jobs.create(self.conn, process.id, {"inputs": inputs})
        return self.again(job.id, process)

    def again(self, job_id: str, process: Process[Any, Any]) -> jobs.Job:
        run_job(job_id, self.settings, "here", processes={process.id: process})  # type: ignore[arg-type]
        job = jobs.get(self.conn, job_id)
        assert job is not None
        return job

    def count(self, table: str) -> int:
        row = self.conn.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    with psycopg.connect(settings.database_url or "", autocommit=True) as conn:
        yield Bench(settings, conn)


def test_a_finished_job_has_its_item_footprints_and_thumbnail(bench: Bench) -> None:
    job = bench.job(hill(Hills().run), height_m=12.0)
    assert (job.status, job.collection) == ("successful", "orograph")
    assert job.results == {
        "dsm": {
            "href": "dsm.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        },
        "footprints": {"href": "footprints.parquet", "type": "application/vnd.apache.parquet"},
        "note": "made of sand",
    }
    item = get_item(bench.conn, job.key or "", "orograph")
    assert item is not None
    pystac.Item.from_dict(absolute(item, "https://maps.example"))
    assert "height_m 12.0" in item["properties"]["processing:lineage"]
    assert item["assets"]["dsm"]["href"] == f"{ROOT}/products/{job.key}/dsm.tif"
    product = bench.settings.data / "products" / str(job.key)
    picture = cv2.imread(str(product / "thumbnail.png"), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert picture.shape[2] == 4
    assert picture[..., 0].std() > 5  # a lit slope and a shaded one
    found = features(bench.conn, product=job.key).features
    assert [feature["properties"]["height_m"] for feature in found] == [7.5]
    assert list((bench.settings.data / "jobs").iterdir()) == []


def test_equal_jobs_are_computed_and_published_once(bench: Bench) -> None:
    hills = Hills()
    first, second = (bench.job(hill(hills.run), height_m=9.0) for _ in range(2))
    other = bench.job(hill(hills.run), height_m=8.0)
    assert first.key == second.key != other.key
    assert first.results == second.results
    assert hills.runs == 2
    assert bench.count("pgstac.items") == 2
    assert bench.count("orograph.footprint") == 2


def test_what_a_report_states_of_a_product_stands_in_its_item(bench: Bench) -> None:
    first, other = (bench.job(hill(Hills().run), height_m=h) for h in (9.0, 12.0))
    mine, true = (
        {"href": f"http://127.0.0.1:8000/products/{job.key}/dsm.tif"} for job in (first, other)
    )
    done = bench.job(QUALIFY, product=mine, reference=true, kind="dsm")
    assert done.status == "successful"
    item = get_item(bench.conn, first.key or "")
    assert item is not None
    told = {k: v for k, v in item["properties"].items() if k.startswith("orograph:qualified_")}
    assert told["orograph:qualified_dsm_predicted"] is False
    assert 0.5 < told["orograph:qualified_dsm_rmse_m"] < 3.0
    assert told["orograph:qualified_dsm_citygml_lod_by_height"] in (1, 2)
    untold = get_item(bench.conn, other.key or "")
    assert untold is not None
    assert not any(name.startswith("orograph:qualified_") for name in untold["properties"])
    # the report is a product too: a map of errors
    report = get_item(bench.conn, done.key or "")
    assert report is not None
    assert {"error_map", "report", "page"} <= set(report["assets"])
    # a later report takes the place of the earlier, and publishing anew forgets neither
    bench.job(QUALIFY, product=mine, reference=mine, kind="dsm")
    bench.job(hill(Hills().run), height_m=9.0)
    again = get_item(bench.conn, first.key or "")
    assert again is not None
    assert again["properties"]["orograph:qualified_dsm_rmse_m"] == 0


def test_a_product_whose_publishing_was_interrupted_is_taken_up(bench: Bench) -> None:
    hills = Hills()
    done = bench.job(hill(hills.run))
    bench.conn.execute("DELETE FROM pgstac.items")
    bench.conn.execute("DELETE FROM orograph.footprint_set")
    bench.conn.execute("UPDATE orograph.job SET status = 'accepted', results = NULL")
    again = bench.again(done.id, hill(hills.run))
    assert (again.status, again.key, hills.runs) == ("successful", done.key, 1)
    assert bench.count("pgstac.items") == bench.count("orograph.footprint") == 1


def test_a_job_dismissed_meanwhile_publishes_nothing(bench: Bench) -> None:
    def dismiss() -> None:
        bench.conn.execute("UPDATE orograph.job SET status = 'dismissed'")

    job = bench.job(hill(Hills(between=dismiss).run))
    assert (job.status, job.key, job.progress) == ("dismissed", None, 50)
    assert bench.count("pgstac.items") == bench.count("orograph.footprint") == 0
    assert list((bench.settings.data / "products").iterdir()) == []
    assert list((bench.settings.data / "jobs").iterdir()) == []


def test_a_worker_whose_fence_is_lost_publishes_nothing(bench: Bench) -> None:
    def reclaim() -> None:
        bench.conn.execute("UPDATE orograph.job SET fence = fence + 1, worker = 'other'")

    job = bench.job(hill(Hills(between=reclaim).run))
    assert (job.status, job.results) == ("running", None)
    assert bench.count("pgstac.items") == bench.count("orograph.footprint") == 0


def test_a_named_fault_is_told_and_another_is_not(bench: Bench) -> None:
    def no_overlap() -> None:
        raise NoOverlap("a and b share no ground: choose two images of one place")

    def broken() -> None:
        raise RuntimeError("secret path /srv/keys")

    told = bench.job(hill(Hills(between=no_overlap).run))
    assert told.status == "failed"
    assert told.fault == {
        "type": "NoOverlap",
        "detail": "a and b share no ground: choose two images of one place",
    }

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/keys")

    without_room = bench.job(hill(Hills(between=full).run))
    assert without_room.fault == {
        "type": "DiskFull",
        "detail": "the server's disk is full: its operator must make room",
    }
    hidden = bench.job(hill(Hills(between=broken).run))
    assert hidden.fault == {
        "type": "InternalError",
        "detail": f"internal error, logged under job {hidden.id}",
    }
    assert list((bench.settings.data / "jobs").iterdir()) == []


@pytest.mark.parametrize(
    ("href", "fault"),
    [
        ("/etc/passwd", "AssetForbidden"),
        ("http://127.0.0.1:1/image.tif", "AssetForbidden"),
        ("http://127.0.0.1:8000/uploads/none/image.tif", "AssetMissing"),
        ("http://127.0.0.1:8000/uploads/../orograph.key", "AssetForbidden"),
        ("ftp://example.org/image.tif", "AssetForbidden"),
    ],
)
def test_a_server_reads_nothing_it_should_not(bench: Bench, href: str, fault: str) -> None:
    job = bench.job(hill(Hills().run), image={"href": href})
    assert job.fault is not None
    assert job.fault["type"] == fault


def test_an_uploaded_image_is_an_input_whatever_the_server_was_called(bench: Bench) -> None:
    upload = bench.settings.data / "uploads/abc/image.bin"
    upload.parent.mkdir()
    upload.write_bytes(b"\x00\x01")
    one, two = (
        bench.job(hill(Hills().run), image={"href": f"http://{host}:8000/uploads/abc/image.bin"})
        for host in ("localhost", "127.0.0.1")
    )
    assert one.key == two.key
    item = get_item(bench.conn, one.key or "", "orograph")
    assert item is not None
    derived = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert derived == [f"{ROOT}/uploads/abc/image.bin"]


def test_a_product_made_from_another_is_derived_from_its_item(bench: Bench) -> None:
    first = bench.job(hill(Hills().run))
    href = f"http://127.0.0.1:8000/products/{first.key}/dsm.tif"
    second = bench.job(hill(Hills().run), image={"href": href})
    item = get_item(bench.conn, second.key or "", "orograph")
    assert item is not None
    derived = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert derived == [f"{ROOT}/stac/collections/orograph/items/{first.key}"]


@pytest.mark.parametrize(
    ("links", "href"),
    [
        ([{"rel": "root"}, {"rel": "self", "href": "https://a.example/b.json"}],
         "https://a.example/b.json"),
        ([{"href": "https://a.example/b.json"}, 5, None], None),
        ([{"rel": "self", "href": 5}], None),
        ("many", None),
        (None, None),
    ],
)  # fmt: skip
def test_links_of_an_item_may_be_anything(links: Any, href: str | None) -> None:
    item = StacObject.model_validate({"type": "Feature", "links": links})
    assert self_link(item) == href


def test_leftovers_are_swept_and_products_are_not(bench: Bench) -> None:
    job = bench.job(hill(Hills().run))
    data = bench.settings.data
    for name in ("jobs/ended", "products/orphan"):
        (data / name).mkdir()
    for path in (*data.glob("jobs/*"), *data.glob("products/*"), *data.glob("steps/*")):
        old(path)
    assert sweep(bench.conn, data) == [data / "jobs/ended", data / "products/orphan"]
    assert (data / "products" / str(job.key) / "dsm.tif").is_file()


def test_uploads_go_when_nobody_asks_for_them(bench: Bench) -> None:
    uploads = bench.settings.data / "uploads"
    for name in ("a" * 64, "b" * 64, "c" * 64):
        (uploads / name).mkdir()
    old(uploads / ("a" * 64))
    old(uploads / ("b" * 64))
    waiting = {"inputs": {"image": {"href": f"http://x/uploads/{'b' * 64}/image.tif"}}}
    jobs.create(bench.conn, "hill", waiting)
    gone = sweep(bench.conn, bench.settings.data, keep_uploads_s=24 * 3600)
    assert gone == [uploads / ("a" * 64)]
    assert not (uploads / ("a" * 64)).exists()


def test_a_product_is_withdrawn_whole(bench: Bench) -> None:
    job, other = bench.job(hill(Hills().run)), bench.job(hill(Hills().run), height_m=20.0)
    products = bench.settings.data / "products"
    assert withdraw(bench.conn, products, str(job.key))
    assert [path.name for path in products.iterdir()] == [other.key]
    assert get_item(bench.conn, str(job.key)) is None
    shown = features(bench.conn).features
    assert {feature["properties"]["product"] for feature in shown} == {other.key}
    row = jobs.get(bench.conn, job.id)
    assert row is not None
    assert (row.status, row.results, row.key) == ("dismissed", None, None)
    assert not withdraw(bench.conn, products, str(job.key))


def test_a_product_stays_whole_where_withdrawing_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.job(hill(Hills().run))
    products = bench.settings.data / "products"

    def full(*_: object) -> int:
        raise psycopg.OperationalError("the disk is full")

    monkeypatch.setattr("workers.jobs.forget_product", full)
    with pytest.raises(psycopg.OperationalError):
        withdraw(bench.conn, products, str(job.key))
    assert (products / str(job.key) / "dsm.tif").is_file()
    assert get_item(bench.conn, str(job.key)) is not None
    assert len(list(products.iterdir())) == 1


@pytest.mark.parametrize("gone", [False, True])
def test_a_withdrawal_cut_short_is_undone_or_ended(bench: Bench, gone: bool) -> None:
    job = bench.job(hill(Hills().run))
    products = bench.settings.data / "products"
    (products / str(job.key)).rename(products / f".{job.key}")  # and then the power failed
    if gone:
        bench.conn.execute("DELETE FROM pgstac.items")
        bench.conn.execute("UPDATE orograph.job SET key = NULL")
    sweep(bench.conn, bench.settings.data)
    assert [path.name for path in products.iterdir()] == ([] if gone else [job.key])
    assert withdraw(bench.conn, products, str(job.key)) is not gone
    assert list(products.iterdir()) == []


def test_a_product_withdrawn_while_it_is_published_is_a_named_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = bench.settings.data / "products"
    hold = jobs.hold_product

    def late(conn: Conn, key: str) -> None:
        hold(conn, key)
        shutil.rmtree(products / key)

    monkeypatch.setattr("workers.jobs.hold_product", late)
    job = bench.job(hill(Hills().run))
    assert job.fault is not None
    assert (job.status, job.fault["type"]) == ("failed", "AssetMissing")
    assert "ask for it again" in job.fault["detail"]


def test_a_job_whose_product_was_withdrawn_makes_it_anew(bench: Bench) -> None:
    hills = Hills()
    job = bench.job(hill(hills.run))
    withdraw(bench.conn, bench.settings.data / "products", str(job.key))
    again = bench.job(hill(hills.run))
    assert (again.key, hills.runs) == (job.key, 2)
    assert get_item(bench.conn, str(job.key)) is not None


def test_a_process_and_its_steps_are_told_what_may_compute(bench: Bench) -> None:
    asks = Process("asks", "Asks", "Asks.", "1.0.0", Inputs, DeviceOutputs, step_told_device)
    bench.settings = bench.settings.model_copy(update={"device": "cuda"})
    assert bench.job(asks).results == {"device": "cuda"}


def old(path: Path) -> None:
    os.utime(path, (time.time() - 3 * 24 * 3600,) * 2)
