"""Which hosts that users name may be connected to: nobody may reach through us what only we can reach.

Special-purpose addresses: https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry; IPv6 unicast that is routed at all: 2000::/3.
"""

import asyncio
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import SimpleNamespace
from typing import Annotated, Any, Final

import aiohappyeyeballs
import aiohttp
from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from yarl import URL

from chassis.settings import PREFIX

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
AddrInfo = tuple[int, int, int, str, tuple[Any, ...]]
Lookup = Callable[[str, int], Sequence[AddrInfo]]
"""As socket.getaddrinfo for streams: blocks, raises OSError or UnicodeError."""

SMTP_PORTS: Final = frozenset({25, 465, 587, 2525})
IMAP_PORTS: Final = frozenset({143, 993})
_HAPPY_EYEBALLS_SECONDS: Final = 0.25  # RFC 8305 5

_SPECIAL: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "private"),  # behind a carrier's NAT (RFC 6598)
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),  # where clouds hand out a machine's credentials
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "private"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4 address inside IPv6"),
        ("64:ff9b::/96", "an IPv4 address inside IPv6"),
        ("64:ff9b:1::/48", "an IPv4 address inside IPv6"),
        ("2002::/16", "an IPv4 address inside IPv6"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
)
_ROUTED_IPV6: Final = IPv6Network("2000::/3")
_HOLD_IPV4: Final = tuple(map(IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")))


class ForbiddenHost(OSError):
    """No connection is made there: `reason` says why, for whoever named the host. To what handles failures
    to connect it is one of them.
    """

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host} may not be connected to: {reason}")
        self.host = host
        self.reason = reason


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class HostSettings(BaseSettings):
    """What an operator allows beyond the public internet."""

    # As the other mixins: the last base's configuration wins, and one without the prefix would take it away.
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    allowed_private_networks: Annotated[
        tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)
    ] = Field(
        default=(),
        description="where hosts that users name may be besides, on any port and without https; with commas",
    )


