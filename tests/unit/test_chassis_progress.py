"""The watchdog's judgement: standing still with something to read, having had a chance."""

from chassis.kafka.progress import Look, Progress

A, B = ("things", 0), ("things", 1)


def look(at: float, handled: int, end: int, *, batches: int = 0, drained: int = 0) -> Look:
    return Look(at, {A: handled}, {A: end}, batches, drained)


def test_lag_that_does_not_shrink_is_a_stall_after_the_time_and_not_before() -> None:
    progress = Progress(60)
    assert progress.judge(look(0, 5, 9)) is None
    assert progress.judge(look(59, 5, 9)) is None
    assert progress.judge(look(60, 5, 9)) == "things/0 stands at 5 of 9 for 60 s"


def test_a_partition_without_lag_never_stalls() -> None:
    progress = Progress(60)
    assert all(progress.judge(look(at, 9, 9)) is None for at in (0, 60, 600))


def test_any_movement_starts_the_time_anew() -> None:
    progress = Progress(60)
    assert progress.judge(look(0, 5, 9)) is None
    assert progress.judge(look(50, 6, 9)) is None
    assert progress.judge(look(100, 6, 9)) is None
    assert progress.judge(look(110, 6, 9)) is not None


def test_a_partition_that_waits_its_turn_behind_a_busy_one_is_not_stalled() -> None:
    progress = Progress(60)
    assert progress.judge(look(0, 5, 9, batches=0)) is None
    assert progress.judge(look(600, 5, 9, batches=40)) is None


def test_a_partition_that_brings_nothing_though_the_buffers_were_emptied_is_stalled() -> None:
    progress = Progress(60)
    assert progress.judge(look(0, 5, 9)) is None
    assert progress.judge(look(60, 5, 9, batches=40, drained=2)) is not None


def test_a_position_that_is_never_found_is_a_stall_even_on_an_empty_partition() -> None:
    progress = Progress(60)
    lost = Look(0, {}, {A: 0}, 0, 0)
    assert progress.judge(lost) is None
    assert progress.judge(Look(60, {}, {A: 0}, 0, 0)) is not None


def test_after_a_rebalance_the_time_starts_anew() -> None:
    progress = Progress(60)
    assert progress.judge(look(0, 5, 9)) is None
    progress.forget()
    assert progress.judge(look(60, 5, 9)) is None


def test_the_one_that_stalled_is_found_among_others() -> None:
    progress = Progress(60)
    for at, moved in ((0, 1), (60, 2)):
        reason = progress.judge(Look(at, {A: moved, B: 7}, {A: 9, B: 8}, 0, 0))
    assert reason is not None
    assert reason.startswith("things/1 stands at 7 of 8")
