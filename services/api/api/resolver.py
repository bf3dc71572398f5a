"""Asks DNS for what a domain publishes about its mail; how the answers are judged is in `deliverability`."""

import asyncio
from collections.abc import Awaitable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final, Protocol, TypeVar

from dns.asyncresolver import Resolver as Asker
from dns.exception import DNSException
from dns.rdatatype import AAAA, MX, TXT, A, RdataType
from dns.resolver import NXDOMAIN

from api.deliverability import (
    Address,
    Asked,
    Facts,
    SpfFacts,
    SpfTerm,
    is_dmarc,
    is_spf,
    parse_spf,
)

LOOKUP_SECONDS: Final = 3.0
MAX_MX_HOSTS: Final = 10  # RFC 7208 4.6.4
MAX_DMARC_STEPS: Final = 5

T = TypeVar("T")


class DnsTrouble(Exception):
    """No answer: a time-out or a failure of a server, which says nothing about the name."""


class Dns(Protocol):
    """What is asked of DNS; nothing found is an empty answer, DnsTrouble is none."""

    async def txt(self, name: str) -> tuple[str, ...]:
        """TXT records, each joined to one text."""
        ...

    async def mx(self, name: str) -> tuple[str, ...]:
        """The hosts of MX records, the preferred first; a null MX is the empty text."""
        ...

    async def addresses(self, name: str) -> tuple[Address, ...]:
        """IPv4 and IPv6."""
        ...


class Resolver:
    """Asks with a limit of time, by default the servers that this machine is configured with."""

    def __init__(self, asker: Asker | None = None) -> None:
        self._asker = asker

    async def txt(self, name: str) -> tuple[str, ...]:
        found = await self._ask(name, TXT)
        return tuple(b"".join(each.strings).decode("utf-8", "replace") for each in found)

    async def mx(self, name: str) -> tuple[str, ...]:
        found = sorted(await self._ask(name, MX), key=lambda each: int(each.preference))
        return tuple(each.exchange.to_text(omit_final_dot=True).strip(".") for each in found)

    async def addresses(self, name: str) -> tuple[Address, ...]:
        both = await asyncio.gather(self._ask(name, A), self._ask(name, AAAA))
        return tuple(ip_address(each.address) for found in both for each in found)

    async def _ask(self, name: str, kind: RdataType) -> list[Any]:
        try:
            if self._asker is None:
                self._asker = Asker()  # not before it is needed: raises where nothing is configured
            answer = await self._asker.resolve(
                name, kind, raise_on_no_answer=False, lifetime=LOOKUP_SECONDS, search=False
            )
        except NXDOMAIN:
            return []
        except (DNSException, OSError) as error:
            raise DnsTrouble(type(error).__name__) from error
        return list(answer.rrset or ())


async def facts_of(dns: Dns, asked: Asked, seconds: float) -> Facts:
    """Ask for everything at once; what is not there after `seconds` is unknown."""
    selectors = asked.selectors()
    spf, addresses, dmarc, mx, keys = await asyncio.gather(
        _or_none(spf_of(dns, asked.domain), seconds),
        _or_none(_host_addresses(dns, asked.smtp_host), seconds),
        _or_none(_dmarc_of(dns, asked.domain), seconds),
        _or_none(dns.mx(asked.domain), seconds),
        _keys_at(dns, selectors, asked.domain, seconds),
    )
    return Facts(asked, spf, addresses or (), keys, dmarc, mx)


async def published(
    dns: Dns, domain: str, selectors: Sequence[str], seconds: float
) -> dict[str, tuple[str, ...]]:
    """What is at these selectors; DnsTrouble if DNS does not answer for one of them."""
    found = await _keys_at(dns, selectors, domain, seconds)
    if None in found.values():
        raise DnsTrouble("no answer")
    return {selector: texts for selector, texts in found.items() if texts is not None}


async def _keys_at(
    dns: Dns, selectors: Sequence[str], domain: str, seconds: float
) -> dict[str, tuple[str, ...] | None]:
    places = [f"{selector}._domainkey.{domain}" for selector in selectors]
    found = await asyncio.gather(*(_or_none(dns.txt(place), seconds) for place in places))
    return dict(zip(selectors, found, strict=True))


