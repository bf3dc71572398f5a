"""A real API server that judges the overlays without keeping them: schemas and admission as in a cluster."""

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from stack.manifests.rendering import K8S, OVERLAYS, text_of
from stack.ports import free_port
from stack.processes import Process, tcp

VERSION: Final = "1.37.2"
MODULE: Final = K8S / "server"
PROGRAMS: Final = ("k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl")
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 20.0
NAMESPACE: Final = "segue"
WARNING: Final = "Warning:"


class ServerMissing(Exception):
    """There is no Go or no etcd here; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs; `kubectl` asks it as its administrator."""

    command: tuple[str | Path, ...]

    def kubectl(self, *arguments: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run it with this input; never raises for what the server says."""
        return subprocess.run(
            [*self.command, *arguments], input=text, capture_output=True, text=True, check=False
        )

    def refusals(self, text: str) -> list[str]:
        """What the server says against these objects; its warnings count, they are what PodSecurity says of a
        Deployment whose pods it would refuse.
        """
        done = self.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", text=text)
        told = done.stderr.splitlines()
        return told if done.returncode else [line for line in told if line.startswith(WARNING)]


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    """The server with the operators' kinds and our namespace, for the block; raises ServerMissing."""
    programs, etcd = built(), _needed("etcd", "apt-get install -y etcd-server")
    folder.mkdir(parents=True, exist_ok=True)
    store, port, token = free_port(), free_port(), secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    _write_key(folder / "accounts.key")
    processes = (_etcd(etcd, folder, store), _apiserver(programs / "kube-apiserver", folder, store, port))
    with contextlib.ExitStack() as running:
        for process in processes:
            running.callback(process.stop)
            process.launch()
            process.wait_until_ready()
        address = f"https://127.0.0.1:{port}"
        options = ("--server", address, "--token", token, "--insecure-skip-tls-verify")
        found = Server((programs / "kubectl", *options))
        _prepare(found)
        yield found


def refusals(folder: Path) -> list[str]:
    """What a real server says against each overlay."""
    with server(folder) as judge:
        return [
            f"{overlay}: {line}"
            for overlay in OVERLAYS
            for line in judge.refusals(text_of(K8S / "overlays" / overlay))
        ]


def built() -> Path:
    """The folder with the programs; building them takes some ten minutes, once per user and version."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "segue" / f"kubernetes-{VERSION}"
    if all((folder / name.rpartition("/")[2]).exists() for name in PROGRAMS):
        return folder
    go = _needed("go", "install Go 1.26 or newer")
    folder.mkdir(parents=True, exist_ok=True)
    flags = ["-mod=readonly", "-buildvcs=false", "-ldflags=-s -w"]
    subprocess.run([go, "build", *flags, "-o", f"{folder}/", *PROGRAMS], cwd=MODULE, check=True)
    return folder


def _etcd(program: str, folder: Path, port: int) -> Process:
    address, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    return Process(
        "etcd",
        [
            program,
            *("--data-dir", folder / "etcd"),
            *("--listen-client-urls", address, "--advertise-client-urls", address),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        ],
        log_folder=folder,
        ready=tcp(port, "127.0.0.1"),
        start_seconds=START_SECONDS,
        stop_seconds=STOP_SECONDS,
    )


def _apiserver(program: Path, folder: Path, store: int, port: int) -> Process:
    key = folder / "accounts.key"
    return Process(
        "kube-apiserver",
        [
            program,
            f"--etcd-servers=http://127.0.0.1:{store}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={folder / 'certificates'}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",  # nothing here makes the accounts' tokens
        ],
        log_folder=folder,
        ready=tcp(port, "127.0.0.1"),
        start_seconds=START_SECONDS,
        stop_seconds=STOP_SECONDS,
    )


def _prepare(judge: Server) -> None:
    """A dry run needs the namespace and the kinds to be there."""
    waited = judge.kubectl("wait", "--for=create", "namespace/default", "--timeout=60s")
    kinds = judge.kubectl("apply", "--server-side", "-f", K8S / "crds")
    made = judge.kubectl("apply", "-f", K8S / "base" / "namespace.yaml")
    known = judge.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    for done in (waited, kinds, made, known):
        if done.returncode:
            raise RuntimeError(f"the API server is not of use: {done.stderr[-500:]}")


def _write_key(file: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def _needed(name: str, cure: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ServerMissing(f"There is no {name} here: {cure}")
    return path
