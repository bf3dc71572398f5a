"""The contract: what is written reads back, and what is wrong is refused with its own code."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka.partitioner import DefaultPartitioner
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from chassis.testing import NOON
from segue_contracts import analytics, codec, ids, schemas
from segue_contracts.commands import (
    MAX_CALENDAR_DAYS,
    Correct,
    DecideInDoubt,
    Decision,
    Edit,
    Enroll,
    Hold,
    HoldScope,
    Lift,
    MarkReplied,
    Migrate,
    NoteProviderId,
    NoteReceipt,
    Recall,
    Replan,
    ReplanReason,
    ReplanScope,
    Reschedule,
    SetCalendar,
    Stop,
    TaskDone,
    TaskReassign,
    TaskSkip,
    TaskSnooze,
    UpdatePerson,
)
from segue_contracts.engagement import EngagementEvent, EngagementEventType
from segue_contracts.events import (
    AnswerEffect,
    AnswerKind,
    AnswerNotification,
    CorrectAnswer,
    EnrollmentEvent,
    EnrollmentEventType,
    EnrollmentStop,
    InboundMessage,
    MailboxNotification,
    Outcome,
    SequenceEvent,
    SequenceEventType,
    SequenceState,
    StageDue,
    StageOutcome,
    StopReason,
)
from segue_contracts.message import Channel, Message, Scope, ToldChannel
from segue_contracts.prospect import Prospect

ID = UUID(int=9)
PINNED = "3f37c0ab-9447-5de7-8f73-408c989c3e1a"
DISPATCH = f"{ID}:hello"
PRIYA = Prospect(external_id="cand-81", email="priya@there.example")


def make(kind: type[Message], /, **values: Any) -> Message:
    base = {"event_id": uuid4(), "occurred_at": NOON, "recorded_at": NOON, "workspace_id": ID}
    return kind(**(base | values))


MESSAGES = [
    make(Enroll, sequence_id=ID, prospect=PRIYA),
    make(Hold, scope=HoldScope.SEQUENCE, scope_id=ID, until=NOON),
    make(Lift, scope=HoldScope.PERSON, scope_id=ID),
    make(Stop, scope=Scope.COMPANY, company_key="there.example"),
    make(MarkReplied, enrollment_id=ID),
    make(Correct, enrollment_id=ID, cause_id=ID, reason="mistaken", reason_code="auto_reply"),
    make(Reschedule, enrollment_id=ID, at=NOON),
    make(Edit, enrollment_id=ID, stages={"hello": {"text": "Hi"}}),
    make(Migrate, enrollment_id=ID, to_version=2),
    make(UpdatePerson, prospect=PRIYA),
    make(SetCalendar, days=["2026-12-24", "2026-12-31"]),
    make(Replan, scope=ReplanScope.MAILBOX, scope_id=ID, reason=ReplanReason.MAILBOX_CHANGED),
    make(Recall, dispatch_id=DISPATCH),
    make(TaskDone, dispatch_id=DISPATCH, responded=True),
    make(TaskSkip, dispatch_id=DISPATCH),
    make(TaskSnooze, dispatch_id=DISPATCH, until=NOON),
    make(TaskReassign, dispatch_id=DISPATCH, assignee_id=ID),
    make(DecideInDoubt, dispatch_id=DISPATCH, decision=Decision.RESEND),
    make(NoteProviderId, dispatch_id=DISPATCH, provider_message_id="<new@provider.example>"),
    make(NoteReceipt, dispatch_id=DISPATCH, provider_id="SM12345678", status="failed", error_code="30006"),
    make(StageDue, enrollment_id=ID, stage_id="hello", attempt=1, due_at=NOON),
    make(StageOutcome, event_type=Outcome.SENT, enrollment_id=ID, stage_id="hello", attempt=1),
    make(InboundMessage, inbound_id=ID, mailbox_id=ID),
    make(CorrectAnswer, inbound_id=ID, kind="reply", intent="interested", issued_by="ana"),
    make(
        AnswerNotification,
        event_type=AnswerKind.REPLY,
        inbound_id=ID,
        owner_id=ID,
        person_ids=[ID],
        enrollment_ids=[ID],
        sequence_ids=[ID],
        match="thread",
        effect=AnswerEffect.STOPPED,
        text="Yes, let us talk.",
    ),
    make(
        MailboxNotification,
        mailbox_id=ID,
        owner_id=ID,
        reason="bounce_rate",
        counted=5,
        sent=80,
        counted_since=NOON,
    ),
    make(EnrollmentStop, event_type=StopReason.REPLIED, scope=Scope.PERSON, person_id=ID),
    make(
        EnrollmentEvent,
        event_type=EnrollmentEventType.ENROLLED,
        enrollment_id=ID,
        seq=1,
        person_id=ID,
        sequence_id=ID,
    ),
    make(
        EngagementEvent,
        event_type=EngagementEventType.CLICKED,
        enrollment_id=ID,
        person_id=ID,
        sequence_id=ID,
        sequence_version=1,
        stage_id="hello",
        stage_index=0,
        owner_id=ID,
        mailbox_id=ID,
        sent_at=NOON,
        link=1,
        machine=False,
        first=True,
    ),
    make(
        SequenceEvent,
        event_type=SequenceEventType.PUBLISHED,
        sequence_id=ID,
        sequence_version=1,
        owner_id=ID,
    ),
    make(
        SequenceState,
        sequence_id=ID,
        sequence_version=1,
        owner_id=ID,
        name="Engineers",
        stage_ids=["hello"],
        stage_channels=[Channel.EMAIL],
    ),
]
every_message = pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)


@every_message
def test_a_message_reads_back_as_it_was_written(message: Message) -> None:
    encoded = codec.encode(message)
    assert codec.decode(encoded.topic, encoded.headers, encoded.value) == message


@every_message
def test_a_message_of_known_fields_is_the_validated_one_to_the_byte(message: Message) -> None:
    known = type(message).known(**{name: getattr(message, name) for name in message.model_fields_set})
    assert known == message
    assert codec.encode(known) == codec.encode(message)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
a_message = st.builds(
    lambda message, event_id, at: message.model_copy(update={"event_id": event_id, "occurred_at": at}),
    st.sampled_from(MESSAGES),
    st.uuids(),
    st.integers(0, 10**13).map(lambda ms: EPOCH + timedelta(milliseconds=ms)),
)
a_source = st.from_regex(r"/[a-z0-9-]{1,40}", fullmatch=True)


@given(a_message, a_source)
def test_another_reader_of_cloudevents_sees_every_attribute_as_we_wrote_it(
    message: Message, source: str
) -> None:
    encoded = codec.encode(message, source=source)
    seen = from_kafka_event(KafkaMessage(dict(encoded.headers), encoded.key, encoded.value), JSONFormat())
    # All of them: what is missing is made up by that reader.
    assert seen.get_attributes() == {
        "specversion": "1.0",
        "id": str(message.event_id),
        "source": source,
        "type": message.ce_type(),
        "time": message.occurred_at,
        "datacontenttype": "application/json",
        "partitionkey": message.key(),
    }
    assert seen.get_data() == json.loads(encoded.value)


@given(a_message, a_source)
def test_what_another_writer_of_cloudevents_writes_is_what_we_write(message: Message, source: str) -> None:
    encoded = codec.encode(message, source=source)
    attributes = {
        "specversion": "1.0",
        "id": str(message.event_id),
        "source": source,
        "type": message.ce_type(),
        "time": message.occurred_at,
        "datacontenttype": "application/json",
    }
    written = to_binary(CloudEvent(attributes, json.loads(encoded.value)), JSONFormat())
    assert written.headers == dict(encoded.headers)
    assert codec.decode(encoded.topic, written.headers.items(), written.value) == message


@every_message
def test_every_message_satisfies_its_published_schema(message: Message) -> None:
    encoded = codec.encode(message)
    path = schemas.HOME / "schemas" / f"{encoded.topic}.json"
    Draft202012Validator(json.loads(path.read_text())).validate(json.loads(encoded.value))


WRONG: dict[str, list[bytes | None]] = {
    "invalid": [b"{", b"[]", b'"text"', b"{}", b'{"event_type": "enroll"}', b"\xff\xfe"],
    "unknown_type": [b'{"event_type": "unheard_of"}'],
    "too_large": [b" " * (codec.MAX_VALUE_BYTES + 1)],
    "empty": [None],
}


@pytest.mark.parametrize(
    ("code", "value"),
    [(code, value) for code, values in WRONG.items() for value in values],
    ids=lambda part: str(part)[:20],
)
def test_a_poison_value_is_refused_with_its_code(code: str, value: bytes | None) -> None:
    with pytest.raises(codec.DecodeError) as refused:
        codec.decode("segue.enrollment.commands.v1", (), value)
    assert refused.value.code == code


@every_message
def test_a_type_that_a_newer_minor_may_know_is_told_from_poison(message: Message) -> None:
    encoded = codec.encode(message)
    newer = json.dumps({**json.loads(encoded.value), "event_type": "unheard_of"}).encode()
    try:
        told = str(codec.decode(encoded.topic, (), newer).event_type)
    except codec.DecodeError as refused:
        told = refused.code
    assert told in ("unknown", codec.UNKNOWN_TYPE)


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("ce_specversion", b"0.3", "unknown_version"),
        ("ce_type", b"segue.enrollment.enroll.v2", "unknown_version"),
        ("content-type", b"application/avro", "unknown_content_type"),
    ],
)
def test_headers_of_another_version_are_refused(header: str, value: bytes, code: str) -> None:
    encoded = codec.encode(MESSAGES[0])
    headers = tuple((k, value if k == header else v) for k, v in encoded.headers)
    with pytest.raises(codec.DecodeError) as refused:
        codec.decode(encoded.topic, headers, encoded.value)
    assert refused.value.code == code


def test_another_major_schema_version_is_refused() -> None:
    encoded = codec.encode(MESSAGES[0])
    value = encoded.value.replace(b'"schema_version":"1.0"', b'"schema_version":"2.0"')
    with pytest.raises(codec.DecodeError, match="unknown_version"):
        codec.decode(encoded.topic, encoded.headers, value)


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "2026-01-01T00:00:00", "yesterday"])
def test_an_instant_that_is_none_is_refused_and_never_a_crash(instant: str) -> None:
    encoded = codec.encode(MESSAGES[4])
    value = encoded.value.replace(b"2026-03-02T12:00:00Z", instant.encode())
    with pytest.raises(codec.DecodeError) as refused:
        codec.decode(encoded.topic, encoded.headers, value)
    assert refused.value.code == "invalid"


def test_a_refusal_does_not_repeat_what_it_refuses() -> None:
    encoded = codec.encode(MESSAGES[0])
    value = encoded.value.replace(b"priya@there.example", b"priya.at.there")
    with pytest.raises(codec.DecodeError) as refused:
        codec.decode(encoded.topic, encoded.headers, value)
    assert "priya" not in str(refused.value)


def test_words_for_one_person_are_held_to_what_a_sequence_may_say() -> None:
    (edit,) = (message for message in MESSAGES if message.event_type == "edit")
    encoded = codec.encode(edit)
    whole = json.loads(encoded.value)
    whole["stages"] = {"nudge": {"text": "a NUL: \0"}}
    with pytest.raises(codec.DecodeError, match="control characters"):
        codec.decode(encoded.topic, encoded.headers, json.dumps(whole).encode())


@pytest.mark.parametrize(
    "days",
    [["2026-02-30"], ["24.12.2026"], [20261224], "2026-12-24", ["2026-12-24"] * (MAX_CALENDAR_DAYS + 1)],
)
def test_a_calendar_holds_days_of_the_calendar_and_not_too_many(days: Any) -> None:
    (calendar,) = (message for message in MESSAGES if message.event_type == "set_calendar")
    encoded = codec.encode(calendar)
    whole = {**json.loads(encoded.value), "days": days}
    with pytest.raises(codec.DecodeError) as refused:
        codec.decode(encoded.topic, encoded.headers, json.dumps(whole).encode())
    assert refused.value.code == "invalid"


def test_an_unknown_kind_of_event_reads_as_unknown() -> None:
    (enrolled,) = (message for message in MESSAGES if message.event_type == "enrolled")
    encoded = codec.encode(enrolled)
    value = encoded.value.replace(b'"enrolled"', b'"teleported"')
    event = codec.decode(encoded.topic, encoded.headers, value)
    assert event.event_type is EnrollmentEventType.UNKNOWN


def test_a_channel_that_is_new_reads_as_unknown_and_every_channel_can_be_told() -> None:
    (enrolled,) = (message for message in MESSAGES if message.event_type == "enrolled")
    encoded = codec.encode(enrolled)
    value = encoded.value.replace(b'"channel":null', b'"channel":"pigeon"')
    assert codec.decode(encoded.topic, encoded.headers, value).channel is ToldChannel.UNKNOWN
    assert [str(each) for each in ToldChannel] == [*map(str, Channel), "unknown"]


@given(st.binary(max_size=64))
def test_the_hash_is_kafkas_own(data: bytes) -> None:
    partitions = list(range(997))
    assert DefaultPartitioner()(data, partitions, partitions) == (ids.murmur2(data) & 0x7FFFFFFF) % 997


def test_an_enrollments_id_never_changes() -> None:
    assert str(ids.enrollment_id(UUID(int=1), UUID(int=2), "cand-81")) == PINNED
    assert ids.split_dispatch_id(ids.dispatch_id(ID, "hello")) == (ID, "hello")


def test_the_generated_files_are_up_to_date() -> None:
    assert schemas.main(["--check"]) == 0
    assert analytics.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("late", "known", "wins"),
    [
        (StopReason.REPLIED, None, True),
        (StopReason.REPLIED, StopReason.REQUESTED, True),
        (StopReason.REPLIED, StopReason.BOUNCED, True),
        (StopReason.REPLIED, StopReason.MISTAKEN, True),
        (StopReason.REPLIED, StopReason.UNSUBSCRIBED, False),
        (StopReason.UNSUBSCRIBED, StopReason.REPLIED, False),
        (StopReason.BOUNCED, None, True),
        (StopReason.BOUNCED, StopReason.REQUESTED, False),
        (StopReason.REQUESTED, None, False),
        (StopReason.AUTO_REPLY, None, False),
    ],
)
def test_after_the_end_the_first_answer_of_the_person_is_the_truth(
    late: StopReason, known: StopReason | None, wins: bool
) -> None:
    assert late.outranks(known) is wins
