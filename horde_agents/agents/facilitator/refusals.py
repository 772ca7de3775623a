"""One shape for every refusal, and less and less patience with peers that earn them."""

import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from horde_agents.agents.facilitator.logins import Logins
from horde_agents.agents.facilitator.parts import FacilitatorParts
from horde_agents.agents.facilitator.validator_door import PATH as VALIDATORS_PATH
from horde_agents.protocol.rest_api import Refused
from horde_agents.runtime.clock import monotonic_s
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.networks import network_of, plain_address

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_WINDOW_S: Final = 60.0
_MAX_PEERS: Final = 10_000
_log = get_logger(__name__)


@dataclass(slots=True)
class Patience:
    """Refusals of the last minute by peer: a hotkey that has logged in, else an IPv4 address or IPv6 /64."""

    per_minute: int
    _refusals: dict[str, deque[float]] = field(default_factory=dict)

    def note(self, peer: str) -> None:
        """A request of ``peer`` was refused."""
        if len(self._refusals) >= _MAX_PEERS:
            self._refusals.pop(next(iter(self._refusals)))
        self._refusals.setdefault(peer, deque(maxlen=self.per_minute)).append(monotonic_s())

    def check(self, peer: str) -> None:
        """Let ``peer`` speak.

        Raises:
            Refused: it has earned too many refusals; the answer says how long to wait.
        """
        recent = self._refusals.get(peer)
        if recent is None or len(recent) < self.per_minute:
            return
        wait_s = recent[0] + _WINDOW_S - monotonic_s()
        if wait_s > 0:
            headers = {"Retry-After": str(int(wait_s) + 1)}
            raise Refused("peer.slow_down", f"Too many refused requests; wait {wait_s:.0f} s.", None, headers)


def refusals(parts: FacilitatorParts, patience: Patience, logins: Logins) -> Middleware:
    """The middleware that turns errors into answers."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == VALIDATORS_PATH:  # that door has its own way with peers that it refuses
            return await handler(request)
        peer = logins.vouched(request.headers.get("Authorization", "")) or _network(request, parts)
        try:
            patience.check(peer)
            return await handler(request)
        except Refused as refused:
            return _answer(parts, patience, peer, refused)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return _answer(parts, patience, peer, _refused(error))
        except Exception:  # noqa: BLE001  (outermost frame of a request: log it and say 500)
            request_id = str(uuid.uuid4())
            _log.exception("request failed", request_id=request_id, path=request.path)
            return _answer(
                parts, patience, peer, Refused("internal", f"Internal error, request id {request_id}.")
            )

    return middleware


def _network(request: web.Request, parts: FacilitatorParts) -> str:
    """Where a request comes from; behind one of the operator's proxies, where the proxy says it does."""
    address = request.remote or "unknown"
    if plain_address(address) in map(plain_address, parts.settings.trusted_proxies):
        said = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()[:64]
        address = said or address
    return network_of(address)


def _answer(parts: FacilitatorParts, patience: Patience, peer: str, refused: Refused) -> web.Response:
    if refused.code not in {"peer.slow_down", "auth.token_expired", "internal"}:
        patience.note(peer)
    parts.metrics.refused.labels(code=refused.code).inc()
    return web.json_response(refused.body(), status=refused.status, headers=refused.headers)


def _refused(error: web.HTTPException) -> Refused:
    if error.status == 404:
        return Refused("request.not_found", "No such path.")
    if error.status == 405:
        return Refused("request.method", f"Use one of: {error.headers.get('Allow', '')}.")
    if error.status == 413:
        return Refused("body.too_large", "The body is too large.")
    return Refused("body.malformed", error.reason or "The request cannot be read.")
