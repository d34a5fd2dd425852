"""Identity headers of the one trusted proxy."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address, ip_address

from anomaly_exporter.config import Proxy, Role

from .identity import Identity, is_name

MAX_GROUPS = 1000


def believed(proxy: Proxy | None, peer: str) -> bool:
    """Whether the connection from ``peer`` comes from the proxy."""
    if proxy is None:
        return False
    try:
        address = ip_address(peer)
    except (AddressValueError, ValueError):
        return False
    # A socket for both families shows IPv4 peers as ::ffff:10.0.0.1.
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in proxy.addresses)


def names_somebody(proxy: Proxy | None, headers: Mapping[str, str]) -> bool:
    """Whether the headers claim an identity."""
    return proxy is not None and any(h.lower() in headers for h in (proxy.user_header, proxy.groups_header))


def person(proxy: Proxy, headers: Mapping[str, str]) -> Identity | None:
    """Whom the headers name, if that is somebody and they have a role."""
    # A header that came twice is joined by a comma, which no name holds.
    user = headers.get(proxy.user_header.lower(), "")
    if not is_name(user):
        return None
    groups = {group.strip() for group in headers.get(proxy.groups_header.lower(), "").split(",")[:MAX_GROUPS]}
    role = role_of(proxy, user, groups - {""})
    return Identity(user, role, "proxy", f"proxy {user}") if role else None


def role_of(proxy: Proxy, user: str, groups: set[str]) -> Role | None:
    """The highest role that names the user or a group."""
    roles = proxy.roles
    named: tuple[Role, ...] = ("admin", "operator", "viewer")
    for role in named:
        members = getattr(roles, role)
        if user in members.users or groups.intersection(members.groups):
            return role
    return roles.everybody
