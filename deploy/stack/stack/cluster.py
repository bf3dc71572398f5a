"""A stand-in for kubectl over the processes of one machine: runbooks run their lines against it.

It knows the verbs that the pages use, and the Deployments that deploy/k8s declares; anything else is refused.
"""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from stack.processes import Process
from stack.system import WATCHER, System

NAMESPACE: Final = "segue"
DEPLOYMENTS: Final[Mapping[str, str]] = {
    "segue-scheduler": "scheduler",
    "segue-sender": "sender",
    "segue-reply-detector": "reply_detector",
    "segue-mailbox-watcher": WATCHER,
    "segue-api": "api",
    "segue-operator": "scheduler",
}
"""The Deployments of a cluster, and the process that does the same here, or has the settings for it."""
READY_SECONDS: Final = 60.0
CLIENT: Final = """#!{python} -IS
import http.client, json, select, sys
given = "" if sys.stdin.isatty() or "-" not in sys.argv else sys.stdin.read()
asking = http.client.HTTPConnection("127.0.0.1", {port}, timeout=600)
asking.request("POST", "/", json.dumps({{"arguments": sys.argv[1:], "input": given}}))
told = json.loads(asking.getresponse().read())
sys.stdout.write(told["out"])
sys.stderr.write(told["err"])
sys.exit(told["code"])
"""

Json = dict[str, Any]


class Refused(Exception):
    """What kubectl would say no to, in words."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a command prints, and how it ends."""

    out: str = ""
    err: str = ""
    code: int = 0


@dataclass(slots=True)
class Cluster:
    """The Deployments of one namespace, which are the processes of a system."""

    system: System
    jobs: dict[str, Told] = field(default_factory=dict)

    def answer(self, arguments: Sequence[str], given: str) -> Told:
        """What `kubectl` with these arguments does."""
        words = list(arguments)
        try:
            if words[:2] != ["-n", NAMESPACE] or len(words) < 3:
                raise Refused(f"every line names the namespace: kubectl -n {NAMESPACE} ...")
            return self._verb(words[2])(words[3:], given)
        except Refused as refused:
            return Told(err=f"{refused}\n", code=1)

    def _verb(self, verb: str) -> Callable[[list[str], str], Told]:
        known = {
            "get": self._get,
            "create": self._create,
            "delete": self._delete,
            "exec": self._exec,
            "logs": self._logs,
            "scale": self._scale,
            "rollout": self._rollout,
        }
        if verb not in known:
            raise Refused(f"the stand-in has no {verb!r}")
        return known[verb]

    def _get(self, words: list[str], given: str) -> Told:
        if words == ["deployments"]:
            rows = [f"{name}  {int(self._process(name).alive)}/1" for name in self._here()]
            return Told("\n".join(["NAME  READY", *rows, ""]))
        kind, name = _object(words[0])
        shown = words[2] if words[1:2] == ["-o"] else ""
        if kind == "deployment" and shown == "json":
            return Told(json.dumps(self._deployment(name)))
        if kind == "job" and shown.startswith("jsonpath={.status."):
            ended = self._job(name).code == 0
            return Told("1" if ended == shown.endswith(".succeeded}") else "")
        raise Refused(f"the stand-in can't get {' '.join(words)}")

    def _create(self, words: list[str], given: str) -> Told:
        """A Job, which has ended when this returns."""
        job = json.loads(given)
        if words != ["-f", "-"] or job["kind"] != "Job":
            raise Refused("the stand-in creates Jobs from its input")
        (container,) = job["spec"]["template"]["spec"]["containers"]
        command = [*container["command"], *container["args"]]
        self.jobs[job["metadata"]["name"]] = self._run(container["image"], command)
        return Told(f"job.batch/{job['metadata']['name']} created\n")

    def _delete(self, words: list[str], given: str) -> Told:
        kind, name = _object(words[0])
        if kind != "job" or self.jobs.pop(name, None) is None:
            raise Refused(f"there is no {words[0]}")
        return Told()

    def _exec(self, words: list[str], given: str) -> Told:
        name = _deployment_of(words[0])
        if words[1:2] != ["--"]:
            raise Refused("kubectl exec wants -- before the command")
        if not self._process(name).alive:
            raise Refused(f"no pod of {name} runs")
        return self._run(name, words[2:])

    def _logs(self, words: list[str], given: str) -> Told:
        kind, name = _object(words[0])
        if kind == "job":
            told = self._job(name)
            return Told(told.out + told.err)
        return Told(self._process(_deployment_of(words[0])).log_text())

    def _scale(self, words: list[str], given: str) -> Told:
        (wanted,) = [int(w.partition("=")[2]) for w in words if w.startswith("--replicas=")]
        processes = [self._process(_deployment_of(w)) for w in words if not w.startswith("--")]
        if not wanted:  # all at once, as a cluster does
            with ThreadPoolExecutor() as pool:
                list(pool.map(Process.stop, processes))
        for process in processes:
            if wanted and not process.alive:
                process.launch()
        return Told()

    def _rollout(self, words: list[str], given: str) -> Told:
        verb, *named = [word for word in words if not word.startswith("--")]
        processes = [self._process(_deployment_of(word)) for word in named]
        for process in processes:
            if verb == "restart":
                process.stop()
                process.launch()
            elif verb == "status":
                process.wait_until_ready(READY_SECONDS)
            else:
                raise Refused(f"the stand-in has no rollout {verb}")
        return Told()

    def _run(self, deployment: str, command: Sequence[str]) -> Told:
        """A command in a container of this Deployment, alive or not; Python is the one of this program."""
        argv = [sys.executable if command[0] == "python" else command[0], *command[1:]]
        env = {**os.environ, **self._process(deployment).env}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        return Told(done.stdout, done.stderr, done.returncode)

    def _here(self) -> list[str]:
        return [name for name, process in DEPLOYMENTS.items() if process in self.system.processes]

    def _process(self, deployment: str) -> Process:
        process = self.system.processes.get(DEPLOYMENTS[deployment])
        if process is None:
            raise Refused(f"nothing does the work of {deployment} here")
        return process

    def _deployment(self, name: str) -> Json:
        """As much of it as a Job is made of; its image is its name, by which `create` knows whose it is."""
        template = {"spec": {"containers": [{"name": name, "image": _known(name)}]}}
        return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"template": template}}

    def _job(self, name: str) -> Told:
        if name not in self.jobs:
            raise Refused(f"there is no job/{name}")
        return self.jobs[name]


def _object(word: str) -> tuple[str, str]:
    kind, slash, name = word.partition("/")
    if not slash:
        raise Refused(f"{word}: name it as kind/name")
    return kind, name


def _deployment_of(word: str) -> str:
    kind, name = _object(word)
    if kind != "deployment":
        raise Refused(f"{word} is no deployment")
    return _known(name)


def _known(name: str) -> str:
    if name not in DEPLOYMENTS:
        raise Refused(f"there is no deployment/{name}")
    return name


@contextmanager
def kubectl(cluster: Cluster, folder: Path) -> Iterator[Path]:
    """A folder for the PATH with a `kubectl` in it that asks this cluster."""

    class Asked(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told = cluster.answer(asked["arguments"], asked["input"])
            body = json.dumps({"out": told.out, "err": told.err, "code": told.code}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
    thread = threading.Thread(target=server.serve_forever, name="kubectl")
    thread.start()
    try:
        yield _client(folder, server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _client(folder: Path, port: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "kubectl"
    program.write_text(CLIENT.format(python=sys.executable, port=port))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder
