"""Mailboxes, text numbers, suppressions and settings, as a browser without JavaScript sees them."""

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import FormData

from api.testing import Browser, Served, csrf_of, serving_pages
from chassis import documents as names

pytestmark = pytest.mark.stack

SMTP = {"smtp_host": "mx.ourco.example", "smtp_port": "587", "smtp_security": "starttls"}
NEW = {
    "address": "ana@ourco.example",
    "display_name": "Ana",
    "zone": "Europe/Berlin",
    "unread": "yes",
    **SMTP,
}
SECTIONS = (
    "/settings",
    "/settings/workspace",
    "/settings/holidays",
    "/settings/footer",
    "/settings/rules",
    "/settings/people",
    "/settings/keys",
    "/settings/tokens",
    "/settings/signing",
    "/settings/webhooks",
    "/settings/webhook",
    "/settings/attachments",
    "/settings/audit",
)
CHANGES: tuple[tuple[str, dict[str, str]], ...] = (
    ("/mailboxes", NEW),
    ("/numbers", {"number": "+49 30 123456", "auth_token": "a token of some length"}),
    ("/suppressions", {"kind": "address", "value": "pat@there.example"}),
    ("/settings/preferences", {"zone": "Europe/Berlin"}),
    ("/settings/workspace/name", {"name": "Another"}),
    ("/settings/workspace/pause", {}),
    ("/settings/footer", {"language": "de"}),
    ("/settings/rules/retention", {"bodies_days": "30"}),
    ("/settings/holidays", {"first": "2027-12-24"}),
    ("/settings/people", {"email": "x@ourco.example", "name": "X", "role": "member"}),
    ("/settings/keys", {"name": "k", "scopes": "read"}),
    ("/settings/webhooks", {"url": "https://ats.ourco.example/segue", "events": "*"}),
    ("/settings/tokens", {"name": "notice", "type": "text", "scope": "person"}),
)


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving_pages(mongodb_uri) as served:
        yield served


async def a_user(served: Served, name: str, role: str) -> UUID:
    new = {"email": f"{name.lower()}@ourco.example", "name": name, "role": role}
    return UUID((await served.call("POST", "/v1/users", new, status=201))["id"])


async def undone(browser: Browser, page: str) -> str:
    """Send the undo that a page offers."""
    form = page.partition('<div class="note done"')[2].partition("</div>")[0]
    path = form.partition('action="')[2].partition('"')[0]
    given = dict(re.findall(r'name="([^"]*)" value="([^"]*)"', form))
    assert path, "no undo"
    return await browser.post(path, {name: value for name, value in given.items() if name != "csrf"})


async def uploaded(browser: Browser, path: str, filename: str, content: bytes, *, status: int = 200) -> str:
    form = FormData()
    form.add_field("csrf", csrf_of(await browser.get("/")))
    form.add_field("file", content, filename=filename, content_type="application/octet-stream")
    async with browser.session.post(path, data=form) as response:
        text = await response.text()
        assert response.status == status, text
        return text


# ---- what holds for all -------------------------------------------------------------------------------


async def test_whoever_only_reads_sees_every_page_and_changes_nothing(served: Served) -> None:
    mailbox = await served.mailbox("ana@ourco.example")
    limited = await a_user(served, "Lea", "limited")
    async with served.browser(limited) as browser:
        for path in (*SECTIONS, "/mailboxes", f"/mailboxes/{mailbox}", "/numbers", "/suppressions"):
            assert "<h1>" in await browser.get(path), path
        assert "ask Ana" in await browser.get("/settings/workspace")
        assert "This is for admins: ask Ana" in await browser.get("/settings/keys")
        assert "<fieldset disabled>" in await browser.get(f"/mailboxes/{mailbox}/settings")
        for path, fields in CHANGES:
            assert "role does not allow" in await browser.post(path, fields, status=403), path
        await browser.get("/suppressions/export", status=403)


async def test_a_form_without_the_sessions_token_changes_nothing(served: Served) -> None:
    async with served.browser() as browser:
        for path, fields in CHANGES:
            assert "nothing was done" in await browser.post(path, fields, signed=False, status=403), path
    assert (await served.call("GET", "/v1/workspace"))["name"] == "Our Co"


