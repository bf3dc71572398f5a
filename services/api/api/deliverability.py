"""What a domain lacks for its mail to be accepted and answered: DNS records read and judged; pure.

Sources: SPF RFC 7208, DKIM RFC 6376 and RFC 8301, DMARC RFC 7489, one-click RFC 8058, null MX RFC 7505, and
the rules for bulk senders: https://support.google.com/a/answer/81126, https://senders.yahooinc.com.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

MAX_SPF_LOOKUPS: Final = 10  # RFC 7208 4.6.4
MAX_SPF_VOIDS: Final = 2
MAX_SELECTORS: Final = 8
GOOD_RSA_BITS: Final = 2048
LEAST_RSA_BITS: Final = 1024  # RFC 8301 3.2: shorter keys are no signature at all

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class State(StrEnum):
    """How a check went; `unknown`: DNS did not answer, ask again."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that receivers look at: what is there, what to do about it, and what to publish for that."""

    name: str
    state: State
    found: str
    to_do: tuple[str, ...] = ()
    publish: str | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """A mail service, told by its SMTP host.

    `own_return_path`: bounces go to the provider's domain, so that SPF passes for it and not for ours.
    `selectors`: where it is known to publish DKIM keys.
    """

    name: str
    hosts: str
    include: str
    selectors: tuple[str, ...] = ()
    own_return_path: bool = False


PROVIDERS: Final = (
    Provider("Google", r"smtp(-relay)?\.gmail\.com", "_spf.google.com", ("google",)),
    Provider(
        "Microsoft 365",
        r"smtp\.office365\.com|.+\.mail\.protection\.outlook\.com",
        "spf.protection.outlook.com",
        ("selector1", "selector2"),
    ),
    Provider("Fastmail", r"smtp\.fastmail\.com", "spf.messagingengine.com", ("fm1", "fm2", "fm3")),
    Provider(
        "Proton",
        r"smtp\.protonmail\.ch",
        "_spf.protonmail.ch",
        ("protonmail", "protonmail2", "protonmail3"),
    ),
    Provider("Amazon SES", r"email-smtp\..+\.amazonaws\.com", "amazonses.com", (), True),
    Provider("SendGrid", r"smtp\.sendgrid\.net", "sendgrid.net", ("s1", "s2"), True),
    Provider("Mailgun", r"smtp(\.eu)?\.mailgun\.org", "mailgun.org", ("k1", "smtp", "mailo", "pic"), True),
    Provider("Postmark", r"smtp\.postmarkapp\.com", "spf.mtasv.net", (), True),
)


def provider_of(smtp_host: str) -> Provider | None:
    """The service behind an SMTP host, if it is a known one."""
    host = smtp_host.lower().rstrip(".")
    return next((each for each in PROVIDERS if re.fullmatch(each.hosts, host)), None)


# ---- SPF ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpfTerm:
    """A mechanism or modifier: `name` in lower case, `value` after its `:` or `=`, `prefix` its IPv4 and
    IPv6 lengths.
    """

    qualifier: str
    name: str
    value: str = ""
    prefix: tuple[int, int] = (32, 128)

    @property
    def asks(self) -> bool:
        """Whether it costs one of the ten lookups."""
        return self.name in ("include", "a", "mx", "ptr", "exists", "redirect")


_SPF_TERM = re.compile(
    r"([+\-~?]?)(all|include|a|mx|ptr|exists)(?::([^\s/]+))?(/\d{1,3})?(//\d{1,3})?", re.IGNORECASE
)
_SPF_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(\S*)", re.IGNORECASE)


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record at all."""
    return re.match(r"v=spf1(?: |$)", text, re.IGNORECASE) is not None


def parse_spf(text: str) -> tuple[SpfTerm, ...]:
    """The terms of a record; ValueError says which can't be read, which is a permerror to every receiver."""
    return tuple(_spf_term(each) for each in text.split(" ")[1:] if each)


