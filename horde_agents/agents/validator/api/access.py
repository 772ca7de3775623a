"""Who may read: this machine's operator unsigned, else whom the settings name, signing as btauth/1.

A request that came through a proxy, or that a browser was lured into, is none of the operator's.
"""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from horde_agents.agents.validator.api.refusals import ApiRefused
from horde_agents.agents.validator.api.replays import Replays
from horde_agents.agents.validator.api.sources import Reader
from horde_agents.protocol.btauth import Asked, AuthWrong, check_claim, is_signed, read_claim
from horde_agents.runtime import clock
from horde_agents.runtime.networks import network_of

ANYONE: Final = "anyone"
METAGRAPH: Final = "metagraph"

_PROXY_HEADERS: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


@dataclass(slots=True)
class Access:
    """Decides for each request; ``stake_rao`` says who has a permit now."""

    own_hotkey: str
    readers: str | tuple[str, ...]
    trusts_loopback: bool
    stake_rao: Callable[[], Mapping[str, int]]
    _replays: Replays = field(default_factory=Replays)

    def reader(self, request: web.Request) -> tuple[Reader, str]:
        """Who asks, and the name under which their requests are counted.

        Raises:
            ApiRefused: signed wrongly, or not allowed to read.
        """
        address = network_of(request.remote or "unknown")
        if is_signed(request.headers):
            hotkey = self._signatory(request)
            if hotkey == self.own_hotkey:
                return Reader.OPERATOR, hotkey
            if self._may_read(hotkey):
                return Reader.SIGNED, hotkey
            if self.readers != ANYONE:
                raise ApiRefused(
                    "auth.not_a_reader", f"{hotkey} may not read here (setting api_readers: {self._named()})."
                )
        elif self.trusts_loopback and is_from_here(request):
            return Reader.OPERATOR, address
        if self.readers == ANYONE:
            return Reader.ANYONE, address
        raise ApiRefused("auth.missing", f"Sign the request as btauth/1 for {self.own_hotkey}.")

    def _signatory(self, request: web.Request) -> str:
        now_ns = int(clock.now().timestamp() * 1e9)
        try:
            claim = read_claim(request.headers)
            check_claim(claim, Asked(request.method, request.raw_path), self.own_hotkey, now_ns)
            self._replays.check(claim.hotkey, claim.nonce_ns, now_ns)
        except AuthWrong as error:
            raise ApiRefused(error.code, str(error)) from error
        return claim.hotkey

    def _may_read(self, hotkey: str) -> bool:
        if isinstance(self.readers, tuple):
            return hotkey in self.readers
        return hotkey in self.stake_rao()

    def _named(self) -> str:
        return self.readers if isinstance(self.readers, str) else f"a list of {len(self.readers)}"


def is_from_here(request: web.Request) -> bool:
    """Whether a program on this machine asks for itself: no proxy, and no web page of a foreign name."""
    if any(name in request.headers for name in _PROXY_HEADERS):
        return False
    host = request.headers.get("Host", "").rpartition("@")[2]
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    return _is_loopback(request.remote or "") and (name == "localhost" or _is_loopback(name))


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)
