"""Nobody reaches through us what only we can reach, however the host is spelled."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from chassis.hosts import (
    IMAP_PORTS,
    SMTP_PORTS,
    AddrInfo,
    ForbiddenHost,
    Guard,
    HostSettings,
    Lookup,
    bounded_body,
    special,
)

LOOPBACK = (ip_network("127.0.0.0/8"),)
PUBLIC = "93.184.216.34"
SECONDS = aiohttp.ClientTimeout(total=5)


def resolving(*answers: str) -> Lookup:
    """A name server that gives each answer once, the last one for ever; several addresses with a space."""
    left = list(answers)

    def look_up(_host: str, port: int) -> list[AddrInfo]:
        told = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in told.split()]

    return look_up


def unknown(_host: str, _port: int) -> list[AddrInfo]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def refused(guard: Guard, host: str, port: int = 443) -> str:
    with pytest.raises(ForbiddenHost) as caught:
        await guard.check(host, port)
    assert caught.value.host == host
    return caught.value.reason


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_that_is_not_public_is_refused(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert special(address)


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_that_is_not_public_is_refused(address: IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_site_local:
        assert special(address)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "::"]))
def test_an_ipv4_address_inside_an_ipv6_one_is_refused(inner: IPv4Address, prefix: str) -> None:
    assert Guard().refusal(IPv6Address(int(IPv6Address(prefix)) + int(inner)))


@given(st.sampled_from(["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10"]), st.data())
def test_what_the_operator_allows_is_allowed_and_nothing_else(network: str, data: st.DataObject) -> None:
    allowed = ip_network(network)
    address = data.draw(st.ip_addresses(network=allowed))
    assert Guard().refusal(address)
    assert Guard([allowed]).refusal(address) is None
    assert Guard([ip_network("192.168.0.0/16")]).refusal(address)


def test_behind_an_allowed_nat64_only_public_addresses_are_reached() -> None:
    guard = Guard([ip_network("64:ff9b::/96")])
    assert guard.refusal(ip_address(f"64:ff9b::{PUBLIC}")) is None
    assert guard.refusal(ip_address("64:ff9b::169.254.169.254")) == "169.254.169.254 is link-local"


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", PUBLIC, "2606:2800:220:1::1", "2a00:1450:4001:81b::6c"],
)
async def test_public_addresses_may_be_connected_to(address: str) -> None:
    assert await Guard().check(address, 443) == (ip_address(address),)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fd00:ec2::254", "private"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("::ffff:127.0.0.1", "an IPv4 address inside IPv6"),
        ("2002:7f00:1::", "an IPv4 address inside IPv6"),
        ("2001:0:53aa:64c::1", "reserved"),
    ],
)
async def test_every_kind_is_refused_by_its_name(address: str, kind: str) -> None:
    assert (await refused(Guard(), address)).endswith(f"is {kind}")


@pytest.mark.parametrize(
    "spelling", ["2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.1", "localhost", "127。0。0。1"]
)
async def test_no_spelling_of_an_address_hides_it(spelling: str) -> None:
    """The system's own resolver reads them as connect() would."""
    assert "is loopback" in await refused(Guard(), spelling)


async def test_a_trailing_dot_hides_nothing() -> None:
    assert await refused(Guard(lookup=resolving("127.0.0.1")), "localhost.") == "127.0.0.1 is loopback"
    with pytest.raises(OSError):
        await Guard().check("127.0.0.1.", 443)


async def test_an_international_name_is_judged_by_its_address() -> None:
    assert await refused(Guard(lookup=resolving("10.0.0.7")), "bücher.example") == "10.0.0.7 is private"
    assert await Guard(lookup=resolving(PUBLIC)).check("bücher.example", 443) == (ip_address(PUBLIC),)


async def test_one_forbidden_address_among_many_forbids_the_name() -> None:
    guard = Guard(lookup=resolving(f"{PUBLIC} 192.168.1.1"))
    assert await refused(guard, "two.example") == "192.168.1.1 is private"


@pytest.mark.parametrize("host", ["", "a..b", "x" * 70 + ".example", "a b", "no-such-name.invalid"])
async def test_what_does_not_resolve_is_no_forbidden_host(host: str) -> None:
    guard = Guard(lookup=None if host in ("a..b", "x" * 70 + ".example") else unknown)
    with pytest.raises(OSError) as caught:
        await guard.check(host, 443)
    assert not isinstance(caught.value, ForbiddenHost)


@pytest.mark.parametrize("ports", [SMTP_PORTS, IMAP_PORTS])
async def test_mail_goes_to_the_ports_of_mail(ports: frozenset[int]) -> None:
    guard = Guard(lookup=resolving(PUBLIC))
    for port in ports:
        await guard.check("mail.example", port, ports)
    for port in (22, 80, 443, 6379, 27017):
        with pytest.raises(ForbiddenHost, match=f"port {port} is none of"):
            await guard.check("mail.example", port, ports)
        with pytest.raises(ForbiddenHost, match=f"port {port} is none of"):
            await Guard(lookup=unknown).check("mail.example", port, ports)


async def test_in_an_allowed_network_any_port_is_right() -> None:
    assert await Guard(LOOPBACK).check("127.0.0.1", 40123, SMTP_PORTS)


