"""Whom enrolling refuses because they must not be written to, whatever the suppression is of."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from chassis import documents as names
from chassis.documents import Document
from chassis.inquiries import DryRunAsked
from chassis.secrets import WARNING, Secrets
from chassis.unsubscribing import sender_value
from scheduler.testing import TWO_MAILS, WORKSPACE, Bench, open_bench, settings_for

pytestmark = pytest.mark.stack
WITH_SMS: Document = {
    "name": "Engineers",
    "stages": [
        {"id": "hello", "channel": "email", "subject": "A job", "text": "Hi"},
        {"id": "ping", "channel": "sms", "after": "3 days", "text": "Did you see this?"},
    ],
}
PHONE = "+49 30 1234567"


@pytest.fixture
async def secrets(mongodb_uri: str) -> Secrets:
    return Secrets(settings_for(mongodb_uri))


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri, TWO_MAILS, WITH_SMS) as opened:
        yield opened


async def suppress(bench: Bench, secrets: Secrets, kind: str, value: str) -> None:
    document = {
        "_id": secrets.suppression_id(WORKSPACE, kind, value),
        "workspace_id": WORKSPACE,
        "kind": kind,
    }
    await bench.database.collection(names.SUPPRESSIONS).insert_one(document)


async def is_enrolled(bench: Bench, version: int, **more: str) -> bool:
    enroll = bench.enroll("priya", **more).model_copy(update={"sequence_version": version})
    await bench.command(enroll)
    found = {"_id": enroll.enrollment_id}
    if await bench.database.collection(names.ENROLLMENTS).find_one(found) is not None:
        return True
    result = await bench.database.collection(names.COMMAND_RESULTS).find_one({"_id": enroll.event_id})
    assert result is not None
    assert [reason["code"] for reason in result["reasons"]] == ["suppressed"]
    return False


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("address", "PRIYA@there.example"),
        ("domain", "There.example"),
        ("company", "acme"),
        ("phone", "0049301234567"),
    ],
)
async def test_every_kind_refuses_the_enroll(bench: Bench, secrets: Secrets, kind: str, value: str) -> None:
    await suppress(bench, secrets, kind, value)
    assert not await is_enrolled(bench, 2, phone=PHONE, company_key="Acme")


async def test_one_mailboxs_suppression_refuses_only_what_that_mailbox_would_send(
    bench: Bench, secrets: Secrets
) -> None:
    await suppress(bench, secrets, "sender", sender_value(uuid4(), "priya@there.example"))
    assert await is_enrolled(bench, 1)
    (mailbox,) = await bench.database.collection(names.MAILBOXES).find({})
    await suppress(bench, secrets, "sender", sender_value(mailbox["_id"], "Priya@there.example"))
    enroll = bench.enroll("priya-2", email="priya@there.example")
    await bench.command(enroll)
    found = {"_id": enroll.enrollment_id}
    assert await bench.database.collection(names.ENROLLMENTS).find_one(found) is None


async def test_the_addresss_domain_is_the_company_where_none_is_given(bench: Bench, secrets: Secrets) -> None:
    await suppress(bench, secrets, "company", "there.example")
    assert not await is_enrolled(bench, 1)


async def test_a_phone_refuses_nobody_who_would_only_get_mail(bench: Bench, secrets: Secrets) -> None:
    await suppress(bench, secrets, "phone", PHONE)
    assert await is_enrolled(bench, 1, phone=PHONE)


@pytest.mark.parametrize(("kind", "value"), [("domain", "elsewhere.example"), ("company", "other")])
async def test_anothers_suppression_refuses_nobody(
    bench: Bench, secrets: Secrets, kind: str, value: str
) -> None:
    await suppress(bench, secrets, kind, value)
    assert await is_enrolled(bench, 2, phone=PHONE, company_key="Acme")


async def test_a_company_that_is_warned_of_is_enrolled_with_the_warning(
    bench: Bench, secrets: Secrets
) -> None:
    warning = {
        "_id": secrets.suppression_id(WORKSPACE, WARNING, "There.example"),
        "workspace_id": WORKSPACE,
        "kind": "company",
        "mode": "warn",
        "reason": "a client of ours",
    }
    await bench.database.collection(names.SUPPRESSIONS).insert_one(warning)
    told = {"code": "company_warned", "detail": "a warning of this company: a client of ours"}
    enroll = bench.enroll("priya")
    [person] = (await bench.parts.inquiries.dry_run(DryRunAsked(commands=[enroll]))).people
    assert ([each.model_dump() for each in person.warnings], person.would_enroll) == ([told], True)
    await bench.command(enroll, other := bench.enroll("eve", email="eve@elsewhere.example"))
    assert (await bench.read(enroll.enrollment_id))["warnings"] == [told]
    assert "warnings" not in await bench.read(other.enrollment_id)


async def test_an_address_suppressed_in_one_spelling_of_its_domain_is_refused_in_another(
    bench: Bench, secrets: Secrets
) -> None:
    await suppress(bench, secrets, "address", "priya@xn--mnchen-3ya.example")
    assert not await is_enrolled(bench, 1, email="priya@münchen.example")
