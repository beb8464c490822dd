"""Fetching what a request refers to, and refusing what it may not refer to.

Hostile references are the rule, not the exception: on a server only http(s) is followed, a host is
resolved once and that address is the one connected to, private addresses are refused unless the
operator allowed the host, redirects are checked anew, and size is bounded while bytes arrive.
The command line runs as its user, so there files are read as the user could.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin

from processes.core.errors import AssetForbidden, AssetMissing, AssetUnreadable

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 5
UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out to be reached from everywhere."""
TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 as networks without it write it (RFC 6052)."""
FREE_BYTES, MOST_TIMES = 64 * 2**20, 200
"""What is sent compressed may grow so many times once it is larger than that."""


@dataclass(frozen=True)
class Reader:
    """Turns an href into a local file.

    *own* maps URL prefixes of this very server to the folders behind them, so that a job reads
    uploads and earlier products without a round trip. *files* allows local paths (CLI only).
    """

    cache: Path
    files: bool = False
    own: Mapping[str, Path] = field(default_factory=dict)
    allowed_hosts: tuple[str, ...] = ()
    max_bytes: int = 20 * 2**30
    timeout_s: float = 60.0
    """How long a server may be silent, and answer at any speed."""
    slowest_bytes_s: float = 1000.0
    """What it must send a second after that: a worker is not to be held up by a trickle."""

    def local(self, href: str, base: str | None = None) -> tuple[Path, str]:
        """Return the file behind *href* and its full address, against which others resolve.

        *base* is the address of the document that holds the reference. Raises AssetMissing,
        AssetForbidden or AssetUnreadable.
        """
        address = _resolved(href, base)
        if _is_url(address):
            return self._own(address) or self._fetched(address), address
        if not self.files:
            raise AssetForbidden(f"{href}: a server takes http(s) references only")
        local = re.sub("^file:(//[^/]*)?", "", path_of(address))
        path = Path(local if address.startswith("file:") else address)
        if not path.is_absolute():
            raise AssetMissing(f"{href}: relative to what? Give an absolute path or a request file")
        if not _is_file(path):
            raise AssetMissing(f"{href[:500]} is not a file: check the path")
        return path, str(path)

    def sibling(self, href: str, base: str) -> tuple[Path, str] | None:
        """As `local`, or None where there is no such file: for sidecars that may exist."""
        address = _resolved(href, base)
        try:
            if _is_url(address) and self._own(address) is None:
                return None  # a guess is not worth a request to somebody else's server
            return self.local(address)
        except AssetMissing:
            return None

    def _own(self, address: str) -> Path | None:
        for prefix, folder in self.own.items():
            if address.startswith(prefix.rstrip("/") + "/"):
                part = path_of(address[len(prefix.rstrip("/")) + 1 :])
                path = (folder / part).resolve()
                if not path.is_relative_to(folder.resolve()):
                    raise AssetForbidden(f"{address} leaves its folder")
                if not _is_file(path):
                    raise AssetMissing(f"{address[:500]} is not there")
                return path
        return None

    def _fetched(self, address: str) -> Path:
        import httpx  # 50 ms that only references to other machines need

        digest = hashlib.sha256(address.encode()).hexdigest()[:24]
        name = re.sub(r"[^\w.-]", "_", Path(path_of(address)).name)[-100:] or "file"
        target = self.cache / digest / name
        if target.is_file():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(name + ".part")
        try:
            self._download(address, part)
        except httpx.HTTPError as error:
            part.unlink(missing_ok=True)
            raise AssetMissing(f"{address} cannot be fetched: {_plain(error)}") from None
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        part.rename(target)
        return target

    def _download(self, address: str, target: Path) -> None:
        import httpx

        for _ in range(MAX_REDIRECTS + 1):
            url, headers, extensions = pinned(address, self.allowed_hosts)
            headers["Accept"] = "*/*"
            with (
                httpx.Client(timeout=self.timeout_s, trust_env=False) as client,
                client.stream("GET", url, headers=headers, extensions=extensions) as response,
            ):
                if response.has_redirect_location:
                    address = _resolved(response.headers["location"], address)
                    if not _is_url(address):
                        raise AssetForbidden(f"{url.host} redirects to what is not http(s)")
                    continue
                if response.status_code != 200:
                    raise AssetMissing(f"{address} answered {response.status_code}")
                self._stored(response, address, target)
                return
        raise AssetMissing(f"{address} redirects more than {MAX_REDIRECTS} times")

    def _stored(self, response: httpx.Response, address: str, target: Path) -> None:
        size, start = 0, time.monotonic()
        with target.open("wb") as file:
            # as they come: waiting for a whole chunk would hide a trickle
            for chunk in response.iter_bytes():
                size += len(chunk)
                sent, taken_s = response.num_bytes_downloaded, time.monotonic() - start
                if taken_s > self.timeout_s and sent < taken_s * self.slowest_bytes_s:
                    raise AssetMissing(
                        f"{address} comes too slowly: {sent} bytes in {taken_s:.0f} s"
                    )
                if size > max(FREE_BYTES, MOST_TIMES * sent):
                    raise AssetUnreadable(
                        f"{address} is {sent} bytes that unpack to {size} or more"
                    )
                if size > self.max_bytes:
                    raise AssetUnreadable(
                        f"{address} exceeds {self.max_bytes} bytes: crop it or raise the limit"
                    )
                file.write(chunk)


def pinned(
    address: str, allowed_hosts: Collection[str] = ()
) -> tuple[httpx.URL, dict[str, str], dict[str, str]]:
    """Return a web address with its host resolved and checked, for good: URL, headers, extensions.

    The headers and extensions name the host to whoever listens there. Raises as `public_address`.
    """
    import httpx

    try:
        url = httpx.URL(address)
        port = url.port or (443 if url.scheme == "https" else 80)
    except (httpx.InvalidURL, ValueError):
        raise AssetMissing(f"{address[:200]} is no web address: check it") from None
    host = url.raw_host.decode("ascii")
    here = url.copy_with(host=public_address(host, port, allowed_hosts))
    return here, {"Host": url.netloc.decode("ascii")}, {"sni_hostname": host}


def public_address(host: str, port: int, allowed_hosts: Collection[str] = ()) -> str:
    """Return the one address of *host* to connect to; resolved once, then checked.

    Raises AssetMissing where it has none, AssetForbidden where one is private and *host* is not
    among *allowed_hosts*.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, OverflowError):
        raise AssetMissing(f"host {host[:200]} is not known: check the address") from None
    addresses = [str(entry[4][0]) for entry in found]
    if host not in allowed_hosts and not all(map(_is_public, addresses)):
        raise AssetForbidden(
            f"host {host} is not public: its operator may allow it with OROGRAPH_ALLOWED_HOSTS"
        )
    return addresses[0]


