"""Callbacks: telling a subscriber how its job goes, apart from the job.

A subscriber is as hostile as any reference: its host is resolved once, that address is connected
to, private ones are refused unless the operator allowed the host, redirects are not followed, and
whatever it answers is not read. It has CALL_S in all.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import psycopg_pool
from psycopg_pool import ConnectionPool
from starlette.concurrency import run_in_threadpool

from processes.core.errors import AssetForbidden, InvalidInput, OrographError
from workers import callbacks
from workers.callbacks import MEMBERS, Call
from workers.jobs import Job
from workers.reader import pinned, public_address

if TYPE_CHECKING:
    import httpx

LOG = logging.getLogger("orograph.callbacks")

CALL_S = 15.0
AT_ONCE = 8
TURN_S = 1.0
MAX_URI = 2000
AGENT = "Orograph (OGC API - Processes callback)"


class NotHeard(Exception):
    """A call that did not succeed; it may at the next attempt."""


def subscriber(value: Any, allowed_hosts: Collection[str]) -> dict[str, str] | None:
    """Return the checked `subscriber` of an execute request. Raises InvalidInput.

    Only hosts written as numbers are judged here: names are resolved when they are called.
    """
    if value is None:
        return None
    known = sorted(set(MEMBERS.values()))
    if not isinstance(value, Mapping) or not value.get("successUri") or set(value) - set(known):
        raise InvalidInput(f"subscriber: give successUri, and of {', '.join(known)} no others")
    return {member: _checked(member, uri, allowed_hosts) for member, uri in value.items()}


def _checked(member: str, uri: Any, allowed_hosts: Collection[str]) -> str:
    if not isinstance(uri, str) or len(uri) > MAX_URI or not uri.isascii() or not uri.isprintable():
        raise InvalidInput(f"subscriber: {member} must be a URI of at most {MAX_URI} characters")
    try:
        host, port = urlsplit(uri).hostname, urlsplit(uri).port
        known = bool(host) and port != 0 and uri.lower().startswith(("http://", "https://"))
    except ValueError:
        known = False
    if not known or host is None:
        raise InvalidInput(f"subscriber: {member} is no http(s) address")
    numeric = _is_number(host)
    try:
        if numeric or host == "localhost" or host.endswith(".localhost"):
            public_address(host, 80, allowed_hosts)
    except OrographError as error:
        raise InvalidInput(f"subscriber: {member}: {error}") from None
    return uri


def _is_number(host: str) -> bool:
    """Say whether a host is an address, in any of the forms that are read as one."""
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


class Caller:
    """Makes the calls that are due, until it is cancelled.

    *document* gives what a call says; several servers may call from one table.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        document: Callable[[Job], dict[str, Any]],
        allowed_hosts: Collection[str],
    ) -> None:
        self._pool, self._document, self._allowed = pool, document, allowed_hosts

    async def run(self) -> None:
        """Call for ever; a database that is away is waited for."""
        away = False
        while True:
            try:
                made = await self.turn()
                away = False
            except (psycopg.OperationalError, psycopg_pool.PoolTimeout) as error:
                if not away:
                    LOG.warning("callbacks wait for the database: %s", error)
                made, away = 0, True
            except Exception:
                LOG.exception("a turn of callbacks failed")
                made = 0
            if made == 0:
                await asyncio.sleep(TURN_S)

    async def turn(self) -> int:
        """Make the calls that are due now; returns how many there were."""
        calls = await run_in_threadpool(self._in_database, partial(callbacks.due, most=AT_ONCE))
        faults = await asyncio.gather(*(self._made(call) for call in calls), return_exceptions=True)
        for fault in faults:
            if fault is not None:
                raise fault
        return len(calls)

    async def _made(self, call: Call) -> None:
        fault: Exception | None = None
        try:
            if call.uri:
                body = await run_in_threadpool(self._document, call.job)
                async with asyncio.timeout(CALL_S):
                    await post(call.uri, body, self._allowed)
        except Exception as error:
            fault = error
        await run_in_threadpool(self._in_database, partial(_noted, call=call, fault=fault))

    def _in_database(self, turn: Callable[..., Any]) -> Any:
        with self._pool.connection() as conn:
            return turn(conn)


def _noted(conn: psycopg.Connection[Any], call: Call, fault: Exception | None) -> None:
    """Write down how a call went; a URI may hold secrets, so the log has its host alone."""
    whom = f"job {call.job.id}, {call.job.status}, to {urlsplit(call.uri or '').hostname}"
    if fault is None:
        callbacks.heard(conn, call)
        LOG.info("%s: told", whom)
        return
    again = callbacks.unheard(conn, call, hopeless=isinstance(fault, AssetForbidden))
    why = str(fault) or type(fault).__name__
    known = isinstance(fault, NotHeard | OrographError | TimeoutError)
    LOG.log(
        logging.WARNING if known else logging.ERROR,
        "%s: attempt %s: %s: %s",
        *(whom, call.attempt, why, "it is made again" if again else "given up"),
        exc_info=None if known else fault,
    )


async def post(uri: str, body: Mapping[str, Any], allowed_hosts: Collection[str]) -> None:
    """Send *body* as JSON. Raises NotHeard, or what `public_address` does."""
    import httpx

    url, headers, extensions = await asyncio.to_thread(pinned, uri, allowed_hosts)
    headers["User-Agent"] = AGENT
    try:
        async with (
            httpx.AsyncClient(timeout=CALL_S, trust_env=False) as client,
            client.stream(
                "POST", url, json=body, headers=headers, extensions=extensions
            ) as response,
        ):
            _judge(response)
    except httpx.HTTPError as error:
        raise NotHeard(str(error) or type(error).__name__) from None


def _judge(response: httpx.Response) -> None:
    if not response.is_success:
        raise NotHeard(f"it answered {response.status_code}")
