"""The next free instant under rolling caps, held against counting every window."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.caps import Cap
from scheduler.room import Room

caps = st.lists(
    st.builds(
        Cap,
        st.just("k"),
        st.integers(1, 5),
        st.integers(1, 30),
        until=st.none() | st.integers(0, 130),
    ),
    max_size=3,
)
instants = st.lists(st.integers(0, 120), max_size=40)


def most(taken: list[int], cap: Cap) -> int:
    """The most instants in any half-open window that the cap concerns: one that begins at an instant is among
    the fullest.
    """
    counted = [at for at in taken if cap.until is None or at < cap.until]
    return max((sum(start <= at < start + cap.seconds for at in counted) for start in counted), default=0)


def breaks(found: list[Cap], taken: list[int], at: int) -> bool:
    """Whether one more at `at` puts too many into a window that holds it."""
    for cap in found:
        near = sorted([*(each for each in taken if abs(each - at) < cap.seconds), at])
        for first, last in zip(near, near[cap.count :], strict=False):
            concerned = cap.until is None or last < cap.until
            if concerned and last - first < cap.seconds and first <= at <= last:
                return True
    return False


@given(caps, instants, st.integers(-10, 130))
def test_the_next_free_instant_is_the_first_that_breaks_no_cap(
    found: list[Cap], taken: list[int], at: int
) -> None:
    free = Room(found, taken).next_free(at)
    assert not breaks(found, taken, free)
    assert all(breaks(found, taken, each) for each in range(at, free))


@given(caps, st.lists(st.integers(0, 120), max_size=40))
def test_taking_only_what_is_free_never_breaks_a_cap(found: list[Cap], wanted: list[int]) -> None:
    room, taken = Room(found), list[int]()
    for at in wanted:
        free = room.next_free(at)
        assert free >= at
        room.take(free)
        taken.append(free)
    assert all(most(taken, cap) <= cap.count for cap in found)


@settings(max_examples=200)
@given(caps, instants, st.integers(0, 120))
def test_a_room_filled_one_by_one_equals_one_read_at_once(
    found: list[Cap], taken: list[int], at: int
) -> None:
    slowly = Room(found)
    for each in taken:
        slowly.take(each)
    assert slowly.next_free(at) == Room(found, taken).next_free(at)


def test_without_a_cap_every_instant_is_free() -> None:
    assert Room([], [1, 1, 1]).next_free(1) == 1
