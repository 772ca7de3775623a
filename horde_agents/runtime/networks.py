"""Whom an address stands for where peers are counted: who has one address of IPv6 has all of its network."""

import ipaddress
from typing import Final

#: Bits of the smallest IPv6 network that a provider gives one customer.
_IPV6_BITS: Final = 64


def plain_address(address: str) -> str:
    """An address in its usual writing; whatever is none as it is.

    An IPv4 address in the IPv6 form that listeners on both report (``::ffff:192.0.2.1``) is the IPv4 one.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def network_of(address: str) -> str:
    """An IPv4 address as it is, an IPv6 one as its /64; whatever is neither as it is."""
    plain = plain_address(address)
    try:
        found = ipaddress.IPv6Address(plain)
    except ValueError:
        return plain
    bare = ipaddress.IPv6Address(int(found))  # without the name of an interface
    return str(ipaddress.IPv6Network((bare, _IPV6_BITS), strict=False))
