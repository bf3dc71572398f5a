"""A burst of due mails through Segue and through two Celery pipelines, on the same two cores, in one run.

Run: `python -m tests.bench.burst [--due 20000] [--all 100000] [--rounds 3] [--celery-processes 2]`.
docs/performance.md says what is measured and what is not. Exit 2: something must be installed first. Exit 1:
a mail was lost or doubled.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from celery import Celery  # type: ignore[import-untyped]
from tests.bench import crowd, ground
from tests.bench.crowd import Crowd
from tests.bench.ground import Sink
from tests.bench.picture import bars

from stack.brokers import Brokers, brokers
from stack.ports import free_port
from stack.processes import Process, http_ok, stop_all

ROOT = Path(__file__).parents[2]
ROUND_SECONDS = 900.0
START_SECONDS = 60.0
LEAD_SECONDS = 6.0
LOOK_SECONDS = 0.01
RECORDED_LOOK_SECONDS = 0.05
GRACE_SECONDS = 1.0
"""How long after the end a doubled mail may still turn up."""
CONNECTIONS_PER_MAILBOX = 5
"""200 in all. The peers have one for each worker process: a process sends one mail after the other."""
SETTINGS = {
    # All mailboxes send through one server here, so it may have all connections.
    "SEGUE_SMTP_PER_MAILBOX": str(CONNECTIONS_PER_MAILBOX),
    "SEGUE_SMTP_PER_HOST": str(crowd.MAILBOXES * CONNECTIONS_PER_MAILBOX),
}
SEGUE = "segue"
SERVICES = ("scheduler", "sender")
SCANS = {"celery, a task a mail": "scan_for_each", "celery, tasks of 50": "scan_for_chunks"}


class Wrong(RuntimeError):
    """A pipeline did not send each mail exactly once."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds from the due instant to the last mail at the sink, and to the last mail marked as sent."""

    at_sink: float
    recorded: float
    cpu: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ground:
    """What all pipelines of a run share."""

    folder: Path
    brokers: Brokers
    sink: Sink
    redis: Process
    crowd: Crowd

    def next_burst(self) -> datetime:
        """A whole second ahead by the time that making it due takes on a busy machine."""
        seconds = LEAD_SECONDS + self.crowd.due_count / 2500
        return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)


Round = Callable[[Ground, str], Measured]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.burst", description="A burst, three ways.")
    parser.add_argument("--due", type=int, default=20_000, help="enrollments in the burst")
    parser.add_argument("--all", type=int, default=100_000, help="enrollments in the database")
    parser.add_argument("--rounds", type=int, default=3, help="of each pipeline; the median counts")
    parser.add_argument("--only", choices=[SEGUE, *SCANS], help="one pipeline, while working on it")
    parser.add_argument(
        "--celery-processes",
        type=int,
        nargs="+",
        default=[2],
        metavar="N",
        help="Celery's concurrency, each in turn",
    )
    given = parser.parse_args(arguments)
    if missing := ground.missing():
        print("\n".join(missing), file=sys.stderr)
        return 2
    ground.two_cores()
    # The sink changes its user, which takes it off the leash: only an orderly end stops it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chosen = pipelines(given.only, given.celery_processes)
    with tempfile.TemporaryDirectory(prefix="segue-burst-") as folder, prepared(Path(folder), given) as stand:
        try:
            measured = rounds(stand, chosen, given.rounds)
            pictured = one_round(stand, SEGUE, segue_pictured) if SEGUE in chosen else None
        except Wrong as error:
            print(error, file=sys.stderr)
            return 1
        print("\n".join([*used(given), *table(measured, given.due), *shares(measured, given.due)]))
        if pictured is not None:
            print("\n".join(picture(stand, pictured, given.due)))
    return 0


def pipelines(only: str | None, celery_processes: Sequence[int]) -> dict[str, Round]:
    """What is measured, by name: Segue, and each way of Celery with each number of processes."""
    found: dict[str, Round] = {} if only in SCANS else {SEGUE: segue}
    for name, scan in SCANS.items():
        if only in (None, name):
            found |= {f"{name}, {n} processes": celery(scan, n) for n in celery_processes}
    return found


def rounds(stand: Ground, chosen: Mapping[str, Round], count: int) -> dict[str, list[Measured]]:
    """Each pipeline in turn, so that whatever else the machine does meets all of them."""
    measured: dict[str, list[Measured]] = {name: [] for name in chosen}
    for number in range(1, count + 1):
        for name, pipeline in chosen.items():
            measured[name].append(one_round(stand, name, pipeline))
            seconds = measured[name][-1].recorded
            tell(f"round {number} of {count}, {name}: {seconds:.1f} s, none lost or doubled")
    return measured