async def test_what_is_of_another_workspace_does_not_exist(served: Served) -> None:
    mailbox = await served.mailbox("ana@ourco.example")
    await served.other_workspace()
    [eve] = await served.database.collection(names.USERS).find({"email": "eve@other.example"})
    async with served.browser(eve["_id"]) as browser:
        for path in ("", "/settings", "/check"):
            await browser.get(f"/mailboxes/{mailbox}{path}", status=404)
        for path in ("pause", "writing", "signs", "secret", "mailgun"):
            await browser.post(f"/mailboxes/{mailbox}/{path}", {"signs": "own"}, status=404)
        await browser.get(f"/settings/people/{served.made['user_id']}", status=404)
        await browser.post(f"/settings/people/{served.made['user_id']}/role", {"role": "member"}, status=404)
        for path in (f"/numbers/{uuid4()}", "/settings/tokens/none", "/mailboxes/no-id"):
            await browser.get(path, status=404)


# ---- mailboxes ----------------------------------------------------------------------------------------


async def test_a_mailbox_is_connected_and_its_secret_shown_once(served: Served) -> None:
    async with served.browser() as browser:
        assert "Connect yours" in await browser.get("/mailboxes")
        page = await browser.post("/mailboxes", {**NEW, "smtp_port": "99999"}, status=422)
        assert 'value="ana@ourco.example"' in page
        assert 'aria-invalid="true"' in page
        assert "less than or equal to 65535" in page
        page = await browser.post("/mailboxes", NEW)
        [secret] = re.findall(r'class="secret">([^<]+)<', page)
        page = await browser.get("/mailboxes")
        assert "ana@ourco.example" in page
        assert "fine" in page
        assert secret not in page


async def test_its_settings_are_changed_group_by_group_and_secrets_stay(served: Served) -> None:
    box = {
        "address": "ana@ourco.example",
        "smtp": {"host": "mx.ourco.example", "port": 587, "username": "ana", "password": "hush-hush"},
        "limits": {"per_day": 100},
    }
    at = f"/mailboxes/{(await served.call('POST', '/v1/mailboxes', box, status=201))['id']}"
    hours = {"zone": "Europe/Berlin", "windows": "mon-thu: 09:00-12:00, 13:00-17:00\nfri: 09:00-12:00"}
    async with served.browser() as browser:
        page = await browser.post(f"{at}/hours", {**hours, "time_off": "2026-12-24/2027-01-01"})
        assert "mon-thu: 09:00-12:00, 13:00-17:00\nfri: 09:00-12:00" in page
        assert "hush" not in page
        page = await browser.post(f"{at}/hours", {**hours, "windows": "mon: 9-5"}, status=422)
        assert "mon: 9-5" in page
        assert "Nothing was changed" in page
        ramp = {"per_day": "200", "start": "20", "add_per_day": "10", "until": "200"}
        assert 'value="20"' in await browser.post(f"{at}/limits", ramp)
        page = await browser.post(f"{at}/limits", {**ramp, "until": "10"}, status=422)
        assert "must not be below start" in page
        page = await browser.post(f"{at}/writing", {"display_name": "Ana", "signature": "-- \nAna"})
        await undone(browser, page)
        servers = {**SMTP, "smtp_auth": "password", "smtp_username": "ana", "unread": "yes"}
        await browser.post(f"{at}/servers", servers)
        page = await browser.post(f"{at}/servers", {**servers, "smtp_host": "mx.else.example"}, status=422)
        assert "give it again for another server" in page
    now = await served.call("GET", "/v1" + at)
    assert now["windows"] == {"mon-thu": ["09:00-12:00", "13:00-17:00"], "fri": ["09:00-12:00"]}
    assert (now["zone"], now["time_off"]) == ("Europe/Berlin", ["2026-12-24/2027-01-01"])
    assert (now["limits"]["per_day"], now["limits"]["ramp"]["start"]) == (200, 20)
    assert (now["display_name"], now["smtp"]["has_password"]) == ("", True)


