"""A dead letter is the record as it came, with labels."""

from chassis.kafka.letters import letter
from chassis.kafka.publisher import MAX_RECORD_BYTES
from chassis.kafka.records import Received

LABELS = {"topic": b"things", "code": b"invalid", "trace": b"Traceback"}


def received(value: bytes, *headers: tuple[str, bytes]) -> Received:
    return Received("things", 1, 7, b"key", value, headers, 0)


def test_key_value_and_headers_stay_and_labels_are_added() -> None:
    made = letter(received(b"\x00not json", ("ce_id", b"1")), LABELS)
    assert (made.topic, made.key, made.value) == ("segue.dead.letters.v1", b"key", b"\x00not json")
    assert made.headers == (
        ("ce_id", b"1"),
        ("segue_dead_topic", b"things"),
        ("segue_dead_code", b"invalid"),
        ("segue_dead_trace", b"Traceback"),
    )


def test_a_replayed_letter_that_fails_again_is_labelled_once() -> None:
    again = received(b"x", ("segue_dead_code", b"old"), ("segue_replayed_from", b"0:3"))
    made = letter(again, LABELS)
    assert [value for name, value in made.headers if name == "segue_dead_code"] == [b"invalid"]
    assert ("segue_replayed_from", b"0:3") in made.headers


def test_a_record_at_the_size_limit_is_parked_without_the_long_label() -> None:
    made = letter(received(bytes(MAX_RECORD_BYTES - 500)), LABELS)
    assert "segue_dead_trace" not in dict(made.headers)
    assert dict(made.headers)["segue_dead_code"] == b"invalid"
