"""Jobs as their users see them: failures, waiting, results by value and by reference."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from server.settings import Settings
from workers import jobs

ASYNC = {"Prefer": "respond-async"}


def run(client: TestClient, body: dict[str, Any], **headers: str) -> Any:
    return client.post("/processes/echo/execution", json=body, headers=headers)


@pytest.fixture
def finished(client: TestClient, place: Settings, products: Path) -> Any:
    """A function that gives the address of a successful job with files."""

    def job(**reply: Any) -> str:
        key = "0123456789abcdef"
        folder = products / key
        (folder / "tiles").mkdir(parents=True, exist_ok=True)
        (folder / "dsm.tif").write_bytes(bytes(range(256)))
        (folder / "report.json").write_text('{"rmse_m": 0.3}')
        (folder / "tiles/tileset.json").write_text("{}")
        results = {
            "dsm": {"href": "dsm.tif", "type": "image/tiff"},
            "report": {"href": "report.json", "type": "application/json"},
            "tileset": {"href": "tiles/tileset.json", "type": "application/json"},
            "count": 3,
        }
        with psycopg.connect(str(place.database_url), autocommit=True) as conn:
            row = jobs.create(conn, "echo", {"inputs": {}} | reply)
            claimed = jobs.claim(conn, row.id, "test", 1)
            assert claimed
            jobs.finish(conn, row.id, claimed.fence, key, results)
        return f"/jobs/{row.id}"

    return job


def test_files_are_named_by_absolute_references(client: TestClient, finished: Any) -> None:
    results = client.get(f"{finished()}/results").json()
    product = "http://maps.example/products/0123456789abcdef"
    assert results["dsm"] == {"href": f"{product}/dsm.tif", "type": "image/tiff"}
    assert results["tileset"]["href"] == (
        "http://maps.example/3dtiles/0123456789abcdef/tileset.json"
    )
    assert results["count"] == 3


def test_outputs_come_in_the_order_of_the_description(client: TestClient, worker: Any) -> None:
    inputs = {"box": {"bbox": [1, 2, 3, 4]}, "numbers": [1], "choice": "a", "message": "b"}
    assert list(run(client, {"inputs": inputs}).json()) == ["message", "numbers", "choice", "box"]


def test_small_files_are_given_by_value_where_asked(client: TestClient, finished: Any) -> None:
    wanted = {name: {"transmissionMode": "value"} for name in ("dsm", "report")}
    modes = dict.fromkeys(wanted, "value")
    results = client.get(f"{finished(outputs=modes)}/results").json()
    assert set(results) == set(wanted)
    assert results["report"] == {"value": {"rmse_m": 0.3}, "mediaType": "application/json"}
    assert results["dsm"]["encoding"] == "base64"


def test_one_output_is_the_file_and_its_ranges(client: TestClient, finished: Any) -> None:
    place = finished()
    whole = client.get(f"{place}/results/dsm")
    assert whole.content == bytes(range(256))
    assert whole.headers["content-type"] == "image/tiff"
    part = client.get(f"{place}/results/dsm", headers={"Range": "bytes=2-4"})
    assert part.status_code == 206
    assert part.content == bytes([2, 3, 4])
    assert client.get(f"{place}/results/count").json() == 3
    tiles = client.get(f"{place}/results/tileset", follow_redirects=False)
    assert tiles.status_code == 303
    missing = client.get(f"{place}/results/nothing")
    assert missing.status_code == 404
    assert "dsm" in missing.json()["detail"]


def test_a_raw_file_is_its_bytes(client: TestClient, finished: Any) -> None:
    place = finished(outputs={"dsm": None}, response="raw")
    assert client.get(f"{place}/results").content == bytes(range(256))


def test_several_raw_outputs_are_parts(client: TestClient, finished: Any) -> None:
    modes = {"dsm": "reference", "report": "value", "count": None}
    answer = client.get(f"{finished(outputs=modes, response='raw')}/results")
    assert answer.headers["content-type"].startswith("multipart/related; boundary=")
    assert "Content-Location: http://maps.example/products/0123456789abcdef/dsm.tif" in answer.text
    assert '{"rmse_m": 0.3}' in answer.text


def test_a_result_that_leads_out_of_its_product_is_not_read(
    client: TestClient, place: Settings
) -> None:
    secret = place.data / "secret.txt"
    secret.write_text("secret")
    with psycopg.connect(str(place.database_url), autocommit=True) as conn:
        row = jobs.create(conn, "echo", {"inputs": {}, "outputs": {"x": "value"}})
        claimed = jobs.claim(conn, row.id, "test", 1)
        assert claimed
        values = {"x": {"href": "../../secret.txt", "type": "text/plain"}}
        jobs.finish(conn, row.id, claimed.fence, "abc", values)
    assert "secret\n" not in client.get(f"/jobs/{row.id}/results").text
    assert client.get(f"/jobs/{row.id}/results/x", follow_redirects=False).status_code == 303


def test_a_failed_job_says_why_everywhere(client: TestClient, place: Settings) -> None:
    with psycopg.connect(str(place.database_url), autocommit=True) as conn:
        row = jobs.create(conn, "echo", {"inputs": {}})
        claimed = jobs.claim(conn, row.id, "test", 1)
        assert claimed
        fault = {"type": "NoOverlap", "detail": "left and right share no ground: choose others"}
        jobs.fail(conn, row.id, claimed.fence, fault)
    status = client.get(f"/jobs/{row.id}").json()
    assert status["status"] == "failed"
    assert status["exception"]["type"] == "NoOverlap"
    assert "share no ground" in status["message"]
    for path in ("results", "results/message"):
        answer = client.get(f"/jobs/{row.id}/{path}")
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("left and right share no ground")


def test_a_fault_of_a_synchronous_job_is_the_answer(
    client: TestClient, place: Settings, idle_worker: Any
) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(run, client, {"inputs": {"message": "doomed"}})
        while not (waiting := idle_worker.waiting()):
            time.sleep(0.02)
        with psycopg.connect(str(place.database_url), autocommit=True) as conn:
            claimed = jobs.claim(conn, waiting[0], "test", 1)
            assert claimed
            fault = {"type": "AssetForbidden", "detail": "host inside is not public"}
            jobs.fail(conn, waiting[0], claimed.fence, fault)
        failed = answer.result()
    assert failed.status_code == 403
    assert failed.json()["type"] == "AssetForbidden"


def test_waiting_ends_when_it_was_said_to(client: TestClient, place: Settings) -> None:
    start = time.monotonic()
    answer = run(client, {"inputs": {"message": "no worker"}}, Prefer="wait=1")
    assert answer.status_code == 201
    assert 0.9 < time.monotonic() - start < place.sync_wait_s
    client.delete(answer.headers["location"])


def test_those_who_wait_do_not_hinder_the_others(client: TestClient, idle_worker: Any) -> None:
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(run, client, {"inputs": {"message": "wait"}}) for _ in range(20)]
        while len(idle_worker.waiting()) < len(waiting):
            time.sleep(0.02)
        for _ in range(10):
            assert client.get("/jobs?limit=1").status_code == 200
        assert not any(answer.done() for answer in waiting)
        for job_id in idle_worker.waiting():
            client.delete(f"/jobs/{job_id}")
        assert [answer.result().status_code for answer in waiting] == [410] * len(waiting)


def test_references_to_the_server_are_kept_under_its_own_name(
    client: TestClient, place: Settings
) -> None:
    href = "http://maps.example/uploads/aa/left.tif"
    answer = run(client, {"inputs": {"image": {"href": href}}}, **ASYNC)
    with psycopg.connect(str(place.database_url)) as conn:
        job = jobs.get(conn, answer.json()["jobID"])
    assert job
    assert job.request["inputs"]["image"]["href"] == f"{place.url}/uploads/aa/left.tif"
    client.delete(answer.headers["location"])


def test_a_job_whose_last_worker_is_gone_waits_again(
    place: Settings, new_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other worker is there to notice: the server does, and it runs when one comes."""
    monkeypatch.setattr("server.desk.WATCH_S", 0.1)
    with psycopg.connect(str(place.database_url), autocommit=True) as conn, new_server(place):
        job = jobs.create(conn, "echo", {"inputs": {"message": "again"}})
        worn = jobs.create(conn, "echo", {"inputs": {}})
        conn.execute("UPDATE orograph.job SET attempts = 2 WHERE id = %s", [worn.id])
        for row in (job, worn):
            assert jobs.claim(conn, row.id, "gone", 1) is not None
        conn.execute("UPDATE orograph.job SET lease = now() WHERE worker = 'gone'")
        end = time.monotonic() + 20
        while any(jobs.get(conn, row.id).status == "running" for row in (job, worn)):  # type: ignore[union-attr]
            assert time.monotonic() < end, "it seems to run on"
            time.sleep(0.02)
        waiting, failed = (jobs.get(conn, row.id) for row in (job, worn))
        assert waiting is not None
        assert failed is not None
        assert (waiting.status, waiting.message) == ("accepted", "its worker ended: waiting again")
        assert (failed.status, (failed.fault or {})["type"]) == ("failed", "WorkerEnded")
        again = jobs.claim(conn, job.id, "another", 2)
        assert again is not None
        assert again.attempts == 2
