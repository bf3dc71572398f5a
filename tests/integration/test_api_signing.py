"""Signing domains and the deliverability check over HTTP, with DNS that is written down."""

import shlex
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import MailboxView, SigningView
from chassis.secrets import Secrets

pytestmark = pytest.mark.stack
PATH = "/v1/signing-domains"
DOMAIN = "ourco.example"


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


async def mailbox(api: Served, address: str = f"ana@{DOMAIN}", host: str = "mx.ourco.example") -> str:
    smtp = {"host": host, "port": 587}
    made = await api.call("POST", "/v1/mailboxes", {"address": address, "smtp": smtp}, status=201)
    assert made["signs"] == "provider"
    return str(made["id"])


async def new_set(api: Served, domain: str = DOMAIN) -> Any:
    return await api.call("POST", PATH, {"domain": domain}, status=201)


def publish(api: Served, signing: Any) -> None:
    """Do what the answer says, by its zone lines."""
    for key in signing["keys"]:
        (
            name,
            *_,
        ) = key["zone_line"].split(" ")
        texts = shlex.split(key["zone_line"])[4:]
        assert max(map(len, texts)) <= 255
        api.zone.text(name.removesuffix("."), "".join(texts))


async def signs(api: Served, mailbox_id: str, who: str, status: int = 204) -> None:
    await api.call("PUT", f"/v1/mailboxes/{mailbox_id}/signs", {"signs": who}, status=status)


async def test_keys_are_made_published_activated_and_never_shown(api: Served) -> None:
    made = await new_set(api)
    assert [key["algorithm"] for key in made["keys"]] == ["rsa", "ed25519"]
    assert made["activated_at"] is None
    activate = f"{PATH}/{made['id']}/activate"
    problem = await api.call("POST", activate, status=409)
    assert [each["pointer"] for each in problem["errors"]] == ["/keys/0", "/keys/1"]
    publish(api, made)
    assert (await api.call("POST", activate))["activated_at"] is not None
    listed = await api.call("GET", PATH)
    assert [each["id"] for each in listed["items"]] == [made["id"]]
    for told in (made, listed, await api.call("GET", f"{PATH}/{made['id']}")):
        assert "PRIVATE" not in str(told)
        assert "secret" not in str(told)
    stored = await api.database.collection(names.SIGNING_DOMAINS).find_one({})
    assert stored is not None
    assert "PRIVATE" not in str(stored)
    view = SigningView.read(stored)
    for selector, secret in view.keys:
        assert selector in {key["selector"] for key in made["keys"]}
        assert Secrets(api.api.settings).decrypt(secret).startswith("-----BEGIN PRIVATE KEY-----")


async def test_a_wrong_record_or_a_silent_server_activates_nothing(api: Served) -> None:
    first, second = await new_set(api), await new_set(api)
    publish(api, first)
    one, other = (f"{each['keys'][0]['selector']}._domainkey.{DOMAIN}" for each in (first, second))
    api.zone.text(one, second["keys"][0]["record"])
    await api.call("POST", f"{PATH}/{first['id']}/activate", status=409)
    api.zone.silent.add(one)
    await api.call("POST", f"{PATH}/{first['id']}/activate", status=503)
    assert one != other


async def test_a_mailbox_signs_only_with_keys_that_are_activated(api: Served) -> None:
    box, signing = await mailbox(api), await new_set(api)
    await signs(api, box, "own", 409)
    publish(api, signing)
    await api.call("POST", f"{PATH}/{signing['id']}/activate")
    await signs(api, box, "own")
    assert (await api.call("GET", f"/v1/mailboxes/{box}"))["signs"] == "own"
    await api.call("PUT", f"/v1/mailboxes/{box}", {"smtp": {"host": "mx.ourco.example", "port": 587}})
    stored = await api.database.collection(names.MAILBOXES).find_one({})
    assert stored is not None
    assert MailboxView.read(stored).signing_domain == DOMAIN
    await api.call("DELETE", f"{PATH}/{signing['id']}", status=409)
    await signs(api, box, "provider")
    assert (await api.call("GET", f"/v1/mailboxes/{box}"))["signs"] == "provider"
    await api.call("DELETE", f"{PATH}/{signing['id']}", status=204)