def _spf_term(text: str) -> SpfTerm:
    if modifier := _SPF_MODIFIER.fullmatch(text):
        return SpfTerm("", modifier[1].lower(), modifier[2])
    name, _, value = text.lstrip("+-~?").partition(":")
    if name.lower() in ("ip4", "ip6"):
        return _spf_network(text, name.lower(), value)
    found = _SPF_TERM.fullmatch(text)
    if found is None or (found[2].lower() in ("include", "exists") and not found[3]):
        raise ValueError(f"{text!r} is no SPF mechanism")
    four, six = int((found[4] or "/32")[1:]), int((found[5] or "//128")[2:])
    if four > 32 or six > 128:
        raise ValueError(f"{text!r} has too long a prefix")
    return SpfTerm(found[1] or "+", found[2].lower(), found[3] or "", (four, six))


def _spf_network(text: str, name: str, value: str) -> SpfTerm:
    try:
        (IPv4Network if name == "ip4" else IPv6Network)(value, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} names no network") from None
    qualifier = text[0] if text[0] in "+-~?" else "+"
    return SpfTerm(qualifier, name, value)


@dataclass(slots=True)
class SpfFacts:
    """What following a domain's SPF record found: `networks` and `includes` are those that pass.

    `error` is what makes it a permerror; `all` the qualifier of the last word, empty without one.
    """

    records: tuple[str, ...] = ()
    error: str = ""
    all: str = ""
    lookups: int = 0
    voids: int = 0
    uses_ptr: bool = False
    networks: list[Network] = field(default_factory=list)
    includes: list[str] = field(default_factory=list)

    def refuse(self, error: str) -> None:
        """Keep the first error."""
        self.error = self.error or error

    def count(self, is_void: bool) -> None:
        """One lookup more; the eleventh, and the third that finds nothing, are errors (RFC 7208 4.6.4)."""
        self.lookups += 1
        self.voids += is_void
        if self.lookups > MAX_SPF_LOOKUPS:
            self.refuse(f"it needs more than {MAX_SPF_LOOKUPS} DNS lookups")
        if self.voids > MAX_SPF_VOIDS:
            self.refuse(f"more than {MAX_SPF_VOIDS} of the names in it do not exist")

    def covers(self, addresses: Iterable[Address]) -> bool:
        """Whether a server that sends from these passes; without any it is not known, hence False."""
        sent_from = list(addresses)
        return bool(sent_from) and all(
            any(each.version == net.version and each in net for net in self.networks) for each in sent_from
        )


def judge_spf(facts: "Facts") -> Check:
    """SPF of the domain that bounces go to, which is the mailbox's own unless its provider sets another."""
    spf, provider = facts.spf, provider_of(facts.asked.smtp_host)
    if spf is None:
        return _unknown("spf")
    ours = f"include:{provider.include}" if provider else _own_mechanism(facts)
    fresh = f'{facts.asked.domain}. TXT "v=spf1 {ours} ~all"'
    if len(spf.records) > 1:
        to_do = "Merge them into one: several SPF records are an error to every receiver, as if none passed."
        return Check("spf", State.FAILED, f"{len(spf.records)} SPF records.", (to_do,))
    if not spf.records:
        away = provider is not None and provider.own_return_path
        state = State.WARNING if away else State.FAILED
        return Check("spf", state, "No SPF record.", ("Publish one.",), fresh)
    record = spf.records[0]
    if spf.error:
        to_do = "Mend it: a record in error is treated as if there were none."
        return Check("spf", State.FAILED, f"{record}: {spf.error}.", (to_do,))
    if spf.all == "+":
        to_do = "End it with ~all or -all: as it is, everybody may send in your name."
        return Check("spf", State.FAILED, record, (to_do,))
    return _judge_spf_coverage(facts, spf, record, provider, ours)


def _judge_spf_coverage(
    facts: "Facts", spf: SpfFacts, record: str, provider: Provider | None, ours: str
) -> Check:
    advice = []
    if not spf.all:
        advice.append("End it with ~all or -all: without it, it says nothing about other servers.")
    if spf.uses_ptr:
        advice.append("Take `ptr` out: it is deprecated and many receivers ignore it.")
    covered = spf.covers(facts.host_addresses) or (provider is not None and provider.include in spf.includes)
    if covered or (provider is not None and provider.own_return_path):
        if not covered:
            assert provider is not None
            advice.append(
                f"None needed here: bounces go to {provider.name}'s domain, which has its own record."
            )
        state = State.WARNING if advice and covered else State.OK
        return Check("spf", state, record, tuple(advice))
    if provider is not None:
        to_do = f"Add {ours} before its last word: {provider.name} sends for this mailbox and is not in it."
        return Check("spf", State.FAILED, record, (to_do, *advice))
    to_do = (
        f"Make sure that the servers behind {facts.asked.smtp_host} are in it: the host's own address is "
        f"not, which is right only if it hands on to others. If it sends itself, add {ours}."
    )
    return Check("spf", State.WARNING, record, (to_do, *advice))