async def _or_none(work: Awaitable[T], seconds: float) -> T | None:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except (DnsTrouble, TimeoutError):
        return None


async def _host_addresses(dns: Dns, host: str) -> tuple[Address, ...]:
    try:
        return (ip_address(host.strip("[]")),)
    except ValueError:
        return await dns.addresses(host)


async def _dmarc_of(dns: Dns, domain: str) -> tuple[str, tuple[str, ...]]:
    """The nearest policy at the domain or above it, but at no top-level domain."""
    labels = domain.split(".")
    for start in range(min(max(1, len(labels) - 1), MAX_DMARC_STEPS)):
        place = "_dmarc." + ".".join(labels[start:])
        texts = tuple(each for each in await dns.txt(place) if is_dmarc(each))
        if texts:
            return place, texts
    return f"_dmarc.{domain}", ()


# ---- following SPF ------------------------------------------------------------------------------------


async def spf_of(dns: Dns, domain: str) -> SpfFacts:
    """Follow a domain's record as a receiver would, as far as the limits let anybody."""
    facts = SpfFacts(tuple(each for each in await dns.txt(domain) if is_spf(each)))
    if len(facts.records) == 1:
        facts.all = await _follow(dns, domain, facts.records[0], facts, passing=True)
    return facts


async def _follow(dns: Dns, domain: str, record: str, facts: SpfFacts, *, passing: bool) -> str:
    """Walk one record; the qualifier of its `all`, that of its redirect, or empty."""
    try:
        terms = parse_spf(record)
    except ValueError as error:
        facts.refuse(str(error))
        return ""
    last = next((each.qualifier for each in terms if each.name == "all"), "")
    for term in terms:
        if term.name == "all":
            break  # what follows is never looked at (RFC 7208 5.1)
        if facts.error or (term.name == "redirect" and last):
            continue
        passes = passing and term.qualifier in ("", "+")
        redirected = await _follow_term(dns, domain, term, facts, passing=passes)
        last = redirected if term.name == "redirect" else last
    return last


async def _follow_term(dns: Dns, domain: str, term: SpfTerm, facts: SpfFacts, *, passing: bool) -> str:
    if term.name in ("ip4", "ip6") and passing:
        facts.networks.append(ip_network(term.value, strict=False))
    if not term.asks:
        return ""
    if term.name in ("ptr", "exists") or "%" in term.value:  # depend on who sends: counted, not followed
        facts.uses_ptr |= term.name == "ptr"
        facts.count(is_void=False)
        return ""
    if term.name in ("include", "redirect"):
        return await _follow_record(dns, term, facts, passing=passing)
    await _follow_hosts(dns, term.value or domain, term, facts, passing=passing)
    return ""


async def _follow_record(dns: Dns, term: SpfTerm, facts: SpfFacts, *, passing: bool) -> str:
    name = term.value.lower().rstrip(".")
    texts = await dns.txt(name)
    facts.count(is_void=not texts)
    records = [each for each in texts if is_spf(each)]
    if len(records) != 1:
        facts.refuse(f"{name}, which it names, has {len(records) or 'no'} SPF records")
    if passing and term.name == "include":
        facts.includes.append(name)
    if facts.error:
        return ""
    return await _follow(dns, name, records[0], facts, passing=passing)


async def _follow_hosts(dns: Dns, name: str, term: SpfTerm, facts: SpfFacts, *, passing: bool) -> None:
    hosts = await dns.mx(name) if term.name == "mx" else (name,)
    found = [each for host in hosts[:MAX_MX_HOSTS] if host for each in await dns.addresses(host)]
    facts.count(is_void=not found)
    if not passing:
        return
    for each in found:
        prefix = term.prefix[0] if each.version == 4 else term.prefix[1]
        network: IPv4Network | IPv6Network = ip_network(f"{each}/{prefix}", strict=False)
        facts.networks.append(network)
