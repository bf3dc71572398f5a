"""Attachments, signatures and addresses of mails over HTTP: what is taken, what is refused, what stays."""

import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from api.attachments import MAX_FILE_BYTES, TYPES
from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import AttachmentView, MailboxView

pytestmark = pytest.mark.stack
PATH = "/v1/attachments"
PDF = b"%PDF-1.7\nthe offer"
SMTP = {"host": "mx.ourco.example", "port": 587}


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


async def upload(
    api: Served,
    content: bytes = PDF,
    filename: str = "Offer.pdf",
    content_type: str = "application/pdf",
    *,
    status: int = 201,
    **more: Any,
) -> Any:
    headers = {"Content-Type": content_type} | more.pop("headers", {})
    params = {"filename": filename}
    return await api.call(
        "POST", PATH, data=io.BytesIO(content), headers=headers, params=params, status=status, **more
    )


async def mailbox(api: Served, **more: Any) -> Any:
    settings = {"address": "ana@ourco.example", "display_name": "Ana", "smtp": SMTP, **more}
    return await api.call("POST", "/v1/mailboxes", settings, status=201)


def sequence(**stage: Any) -> dict[str, Any]:
    return {"name": "E", "stages": [{"id": "a", "channel": "email", "subject": "s", "text": "t", **stage}]}


async def pointers(api: Served, document: dict[str, Any], method: str = "POST", path: str = "") -> list[str]:
    problem = await api.call(method, f"/v1/sequences{path}", document, status=422)
    return [each["pointer"] for each in problem["errors"]]


