"""References are hostile until shown otherwise."""

from __future__ import annotations

import threading
import time
import zlib
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from processes.core.errors import AssetForbidden, AssetMissing, AssetUnreadable
from workers.reader import Reader, public_address


class Answers(BaseHTTPRequestHandler):
    """A server that redirects, streams without end, or answers."""

    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.end_headers()
        elif self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif self.path == "/nowhere":
            self.send_response(304)
            self.end_headers()
        elif self.path == "/broken":
            self.send_response(302)
            self.send_header("Location", "http://[::1/")
            self.end_headers()
        elif self.path == "/scheme":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif self.path == "/file.tif":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 5000)
        elif self.path == "/bomb":
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            pack = zlib.compressobj(9, zlib.DEFLATED, 31)
            with suppress(ConnectionError):
                for _ in range(100):
                    self.wfile.write(pack.compress(bytes(1 << 20)) + pack.flush(zlib.Z_SYNC_FLUSH))
        elif self.path == "/trickle":
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.02)
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server_reader(tmp_path):
    return Reader(cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "href",
    [
        "http://127.0.0.1/a.tif",
        "http://[::1]/a.tif",
        "http://[::ffff:127.0.0.1]/a.tif",
        "http://[::ffff:0:127.0.0.1]/a.tif",
        "http://[::127.0.0.1]/a.tif",
        "http://[64:ff9b::169.254.169.254]/latest/meta-data",
        "http://[2002:7f00:1::]/a.tif",
        "http://[fec0::1]/a.tif",
        "http://[fd00:ec2::254]/latest/meta-data",
        "http://[ff02::1]/a.tif",
        "http://2130706433/a.tif",
        "http://0177.1/a.tif",
        "http://0x7f.0.0.1/a.tif",
        "http://public.example@127.0.0.1/a.tif",
        "http://10.0.0.8/a.tif",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:5432/",
        "http://0.0.0.0/",
        "/etc/passwd",
        "file:///etc/passwd",
        "/vsicurl/http://example.com/a.tif",
        "ftp://example.com/a.tif",
        "s3://bucket/a.tif",
        "image.tif",
        "a\x00b",
    ],
)
def test_a_server_goes_nowhere_private(server_reader, href):
    with pytest.raises(AssetForbidden):
        server_reader.local(href)


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
)
def test_what_is_public_may_be_asked_however_it_is_written(host):
    assert public_address(host, 443)


@pytest.mark.parametrize(
    "href",
    [
        "http://maps.example:99999/a.tif",
        "http://maps.example:http/a.tif",
        "http://[::1/a.tif",
        "http://",
        "http:///a.tif",
        "http://maps.example\x01/a.tif",
        "http://maps.example/\x7f.tif",
        "http://" + "a" * 300 + ".example/a.tif",
        "http://user@:80/a.tif",
        "http://own.example/" + "a" * 5000,
        "http://own.example/",
    ],
)
def test_an_address_that_is_none_is_said_so(tmp_path, href):
    reader = Reader(cache=tmp_path, own={"http://own.example": tmp_path})
    with pytest.raises(AssetMissing) as fault:
        reader.local(href)
    assert len(str(fault.value)) < 600
    with pytest.raises(AssetMissing):
        reader.local(href.removeprefix("http:"), "http://maps.example/item.json")


@pytest.mark.parametrize(
    "href",
    ["http://own.example/%00", "http://own.example//[", "a%00.tif", "ftp:a", "//[", "javascript:1"],
)
def test_a_reference_of_another_kind_is_refused(tmp_path, href):
    reader = Reader(cache=tmp_path, own={"http://own.example": tmp_path})
    with pytest.raises((AssetForbidden, AssetMissing)):
        reader.local(href, "http://own.example/item.json")


def test_an_allowed_host_is_fetched_once(tmp_path, site):
    reader = Reader(cache=tmp_path, allowed_hosts=("127.0.0.1",))
    path, address = reader.local(f"{site}/file.tif")
    assert path.read_bytes() == b"x" * 5000
    assert reader.local("file.tif", address)[0] == path


def test_a_redirect_is_checked_anew(tmp_path, site):
    reader = Reader(cache=tmp_path, allowed_hosts=("127.0.0.1",))
    with pytest.raises(AssetForbidden):
        reader.local(f"{site}/away")
    with pytest.raises(AssetMissing, match="redirects more"):
        reader.local(f"{site}/loop")
    with pytest.raises(AssetForbidden):
        reader.local(f"{site}/scheme")
    for path in ("nowhere", "broken"):
        with pytest.raises(AssetMissing):
            reader.local(f"{site}/{path}")


def test_a_file_that_is_too_large_stops_and_leaves_nothing(tmp_path, site):
    reader = Reader(cache=tmp_path, allowed_hosts=("127.0.0.1",), max_bytes=1000)
    with pytest.raises(AssetUnreadable, match="1000 bytes"):
        reader.local(f"{site}/file.tif")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_unpacks_without_end_is_refused(tmp_path, site):
    reader = Reader(cache=tmp_path, allowed_hosts=("127.0.0.1",))
    with pytest.raises(AssetUnreadable, match="unpack"):
        reader.local(f"{site}/bomb")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_trickle_does_not_hold_a_worker_up(tmp_path, site):
    reader = Reader(cache=tmp_path, allowed_hosts=("127.0.0.1",), timeout_s=0.3)
    with pytest.raises(AssetMissing, match="slowly"):
        reader.local(f"{site}/trickle")


def test_a_missing_page_says_so(tmp_path, site):
    reader = Reader(cache=tmp_path, allowed_hosts=("127.0.0.1",))
    with pytest.raises(AssetMissing, match="404"):
        reader.local(f"{site}/none.tif")


def test_own_addresses_are_folders_that_cannot_be_left(tmp_path):
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "a.tif").write_text("mine")
    (tmp_path / "secret").write_text("secret")
    reader = Reader(cache=tmp_path / "c", own={"http://maps.example/orograph/uploads": uploads})
    assert reader.local("http://maps.example/orograph/uploads/a.tif")[0].read_text() == "mine"
    for way in ("../secret", "%2e%2e/secret", "a/../../secret"):
        with pytest.raises(AssetForbidden):
            reader.local(f"http://maps.example/orograph/uploads/{way}")


def test_a_relative_reference_is_read_beside_its_document(tmp_path):
    (tmp_path / "left.tif").write_text("image")
    reader = Reader(cache=tmp_path / "c", files=True)
    path, _ = reader.local("left.tif", str(tmp_path / "request.json"))
    assert path == tmp_path / "left.tif"
    with pytest.raises(AssetMissing):
        reader.local("right.tif", str(tmp_path / "request.json"))


def test_a_sidecar_that_is_not_there_is_no_fault(tmp_path):
    (tmp_path / "a.tif").write_text("image")
    (tmp_path / "a.geom").write_text("model")
    own = Reader(cache=tmp_path / "c", own={"http://maps.example/uploads": tmp_path})
    address = "http://maps.example/uploads/a.tif"
    assert own.sibling("a_RPC.TXT", address) is None
    assert own.sibling("a.geom", address) == (tmp_path / "a.geom", address[:-3] + "geom")
    files = Reader(cache=tmp_path / "c", files=True)
    assert files.sibling("a_RPC.TXT", str(tmp_path / "a.tif")) is None
    assert Reader(cache=tmp_path / "c").sibling("b.geom", "http://far.example/b.tif") is None
