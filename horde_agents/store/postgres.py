"""Connects to PostgreSQL: of several servers to the one that takes writes, while its machine is there.

Owns what a URL may say besides user, password and database. A primary and its standby are both in it:
``postgresql://user:password@/name?host=10.0.0.1:5432&host=10.0.0.2:5432&target_session_attrs=read-write``
"""

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncpg import connect
from asyncpg.exceptions import InterfaceError, PostgresError, TargetServerAttributeNotMatched
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

#: One server has so long to let us in before the next is asked.
_ATTEMPT_S: Final = 5.0
#: A server whose machine is gone sends nothing, not even a goodbye: after so long a connection is given up.
_SILENCE_S: Final = 20
_PROBES_EVERY_S: Final = 5
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_KNOWN: Final = frozenset({"host", "target_session_attrs", "sslmode", "sslrootcert"})

#: After these the next server is asked.
_REFUSALS: Final = (OSError, PostgresError, InterfaceError, TargetServerAttributeNotMatched)
#: the driver has no types
_open: Callable[..., Awaitable[Any]] = connect


class UrlRefused(Exception):
    """What the URL says beyond its address makes no sense; the text says what to do."""


def postgres_engine(url: URL) -> AsyncEngine:
    """An engine for the servers of ``url``; nothing is connected yet.

    Raises:
        UrlRefused: an unknown parameter, or TLS that cannot be set up.
    """
    unknown = sorted(set(url.query) - _KNOWN)
    if unknown:
        known = ", ".join(sorted(_KNOWN))
        raise UrlRefused(f"The database URL has the parameter {unknown[0]}; it may have {known}.")
    tls = _tls(url.query)
    plain = url.set(drivername="postgresql+asyncpg").difference_update_query(["sslmode", "sslrootcert"])
    options = {"async_creator_fn": _Servers().connect, **({} if tls is None else {"ssl": tls})}
    return create_async_engine(plain, pool_pre_ping=True, connect_args=options)


@dataclass(slots=True)
class _Servers:
    """Servers of which one takes writes; the one that did last is asked first."""

    last: str = ""

    async def connect(self, **options: Any) -> Any:  # noqa: ANN401  (the driver's own types)
        """Connect to the first server that will do, each for a bounded time.

        The driver has one limit for all of them, so that one that is silent would keep it from the next.
        """
        hosts, ports = options.pop("host", None), options.pop("port", None)
        if not isinstance(hosts, list):
            return _watched(await _open(host=hosts, port=ports, **options))
        refusals = []
        for host, port in sorted(zip(hosts, ports, strict=True), key=self._is_not_last):
            try:
                opened = await _open(host=host, port=port, timeout=_ATTEMPT_S, **options)
            except _REFUSALS as error:
                refusals.append(f"{host}:{port}: {_why(error)}")
                continue
            self.last = f"{host}:{port}"
            return _watched(opened)
        raise ConnectionError("; ".join(refusals))

    def _is_not_last(self, server: tuple[str, int]) -> bool:
        return f"{server[0]}:{server[1]}" != self.last


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {_ATTEMPT_S:.0f} s"
    return str(error) or type(error).__name__


def _watched(connection: Any) -> Any:  # noqa: ANN401  (as above)
    """Have the kernel end the connection when the other side is silent, whoever waits on it."""
    transport = connection._transport  # the driver has no public way to its socket
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in {socket.AF_INET, socket.AF_INET6}:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBES_EVERY_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBES_EVERY_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _SILENCE_S // _PROBES_EVERY_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_S * 1000)
    return connection


def _tls(query: Mapping[str, Any]) -> ssl.SSLContext | str | None:
    mode, root = query.get("sslmode"), query.get("sslrootcert")
    if mode is not None and mode not in _MODES:
        raise UrlRefused(f"sslmode of the database URL is {mode}; it may be {', '.join(_MODES)}.")
    if root is None:
        return mode
    if mode not in {"verify-ca", "verify-full"}:
        raise UrlRefused(f"sslrootcert of the database URL needs sslmode=verify-full; that is {mode}.")
    try:
        context = ssl.create_default_context(cadata=Path(root).read_text())
    except (OSError, ssl.SSLError) as error:
        raise UrlRefused(f"sslrootcert of the database URL, {root}, cannot be used: {error}") from error
    context.check_hostname = mode == "verify-full"
    return context
