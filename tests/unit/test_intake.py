"""How much of webhooks' posts is held at once."""

import contextlib

import pytest

from api.intake import Intake
from api.problems import Problem


def test_what_is_too_much_together_is_sent_away_and_comes_in_later() -> None:
    intake = Intake(100)
    with intake.holding() as first:
        first.add(60)
        with intake.holding() as second:
            second.add(40)
            with pytest.raises(Problem) as refused:
                second.add(1)
            assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "2")
        with intake.holding() as third:
            third.add(40)
    assert intake.size == 0


def test_a_post_that_fails_holds_nothing_any_more() -> None:
    intake = Intake(100)
    with contextlib.suppress(RuntimeError), intake.holding() as held:
        held.add(100)
        raise RuntimeError
    assert intake.size == 0
