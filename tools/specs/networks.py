"""Which addresses a spec may be read from: none of a private or special network, unless the settings name it. Pure.

Sources: IANA's registries of special-purpose addresses for IPv4 and IPv6; RFC 6052 and RFC 8215 (NAT64), RFC 3056
(6to4), RFC 4380 (Teredo), RFC 4291 (IPv4-mapped and -compatible), RFC 2765 (IPv4-translated).
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA = frozenset(
    ip_address(one)
    for one in (
        *("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
    )
)
"""Where clouds answer their machines' questions, credentials among them: never a spec, whatever the settings say."""

_SPECIAL: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_CARRIERS = tuple(map(IPv6Network, ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "::/96")))
"""IPv6 addresses whose last 32 bits are an IPv4 address: mapped, translated, NAT64, compatible."""
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")


def is_reachable(given: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether a spec may be read from that address: a public one, or one in `allowed`."""
    try:
        # A zone (fe80::1%eth0) is only ever link-local.
        address = ip_address(given)
    except ValueError:
        return False
    meant = _meant(address)
    if meant is None or meant in METADATA:
        return False
    return any(meant in network for network in allowed if network.version == meant.version) or _is_public(meant)


def _meant(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 one stands for, else the address; None where nobody can say what it leads to."""
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None or address in _LOCAL_NAT64 or address in _TEREDO:
        return None
    if address in (IPv6Address("::"), IPv6Address("::1")):
        return address
    if any(address in network for network in _CARRIERS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL if network.version == address.version)
    return address in _GLOBAL_V6 and not any(address in network for network in _SPECIAL_V6)
