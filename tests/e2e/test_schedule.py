"""Looking ahead in a running Segue: what is foretold is what happens, and a dry run happens to nobody."""

from datetime import datetime
from typing import Any

import pytest

from stack.client import Client, Refused, eventually
from stack.smtp import SmtpServer

pytestmark = pytest.mark.stack

TWO = """
name: Look ahead
mailbox: ana@ourco.example
stages:
  - id: hello
    channel: email
    subject: "{{first_name}}: a job"
    text: "Hi {{first_name}}, four days a week."
  - id: nudge
    channel: email
    after: 30 days
    text: "Did you see this?"
"""


def person(who: str) -> dict[str, str]:
    return {"external_id": who, "email": f"{who}@there.example", "first_name": who.title()}


async def test_a_dry_run_foretells_the_mail_and_the_schedule_the_stage_after_it(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    sequence = await client.publish(TWO)
    told = await client.post(f"/v1/sequences/{sequence}/dry-run", {"prospect": person("priya")})
    (row,) = told["prospects"]
    assert (told["would_enroll"], row["stages"][0]["subject"]) == (1, "Priya: a job")
    with pytest.raises(Refused):
        await client.get(f"/v1/enrollments/{row['enrollment_id']}/schedule")
    assert mail.messages("priya@there.example") == []

    enrollment = await client.enroll(sequence, "priya")
    assert enrollment == row["enrollment_id"]
    planned = await waiting(client, enrollment, version=1)
    (nudge,) = (await client.get(f"/v1/enrollments/{enrollment}/schedule"))["stages"]
    assert (nudge["stage_id"], nudge["current"], nudge["reasons"]) == ("nudge", True, planned["reasons"])
    (delivery,) = (await client.enrollment(enrollment))["deliveries"]
    assert (delivery["subject"], delivery["text"]) == (
        row["stages"][0]["subject"],
        row["stages"][0]["text"],
    )
    forecast = await client.get(f"/v1/mailboxes/{mailbox['id']}/forecast", days="60")
    today = datetime.fromisoformat(forecast["days"][0]["starts_at"])
    assert forecast["days"][0]["sent"] == (datetime.fromisoformat(delivery["sent_at"]) >= today)
    (day,) = [day for day in forecast["days"] if day["messages"]]
    starts = datetime.fromisoformat(day["starts_at"])
    assert 0 <= (datetime.fromisoformat(nudge["planned_at"]) - starts).total_seconds() < 25 * 3600


async def test_everybody_goes_to_the_next_version_and_archiving_can_stop_them(
    client: Client, mailbox: dict[str, Any]
) -> None:
    sequence = await client.publish(TWO.replace("after: 30 days", "after: 90 days"))
    people = [await client.enroll(sequence, who) for who in ("ann", "ben", "cleo")]
    for each in people:
        await waiting(client, each, version=1)
    await put_second_version(client, sequence)
    body = {"to_version": 2, "all": True}
    told = await client.post(f"/v1/sequences/{sequence}/migrate", {**body, "dry_run": True})
    foretold = {each["enrollment_id"]: each["after"]["planned_at"] for each in told["people"]}
    assert set(foretold) == set(people)
    command = (await client.post(f"/v1/sequences/{sequence}/migrate", body))["command"]
    done = await eventually(lambda: client.get(command["status_url"]), until=lambda c: c["state"] == "done")
    assert done["people"] == 3
    for each in people:
        assert (await waiting(client, each, version=2))["planned_at"] == foretold[each]
    archived = await client.post(f"/v1/sequences/{sequence}/archive", {"people": "stop"})
    for each in people:
        stopped = await client.reached(each, "stopped")
        assert stopped["stop"]["reason_code"] == "archived"
    await eventually(
        lambda: client.get(archived["people"]["status_url"]), until=lambda c: c["state"] == "done"
    )


async def waiting(client: Client, enrollment: str, version: int) -> dict[str, Any]:
    """The nudge of an enrollment, once it waits for it in that version."""
    there = await eventually(
        lambda: client.enrollment(enrollment),
        until=lambda e: (
            e["state"] == "scheduled" and (e["next"]["stage_id"], e["sequence_version"]) == ("nudge", version)
        ),
    )
    nudge: dict[str, Any] = there["next"]
    return nudge


async def put_second_version(client: Client, sequence: str) -> None:
    document = (await client.get(f"/v1/sequences/{sequence}"))["latest"]["document"]
    document["stages"][1]["after"] = "120 days"
    await client.put(f"/v1/sequences/{sequence}", document)