async def test_a_provider_fills_in_the_servers_and_its_secrets_stay(served: Served) -> None:
    access = {"provider": "google", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    async with served.browser() as browser:
        await browser.post("/mailboxes", {"address": "ana@ourco.example", **access})
        [box] = (await served.call("GET", "/v1/mailboxes"))["items"]
        at = f"/mailboxes/{box['id']}"
        page = await browser.get(f"{at}/settings")
        assert "smtp.gmail.com" in page
        await browser.post(f"{at}/writing", {"display_name": "Ana"})
        again = {**access, "client_secret": "", "refresh_token": "", "client_id": "other"}
        assert "is missing" in await browser.post(f"{at}/servers", again, status=422)
    now = await served.call("GET", "/v1" + at)
    assert (now["display_name"], now["oauth"]["provider"], now["imap"]["auth"]) == ("Ana", "google", "oauth2")


async def test_it_says_how_it_is_and_what_to_do_and_rests_when_told(served: Served) -> None:
    mailbox = await served.mailbox("ana@ourco.example")
    at = f"/mailboxes/{mailbox}"
    async with served.browser() as browser:
        assert "can't be looked up at the moment" in await browser.get(at)  # no scheduler is there
        await browser.post(f"{at}/pause", {"until": "2001-01-01T10:00"}, status=422)
        await undone(browser, await browser.post(f"{at}/pause", {"reason": "too loud"}))
        assert await served.commanded("hold", "lift") == [
            ("hold", "mailbox", mailbox),
            ("lift", "mailbox", mailbox),
        ]
        await served.database.collection(names.HOLDS).insert_one(
            {
                "_id": f"mailbox:{mailbox}",
                "workspace_id": served.workspace,
                "scope": "mailbox",
                "scope_id": UUID(mailbox),
                "by": "reply-detector",
                "reason": "bounce_rate",
                "until": None,
                "created_at": served.clock.now(),
            }
        )
        page = await browser.get(at)
        assert "Too many of its messages came back" in page
        assert "resume it when you know why" in page
        assert "POST /v1" not in page
        assert "sends nothing now" in await browser.get("/mailboxes")


async def test_its_user_agrees_that_a_teammate_sends_and_ends_it(served: Served) -> None:
    mailbox, ben = await served.mailbox("ana@ourco.example"), await a_user(served, "Ben", "member")
    at = f"/mailboxes/{mailbox}"
    async with served.browser(ben) as browser:
        assert "Let a teammate send" not in await browser.get(at)
        page = await browser.post(f"{at}/delegates", {"user_id": str(ben)}, status=403)
        assert "Only the user whose mailbox it is" in page
    async with served.browser() as browser:
        page = await browser.post(f"{at}/delegates", {"user_id": str(ben)})
        assert f"{at}/delegates/{ben}/end" in page
        page = await browser.post(f"{at}/delegates/{ben}/end")
        assert "Nobody but Ana" in page
        assert f"{at}/delegates/{ben}/end" in await undone(browser, page)
        await browser.post(f"{at}/transfer", {"to": str(ben)})
    assert (await served.call("GET", "/v1" + at))["owner_id"] == str(ben)


async def test_the_check_says_what_its_domain_lacks(served: Served) -> None:
    mailbox = await served.mailbox("ana@ourco.example")
    async with served.browser() as browser:
        page = await browser.get(f"/mailboxes/{mailbox}/check")
        assert "Who may send for the domain (SPF)" in page
        assert "to be mended" in page
        await browser.get(f"/mailboxes/{mailbox}/check?selector=-", status=422)
        page = await browser.post(f"/mailboxes/{mailbox}/signs", {"signs": "own"}, status=409)
        assert "has no activated keys" in page
        assert "is shown this once" in await browser.post(f"/mailboxes/{mailbox}/secret")
        assert "tick the box" in await browser.post(f"/mailboxes/{mailbox}/mailgun", {}, status=422)
        key = {"signing_key": "a key of Mailgun"}
        assert "a key of Mailgun" not in await browser.post(f"/mailboxes/{mailbox}/mailgun", key)


async def test_a_text_number_is_connected_and_changed(served: Served) -> None:
    new = {"number": "+49 30 123456", "provider": "twilio", "auth_token": "a token of some length"}
    async with served.browser() as browser:
        assert "must be a number" in await browser.post("/numbers", {**new, "number": "call me"}, status=422)
        page = await browser.post("/numbers", new)
        [at] = re.findall(r'href="(/numbers/[^"]+)"', page)
        assert "only receives" in page
        page = await browser.post(at, {**new, "number": "", "account_sid": "AC" + "0" * 32, "per_day": "9"})
        assert "/v1/sms-numbers/" in page
        assert new["auth_token"] not in page
    [number] = (await served.call("GET", "/v1/sms-numbers"))["items"]
    assert (number["can_send"], number["limits"]["per_day"]) == (True, 9)


# ---- suppressions -------------------------------------------------------------------------------------


async def test_one_is_added_found_removed_and_put_back(served: Served) -> None:
    pat = {"kind": "address", "value": "pat@there.example"}
    async with served.browser() as browser:
        assert "Nothing is on it yet" in await browser.get("/suppressions")
        page = await browser.post("/suppressions", {**pat, "mode": "block", "reason": "our client"})
        assert "Nobody writes to it any more" in page
        assert "was there already" in await browser.post("/suppressions", pat)
        page = await browser.post("/suppressions/find", pat)
        assert "our client" in page
        [entry] = (await served.call("GET", "/v1/suppressions"))["items"]
        removed = {**pat, "id": entry["id"], "mode": "block", "reason": "our client"}
        page = await browser.post("/suppressions/remove", removed)
        assert "pat@there.example may be written to again" in page
        await undone(browser, page)
        [again] = (await served.call("GET", "/v1/suppressions"))["items"]
        assert (again["id"], again["reason"]) == (entry["id"], "our client")
        other = await browser.post("/suppressions/find", {**pat, "value": "else@there.example"})
        assert "It is not on this list" in other
        page = await browser.post("/suppressions", {**pat, "value": "nonsense"}, status=422)
        assert 'value="nonsense"' in page
        page = await browser.post("/suppressions", {**pat, "mode": "warn"}, status=422)
        assert "only a company can be warned of" in page
        await browser.post("/suppressions/remove", {"id": "gone"}, status=404)


async def test_a_file_is_brought_with_a_word_for_every_row_that_is_refused(served: Served) -> None:
    async with served.browser() as browser:
        rows = b"email,reason,colour\npat@there.example,client,red\nnonsense,,\n"
        page = await uploaded(browser, "/suppressions/import", "list.csv", rows)
        assert "1 added" in page
        assert '<th scope="row">3</th>' in page
        assert "colour" in page
        page = await uploaded(browser, "/suppressions/import", "list.csv", b"colour\nred\n", status=422)
        assert "needs a column of" in page
        assert "choose a file" in await browser.post("/suppressions/import", {}, status=422)
        exported = await browser.get("/suppressions/export")
        assert "client" in exported
        assert "pat@" not in exported


# ---- settings -----------------------------------------------------------------------------------------


async def test_every_page_is_in_the_zone_of_the_readers_preferences(served: Served) -> None:
    wishes = {"zone": "Asia/Kolkata", "digest_at": "09:00", "workdays": "mon, tue", "start": "", "end": ""}
    async with served.browser() as browser:
        await browser.post("/settings/preferences", wishes)
        assert "Until (Asia/Kolkata)" in await browser.get("/settings/workspace")
        page = await browser.post("/settings/preferences", {**wishes, "zone": "Mars/Olympus"}, status=422)
        assert "Mars/Olympus" in page
        assert 'aria-invalid="true"' in page
        page = await browser.post("/settings/own-tokens", {"my_title": "Recruiter"})
        assert 'value="Recruiter"' in page
    async with served.browser() as browser:
        await browser.post("/settings/preferences", {"start": "20:00", "end": ""}, status=422)


async def test_the_workspace_is_named_limited_paused_and_resumed(served: Served) -> None:
    at = "/settings/workspace"
    async with served.browser() as browser:
        page = await browser.post(f"{at}/name", {"name": "Better Co"})
        assert 'value="Our Co"' in await undone(browser, page)
        assert 'aria-invalid="true"' in await browser.post(f"{at}/name", {"name": ""}, status=422)
        page = await browser.post(
            f"{at}/limits", {"per_person_per_day": "2", "sms_segments": "x"}, status=422
        )
        assert 'value="x"' in page
        assert 'value="2"' in await browser.post(
            f"{at}/limits", {"per_person_per_day": "2", "sms_segments": "2"}
        )
        await undone(browser, await browser.post(f"{at}/pause", {"reason": "a leak"}))
        assert [kind for kind, _, _ in await served.commanded("hold", "lift")] == ["hold", "lift"]
        await served.database.collection(names.HOLDS).insert_one(
            {
                "_id": f"workspace:{served.workspace}",
                "workspace_id": served.workspace,
                "scope": "workspace",
                "scope_id": served.workspace,
                "by": served.made["user_id"],
                "reason": "a leak",
                "until": None,
                "created_at": served.clock.now(),
            }
        )
        page = await browser.get(at)
        assert "nothing goes out" in page
        assert "a leak" in page
        assert "Resume: messages go out again" in page
    await served.other_workspace()
    others = await served.database.collection(names.WORKSPACES).find({"name": {"$ne": "Our Co"}})
    async with served.browser() as browser:
        page = await browser.post(f"{at}/name", {"name": others[0]["name"]}, status=422)
        assert "choose another name" in page


async def test_footer_and_rules_are_saved_and_taken_back(served: Served) -> None:
    footer = {"postal_address": "Our Co\r\n1 Main Street", "language": "de", "link": "yes"}
    async with served.browser() as browser:
        page = await browser.post("/settings/footer", footer)
        assert "Our Co\n1 Main Street" in page
        await undone(browser, page)
        assert (await served.call("GET", "/v1/workspace/footer"))["postal_address"] == ""
        await browser.post("/settings/footer", {**footer, "language": "xx"}, status=422)
        await undone(browser, await browser.post("/settings/rules/in-doubt", {"policy": "resend"}))
        page = await browser.post("/settings/rules/retention", {"bodies_days": "5"}, status=422)
        assert 'value="5"' in page
        await browser.post("/settings/rules/retention", {"bodies_days": "90", "inbound_days": ""})
    assert await served.call("GET", "/v1/workspace/in-doubt") == {"policy": "wait"}
    kept = await served.call("GET", "/v1/workspace/retention")
    assert kept == {"bodies_days": 90, "inbound_days": None}


async def test_days_off_are_added_and_the_page_says_that_they_are_on_their_way(served: Served) -> None:
    async with served.browser() as browser:
        span = {"first": "2027-12-24", "last": "2027-12-26"}
        page = await browser.post("/settings/holidays", span)
        assert "is being taken in" in page
        assert "Add to the days off" not in page
        await undone(browser, page)
        assert len(await served.commanded("set_calendar")) == 2
        page = await browser.post("/settings/holidays", {**span, "last": "2027-01-01"}, status=422)
        assert 'value="2027-12-24"' in page
        assert "must be the first day or later" in page
        await browser.post("/settings/holidays", {"first": "soon"}, status=422)


async def test_people_are_added_given_roles_and_leave_with_what_is_theirs(served: Served) -> None:
    async with served.browser() as browser:
        new = {"email": "ben@ourco.example", "name": "Ben", "role": "member"}
        page = await browser.post("/settings/people", new)
        assert "Ben" in page
        assert "is there already" in await browser.post("/settings/people", new, status=409)
        ben = next(
            each["id"] for each in (await served.call("GET", "/v1/users"))["items"] if each["name"] == "Ben"
        )
        at = f"/settings/people/{ben}"
        key = await served.call(
            "POST", "/v1/api-keys", {"name": "k", "scopes": ["write"], "user_id": ben}, status=201
        )
        mailbox = await served.mailbox("ben@ourco.example", key["key"])
        await undone(browser, await browser.post(f"{at}/role", {"role": "admin"}))
        first = f"/settings/people/{served.made['user_id']}"
        assert "Nobody else is an admin" in await browser.post(
            f"{first}/role", {"role": "member"}, status=409
        )
        assert "another admin does" in await browser.post(f"{first}/deactivate", status=409)
        page = await browser.post(f"{at}/deactivate")
        assert "has left" in page
        assert "ben@ourco.example" in page
        page = await browser.post(f"{at}/transfer/mailboxes/{mailbox}", {"to": served.made["user_id"]})
        assert "Nothing: no sequence" in page
        assert "works here" in await browser.post(f"{at}/reactivate")
        await browser.post(f"{at}/transfer/shoes/{mailbox}", {"to": served.made["user_id"]}, status=404)


async def test_a_key_is_shown_once_and_revoked_for_good(served: Served) -> None:
    async with served.browser() as browser:
        page = await browser.post("/settings/keys", {"name": "nightly", "scopes": "read"})
        [key] = re.findall(r"sgk_[0-9a-f]{32}_[\w-]+", page)
        assert (await served.call("GET", "/v1/me", key=key))["scopes"] == ["read"]
        page = await browser.get("/settings/keys")
        assert key not in page
        made = next(
            each for each in (await served.call("GET", "/v1/api-keys"))["items"] if each["name"] == "nightly"
        )
        await browser.post(f"/settings/keys/{made['id']}/revoke")
        await served.call("GET", "/v1/me", key=key, status=401)
        await browser.post("/settings/keys", {"name": "", "scopes": "read"}, status=422)
        await browser.post(f"/settings/keys/{uuid4()}/revoke", status=404)


async def test_tokens_are_defined_changed_renamed_and_removed(served: Served) -> None:
    new = {"name": "notice", "type": "number", "scope": "person", "columns": "Notice\nNotice period"}
    async with served.browser() as browser:
        page = await browser.post("/settings/tokens", {**new, "default": "soon"}, status=422)
        assert "must be a number" in page
        await browser.post("/settings/tokens", {**new, "default": "30"})
        assert "already" in await browser.post("/settings/tokens", new, status=409)
        at = "/settings/tokens/notice"
        await undone(browser, await browser.post(at, {**new, "default": "60"}))
        await undone(browser, await browser.post(f"{at}/rename", {"name": "period"}))
        await browser.post(f"{at}/rename", {"name": "email"}, status=422)
        await undone(browser, await browser.post(f"{at}/remove"))
    [token] = (await served.call("GET", "/v1/tokens"))["tokens"]
    assert (token["name"], token["default"], token["columns"]) == (
        "notice",
        "30",
        ["Notice", "Notice period"],
    )


async def test_signing_keys_are_made_published_and_forgotten(served: Served) -> None:
    async with served.browser() as browser:
        page = await browser.post("/settings/signing", {"domain": "ourco.example"})
        assert "v=DKIM1" in page
        [made] = (await served.call("GET", "/v1/signing-domains"))["items"]
        at = f"/settings/signing/{made['id']}"
        assert "Not all records are published" in await browser.post(f"{at}/activate", status=409)
        for key in made["keys"]:
            served.zone.text(key["name"], key["record"])
        assert "signs since" in await browser.post(f"{at}/activate")
        assert "The keys are gone" in await browser.post(f"{at}/forget")


async def test_a_webhook_is_set_with_a_secret_shown_once_and_removed(served: Served) -> None:
    at, url = "/settings/webhook", "https://tools.ourco.example/tasks"
    async with served.browser() as browser:
        assert "whsec_" in await browser.post(at, {"url": url})
        page = await browser.get(at)
        assert "whsec_" not in page
        assert url in page
        assert "nothing" not in await browser.post(at, {"url": "ftp://x"}, status=422)
        await browser.post(f"{at}/remove")
    await served.call("GET", "/v1/workspace/task-webhook", status=404)


WEBHOOK = {
    "url": "https://ats.ourco.example/segue",
    "events": "answer.*\r\nmailbox.*",
    "description": "The ATS",
}


async def test_a_webhook_is_added_changed_switched_off_and_deleted(served: Served) -> None:
    at = "/settings/webhooks"
    async with served.browser() as browser:
        assert "No program hears of events yet" in await browser.get(at)
        page = await browser.post(at, {**WEBHOOK, "events": "answers"}, status=422)
        assert "is no event" in page
        assert WEBHOOK["url"] in page
        first = await browser.post(at, WEBHOOK)
        [hook] = (await served.call("GET", "/v1/webhooks"))["items"]
        one = f"{at}/{hook['id']}"
        assert hook["events"] == ["answer.*", "mailbox.*"]
        [secret] = re.findall(r'class="secret">(whsec_[^<]+)<', first)
        assert "whsec_" not in await browser.get(one)
        assert re.findall(r'class="secret">(whsec_[^<]+)<', await browser.post(f"{one}/rotate")) != [secret]
        await undone(browser, await browser.post(one, {**WEBHOOK, "events": "*"}))
        assert "switched off" in await browser.post(f"{one}/disable")
        assert ">Send a test<" not in await browser.get(one)
        assert "disabled" in await browser.post(f"{one}/test", status=409)
        assert ">The ATS<" in await browser.post(f"{one}/enable")
        assert (await served.call("GET", f"/v1/webhooks/{hook['id']}")) == hook
        assert "No program hears of events yet" in await browser.post(f"{one}/delete")


async def test_what_was_posted_to_a_webhook_is_shown_and_sent_again(served: Served) -> None:
    async with served.browser() as browser:
        await browser.post("/settings/webhooks", WEBHOOK)
        [hook] = (await served.call("GET", "/v1/webhooks"))["items"]
        one = f"/settings/webhooks/{hook['id']}"
        for _ in range(2):
            assert "webhook.test" in await browser.post(f"{one}/test")
        deliveries = served.database.collection(names.WEBHOOK_DELIVERIES)
        tried = {"at": served.clock.real_now(), "seconds": 0.25, "status": 503, "error": None}
        failed = {"$set": {"state": "failed", "attempts": 10, "tries": [tried]}}
        await deliveries.update_many({"workspace_id": served.workspace}, failed)
        page = await browser.get(f"{one}?state=failed")
        assert page.count("answered 503") == 2
        [delivery, _] = re.findall(r'name="delivery" value="([^"]+)"', page)
        await browser.post(f"{one}/redeliver", {"delivery": delivery})
        assert (await browser.get(f"{one}?state=pending")).count("webhook.test") == 1
        await browser.post(f"{one}/redeliver")
        assert "Nothing is in this state" in await browser.get(f"{one}?state=failed")
        await browser.post(f"{one}/redeliver", {"delivery": "no id"}, status=422)


async def test_a_webhook_is_seen_by_its_owner_and_admins_only(served: Served) -> None:
    bob, lea = await a_user(served, "Bob", "member"), await a_user(served, "Lea", "limited")
    async with served.browser() as browser:
        await browser.post("/settings/webhooks", WEBHOOK)
    [hook] = (await served.call("GET", "/v1/webhooks"))["items"]
    one = f"/settings/webhooks/{hook['id']}"
    async with served.browser(bob) as browser:
        assert "No program hears of events yet" in await browser.get("/settings/webhooks")
        await browser.get(one, status=404)
        for action in ("", "/disable", "/rotate", "/test", "/redeliver", "/delete"):
            await browser.post(one + action, WEBHOOK, status=404)
    async with served.browser(lea) as browser:
        assert "Your role only reads: ask Ana" in await browser.get("/settings/webhooks")
        await browser.get(one, status=403)


async def test_files_are_uploaded_and_deleted(served: Served) -> None:
    at = "/settings/attachments"
    async with served.browser() as browser:
        assert "Offer.pdf" in await uploaded(browser, at, "Offer.pdf", b"%PDF-1.7 offer")
        assert "It was there already" in await uploaded(browser, at, "Offer.pdf", b"%PDF-1.7 offer")
        assert "choose a file" in await browser.post(at, {}, status=422)
        await uploaded(browser, at, "Run.exe", b"MZ", status=422)
        [kept] = (await served.call("GET", "/v1/attachments"))["items"]
        assert "No file is here yet" in await browser.post(f"{at}/{kept['id']}/delete")


async def test_the_audit_log_is_filtered_and_paged(served: Served) -> None:
    for number in range(60):
        body = {"address": f"pat{number}@there.example"}
        await served.call("POST", "/v1/suppressions", body, status=201)
    await served.call("PUT", "/v1/workspace", {"name": "Better Co"})
    async with served.browser() as browser:
        page = await browser.get("/settings/audit?action=suppression.added")
        assert "workspace.renamed" not in page
        [more] = re.findall(r'href="(/settings/audit\?[^"]*cursor=[^"]+)"', page)
        assert await browser.get(more.replace("&amp;", "&"))
        assert "Nothing fits" in await browser.get(f"/settings/audit?by={uuid4()}")
        await browser.get("/settings/audit?by=nobody", status=422)
    found: Any = await served.call("GET", f"/v1/audit-log?action=workspace.renamed&target={served.workspace}")
    assert [each["action"] for each in found["items"]] == ["workspace.renamed"]
