"""Which addresses jobs may reach."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde_agents.agents.executor.addresses import AddressRefused, check_address, check_literal


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8"])
def test_public_addresses_are_reached(text: str) -> None:
    check_address(text, allow_private=False)


@pytest.mark.parametrize("text", ["127.0.0.1", "10.1.2.3", "192.168.0.1", "::1", "fd12::1", "172.17.0.1"])
def test_private_addresses_are_reached_only_where_allowed(text: str) -> None:
    check_address(text, allow_private=True)
    with pytest.raises(AddressRefused):
        check_address(text, allow_private=False)


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "fd00:ec2::254",
        "100.100.100.200",
        "fe80::1",
        "224.0.0.1",
    ],
)
def test_link_local_and_metadata_addresses_are_never_reached(text: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(text, allow_private=True)


@given(st.ip_addresses(network="127.0.0.0/8") | st.ip_addresses(network="10.0.0.0/8"))
def test_no_spelling_of_a_private_address_is_let_through(address: ipaddress.IPv4Address) -> None:
    for text in (str(address), f"::ffff:{address}", f"64:ff9b::{address}", str(int(address))):
        with pytest.raises(AddressRefused):
            check_literal(text, allow_private=False)


def test_names_are_left_to_the_resolver() -> None:
    check_literal("example.org", allow_private=False)
