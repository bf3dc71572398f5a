"""Which mailbox of a pool writes to a person."""

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools import choose_mailbox

POOL = [UUID(int=n) for n in range(1, 5)]
PEOPLE = [UUID(int=n * 7919) for n in range(1, 401)]
pools = st.lists(st.sampled_from(POOL), min_size=1, unique=True)


@given(pools, st.uuids(), st.lists(st.sampled_from(POOL)), st.sets(st.sampled_from(POOL)))
def test_a_person_keeps_the_first_of_the_pool_that_wrote_to_them_even_if_it_rests(
    pool: list[UUID], person: UUID, earlier: list[UUID], resting: set[UUID]
) -> None:
    known = [each for each in earlier if each in pool]
    chosen = choose_mailbox(pool, person, earlier, resting)
    assert chosen in pool
    if known:
        assert chosen == known[0]
    elif set(pool) - resting:
        assert chosen not in resting


@given(pools, st.uuids())
def test_the_order_of_a_pool_says_nothing(pool: list[UUID], person: UUID) -> None:
    assert choose_mailbox(pool, person, (), ()) == choose_mailbox(sorted(pool), person, (), ())


def test_people_are_spread_over_the_pool_and_one_more_mailbox_moves_only_its_share() -> None:
    before = {person: choose_mailbox(POOL[:3], person, (), ()) for person in PEOPLE}
    after = {person: choose_mailbox(POOL, person, (), ()) for person in PEOPLE}
    assert min(Counter(before.values()).values()) > len(PEOPLE) / 5
    moved = [person for person in PEOPLE if before[person] != after[person]]
    assert {after[person] for person in moved} == {POOL[3]}
    assert len(moved) < len(PEOPLE) / 3


def test_an_empty_pool_has_none() -> None:
    assert choose_mailbox([], PEOPLE[0], (), ()) is None