def _is_public(address: str) -> bool:
    """Say whether an address is anybody's to reach; one that carries another is as that one is."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast
    carried = ip.ipv4_mapped or ip.sixtofour
    if ip in TRANSLATED:
        carried = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if carried is not None:
        return _is_public(str(carried))
    # what else Python takes for global is reserved, or a site's own
    return ip.is_global and ip in UNICAST


def names(text: str) -> tuple[str, ...]:
    """Return names written with commas between them, or as a JSON array."""
    found = json.loads(text) if text.startswith("[") else text.split(",")
    return tuple(str(name).strip() for name in found if str(name).strip())


def path_of(address: str) -> str:
    """Return an address that may be malformed without its query, percent signs resolved."""
    return unquote(re.sub(r"[?#].*", "", address, flags=re.DOTALL))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _is_url(address: str) -> bool:
    return address.lower().startswith(("http://", "https://"))


def _resolved(href: str, base: str | None) -> str:
    if "\x00" in unquote(href):
        raise AssetForbidden("a reference holds a zero byte")
    if _is_url(href) or href.startswith("file:"):
        return href
    scheme = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:", href)
    if scheme or href.startswith("/vsi"):
        raise AssetForbidden(f"{href}: only http(s) references and files are read")
    if base is None:
        return href
    if _is_url(base):
        try:
            joined = urljoin(base, href)
        except ValueError:
            raise AssetMissing(f"{href[:200]} is no web address: check it") from None
        if not _is_url(joined):
            raise AssetForbidden(f"{href[:200]}: only http(s) references and files are read")
        return joined
    return href if href.startswith("/") else str((Path(base).parent / href).resolve())


def _plain(error: Exception) -> str:
    return str(error) or type(error).__name__
