"""Which addresses volumes and uploads may reach: resolved once, checked, and pinned for the connection."""

import ipaddress
import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

#: Cloud metadata services that a plain private-range check would let through.
_ALWAYS_REFUSED: Final = frozenset({"169.254.169.254", "100.100.100.200", "fd00:ec2::254"})


class AddressRefused(OSError):
    """A URL leads to an address that jobs may not reach."""


class GuardedResolver(AbstractResolver):
    """Resolves names and refuses every answer that is not a public address."""

    def __init__(self, *, allow_private: bool) -> None:
        self._resolver = ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """As aiohttp asks; the connection goes to the address checked here.

        Raises:
            AddressRefused: one of the answers is refused.
        """
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            check_address(result["host"], allow_private=self._allow_private)
        return results

    async def close(self) -> None:
        await self._resolver.close()


def check_address(text: str, *, allow_private: bool) -> None:
    """Refuse ``text`` unless jobs may reach it.

    Raises:
        AddressRefused: a private, loopback, link-local or metadata address.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if str(address) in _ALWAYS_REFUSED or not (address.is_global or (allow_private and _is_local(address))):
        raise AddressRefused(f"address {address} is not public; jobs may not reach it")


def check_literal(host: str, *, allow_private: bool) -> None:
    """As ``check_address`` for a URL's host; names are left to the resolver.

    Raises:
        AddressRefused: ``host`` is an address that is refused.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    check_address(host, allow_private=allow_private)


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_private and not address.is_link_local