class Guard:
    """Judges addresses, and connects only to the ones it judged: a name that resolves anew gains nothing.

    A special-purpose address is refused unless it is in `allowed`; there any port is right, and http. Of
    several addresses of a name none may be refused. An IPv4 address inside an allowed IPv6 one (NAT64, on
    IPv6-only networks) is judged too.
    """

    def __init__(self, allowed: Iterable[Network] = (), lookup: Lookup | None = None) -> None:
        self._allowed = tuple(allowed)
        self._lookup = lookup or partial(socket.getaddrinfo, type=socket.SOCK_STREAM)

    def refusal(self, address: Address) -> str | None:
        """Why nothing connects to this address; None if something may."""
        if not self.is_allowed(address):
            reason = special(address)
            if reason is not None:
                return reason
        inner = _inner(address)
        return self.refusal(inner) if inner is not None else None

    def is_allowed(self, address: Address) -> bool:
        """Whether the operator named this address's network."""
        return any(address in network for network in self._allowed if network.version == address.version)

    async def check(self, host: str, port: int, ports: Collection[int] | None = None) -> tuple[Address, ...]:
        """The host's addresses; raises ForbiddenHost, any other OSError if the name does not resolve.

        `ports`: the right ones beyond the allowed networks; None: any. A wrong one is told also of a name
        that does not resolve.
        """
        return await self._check(host, port, _port_fault(port, ports))

    async def check_url(self, url: str) -> None:
        """Raise as `check` unless a session would go there: https, or http in an allowed network."""
        asked = URL(url)
        await self._check(asked.host or "", asked.port or 0, _scheme_fault(asked))

    async def connected(self, host: str, port: int, ports: Collection[int] | None = None) -> socket.socket:
        """A connected non-blocking socket, for `create_connection(sock=...)`; raises as `check`, OSError.

        TLS is the caller's, with `host` as the name.
        """
        found = await self.check(host, port, ports)
        return await aiohappyeyeballs.start_connection(
            [_addr_info(address, port) for address in found], happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS
        )

    def connected_blocking(
        self,
        host: str,
        port: int,
        ports: Collection[int] | None = None,
        *,
        seconds: float,
    ) -> socket.socket:
        """A connected socket, for threads, with `seconds` for each address; raises as `connected`."""
        refused: OSError | None = None
        for address in self._judged(host, port, _port_fault(port, ports)):
            family, kind, protocol, _, target = _addr_info(address, port)
            opened = socket.socket(family, kind, protocol)
            try:
                opened.settimeout(seconds)
                opened.connect(target)
            except OSError as error:
                opened.close()
                refused = error
            else:
                return opened
        raise refused or OSError(f"{host} has no address")

    def session(
        self, *, timeout: aiohttp.ClientTimeout, traces: Sequence[aiohttp.TraceConfig] = (), **connector: Any
    ) -> aiohttp.ClientSession:
        """A session that connects only where it may, follows no redirect, and speaks http in allowed networks
        only; else its requests raise ForbiddenHost, or the ClientConnectorError that holds one.

        `connector`: further arguments of its TCPConnector.
        """
        rules = aiohttp.TraceConfig()
        rules.on_request_start.append(self._may_be_asked)
        rules.on_request_redirect.append(_follow_nothing)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=self._socket, **connector),
            cookie_jar=aiohttp.DummyCookieJar(),  # two workspaces may name one host
            timeout=timeout,
            trace_configs=[rules, *traces],
        )

    async def _may_be_asked(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        asked: aiohttp.TraceRequestStartParams,
    ) -> None:
        if asked.url.scheme != "https":  # else the socket's address is all that matters
            await self._check(asked.url.host or "", asked.url.port or 0, _scheme_fault(asked.url))

    def _socket(self, info: AddrInfo) -> socket.socket:
        """Made for the very address that is connected to next, whatever was resolved before."""
        family, kind, protocol, _, target = info
        address = _address(str(target[0]))
        reason = self.refusal(address)
        if reason is not None:
            raise ForbiddenHost(str(address), reason)
        return socket.socket(family, kind, protocol)

    async def _check(self, host: str, port: int, fault: str | None) -> tuple[Address, ...]:
        if _is_literal(host):
            return self._judged(host, port, fault)
        return await asyncio.get_running_loop().run_in_executor(None, self._judged, host, port, fault)

    def _judged(self, host: str, port: int, fault: str | None) -> tuple[Address, ...]:
        """The addresses; `fault`: what is wrong with the rest of the target beyond the allowed networks."""
        try:
            found = self._resolved(host, port)
        except OSError:
            if fault is not None:
                raise ForbiddenHost(host, fault) from None
            raise
        for address in found:
            reason = self.refusal(address)
            if reason is None and not self.is_allowed(address):
                reason = fault
            if reason is not None:
                raise ForbiddenHost(host, reason)
        return found

    def _resolved(self, host: str, port: int) -> tuple[Address, ...]:
        if _is_literal(host):
            return (ip_address(host),)
        try:
            found = self._lookup(host, port)
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "this can't be a host name") from None
        return tuple(dict.fromkeys(_address(str(target[0])) for *_, target in found))


async def bounded_body(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """The body, or its first bytes. `content.read(limit)` gives what has arrived so far: half an answer."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) >= limit_bytes:
            break
    return bytes(body[:limit_bytes])


def special(address: Address) -> str | None:
    """What kind of special-purpose address this is, in words; None for one of the public internet."""
    for network, kind in _SPECIAL:
        if address in network:
            return f"{address} is {kind}"
    if address.version == 6 and address not in _ROUTED_IPV6:
        return f"{address} is reserved"
    return None


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for, where its network is known to hold one at its end."""
    if address.version == 6 and any(address in network for network in _HOLD_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _port_fault(port: int, ports: Collection[int] | None) -> str | None:
    if ports is None or port in ports:
        return None
    right = ", ".join(map(str, sorted(ports)))
    return f"port {port} is none of {right}"


def _scheme_fault(url: URL) -> str | None:
    return None if url.scheme == "https" else "only https is spoken"


async def _follow_nothing(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, asked: aiohttp.TraceRequestRedirectParams
) -> None:
    raise ForbiddenHost(asked.url.host or "", "it answers with a redirect, and none is followed")


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _address(text: str) -> Address:
    return ip_address(text.partition("%")[0])  # the zone of a link-local address judges nothing


def _addr_info(address: Address, port: int) -> AddrInfo:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port)