def _own_mechanism(facts: "Facts") -> str:
    return (
        " ".join(f"ip{each.version}:{each}" for each in facts.host_addresses) or f"a:{facts.asked.smtp_host}"
    )


# ---- DKIM ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DkimRecord:
    """A published key: `bits` of RSA, 256 for Ed25519; `public` is its `p=` without blanks."""

    algorithm: str
    bits: int
    public: str
    is_testing: bool


def parse_dkim(text: str) -> DkimRecord:
    """A key record; ValueError says in words why no signature can be verified by it."""
    tags = _tags(text)
    if tags.get("v", "DKIM1") != "DKIM1" or "p" not in tags:
        raise ValueError("it is no DKIM record")
    public = re.sub(r"\s", "", tags["p"])
    if not public:
        raise ValueError("its key is revoked (p= is empty)")
    if "h" in tags and "sha256" not in tags["h"].replace(" ", "").split(":"):
        raise ValueError("it does not allow sha256")
    algorithm = tags.get("k", "rsa").lower()
    flags = tags.get("t", "").replace(" ", "").split(":")
    return DkimRecord(algorithm, _key_bits(algorithm, public), public, "y" in flags)


def _key_bits(algorithm: str, public: str) -> int:
    try:
        data = base64.b64decode(public, validate=True)
        if algorithm == "ed25519" and len(data) == 32:
            return 256
        key = load_der_public_key(data) if algorithm == "rsa" else None
    except (binascii.Error, ValueError):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("its key can't be read")
    return key.key_size


def judge_dkim(facts: "Facts") -> Check:
    """The keys at the selectors that we know of: ours, or those where the provider has them."""
    return _judge_own_dkim(facts) if facts.asked.signs_own else _judge_provider_dkim(facts)


def _judge_own_dkim(facts: "Facts") -> Check:
    if not facts.asked.own_keys:
        to_do = "Make keys with POST /v1/signing-domains, publish their records and activate them."
        return Check(
            "dkim", State.FAILED, "This mailbox is signed by us, and its domain has no keys.", (to_do,)
        )
    worst: list[Check] = []
    for selector, expected in facts.asked.own_keys.items():
        worst.append(_judge_key(facts, selector, expected))
    return max(worst, key=lambda check: _SEVERITY.index(check.state))


def _judge_provider_dkim(facts: "Facts") -> Check:
    provider = provider_of(facts.asked.smtp_host)
    answers = {selector: texts for selector, texts in facts.dkim.items() if texts is None or texts}
    if answers:
        checks = [_judge_key(facts, selector, None) for selector in answers]
        return min(checks, key=lambda check: _SEVERITY.index(check.state))  # one good key is enough
    name = provider.name if provider else "the provider"
    looked = f"No key at {', '.join(facts.dkim)}." if facts.dkim else "Where its keys are is not known."
    to_do = (
        f"Turn DKIM on at {name} for {facts.asked.domain}. If it is on, ask again with "
        "?selector=<its selector>, the s= of the DKIM-Signature in any message that was sent."
    )
    return Check("dkim", State.WARNING if facts.asked.selector is None else State.FAILED, looked, (to_do,))


def _judge_key(facts: "Facts", selector: str, expected: str | None) -> Check:
    name = f"{selector}._domainkey.{facts.asked.domain}"
    texts = facts.dkim.get(selector)
    if texts is None:
        return _unknown("dkim")
    publish = f'{name}. TXT "{expected}"' if expected else None
    if len(texts) != 1:
        found = f"{len(texts)} records at {name}." if texts else f"No key at {name}."
        return Check("dkim", State.FAILED, found, ("Publish exactly one record there.",), publish)
    try:
        record = parse_dkim(texts[0])
    except ValueError as error:
        return Check("dkim", State.FAILED, f"{name}: {error}.", ("Publish a good key there.",), publish)
    if expected is not None and parse_dkim(expected).public != record.public:
        return Check("dkim", State.FAILED, f"{name} has another key than ours.", ("Replace it.",), publish)
    return _judge_strength(name, record)