# ---- what is printed ----------------------------------------------------------------------------


def used(given: argparse.Namespace) -> Iterator[str]:
    """With what it was measured; everything else has its default."""
    yield f"\n{given.due:,} due of {given.all:,}, {given.rounds} rounds, {len(os.sched_getaffinity(0))} cores"
    yield f"segue: {' '.join(f'{name}={value}' for name, value in SETTINGS.items())}"
    yield f"celery: {' '.join(WORKER)}"


def table(measured: Mapping[str, Sequence[Measured]], due: int) -> Iterator[str]:
    """Medians: mails a second until the last is at the sink, and until the last is recorded; the ratio of the
    latter.
    """
    yield f"\n{'':36}{'at the sink':>16}{'recorded':>16}{'':6}{'Segue is':>12}"
    own = _median(measured[SEGUE], due) if SEGUE in measured else None
    for name, each in measured.items():
        at_sink = statistics.median(due / m.at_sink for m in each)
        recorded = _median(each, due)
        ratio = f"{own / recorded:10.1f} x" if own and name != SEGUE else ""
        yield f"{name:36}{at_sink:>14,.0f}/s{recorded:>14,.0f}/s{'':6}{ratio:>12}"


def _median(each: Sequence[Measured], due: int) -> float:
    return statistics.median(due / m.recorded for m in each)


def shares(measured: Mapping[str, Sequence[Measured]], due: int) -> Iterator[str]:
    """CPU microseconds a mail of every process that took part, by pipeline; medians."""
    for name, each in measured.items():
        told = ", ".join(
            f"{process} {statistics.median(m.cpu[process] for m in each) / due * 1e6:,.0f}"
            for process in each[0].cpu
        )
        whole = statistics.median(sum(m.cpu.values()) for m in each) / due * 1e6
        yield f"{name}: {whole:,.0f} µs of CPU a mail ({told})"


def picture(stand: Ground, pictured: Measured, due: int) -> Iterator[str]:
    """Where the time of one more round of Segue went."""
    yield "\nWhere Segue's CPU time goes, per mail (one more round, with the looks of the profiler):\n"
    ticks = {service: json.loads(_ticks(stand, service).read_text()) for service in SERVICES}
    yield from bars(ticks, pictured.cpu, due)


def _ticks(stand: Ground, service: str) -> Path:
    return stand.folder / f"{service}.ticks.json"


# ---- one round ----------------------------------------------------------------------------------


@contextlib.contextmanager
def prepared(folder: Path, given: argparse.Namespace) -> Iterator[Ground]:
    """Brokers, sink and Redis run, and the crowd is in the database."""
    sink, redis = Sink(folder), ground.redis(folder)
    with brokers(folder, tell, train_first=True) as running, contextlib.ExitStack() as stopping:
        for process in (sink.process, redis):
            stopping.callback(process.stop)
        redis.start()
        sink.restart()
        tell(f"enrolling {given.all:,} people")
        yield Ground(
            folder, running, sink, redis, crowd.seed(folder, running, sink.port, given.all, given.due)
        )


def one_round(stand: Ground, name: str, pipeline: Round) -> Measured:
    """A fresh copy of the documents, a fresh count at the sink, one burst."""
    database = crowd.copy(stand.brokers, stand.crowd)
    stand.sink.restart()
    try:
        measured = pipeline(stand, database)
        time.sleep(GRACE_SECONDS)
        _check(name, stand, database)
        return measured
    finally:
        crowd.drop(stand.brokers, database)


def _check(name: str, stand: Ground, database: str) -> None:
    """As many mails at the sink as were due, each of them marked once: none lost, none doubled."""
    with crowd.client(stand.brokers) as mongo:
        marked = mongo[database]["enrollments"].count_documents({"stage_index": 1})
    wanted = stand.crowd.due_count
    if (stand.sink.messages(), marked) != (wanted, wanted):
        raise Wrong(f"{name}: {stand.sink.messages()} mails at the sink, {marked} marked, {wanted} due")


# ---- Segue --------------------------------------------------------------------------------------


def segue(stand: Ground, database: str) -> Measured:
    """One scheduler and one sender, each a process of its own."""
    return _segue(stand, database, lambda service: [service])


def segue_pictured(stand: Ground, database: str) -> Measured:
    """The same, each process looking at itself."""
    return _segue(
        stand, database, lambda service: ["tests.bench.picture", str(_ticks(stand, service)), service]
    )


