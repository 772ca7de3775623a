"""What every request passes before and after its reading: pace, access, time, and errors in one shape."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from horde_agents.agents.validator.api.access import Access, is_from_here
from horde_agents.agents.validator.api.endpoints import Endpoint, answer_of, ask_of
from horde_agents.agents.validator.api.pace import Pace
from horde_agents.agents.validator.api.refusals import ApiRefused, of_http_error
from horde_agents.agents.validator.api.sources import Reader, Sources
from horde_agents.protocol.btauth import is_signed
from horde_agents.runtime.held_peers import HOLD_S, HeldPeers
from horde_agents.runtime.logs import get_logger
from horde_agents.runtime.networks import network_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Readings at one time; others wait for their turn within their time.
_AT_ONCE: Final = 8
_HELD_CODES: Final = ("auth.", "request.", "body.")
_log = get_logger(__name__)


@dataclass(slots=True)
class Gate:
    """The way in of one listener."""

    sources: Sources
    access: Access
    pace: Pace
    reading_s: float
    _held: HeldPeers = field(default_factory=HeldPeers)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer every error in our shape, and slow down those that earn many."""
        network = network_of(request.remote or "unknown")
        peer = (network, is_from_here(request))  # a proxy's flood is not the operator's
        try:
            self._check(peer, request)
            return await handler(request)
        except ApiRefused as refused:
            return await self._refused(peer, refused)
        except web.HTTPException as error:
            return await self._refused(peer, of_http_error(error))
        except Exception:  # noqa: BLE001  (outermost frame of a request: log it and say 500)
            request_id = str(uuid.uuid4())
            _log.exception("request failed", request_id=request_id, path=request.path)
            return ApiRefused("internal", f"Internal error, request id {request_id}.").answer()

    def _check(self, peer: Hashable, request: web.Request) -> None:
        if not is_signed(request.headers) and not self._held.has_room(peer):
            raise _too_many()  # a signed one is looked at: behind a proxy all have one address
        if request.body_exists:
            raise ApiRefused("body.unwelcome", "Reads have no body; send none.")

    def reading(self, endpoint: Endpoint) -> Handler:
        """The handler of one endpoint."""

        async def handler(request: web.Request) -> web.StreamResponse:
            reader, name = self.access.reader(request)
            if reader is not Reader.OPERATOR:
                self.pace.take(name)
            ask = ask_of(endpoint, request, reader)
            try:
                async with asyncio.timeout(self.reading_s), self._turns:
                    return answer_of(request, await endpoint.read(self.sources, ask))
            except TimeoutError as error:
                raise ApiRefused(
                    "reading.too_slow", f"The answer did not come within {self.reading_s:g} s.", 1
                ) from error

        return handler

    def unsigned(self, handler: Handler) -> Handler:
        """A handler for whoever can reach the port: only its pace is bounded, by address."""

        async def paced(request: web.Request) -> web.StreamResponse:
            self.pace.take(network_of(request.remote or "unknown"))
            return await handler(request)

        return paced

    async def _refused(self, peer: Hashable, refused: ApiRefused) -> web.Response:
        """The refusal; a peer that was refused a moment ago waits for it."""
        if refused.code.startswith(_HELD_CODES):
            if not self._held.has_room(peer):
                return _too_many().answer()
            is_new = self._held.is_new(peer)
            self._held.add(peer)
            if not is_new:
                await asyncio.sleep(HOLD_S)
        return refused.answer()


def _too_many() -> ApiRefused:
    return ApiRefused("peer.slow_down", "Too many refused requests; wait.", int(HOLD_S) + 1)