def _judge_strength(name: str, record: DkimRecord) -> Check:
    found = f"{name}: {record.algorithm}, {record.bits} bits."
    if record.algorithm == "rsa" and record.bits < LEAST_RSA_BITS:
        to_do = f"Make a new key of {GOOD_RSA_BITS} bits: one below {LEAST_RSA_BITS} verifies nowhere."
        return Check("dkim", State.FAILED, found, (to_do,))
    advice = []
    if record.algorithm == "rsa" and record.bits < GOOD_RSA_BITS:
        advice.append(f"Make a new key of {GOOD_RSA_BITS} bits.")
    if record.is_testing:
        advice.append("Take t=y out: it tells receivers that you are only testing.")
    return Check("dkim", State.WARNING if advice else State.OK, found, tuple(advice))


# ---- DMARC --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """A policy: `policy` for the domain itself, `below` for what lies under it, `reports` where they go."""

    policy: str
    below: str
    reports: str
    percent: int


def parse_dmarc(text: str) -> DmarcRecord:
    """A policy record; ValueError says why receivers pass over it."""
    tags = _tags(text)
    policy, below = tags.get("p", "").lower(), tags.get("sp", tags.get("p", "")).lower()
    known = ("none", "quarantine", "reject")
    if policy not in known or below not in known:
        raise ValueError(f"its policy is none of {', '.join(known)}")
    for name in ("adkim", "aspf"):
        if tags.get(name, "r").lower() not in ("r", "s"):
            raise ValueError(f"its {name} is neither r nor s")
    percent = tags.get("pct", "100")
    if not re.fullmatch(r"\d{1,3}", percent) or int(percent) > 100:
        raise ValueError("its pct is no percentage")
    return DmarcRecord(policy, below, tags.get("rua", ""), int(percent))


def is_dmarc(text: str) -> bool:
    """Whether a TXT record is a DMARC record: its first tag says so, in exactly these letters."""
    return re.match(r"v\s*=\s*DMARC1\s*(?:;|$)", text) is not None


def judge_dmarc(facts: "Facts", spf: Check, dkim: Check) -> Check:
    """The policy, and whether anything that passes is aligned with the From: one of both must be."""
    if facts.dmarc is None:
        return _unknown("dmarc")
    place, texts = facts.dmarc
    fresh = f'_dmarc.{facts.asked.domain}. TXT "v=DMARC1; p=none; rua=mailto:dmarc@{facts.asked.domain}"'
    if not texts:
        to_do = "Publish one: Gmail, Yahoo and Microsoft want it of everybody who sends much."
        return Check("dmarc", State.FAILED, "No DMARC record.", (to_do,), fresh)
    if len(texts) > 1:
        return Check("dmarc", State.FAILED, f"{len(texts)} records at {place}: none counts.", ("Keep one.",))
    try:
        record = parse_dmarc(texts[0])
    except ValueError as error:
        return Check("dmarc", State.FAILED, f"{texts[0]}: {error}.", ("Mend it.",), fresh)
    return _judge_alignment(facts, f"{place}: {texts[0]}", record, spf, dkim)


def _judge_alignment(facts: "Facts", found: str, record: DmarcRecord, spf: Check, dkim: Check) -> Check:
    provider = provider_of(facts.asked.smtp_host)
    # Envelope and From are the mailbox's address and a key is looked up under its domain, so what passes is
    # aligned, strictly too; but for a provider that takes the bounces itself.
    spf_aligned = spf.state is not State.FAILED and not (provider and provider.own_return_path)
    dkim_aligned = dkim.state in (State.OK, State.WARNING) and bool(
        facts.asked.own_keys or any(facts.dkim.values())
    )
    if State.UNKNOWN in (spf.state, dkim.state) and not (spf_aligned and dkim_aligned):
        return _unknown("dmarc")
    if not spf_aligned and not dkim_aligned:
        to_do = (
            f"Make SPF or DKIM pass for {facts.asked.domain} itself: nothing that passes is aligned with it."
        )
        return Check("dmarc", State.FAILED, found, (to_do,))
    advice = []
    if not dkim_aligned:
        advice.append("Only SPF is aligned, and that ends where a message is forwarded: mend DKIM.")
    if not record.reports:
        advice.append("Add rua=mailto:… to be told who sends in your name.")
    if record.policy == "none" or record.percent < 100:
        advice.append("When the reports are clean, go on to p=quarantine for all.")
    return Check("dmarc", State.OK if dkim_aligned else State.WARNING, found, tuple(advice))