async def test_only_https_is_spoken_with_the_public_internet() -> None:
    guard = Guard(LOOPBACK, resolving(PUBLIC))
    await guard.check_url("https://hooks.example/in")
    await guard.check_url("http://127.0.0.1:8080/in")
    with pytest.raises(ForbiddenHost, match="only https is spoken"):
        await guard.check_url("http://hooks.example/in")
    with pytest.raises(ForbiddenHost, match="is link-local"):
        await guard.check_url("http://169.254.169.254/latest/meta-data/")


def test_the_setting_is_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGUE_ALLOWED_PRIVATE_NETWORKS")
    assert HostSettings().allowed_private_networks == ()
    monkeypatch.setenv("SEGUE_ALLOWED_PRIVATE_NETWORKS", "127.0.0.0/8, fd00::/8")
    assert HostSettings().allowed_private_networks == (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
    monkeypatch.setenv("SEGUE_ALLOWED_PRIVATE_NETWORKS", "10.0.0.1/8")
    with pytest.raises(ValueError, match="not a valid IPv4 network"):
        HostSettings()


# ---- connections --------------------------------------------------------------------------------------


@pytest.fixture
async def listener() -> AsyncIterator[int]:
    """The port of something on loopback that takes connections."""

    async def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def test_a_socket_goes_to_the_address_that_was_judged(listener: int) -> None:
    """Whatever the name resolves to a moment later: it is asked for once."""
    asked: list[str] = []

    def look_up(host: str, port: int) -> list[AddrInfo]:
        asked.append(host)
        return [*resolving("127.0.0.1" if len(asked) == 1 else "169.254.169.254")(host, port)]

    guard = Guard(LOOPBACK, look_up)
    with await guard.connected("rebinding.example", listener) as opened:
        assert opened.getpeername() == ("127.0.0.1", listener)
    assert asked == ["rebinding.example"]
    with pytest.raises(ForbiddenHost):
        await guard.connected("rebinding.example", listener)


async def test_a_socket_of_a_thread_is_judged_too(listener: int) -> None:
    def connect(guard: Guard) -> socket.socket:
        return guard.connected_blocking("mail.example", listener, seconds=5)

    with await asyncio.to_thread(connect, Guard(LOOPBACK, resolving("127.0.0.1"))) as opened:
        assert opened.getpeername() == ("127.0.0.1", listener)
    with pytest.raises(ForbiddenHost):
        await asyncio.to_thread(connect, Guard(lookup=resolving("127.0.0.1")))


async def test_the_second_address_is_tried_where_the_first_does_not_answer(listener: int) -> None:
    guard = Guard(LOOPBACK, resolving("127.0.0.2 127.0.0.1"))

    def connect() -> socket.socket:
        return guard.connected_blocking("mail.example", listener, seconds=5)

    with await asyncio.to_thread(connect) as opened, await guard.connected("mail.example", listener) as other:
        assert opened.getpeername() == other.getpeername() == ("127.0.0.1", listener)


# ---- http ---------------------------------------------------------------------------------------------


@pytest.fixture
async def site(unused_tcp_port_factory: Callable[[], int]) -> AsyncIterator[str]:
    """An HTTP server on loopback: `/` answers, `/slowly` in pieces, `/away` sends elsewhere."""

    async def home(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    async def away(_request: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")

    async def slowly(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for piece in (b"in two", b" pieces"):
            await answer.write(piece)
            for _ in range(50):
                await asyncio.sleep(0)
        return answer

    app = web.Application()
    app.add_routes([web.get("/", home), web.get("/away", away), web.get("/slowly", slowly)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = unused_tcp_port_factory()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_a_session_asks_where_it_may(site: str) -> None:
    async with Guard(LOOPBACK).session(timeout=SECONDS) as session, session.get(site) as answer:
        assert await answer.text() == "here"


async def test_a_session_asks_nowhere_else(site: str) -> None:
    async with Guard().session(timeout=SECONDS) as session:
        for url in (site, site.replace("127.0.0.1", "localhost"), site.replace("http:", "https:")):
            with pytest.raises(OSError) as caught:
                await session.get(url)
            assert "loopback" in str(getattr(caught.value, "os_error", caught.value))


async def test_a_session_looks_at_the_address_it_connects_to() -> None:
    """An https name is not resolved by us before aiohttp does: its own answer is judged."""
    async with Guard(lookup=resolving(PUBLIC)).session(timeout=SECONDS) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.get("https://localhost:1/")
        assert "loopback" in str(caught.value.os_error)


async def test_a_session_follows_no_redirect(site: str) -> None:
    async with Guard(LOOPBACK).session(timeout=SECONDS) as session:
        with pytest.raises(ForbiddenHost, match="none is followed"):
            await session.get(f"{site}/away")
        async with session.get(f"{site}/away", allow_redirects=False) as answer:
            assert answer.status == 302


async def test_an_answer_is_read_to_its_end_or_to_the_limit(site: str) -> None:
    async with Guard(LOOPBACK).session(timeout=SECONDS) as session:
        for limit, told in ((100, b"in two pieces"), (5, b"in tw")):
            async with session.get(f"{site}/slowly") as answer:
                assert await bounded_body(answer, limit) == told
