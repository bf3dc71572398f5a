"""What a domain lacks for good mail, judged over DNS that is written down here."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import dns.message
import dns.rcode
import dns.rrset
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dns.asyncresolver import Resolver as Asker
from hypothesis import given
from hypothesis import strategies as st

from api.deliverability import Asked, Check, State, judge, parse_dkim, parse_dmarc, parse_spf, provider_of
from api.resolver import DnsTrouble, Resolver, facts_of, spf_of
from api.testing import Zone

DOMAIN = "ourco.example"
ASKED = Asked(
    DOMAIN,
    "smtp.gmail.com",
    "https://segue.example",
    offers_one_click=True,
    signs_own=False,
    own_keys={},
)
OWN = replace(ASKED, smtp_host="mx.ourco.example", signs_own=True)


@lru_cache
def rsa_record(bits: int) -> str:
    key = generate_private_key(65537, bits).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"


def ed_record() -> str:
    raw = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"


def good() -> Zone:
    """A domain at Google with everything right."""
    zone = Zone()
    zone.text(DOMAIN, "google-site-verification=x", "v=spf1 include:_spf.google.com ~all")
    zone.text("_spf.google.com", "v=spf1 ip4:192.0.2.0/24 ~all")
    zone.text(f"google._domainkey.{DOMAIN}", rsa_record(2048))
    zone.text(f"_dmarc.{DOMAIN}", f"v=DMARC1; p=reject; rua=mailto:dmarc@{DOMAIN}")
    zone.exchanges[DOMAIN] = ["aspmx.l.google.com"]
    return zone


def own(**keys: str) -> tuple[Zone, Asked]:
    """A domain with servers of its own, and its keys published."""
    zone = good()
    zone.hosts["mx.ourco.example"] = ["198.51.100.7"]
    zone.text(DOMAIN, "v=spf1 a:mx.ourco.example -all")
    for selector, record in keys.items():
        zone.text(f"{selector}._domainkey.{DOMAIN}", record)
    return zone, replace(OWN, own_keys=keys)


async def checked(zone: Zone, asked: Asked = ASKED) -> dict[str, Check]:
    return {check.name: check for check in judge(await facts_of(zone, asked, 5.0))}


async def test_a_domain_with_everything_right_has_nothing_to_do() -> None:
    checks = await checked(good())
    assert list(checks) == ["spf", "dkim", "dmarc", "mx", "one_click"]
    assert {check.state for check in checks.values()} == {State.OK}
    assert [check.name for check in checks.values() if check.to_do] == ["one_click"]


async def test_a_domain_with_nothing_is_told_everything_and_what_to_publish() -> None:
    checks = await checked(Zone())
    assert {name: check.state for name, check in checks.items()} == {
        "spf": State.FAILED,
        "dkim": State.WARNING,
        "dmarc": State.FAILED,
        "mx": State.FAILED,
        "one_click": State.OK,
    }
    assert all(check.to_do for check in checks.values())
    assert checks["spf"].publish == 'ourco.example. TXT "v=spf1 include:_spf.google.com ~all"'
    assert checks["dmarc"].publish is not None


# ---- SPF ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "state", "told"),
    [
        (["v=spf1 include:_spf.google.com -all"], State.OK, ""),
        (["V=SPF1 INCLUDE:_spf.google.com -ALL"], State.OK, ""),
        (["v=spf1 -all", "v=spf1 include:_spf.google.com ~all"], State.FAILED, "2 SPF records"),
        (["v=spf10 -all"], State.FAILED, "No SPF record"),
        (["v=spf1 -all"], State.FAILED, "include:_spf.google.com"),
        (["v=spf1 -include:_spf.google.com ~all"], State.FAILED, "include:_spf.google.com"),
        (["v=spf1 ~all include:_spf.google.com"], State.FAILED, "include:_spf.google.com"),
        (["v=spf1 include:_spf.google.com +all"], State.FAILED, "everybody"),
        (["v=spf1 include:_spf.google.com all"], State.FAILED, "everybody"),
        (["v=spf1 include:_spf.google.com"], State.WARNING, "~all"),
        (["v=spf1 include:_spf.google.com ptr ~all"], State.WARNING, "ptr"),
        (["v=spf1 include:_spf.google.com ip4:300.1.1.1 ~all"], State.FAILED, "names no network"),
        (["v=spf1 inlcude:_spf.google.com ~all"], State.FAILED, "no SPF mechanism"),
        (["v=spf1 include:nowhere.example ~all"], State.FAILED, "has no SPF records"),
        (["v=spf1 include:ourco.example ~all"], State.FAILED, "more than 10 DNS lookups"),
        (["v=spf1 redirect=_spf.google.com"], State.FAILED, "include:_spf.google.com"),
    ],
)
async def test_spf_at_a_provider(records: list[str], state: State, told: str) -> None:
    zone = good()
    zone.text(DOMAIN, *records)
    check = (await checked(zone))["spf"]
    assert check.state is state
    assert told in " ".join((check.found, *check.to_do))


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ("v=spf1 a:mx.ourco.example -all", State.OK),
        ("v=spf1 ip4:198.51.100.0/24 -all", State.OK),
        ("v=spf1 mx -all", State.OK),
        ("v=spf1 a:mx.ourco.example/30 -all", State.OK),
        ("v=spf1 redirect=spf.ourco.example", State.OK),
        ("v=spf1 include:spf.ourco.example -all", State.OK),
        ("v=spf1 ?ip4:198.51.100.7 -all", State.WARNING),
        ("v=spf1 ip4:203.0.113.1 -all", State.WARNING),
        ("v=spf1 exists:%{i}.spf.example -all", State.WARNING),
    ],
)
async def test_spf_of_an_own_server_must_cover_its_address(record: str, state: State) -> None:
    zone, asked = own(one=rsa_record(2048))
    zone.exchanges[DOMAIN] = ["mx.ourco.example"]
    zone.text("spf.ourco.example", "v=spf1 ip4:198.51.100.4/30 -all")
    zone.text(DOMAIN, record)
    assert (await checked(zone, asked))["spf"].state is state


@pytest.mark.parametrize(("includes", "error"), [(10, ""), (11, "it needs more than 10 DNS lookups")])
async def test_the_eleventh_lookup_is_an_error(includes: int, error: str) -> None:
    zone = Zone()
    zone.text(DOMAIN, "v=spf1 " + " ".join(f"include:s{n}.example" for n in range(includes)) + " -all")
    for n in range(includes):
        zone.text(f"s{n}.example", "v=spf1 ip4:192.0.2.1 -all")
    assert (await spf_of(zone, DOMAIN)).error == error


async def test_the_third_name_that_does_not_exist_is_an_error() -> None:
    zone = Zone()
    zone.text(DOMAIN, "v=spf1 a:one.example a:two.example a:three.example -all")
    assert "do not exist" in (await spf_of(zone, DOMAIN)).error


async def test_a_provider_with_a_return_path_of_its_own_needs_no_spf_of_ours_but_dkim() -> None:
    zone, asked = good(), replace(ASKED, smtp_host="smtp.sendgrid.net")
    zone.text(DOMAIN, "v=spf1 -all")
    checks = await checked(zone, asked)
    assert (checks["spf"].state, checks["dmarc"].state) == (State.OK, State.FAILED)
    zone.text(f"s1._domainkey.{DOMAIN}", rsa_record(2048))
    assert (await checked(zone, asked))["dmarc"].state is State.OK


@given(st.text(max_size=80))
def test_no_record_does_anything_but_parse_or_be_refused(text: str) -> None:
    for parse in (parse_dkim, parse_dmarc, lambda each: parse_spf("v=spf1 " + each)):
        with contextlib.suppress(ValueError):
            parse(text)


# ---- DKIM ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "state", "told"),
    [
        (lambda: rsa_record(2048), State.OK, "2048 bits"),
        (lambda: rsa_record(1024), State.WARNING, "2048 bits"),
        (lambda: rsa_record(2048).replace("k=rsa", "k=rsa; t=y:s"), State.WARNING, "t=y"),
        (ed_record, State.OK, "ed25519"),
        (lambda: "v=DKIM1; k=rsa; p=", State.FAILED, "revoked"),
        (lambda: "v=DKIM1; k=rsa; p=AAAA", State.FAILED, "can't be read"),
        (lambda: rsa_record(2048).replace("k=rsa", "h=sha1"), State.FAILED, "sha256"),
        (lambda: "some other text", State.FAILED, "no DKIM record"),
    ],
)
async def test_a_key_at_the_providers_selector(record: Callable[[], str], state: State, told: str) -> None:
    zone = good()
    zone.text(f"google._domainkey.{DOMAIN}", record())
    check = (await checked(zone))["dkim"]
    assert check.state is state
    assert told in " ".join((check.found, *check.to_do))


async def test_a_selector_that_is_asked_for_is_looked_at() -> None:
    zone = good()
    zone.text(f"mine._domainkey.{DOMAIN}", rsa_record(2048))
    asked = replace(ASKED, smtp_host="smtp.elsewhere.example", selector="mine")
    assert (await checked(zone, asked))["dkim"].state is State.OK
    assert (await checked(zone, replace(asked, selector="other")))["dkim"].state is State.FAILED


async def test_our_own_keys_must_be_there_unchanged() -> None:
    zone, asked = own(one=rsa_record(2048), two=ed_record())
    assert (await checked(zone, asked))["dkim"].state is State.OK
    zone.text(f"two._domainkey.{DOMAIN}", ed_record())
    check = (await checked(zone, asked))["dkim"]
    assert (check.state, "another key" in check.found) == (State.FAILED, True)
    assert check.publish == f'two._domainkey.{DOMAIN}. TXT "{asked.own_keys["two"]}"'


async def test_one_who_signs_without_keys_is_told() -> None:
    zone, asked = own()
    assert "/v1/signing-domains" in (await checked(zone, asked))["dkim"].to_do[0]


# ---- DMARC --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "state", "told"),
    [
        (["v=DMARC1; p=none; rua=mailto:d@ourco.example"], State.OK, "quarantine"),
        (["v=DMARC1;p=quarantine;adkim=s;aspf=s"], State.OK, "rua="),
        (["v=DMARC1; p=block"], State.FAILED, "policy"),
        (["v=DMARC1; p=reject; pct=101"], State.FAILED, "pct"),
        (["v=DMARC1; p=reject; adkim=strict"], State.FAILED, "adkim"),
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], State.FAILED, "2 records"),
        (["v=dmarc1; p=none"], State.FAILED, "No DMARC record"),
    ],
)
async def test_dmarc_policies(records: list[str], state: State, told: str) -> None:
    zone = good()
    zone.text(f"_dmarc.{DOMAIN}", *records)
    check = (await checked(zone))["dmarc"]
    assert check.state is state
    assert told in " ".join((check.found, *check.to_do))


async def test_a_subdomain_has_the_policy_of_the_domain_above_it() -> None:
    zone = good()
    check = (await checked(zone, replace(ASKED, domain=f"eu.mail.{DOMAIN}")))["dmarc"]
    assert check.found.startswith(f"_dmarc.{DOMAIN}: v=DMARC1")
    assert "_dmarc.example" not in zone.asked


async def test_spf_alone_is_a_warning_and_nothing_aligned_a_failure() -> None:
    zone = good()
    del zone.texts[f"google._domainkey.{DOMAIN}"]
    assert (await checked(zone))["dmarc"].state is State.WARNING
    zone.text(DOMAIN, "v=spf1 -all")
    assert "aligned" in (await checked(zone))["dmarc"].to_do[0]


# ---- MX, one-click, and DNS that fails ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchanges", "state"), [(["mx.example"], State.OK), ([""], State.FAILED), ([], State.FAILED)]
)
async def test_answers_need_an_mx(exchanges: list[str], state: State) -> None:
    zone = good()
    zone.exchanges[DOMAIN] = exchanges
    assert (await checked(zone))["mx"].state is state


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"public_url": "http://127.0.0.1:8080"}, State.FAILED),
        ({"offers_one_click": False}, State.WARNING),
        ({"signs_own": True}, State.OK),
    ],
)
async def test_one_click_needs_https_and_messages_that_offer_it(
    changes: dict[str, Any], state: State
) -> None:
    assert (await checked(good(), replace(ASKED, **changes)))["one_click"].state is state


async def test_a_server_that_does_not_answer_is_unknown_and_not_a_failure() -> None:
    zone = good()
    zone.silent = {"_spf.google.com", DOMAIN, f"_dmarc.{DOMAIN}", f"google._domainkey.{DOMAIN}"}
    states = {name: check.state for name, check in (await checked(zone)).items()}
    assert states == dict.fromkeys(("spf", "dkim", "dmarc", "mx"), State.UNKNOWN) | {"one_click": State.OK}


async def test_a_server_that_hangs_is_waited_for_only_so_long() -> None:
    class Hanging(Zone):
        async def txt(self, name: str) -> tuple[str, ...]:
            await asyncio.Event().wait()
            return ()

    checks = {check.name: check for check in judge(await facts_of(Hanging(), ASKED, 0.01))}
    assert checks["spf"].state is State.UNKNOWN


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("smtp.gmail.com", "Google"),
        ("SMTP.Office365.com", "Microsoft 365"),
        ("email-smtp.eu-west-1.amazonaws.com", "Amazon SES"),
        ("smtp.gmail.com.evil.example", None),
    ],
)
def test_a_provider_is_told_by_its_whole_host(host: str, name: str | None) -> None:
    provider = provider_of(host)
    assert (provider.name if provider else None) == name


# ---- the resolver -------------------------------------------------------------------------------------


class Server(asyncio.DatagramProtocol):
    """A name server on this machine: answers from a zone file's lines, SERVFAIL for what begins with bad."""

    def __init__(self, lines: str) -> None:
        self.zone = dns.zone.from_text(lines, origin=DOMAIN, relativize=False, check_origin=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        reply, question = dns.message.make_response(query), query.question[0]
        node = self.zone.get_node(question.name)
        if question.name.to_text().startswith("bad"):
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif node is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif found := node.get_rdataset(question.rdclass, question.rdtype):
            reply.answer.append(dns.rrset.from_rdata_list(question.name, 60, list(found)))
        self.transport.sendto(reply.to_wire(), addr)


LINES = """
@ 60 IN TXT "v=spf1 ip4:192.0.2.1 " "-all"
@ 60 IN MX 20 backup.ourco.example.
@ 60 IN MX 10 mx.ourco.example.
mx 60 IN A 192.0.2.1
mx 60 IN AAAA 2001:db8::1
null 60 IN MX 0 .
"""


@pytest.fixture
async def resolver() -> AsyncIterator[Resolver]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Server(LINES), ("127.0.0.1", 0))
    asker = Asker(configure=False)
    asker.nameservers, asker.port = ["127.0.0.1"], transport.get_extra_info("sockname")[1]
    yield Resolver(asker)
    transport.close()


async def test_records_as_a_name_server_tells_them(resolver: Resolver) -> None:
    assert await resolver.txt(DOMAIN) == ("v=spf1 ip4:192.0.2.1 -all",)
    assert await resolver.mx(DOMAIN) == ("mx.ourco.example", "backup.ourco.example")
    assert await resolver.mx(f"null.{DOMAIN}") == ("",)
    assert [str(each) for each in await resolver.addresses(f"mx.{DOMAIN}")] == ["192.0.2.1", "2001:db8::1"]


async def test_no_such_name_and_no_such_record_are_empty_and_a_failure_is_trouble(resolver: Resolver) -> None:
    assert await resolver.txt(f"nowhere.{DOMAIN}") == ()
    assert await resolver.txt(f"mx.{DOMAIN}") == ()
    for name in (f"bad.{DOMAIN}", "a..b", f"{'x' * 64}.example"):
        with pytest.raises(DnsTrouble):
            await resolver.txt(name)