# ---- MX and one-click ---------------------------------------------------------------------------------


def judge_mx(facts: "Facts") -> Check:
    """Whether answers and bounces can arrive; some receivers refuse a From that nobody can answer."""
    if facts.mx is None:
        return _unknown("mx")
    publish = f"{facts.asked.domain}. MX 10 <the server that receives for this domain>"
    if "" in facts.mx:
        found = "A null MX: the domain says that it takes no mail."
        return Check("mx", State.FAILED, found, ("Publish an MX: answers can't arrive.",), publish)
    if facts.mx:
        return Check("mx", State.OK, ", ".join(facts.mx) + ".")
    return Check("mx", State.FAILED, "No MX.", ("Publish one: answers can't arrive.",), publish)


def judge_one_click(facts: "Facts") -> Check:
    """Whether a mail program can offer a button that unsubscribes: https, both fields signed (RFC 8058)."""
    if not facts.asked.offers_one_click:
        to_do = (
            "Set SEGUE_PUBLIC_URL, for the sender too, and `link` with PUT /v1/workspace/footer: Gmail and "
            "Yahoo ask for it of who sends them more than 5,000 messages a day."
        )
        return Check("one_click", State.WARNING, "Messages carry no List-Unsubscribe field.", (to_do,))
    if not facts.asked.public_url.startswith("https://"):
        to_do = "Set SEGUE_PUBLIC_URL to the https address of this API: one-click works over nothing else."
        found = f"{facts.asked.public_url} is not https: messages carry no List-Unsubscribe field."
        return Check("one_click", State.FAILED, found, (to_do,))
    if facts.asked.signs_own:
        return Check("one_click", State.OK, "Over https, and our signature covers both fields.")
    advice = "See that the provider's signature names List-Unsubscribe and List-Unsubscribe-Post in its h=."
    return Check("one_click", State.OK, "Over https.", (advice,))


# ---- all of it ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose records to look at, and what is known without them.

    `own_keys`: selector to record, of the keys that sign for the domain; `selector` is one that a
    person names.
    """

    domain: str
    smtp_host: str
    public_url: str
    offers_one_click: bool
    signs_own: bool
    own_keys: Mapping[str, str]
    selector: str | None = None

    def selectors(self) -> tuple[str, ...]:
        """Where keys may be."""
        if self.signs_own:
            return tuple(self.own_keys)[:MAX_SELECTORS]
        if self.selector is not None:
            return (self.selector,)
        provider = provider_of(self.smtp_host)
        return provider.selectors if provider else ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is judged. None: DNS did not answer.

    `dkim`: what was found at each selector that was looked at; `dmarc`: the name where the policy is (or
    would be) and its records; `mx`: hosts, empty text for a null MX.
    """

    asked: Asked
    spf: SpfFacts | None
    host_addresses: tuple[Address, ...]
    dkim: Mapping[str, tuple[str, ...] | None]
    dmarc: tuple[str, tuple[str, ...]] | None
    mx: tuple[str, ...] | None


def judge(facts: Facts) -> Sequence[Check]:
    """Every check, in the order in which to mend."""
    spf, dkim = judge_spf(facts), judge_dkim(facts)
    return spf, dkim, judge_dmarc(facts, spf, dkim), judge_mx(facts), judge_one_click(facts)


_SEVERITY: Final = (State.OK, State.WARNING, State.UNKNOWN, State.FAILED)


def _unknown(name: str) -> Check:
    return Check(name, State.UNKNOWN, "DNS did not answer in time.", ("Ask again in a minute.",))


def _tags(text: str) -> dict[str, str]:
    """`name=value` pairs as DKIM and DMARC write them (RFC 6376 3.2); of a doubled name the first counts."""
    tags: dict[str, str] = {}
    for each in text.split(";"):
        name, equals, value = each.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags
