"""``listeners``, ``advertised.listeners`` and ``listener.security.protocol.map``.

Source: ``org.apache.kafka.server.config.AbstractKafkaConfig`` and ``SocketServerConfigs`` (Kafka 4.3).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from odradek.core.config.values import ConfigError

_ENDPOINT = re.compile(r"([^:/]+)://\[?([0-9a-zA-Z\-%._:]*)\]?:([0-9]+)")
_ADDRESS = re.compile(r"[0-9.]+|\[?[0-9a-fA-F:.]+\]?")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


class Listener(NamedTuple):
    """One listener. ``host`` is empty when it stands for every interface, ``port`` 0 for any free one."""

    name: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


def parse_endpoints(key: str, texts: Iterable[str]) -> tuple[Listener, ...]:
    """``NAME://host:port`` each. Raises :class:`ConfigError`."""
    endpoints: list[Listener] = []
    for text in texts:
        match = _ENDPOINT.fullmatch(text)
        if match is None or int(match[3]) > 65_535:
            raise ConfigError(f"{key}: {text!r} is not of the form NAME://host:port")
        endpoint = Listener(match[1].upper(), match[2], int(match[3]))
        if any(other.name == endpoint.name for other in endpoints):
            raise ConfigError(f"{key}: two listeners are named {endpoint.name}; each needs its own name")
        endpoints.append(endpoint)
    return tuple(endpoints)


def parse_address(key: str, text: str) -> tuple[str, int]:
    """``host:port`` (``[host]:port`` for IPv6). Raises :class:`ConfigError`."""
    host, _, port = text.strip().rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise ConfigError(f"{key}: {text!r} is not of the form HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def parse_overrides(text: str) -> dict[str, int]:
    """``max.connections.per.ip.overrides``: ``address:count,…``. Raises :class:`ConfigError`."""
    overrides = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        address, _, count = entry.rpartition(":")
        if not address or not (count.isascii() and count.isdecimal()) or not _ADDRESS.fullmatch(address):
            raise ConfigError(
                f"max.connections.per.ip.overrides: {entry!r} is not ADDRESS:COUNT with an IP address"
            )
        overrides[address.strip("[]")] = int(count)
    return overrides


def parse_protocol_map(text: str) -> dict[str, str]:
    """``NAME:PROTOCOL,…`` → protocol by listener name. Raises :class:`ConfigError`."""
    protocols = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, colon, protocol = entry.rpartition(":")
        if not colon or protocol.strip().upper() not in _PROTOCOLS:
            raise ConfigError(
                f"listener.security.protocol.map: {entry!r} is not NAME:PROTOCOL with one of"
                f" {', '.join(_PROTOCOLS)}"
            )
        protocols[name.strip().upper()] = protocol.strip().upper()
    return protocols


def check_protocols(endpoints: Iterable[Listener], protocols: dict[str, str]) -> None:
    """Every listener must have a protocol, and one that is served. Raises :class:`ConfigError`."""
    for endpoint in endpoints:
        protocol = protocols.get(endpoint.name)
        if protocol is None:
            raise ConfigError(
                f"listener {endpoint.name} has no security protocol: add {endpoint.name}:PLAINTEXT to"
                " listener.security.protocol.map"
            )
        if protocol != "PLAINTEXT":
            raise ConfigError(
                f"listener {endpoint.name} asks for {protocol}, which is not built yet; PLAINTEXT is served"
            )


def check_advertised(advertised: Iterable[Listener], listeners: Iterable[Listener]) -> None:
    """Clients must be able to dial what they are told. Raises :class:`ConfigError`."""
    names = {endpoint.name for endpoint in listeners}
    for endpoint in advertised:
        if endpoint.host in ("0.0.0.0", "::"):
            raise ConfigError(
                f"advertised.listeners: {endpoint.host} is no address that a client can dial; name a host"
            )
        if endpoint.name not in names:
            raise ConfigError(
                f"advertised.listeners: {endpoint.name} is none of the listeners {', '.join(sorted(names))}"
            )
