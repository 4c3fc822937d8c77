"""From which addresses a spec may be read."""

from ipaddress import ip_network

import pytest

from tools.specs.networks import METADATA, is_reachable

PRIVATE = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.1.1", "172.16.0.1", "172.31.255.1"),
    *("192.0.0.8", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1"),
    *("2001::1", "3fff::1", "100::1", "5f00::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_special_address(address: str) -> None:
    assert not is_reachable(address)


@pytest.mark.parametrize(
    "address", ["140.82.121.4", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "2a00:1450:4001::2004"]
)
def test_every_public_address(address: str) -> None:
    assert is_reachable(address)


@pytest.mark.parametrize(
    "form",
    [
        "::ffff:{}",  # mapped
        "::ffff:0:{}",  # translated
        "64:ff9b::{}",  # NAT64
        "::{}",  # compatible
    ],
)
def test_an_ipv4_address_in_ipv6_is_what_it_stands_for(form: str) -> None:
    for inner in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.0.1", "168.63.129.16"):
        assert not is_reachable(form.format(inner)), form
    assert is_reachable(form.format("140.82.121.4"))


@pytest.mark.parametrize(
    "address",
    [
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2002:a9fe:a9fe::1",  # 6to4 of 169.254.169.254
        "64:ff9b:1::a9fe:a9fe",  # a network's own NAT64
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
    ],
)
def test_no_tunnel_to_somewhere_else(address: str) -> None:
    assert not is_reachable(address)


def test_a_network_that_is_named_may_be_asked_and_no_other() -> None:
    allowed = [ip_network("10.20.0.0/16"), ip_network("fd12::/16")]
    assert is_reachable("10.20.3.4", allowed)
    assert is_reachable("::ffff:10.20.3.4", allowed)
    assert is_reachable("fd12::5", allowed)
    assert not is_reachable("10.21.3.4", allowed)
    assert not is_reachable("127.0.0.1", allowed)


@pytest.mark.parametrize("address", sorted(map(str, METADATA)))
def test_where_clouds_keep_credentials_is_never_asked(address: str) -> None:
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    assert not is_reachable(address, everything)


@pytest.mark.parametrize("address", ["", "localhost", "0x7f000001", "2130706433", "127.1", "1.2.3.4.5"])
def test_what_is_no_address(address: str) -> None:
    assert not is_reachable(address)