async def test_keys_are_rotated_by_a_second_set(api: Served) -> None:
    box, old = await mailbox(api), await new_set(api)
    publish(api, old)
    await api.call("POST", f"{PATH}/{old['id']}/activate")
    await signs(api, box, "own")
    new = await new_set(api)
    assert {key["selector"] for key in new["keys"]}.isdisjoint(key["selector"] for key in old["keys"])
    await api.call("POST", PATH, {"domain": DOMAIN}, status=409)
    publish(api, new)
    api.clock.advance(days=1)
    await api.call("POST", f"{PATH}/{new['id']}/activate")
    await api.call("DELETE", f"{PATH}/{old['id']}", status=204)
    await api.call("DELETE", f"{PATH}/{new['id']}", status=409)
    actions = [action for action, _ in await api.audited()]
    assert sorted(actions) == [
        "mailbox.connected",
        "mailbox.signs",
        *["signing_domain.activated"] * 2,
        *["signing_domain.added"] * 2,
        "signing_domain.removed",
    ]


async def test_a_mailbox_at_a_provider_is_signed_there(api: Served) -> None:
    signing = await new_set(api)
    publish(api, signing)
    await api.call("POST", f"{PATH}/{signing['id']}/activate")
    await signs(api, await mailbox(api, host="smtp.gmail.com"), "own", 409)


async def test_an_international_domain_signs_under_its_name_in_dns(api: Served) -> None:
    made = await new_set(api, "München.example")
    assert made["domain"] == "xn--mnchen-3ya.example"
    publish(api, made)
    await api.call("POST", f"{PATH}/{made['id']}/activate")
    await signs(api, await mailbox(api, "ana@münchen.example"), "own")


@pytest.mark.parametrize("domain", ["localhost", "a b.example", "", "-.example", "x" * 64 + ".example"])
async def test_what_is_no_domain_gets_no_keys(api: Served, domain: str) -> None:
    await api.call("POST", PATH, {"domain": domain}, status=422)


async def test_keys_are_for_admins_of_their_workspace(api: Served) -> None:
    made, other = await new_set(api), await api.other_workspace()
    await api.call("POST", PATH, {"domain": DOMAIN}, key=await api.key("write"), status=403)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/activate")):
        await api.call(method, f"{PATH}/{made['id']}{path}", key=other, status=404)


# ---- deliverability -----------------------------------------------------------------------------------


async def test_the_check_says_what_is_missing_and_then_that_all_is_there(api: Served) -> None:
    box = await mailbox(api)
    path = f"/v1/mailboxes/{box}/deliverability"
    told = await api.call("GET", path)
    assert (told["domain"], told["signs"], told["ready"]) == (DOMAIN, "provider", False)
    assert {each["name"]: each["state"] for each in told["checks"]}["dmarc"] == "failed"
    signing = await new_set(api)
    publish(api, signing)
    await api.call("POST", f"{PATH}/{signing['id']}/activate")
    await signs(api, box, "own")
    api.zone.hosts["mx.ourco.example"] = ["192.0.2.7"]
    api.zone.text(DOMAIN, "v=spf1 ip4:192.0.2.7 -all")
    api.zone.text(f"_dmarc.{DOMAIN}", f"v=DMARC1; p=reject; rua=mailto:d@{DOMAIN}")
    api.zone.exchanges[DOMAIN] = ["mx.ourco.example"]
    told = await api.call("GET", path)
    assert (told["signs"], told["ready"]) == ("own", True)
    assert {each["state"] for each in told["checks"]} == {"ok"}
    del api.zone.texts[f"{signing['keys'][1]['selector']}._domainkey.{DOMAIN}"]
    told = await api.call("GET", path)
    (dkim,) = [each for each in told["checks"] if each["name"] == "dkim"]
    assert (told["ready"], dkim["state"]) == (False, "failed")
    assert signing["keys"][1]["record"] in dkim["publish"]


async def test_a_selector_can_be_named_and_nothing_else(api: Served) -> None:
    path = f"/v1/mailboxes/{await mailbox(api, host='smtp.elsewhere.example')}/deliverability"
    await api.call("GET", path, params={"selector": "mine"})
    assert f"mine._domainkey.{DOMAIN}" in api.zone.asked
    await api.call("GET", path, params={"selector": "a b"}, status=422)
    await api.call("GET", path, key=await api.other_workspace(), status=404)


async def test_dns_that_does_not_answer_is_told_as_that(api: Served) -> None:
    box = await mailbox(api)
    api.zone.silent = {DOMAIN, f"_dmarc.{DOMAIN}"}
    told = await api.call("GET", f"/v1/mailboxes/{box}/deliverability")
    assert {each["name"]: each["state"] for each in told["checks"]}["mx"] == "unknown"
    assert told["ready"] is False
