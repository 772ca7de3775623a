"""Both ways to Consul over the same connections: py-consul's calls, and plain ones for what it cannot do.

py-consul writes the requests and reads the answers; ``ClusterHttp`` carries them, so that the token comes
from its file and never from the environment, TLS is verified, nothing blocks, and the next address is asked
when one does not answer. Plain calls are for answers that py-consul throws away (bundle note 5.2).

Every foreign error becomes one of the port's here, by ``FAULTS``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote

from consul.base import Consul, HTTPClient, Response
from consul.exceptions import ACLDisabled, ACLPermissionDenied, ConsulException, NotFound

from horde_agents.clients.cluster_http import (
    Answer,
    ClusterAddress,
    ClusterHttp,
    ServerAway,
    ServerDenied,
    ServerRefused,
)
from horde_agents.placement.coordination import CoordinationAway, CoordinationDenied, SessionLost

T = TypeVar("T")

#: The first row counts whose class fits and whose words are in the text.
FAULTS: Final[tuple[tuple[type[Exception], str, type[Exception]], ...]] = (
    (ServerRefused, "invalid session", SessionLost),
    (ServerRefused, "ACL not found", CoordinationDenied),
    (ServerRefused, "", CoordinationAway),
    (ServerDenied, "", CoordinationDenied),
    (ServerAway, "", CoordinationAway),
    (NotFound, "", SessionLost),  # py-consul says so of nothing but a session to renew
    (ACLPermissionDenied, "", CoordinationDenied),
    (ACLDisabled, "", CoordinationDenied),
    (ConsulException, "", CoordinationAway),
)


class ConsulConnection:
    """A client of one cluster; ``close`` it."""

    def __init__(self, address: ClusterAddress) -> None:
        self._http = ClusterHttp("Consul", address, "X-Consul-Token")
        self._library = _Library(self._http)

    async def call(self, call: Callable[[Consul], Any]) -> Any:  # noqa: ANN401
        """What ``call`` has of py-consul, awaited; its annotations are those of its blocking client."""
        with _translated():
            return await call(self._library)

    async def ask(self, method: str, path: str, **rest: Any) -> Answer:  # noqa: ANN401  (as ClusterHttp.ask)
        """A call of our own; ``path`` is not quoted."""
        with _translated():
            return await self._http.ask(method, _quoted(path), **rest)

    async def close(self) -> None:
        """End the connections."""
        await self._http.close()


class _Carrier(HTTPClient):
    """py-consul's requests over our connections; its headers are left out: they have a token, at most."""

    def __init__(self, http: ClusterHttp) -> None:
        super().__init__()
        self._http = http

    async def get(self, *request: Any, **rest: Any) -> Any:  # noqa: ANN401
        return await self._carry("GET", *request, **rest)

    async def put(self, *request: Any, **rest: Any) -> Any:  # noqa: ANN401
        return await self._carry("PUT", *request, **rest)

    async def delete(self, *request: Any, **rest: Any) -> Any:  # noqa: ANN401
        return await self._carry("DELETE", *request, **rest)

    async def post(self, *request: Any, **rest: Any) -> Any:  # noqa: ANN401
        return await self._carry("POST", *request, **rest)

    async def close(self) -> None:
        await self._http.close()

    async def _carry(
        self,
        method: str,
        callback: Callable[[Response], T],
        path: str,
        params: Sequence[tuple[str, Any]] | None = None,
        data: str | bytes = "",
        **_: object,
    ) -> T:
        answer = await self._http.ask(
            method,
            _quoted(path),
            accept=(200, 404),
            as_text=True,
            params=[(name, str(value)) for name, value in params or ()],
            data=data or None,
        )
        return callback(Response(answer.status, answer.headers, answer.body))


class _Library(Consul):
    """py-consul whose calls are awaited."""

    def __init__(self, http: ClusterHttp) -> None:
        self._carrier = _Carrier(http)
        # all given, or it would look for them in the environment
        super().__init__("127.0.0.1", 8500, scheme="http", verify=True)

    def http_connect(self, *_: object, **__: object) -> _Carrier:
        return self._carrier


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except tuple(row[0] for row in FAULTS) as error:
        raise _fault(error) from error


def _fault(error: Exception) -> Exception:
    for foreign, words, ours in FAULTS:
        if isinstance(error, foreign) and words in str(error):
            return ours(str(error) or type(error).__name__)
    raise AssertionError(f"no row for {error!r}")


def _quoted(path: str) -> str:
    return quote(path, safe="/:")
