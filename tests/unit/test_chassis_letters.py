"""A dead letter is the record as it came, with labels."""

from chassis.kafka.letters import CUT_BYTES, letter
from chassis.kafka.publisher import MAX_RECORD_BYTES
from chassis.kafka.records import Received, headers_of

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


def test_a_record_that_is_too_large_to_be_parked_is_parked_as_its_beginning_with_its_size() -> None:
    value = b"v" * (MAX_RECORD_BYTES - 1500)
    made = letter(received(value, ("ce_id", b"1"), ("of our own", bytes(2000))), LABELS)
    labels = dict(made.headers)
    assert labels["segue_dead_code"] == b"invalid"
    assert labels["segue_dead_cut"] == str(len(b"key") + len(value) + len("ce_id1of our own") + 2000).encode()
    assert "ce_id" not in labels
    assert made.key == b"key"
    assert made.value == value[:CUT_BYTES]


def test_a_key_or_a_header_alone_can_be_too_large_as_well() -> None:
    for each in (
        Received("things", 1, 7, bytes(2_000_000), None, (), 0),
        received(b"x", ("long", bytes(2_000_000))),
    ):
        made = letter(each, LABELS)
        assert len(made.key or b"") <= CUT_BYTES
        assert dict(made.headers)["segue_dead_cut"]
        assert made.value == each.value


def test_a_header_without_a_value_reads_as_an_empty_one() -> None:
    assert headers_of([("ce_id", b"1"), ("nothing", None)]) == (("ce_id", b"1"), ("nothing", b""))
