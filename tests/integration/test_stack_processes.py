"""Child processes: started when ready, stopped in stages, never left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.ports import HIGHEST, LOWEST, free_port, is_open
from stack.processes import Process, ProcessFailed, http_ok, stop_all, supervise, wait_until

SLEEPER = "import time; print('on', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def gone(pid: int) -> bool:
    """No such process, or a zombie that only waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()


def sleeper(started: list[Process], folder: Path, code: str = SLEEPER, stop_seconds: float = 5) -> Process:
    process = Process(f"p{len(started)}", python(code), log_folder=folder, stop_seconds=stop_seconds)
    process.ready = lambda: "on" in process.log_text()
    started.append(process)
    return process


def test_a_free_port_is_below_the_ephemeral_range_and_never_handed_out_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(LOWEST <= port <= HIGHEST < 32768 for port in ports)


def test_stop_is_a_sigterm_and_after_its_deadline_a_sigkill(started: list[Process], tmp_path: Path) -> None:
    polite, stubborn = sleeper(started, tmp_path), sleeper(started, tmp_path, STUBBORN, stop_seconds=0.2)
    polite.start()
    stubborn.start()
    stop_all([polite, stubborn])
    assert polite.returncode == -signal.SIGTERM
    assert stubborn.returncode == -signal.SIGKILL


def test_stop_reaches_a_paused_process(started: list[Process], tmp_path: Path) -> None:
    process = sleeper(started, tmp_path)
    process.start()
    process.pause()
    assert process.stop() == -signal.SIGTERM


def test_kill_takes_the_whole_group(started: list[Process], tmp_path: Path) -> None:
    parent = sleeper(
        started,
        tmp_path,
        f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], stdout=subprocess.DEVNULL)
        print("on", child.pid, flush=True)
        time.sleep(600)
        """,
    )
    parent.start()
    grandchild = int(parent.log_tail().split()[1])
    parent.kill()
    assert wait_until(lambda: gone(grandchild), 5)


def test_a_process_that_ends_before_it_is_ready_fails_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = Process(
        "broken", python("raise SystemExit('no such luck')"), log_folder=tmp_path, ready=lambda: False
    )
    with pytest.raises(ProcessFailed, match="no such luck"):
        process.start()
    assert process.returncode == 1


def test_a_process_that_is_not_ready_in_time_is_killed(tmp_path: Path) -> None:
    process = Process("late", python(SLEEPER), log_folder=tmp_path, ready=lambda: False, start_seconds=0.2)
    with pytest.raises(ProcessFailed, match=r"not ready after 0\.2 s"):
        process.start()
    assert process.returncode == -signal.SIGKILL


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    process = Process("ghost", ["/no/such/program"], log_folder=tmp_path, ready=lambda: False)
    with pytest.raises(ProcessFailed, match="/no/such/program: No such file"):
        process.start()


def test_ready_is_a_good_answer_not_an_open_port(tmp_path: Path) -> None:
    port = free_port()
    server = Process(
        "http",
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        log_folder=tmp_path,
        cwd=tmp_path,
        ready=http_ok(f"http://127.0.0.1:{port}/"),
    )
    try:
        server.start()
        assert is_open(port)
        assert not http_ok(f"http://127.0.0.1:{port}/missing")()
    finally:
        server.kill()


def test_the_environment_may_change_between_two_starts(started: list[Process], tmp_path: Path) -> None:
    process = sleeper(
        started, tmp_path, "import os, time; print('on', os.environ['WORD'], flush=True); time.sleep(600)"
    )
    for word in ("first", "second"):
        process.env["WORD"] = word
        process.restart()
        assert process.log_tail() == f"on {word}"
    assert process.starts == 2


def test_a_child_started_by_a_thread_outlives_the_thread(started: list[Process], tmp_path: Path) -> None:
    process = sleeper(started, tmp_path)
    starter = threading.Thread(target=process.start)
    starter.start()
    starter.join()
    assert process.wait(0.3) is None
    assert process.alive


def test_a_supervised_process_that_dies_is_started_again(started: list[Process], tmp_path: Path) -> None:
    process = sleeper(started, tmp_path)
    process.start()
    stop, ended = threading.Event(), threading.Event()
    watcher = threading.Thread(
        target=supervise,
        args=([process], stop),
        kwargs={"restart_after_seconds": 0.1, "on_exit": lambda _: ended.set()},
    )
    watcher.start()
    try:
        os.kill(process.pid, signal.SIGKILL)
        assert ended.wait(5)
        assert wait_until(lambda: process.starts == 2 and process.alive, 5)
    finally:
        stop.set()
        watcher.join()


def test_a_launcher_that_is_killed_leaves_no_child_behind(tmp_path: Path) -> None:
    launcher_code = f"""
        import time
        from pathlib import Path
        from stack.processes import Process
        child = Process("child", {python(STUBBORN)!r}, log_folder=Path({str(tmp_path)!r}))
        child.ready = lambda: "on" in child.log_text()
        child.start()
        print(child.pid, flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(python(launcher_code), stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        child = int(launcher.stdout.readline())
        assert not gone(child)
        launcher.kill()
    assert wait_until(lambda: gone(child), 5)


@pytest.mark.stack
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_brokers_command_leaves_no_broker_behind_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("MONGODB_URI", raising=False)
    command = [sys.executable, "-m", "stack", "brokers", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as launcher:
        assert launcher.stdout is not None
        for line in launcher.stdout:
            if "running" in line:
                break
        brokers = [int(pid) for pid in children_of(launcher.pid)]
        assert len(brokers) == 2
        launcher.send_signal(number)
        launcher.stdout.read()
        assert launcher.wait(30) == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert wait_until(lambda: all(gone(pid) for pid in brokers), 5)


def children_of(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]