async def test_a_file_is_uploaded_listed_shown_and_kept_whole(api: Served) -> None:
    made = await upload(api, filename="Angebot für 日本.pdf")
    assert made["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert (made["filename"], made["size"], made["used"]) == ("Angebot für 日本.pdf", len(PDF), False)
    assert await api.call("GET", f"{PATH}/{made['id']}") == made
    assert (await api.call("GET", PATH))["items"] == [made]
    stored = await api.database.collection(names.ATTACHMENTS).find_one({})
    assert stored is not None
    view = AttachmentView.read(stored)
    assert (view.content, view.filename, view.content_type) == (PDF, made["filename"], "application/pdf")


async def test_the_same_file_again_is_the_one_that_is_there(api: Served) -> None:
    first = await upload(api)
    assert await upload(api, status=200) == first
    assert (await upload(api, filename="Other.pdf"))["id"] != first["id"]
    key = {"Idempotency-Key": "k1"}
    assert await upload(api, b"%PDF-2", headers=key) == await upload(api, b"%PDF-2", headers=key)


REFUSED: list[tuple[bytes, str, str, int]] = [
    (b"MZ\x90", "setup.exe", "application/x-msdownload", 415),
    (b"<html>", "a.html", "text/html", 415),
    (b"<svg/>", "a.svg", "image/svg+xml", 415),
    (b"PK\x03\x04", "a.zip", "application/zip", 415),
    (b"{}", "a.json", "application/json", 415),
    (b"MZ\x90", "setup.exe", "application/pdf", 422),
    (b"MZ\x90", "Offer.pdf", "application/pdf", 422),
    (b"#!/bin/sh", "Offer.png", "image/png", 422),
    (PDF, "Offer.pdf.exe", "application/pdf", 422),
    (PDF, "Offer", "application/pdf", 422),
    (b"", "Offer.pdf", "application/pdf", 422),
    (b"PK\x03\x04 word/vbaProject.bin", "a.docx", next(t for t in TYPES if "wordproc" in t), 422),
    (b"a\x00b", "a.txt", "text/plain", 422),
    (b"\xff\xfe", "a.txt", "text/plain", 422),
    (PDF, "Offer\r\nBcc: x@y.example.pdf", "application/pdf", 422),
    (PDF, "=?utf-8?q?a?=.pdf", "application/pdf", 422),
    (PDF, "../../etc/passwd.pdf", "application/pdf", 422),
    (PDF, 'a".pdf', "application/pdf", 422),
    (PDF, "invoice\u202efdp.exe.pdf", "application/pdf", 422),
    (PDF, "a\x00.pdf", "application/pdf", 422),
    (PDF, f"{'ü' * 120}.pdf", "application/pdf", 422),
    (PDF, "", "application/pdf", 422),
]


async def test_what_is_no_plain_file_of_a_kind_that_mails_carry_is_refused(api: Served) -> None:
    for content, filename, content_type, status in REFUSED:
        await upload(api, content, filename, content_type, status=status)
    assert (await api.call("GET", PATH))["items"] == []


async def test_a_file_has_a_name_and_at_most_ten_mebibytes(api: Served) -> None:
    await api.call("POST", PATH, data=PDF, headers={"Content-Type": "application/pdf"}, status=422)
    await upload(api, b"%PDF-" + b"x" * (MAX_FILE_BYTES - 5))
    await upload(api, b"%PDF-" + b"x" * (MAX_FILE_BYTES - 4), status=413)


async def test_only_files_that_are_there_and_fit_into_one_mail_are_published(api: Served) -> None:
    await mailbox(api)
    unknown = str(uuid4())
    assert await pointers(api, sequence(attachments=[unknown])) == ["/stages/0/attachments/0"]
    large = [await upload(api, b"%PDF-" + bytes([n]) * 9_500_000, f"{n}.pdf") for n in (1, 2)]
    ids = [each["id"] for each in large]
    assert await pointers(api, sequence(attachments=ids)) == ["/stages/0/attachments"]
    assert not any(each["used"] for each in (await api.call("GET", PATH))["items"])
    await api.call("POST", "/v1/sequences", sequence(attachments=ids[:1]), status=201)


async def test_what_a_version_names_stays_and_the_rest_can_go(api: Served) -> None:
    await mailbox(api)
    used, unused = await upload(api), await upload(api, b"%PDF-2")
    made = await api.call("POST", "/v1/sequences", sequence(attachments=[used["id"]]), status=201)
    assert (await api.call("GET", f"{PATH}/{used['id']}"))["used"]
    problem = await api.call("DELETE", f"{PATH}/{used['id']}", status=409)
    assert problem["type"].endswith("used")
    await api.call("DELETE", f"{PATH}/{unused['id']}", status=204)
    await api.call("DELETE", f"{PATH}/{unused['id']}", status=404)
    assert ("attachment.deleted", unused["id"]) in await api.audited()
    changed = sequence(attachments=[unused["id"]])
    assert await pointers(api, changed, "PUT", f"/{made['id']}") == ["/stages/0/attachments/0"]


async def test_nobody_sees_or_names_another_workspaces_files(api: Served) -> None:
    await mailbox(api)
    made, other = await upload(api), await api.other_workspace()
    await api.call("GET", f"{PATH}/{made['id']}", key=other, status=404)
    await api.call("DELETE", f"{PATH}/{made['id']}", key=other, status=404)
    assert (await api.call("GET", PATH, key=other))["items"] == []
    theirs = await upload(api, key=other)
    assert theirs["id"] != made["id"]
    assert await pointers(api, sequence(attachments=[theirs["id"]])) == ["/stages/0/attachments/0"]
    await upload(api, key=await api.key("read"), status=403)


async def test_broken_html_is_refused_at_its_place(api: Served) -> None:
    await mailbox(api)
    problem = await api.call("POST", "/v1/sequences", sequence(html="<p>a\n<b>b</p>"), status=422)
    (error,) = problem["errors"]
    assert error["pointer"] == "/stages/0/html"
    assert error["detail"].startswith("line 2: </p> comes while <b> of line 2 is open")


async def test_an_address_at_a_domain_that_can_not_be_is_refused(api: Served) -> None:
    await mailbox(api)
    document = sequence(bcc=["a@b.example", "a@xn--a.example"], reply_to="a@-b-.example")
    assert set(await pointers(api, document)) <= {"/stages/0/bcc", "/stages/0/reply_to"}
    await api.call("POST", "/v1/sequences", sequence(bcc="a@bücher.example"), status=201)


async def test_a_mailbox_keeps_how_it_signs_and_where_its_answers_go(api: Served) -> None:
    html = "<p>Best, <b>{{my_name}}</b><br><a href='https://ourco.example'>Our Co</a></p>"
    made = await mailbox(api, signature_html=html, signature_at_end=True, reply_to="jobs@ourco.example")
    assert made["signature"] == "Best, {{my_name}}\nOur Co (https://ourco.example)"
    stored = await api.database.collection(names.MAILBOXES).find_one({})
    assert stored is not None
    view = MailboxView.read(stored)
    assert (view.signature_html, view.signature_at_end, view.reply_to) == (html, True, "jobs@ourco.example")


UNWRITABLE: list[tuple[dict[str, Any], str]] = [
    ({"signature": "{{phone_of_office}}"}, "/signature"),
    ({"signature": "{{signature}}"}, "/signature"),
    ({"signature": "{% for a in b %}"}, "/signature"),
    ({"signature": "x" * 2049}, "/signature"),
    ({"signature_html": "<script>x</script>"}, "/signature_html"),
    ({"signature_html": "<a href='{{my_name}}'>x</a>"}, "/signature_html"),
    ({"signature_at_end": True}, "/signature_at_end"),
    ({"reply_to": "x@y.example\r\nBcc: z@y.example"}, "/reply_to"),
    ({"reply_to": "x@-y-.example"}, "/reply_to"),
]


async def test_a_signature_that_could_not_be_written_is_refused(api: Served) -> None:
    for settings, pointer in UNWRITABLE:
        given = {"address": "ana@ourco.example", "display_name": "Ana", "smtp": SMTP, **settings}
        problem = await api.call("POST", "/v1/mailboxes", given, status=422)
        assert [each["pointer"] for each in problem["errors"]] == [pointer], settings
