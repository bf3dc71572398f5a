"""What simulated prospects and their mail servers write back, as the raw messages a real one would send."""

import email.policy
from datetime import date, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr

POLICY = email.policy.SMTP.clone(max_line_length=998)  # a folded In-Reply-To would break the thread
REPORT_BOUNDARY = "report"


def reply(sent: EmailMessage, text: str, *, at: datetime) -> bytes:
    """A person's answer in the thread, with what they answer quoted below."""
    answer = _answer(sent, f"Re: {_bare_subject(sent)}", at)
    answer.set_content(f"{text}\n\n{_quoted(sent)}")
    return answer.as_bytes()


def opt_out(sent: EmailMessage, *, at: datetime) -> bytes:
    """A person's wish not to be written to again."""
    return reply(sent, "Please remove me from your list and do not contact me again.", at=at)


def out_of_office(sent: EmailMessage, back: date, *, at: datetime) -> bytes:
    """The automatic note of a mail program (RFC 3834) that names the day of the return."""
    note = _answer(sent, f"Automatic reply: {_bare_subject(sent)}", at)
    note["Auto-Submitted"] = "auto-replied"
    note.set_content(f"I am out of the office and will be back on {back:%d %B %Y}.\n")
    return note.as_bytes()


def bounce(sent: EmailMessage, *, at: datetime) -> bytes:
    """A mail server's report (RFC 3464) that the recipient does not exist."""
    recipient = parseaddr(sent["To"])[1]
    domain = recipient.partition("@")[2]
    lines = (
        f"From: MAILER-DAEMON@mx.{domain} (Mail Delivery System)",
        f"To: {parseaddr(sent['From'])[1]}",
        "Subject: Undelivered Mail Returned to Sender",
        f"Date: {format_datetime(at)}",
        f"Message-ID: {make_msgid(domain=f'mx.{domain}')}",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{REPORT_BOUNDARY}"',
        "",
        f"--{REPORT_BOUNDARY}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"<{recipient}>: 550 5.1.1 Recipient address rejected: User unknown",
        "",
        f"--{REPORT_BOUNDARY}",
        "Content-Type: message/delivery-status",
        "",
        f"Reporting-MTA: dns; mx.{domain}",
        "",
        f"Final-Recipient: rfc822; {recipient}",
        "Action: failed",
        "Status: 5.1.1",
        "Diagnostic-Code: smtp; 550 5.1.1 User unknown",
        "",
        f"--{REPORT_BOUNDARY}",
        "Content-Type: text/rfc822-headers",
        "",
        f"From: {sent['From']}",
        f"To: {sent['To']}",
        f"Message-ID: {sent['Message-ID']}",
        f"--{REPORT_BOUNDARY}--",
        "",
    )
    return "\r\n".join(lines).encode()


def _answer(sent: EmailMessage, subject: str, at: datetime) -> EmailMessage:
    answer = EmailMessage(policy=POLICY)
    answer["From"] = sent["To"]
    answer["To"] = sent["From"]
    answer["Subject"] = subject
    answer["Date"] = format_datetime(at)
    answer["Message-ID"] = make_msgid(domain=parseaddr(sent["To"])[1].partition("@")[2])
    answer["In-Reply-To"] = sent["Message-ID"]
    answer["References"] = " ".join(filter(None, (sent["References"], sent["Message-ID"])))
    return answer


def _bare_subject(sent: EmailMessage) -> str:
    return str(sent["Subject"]).removeprefix("Re: ")


def _quoted(sent: EmailMessage) -> str:
    body = sent.get_body(("plain",))
    text = body.get_content() if body is not None else ""
    lines = "\n".join(f"> {line}" for line in text.splitlines())
    return f"On {sent['Date']}, {sent['From']} wrote:\n{lines}\n"
