"""Which addresses volumes and uploads may reach: resolved once, checked, and pinned for the connection."""

import ipaddress
import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

#: Cloud metadata services that a plain private-range check would let through.
_ALWAYS_REFUSED: Final = frozenset({"169.254.169.254", "100.100.100.200", "fd00:ec2::254"})
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


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
    address = _behind(ipaddress.ip_address(text))
    reachable = address.is_global or (allow_private and _is_local(address))
    if str(address) in _ALWAYS_REFUSED or address.is_multicast or not reachable:
        raise AddressRefused(f"address {address} is not public; jobs may not reach it")


def check_literal(host: str, *, allow_private: bool) -> None:
    """As ``check_address`` for a URL's host; names are left to the resolver.

    Raises:
        AddressRefused: ``host`` is an address that is refused.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host.replace(".", "").isdigit():  # such as 2130706433, which sockets take for 127.0.0.1
            raise AddressRefused(f"address {host:.50} is not public: it is no plain address") from None
        return
    check_address(host, allow_private=allow_private)


def _behind(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_private and not address.is_link_local