def _segue(stand: Ground, database: str, module: Callable[[str], Sequence[str]]) -> Measured:
    services = {name: _service(stand, database, name, module(name)) for name in SERVICES}
    try:
        for service in services.values():
            service.launch()
        for service in services.values():
            service.wait_until_ready()
        metrics = f"http://127.0.0.1:{services['scheduler'].env['SEGUE_HTTP_PORT']}/metrics"
        return _measure(stand, database, services, lambda: _outcomes(metrics) >= stand.crowd.due_count)
    finally:
        stop_all(list(services.values()))


def _service(stand: Ground, database: str, name: str, module: Sequence[str]) -> Process:
    port = free_port()
    settings = {
        **crowd.environment(stand.brokers, database),
        "SEGUE_HTTP_PORT": str(port),
        **SETTINGS,
    }
    return Process(
        name,
        [sys.executable, "-m", *module],
        log_folder=stand.folder / "logs",
        cwd=ROOT,
        env=settings,
        ready=http_ok(f"http://127.0.0.1:{port}/health/ready"),
        start_seconds=START_SECONDS,
        stop_seconds=100.0,
    )


def _outcomes(url: str) -> int:
    """How many sent mails the scheduler has applied, told and cleared."""
    with urllib.request.urlopen(url) as answer:
        lines = answer.read().decode().splitlines()
    wanted = 'segue_scheduler_outcomes_total{outcome="sent",verdict="complete"}'
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(wanted))


# ---- Celery -------------------------------------------------------------------------------------


def celery(scan: str, processes: int) -> Round:
    """A worker; the scan is asked for at the due instant, as if beat had ticked then."""

    def run(stand: Ground, database: str) -> Measured:
        ready = stand.folder / f"{database}.ready"
        environment = {
            **crowd.environment(stand.brokers, database),
            **stand.redis.env,
            "PEER_SINK": str(stand.sink.port),
            "PEER_READY": str(ready),
        }
        worker = Process(
            "celery",
            _celery("worker", f"--concurrency={processes}", *WORKER),
            log_folder=stand.folder / "logs",
            cwd=ROOT,
            env=environment,
            ready=ready.exists,
            start_seconds=START_SECONDS,
        )
        with crowd.client(stand.brokers) as mongo:
            enrollments = mongo[database]["enrollments"]
            enrollments.create_index([("state", 1), ("due_at", 1)])
            try:
                worker.start()
                beat = Celery(broker=stand.redis.env["PEER_REDIS"])
                return _measure(
                    stand,
                    database,
                    {"celery": worker, "redis": stand.redis},
                    lambda: enrollments.count_documents({"state": "queued"}) == 0,
                    lambda: beat.send_task(f"tests.bench.celery_app.{scan}"),
                )
            finally:
                worker.stop()

    return run


WORKER = (
    "--pool=prefork",
    "--loglevel=WARNING",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
)


def _celery(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "tests.bench.celery_app", *arguments]


# ---- measuring ----------------------------------------------------------------------------------


def _measure(
    stand: Ground,
    database: str,
    processes: Mapping[str, Process],
    recorded: Callable[[], bool],
    at_due: Callable[[], object] = lambda: None,
) -> Measured:
    """From the due instant to the last mail, and on until `recorded`."""
    due_at = stand.next_burst()
    crowd.make_due(stand.brokers, stand.crowd, database, due_at)
    groups = _groups(stand, processes)
    time.sleep((due_at - datetime.now(UTC)).total_seconds())
    before = ground.cpu_seconds(groups)
    began = time.monotonic()
    at_due()
    at_sink = _seconds_until(began, lambda: stand.sink.messages() >= stand.crowd.due_count)
    done = _seconds_until(began, recorded, every=RECORDED_LOOK_SECONDS)
    after = ground.cpu_seconds(groups)
    return Measured(at_sink, done, {name: after[name] - before[name] for name in groups})


def _seconds_until(began: float, so: Callable[[], bool], *, every: float = LOOK_SECONDS) -> float:
    while not so():
        if time.monotonic() - began > ROUND_SECONDS:
            raise Wrong(f"not done after {ROUND_SECONDS:.0f} s")
        time.sleep(every)
    return time.monotonic() - began


def _groups(stand: Ground, processes: Mapping[str, Process]) -> dict[str, int]:
    groups = {name: process.pid for name, process in processes.items()}
    groups["smtp-sink"] = stand.sink.process.pid
    for node in (stand.brokers.local_mongo, stand.brokers.local_kafka):
        if node is not None:
            groups[node.process.name] = node.process.pid
    return groups


def tell(step: str) -> None:
    """Progress, apart from the result."""
    print(f"· {step}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
