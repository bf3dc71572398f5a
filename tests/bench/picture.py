"""Where Segue's time goes: a service run with a look at each tick of its CPU time, and the bars drawn of it.

`python -m tests.bench.picture FILE MODULE` runs the service and writes ticks by step to FILE when it ends.
The ticks are of CPU time (SIGPROF), so waiting costs nothing in the picture; the looks cost a few percent.
"""

import atexit
import json
import runpy
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

TICK_SECONDS: Final = 0.002
BAR_CHARS: Final = 40
ELSEWHERE: Final = "the event loop itself"
THREADS: Final = "MongoDB driver's threads"
STARTING: Final = "starting"

# The innermost function of a stack that is named here says which step it is: its name as far as it is given.
STEPS: Final[Mapping[str, Mapping[str, str]]] = {
    "scheduler": {
        "SchedulerStore.due": "due: read",
        "DueLoop._sort_out": "due: holds, late, conditions",
        "SchedulerStore.dispatch": "due: write",
        "DueLoop.": "due: publish",
        "OutcomeRecords.": "outcomes: decode, sort",
        "SchedulerStore.enrollments": "outcomes: read",
        "Courses.": "outcomes: read",
        "Outcomes.": "outcomes: decide, plan",
        "SchedulerStore.write": "outcomes: write",
        "SchedulerStore.told": "outcomes: clear the outbox",
        "Outbox.": "outcomes: events",
        "AIOKafka": "Kafka client",
        "Fetcher.": "Kafka client",
        "Sender.": "Kafka client",
        "SendProduceReqHandler.": "Kafka client",
        "Consumer.": "Kafka client",
    },
    "sender": {
        "StageDueHandler.": "1 claim",
        "Reader.": "2 read",
        "Email._materials": "2 read",
        "Email.carry": "3 render, compose",
        "Email._carry": "3 render, compose",
        "Store.journal": "4 journal",
        "Journal.": "4 journal",
        "Transmission.": "4 journal, 5 age",
        "Pool.": "SMTP",
        "Connection.": "SMTP",
        "Wire.": "SMTP",
        "_SelectorSocketTransport.": "SMTP",
        "Store.settle": "6 record",
        "Steps._record_all": "6 record",
        "Email.ended": "6 record",
        "Carried.": "6 record",
        "Steps._count_crossed_stops": "7 outcome",
        "Steps.": "7 outcome",
        "Work.": "2 read",
        "AIOKafka": "Kafka client",
        "Fetcher.": "Kafka client",
        "Sender.": "Kafka client",
        "SendProduceReqHandler.": "Kafka client",
        "Consumer.": "Kafka client",
    },
}
IMPORTING: Final = "_LoaderBasics.exec_module"
IDLE: Final = frozenset({"EpollSelector.select", "SelectSelector.select"})


def main() -> None:
    """Run the module as the program that it is."""
    file, module = Path(sys.argv[1]), sys.argv[2]
    ticks: Counter[tuple[CodeType, ...]] = Counter()

    def look(_: int, frame: FrameType | None) -> None:
        ticks[tuple(each.f_code for each in _outwards(frame))] += 1

    def write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        steps: Counter[str] = Counter()
        for codes, count in ticks.items():
            steps[_step(module, codes)] += count
        file.write_text(json.dumps(steps))

    atexit.register(write)
    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, TICK_SECONDS, TICK_SECONDS)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _step(module: str, codes: tuple[CodeType, ...]) -> str:
    """The step of one stack, innermost function first."""
    if codes and codes[0].co_qualname in IDLE:
        return THREADS  # the main thread waits, so the tick is another one's
    for code in codes:
        if code.co_qualname == IMPORTING:
            return STARTING
        for name, step in STEPS[module].items():
            if code.co_qualname.startswith(name):
                return step
    return ELSEWHERE


def bars(ticks: Mapping[str, Mapping[str, int]], cpu: Mapping[str, float], mails: int) -> Iterator[str]:
    """Lines of a bar chart: CPU microseconds a mail by process and, of Segue's own, by step."""
    parts: list[tuple[str, str, float]] = []
    for process, seconds in sorted(cpu.items(), key=lambda each: -each[1]):
        each = seconds / mails * 1e6
        parts.append((process, "", each))
        steps = {name: count for name, count in ticks.get(process, {}).items() if name != STARTING}
        whole = sum(steps.values()) or 1
        for step, count in sorted(steps.items(), key=lambda each: -each[1]):
            parts.append((process, step, each * count / whole))
    longest = max((each for _, _, each in parts), default=1.0) or 1.0
    for process, step, each in parts:
        bar = ("─" if step else "█") * max(1, round(each / longest * BAR_CHARS))
        yield f"{'  ' + step if step else process:34}{each:8,.0f} µs  {bar}"


if __name__ == "__main__":
    main()
