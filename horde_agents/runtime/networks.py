"""Whom an address stands for where peers are counted: who has one address of IPv6 has all of its network."""

import ipaddress
from typing import Final

#: Bits of the smallest IPv6 network that a provider gives one customer.
_IPV6_BITS: Final = 64


def network_of(address: str) -> str:
    """An IPv4 address as it is, an IPv6 one as its /64; whatever is neither as it is.

    An IPv4 address in the IPv6 form that listeners on both report (``::ffff:192.0.2.1``) is the IPv4 one.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    bare = ipaddress.IPv6Address(int(found))  # without the name of an interface
    return str(ipaddress.IPv6Network((bare, _IPV6_BITS), strict=False))
