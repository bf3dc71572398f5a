"""Builds the images with buildah and tries each as a cluster would run it.

    python -m stack.manifests.images sender

Nothing comes from a registry of images: the base is Debian's, made here. Wheels come by this machine's pip.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from stack.manifests.generated import DEPLOY

SERVICES: Final = ("scheduler", "sender", "reply-detector", "api", "migrate")
MEMBERS: Final = {service: (service,) for service in SERVICES} | {"migrate": SERVICES[:-1]}
SUITE: Final = "bookworm"
BASE: Final = f"localhost/segue-base:{SUITE}"
NEEDED: Final = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "pip3": "python3-pip"}
UNTOLD: Final = "SEGUE_MONGODB_URI is not set"


class CannotBuild(Exception):
    """Something is missing here, or a step failed; the message says what."""


class Images:
    """The images of this user, kept under the cache folder."""

    def __init__(self) -> None:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._folder = root / "segue" / "images"
        self._folder.mkdir(parents=True, exist_ok=True)

    def build(self, service: str) -> str:
        """The name of the built image."""
        wheels, name = self._wheels(service), f"localhost/segue-{service}"
        arguments = {
            "BASE": self._base(),
            "SERVICE": service,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": "/wheels",
        }
        given = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
        # Docker's format: the other one has no HEALTHCHECK.
        self._buildah(
            *("bud", "--quiet", "--isolation", "chroot", "--format", "docker", "--pull-never"),
            *("--volume", f"{wheels}:/wheels:ro", *given),
            *("-f", DEPLOY / "docker" / "Dockerfile", "-t", name, DEPLOY.parent),
        )
        return name

    def faults(self, image: str) -> Iterator[str]:
        """What is wrong with an image when it runs as it does in a cluster."""
        container = self._buildah("from", "--pull-never", image).stdout.strip()
        try:
            refused = self._run(container, "segue")
            if UNTOLD not in refused.stderr:
                yield f"{image}: without settings it does not say what to set: {refused.stderr[-200:]}"
            if self._run(container, "sh", "-c", "test $(id -u) = 10001").returncode != 0:
                yield f"{image}: it runs as somebody else"
            if self._run(container, "sh", "-c", "touch /opt/segue/x || touch /x").returncode == 0:
                yield f"{image}: it may write to its root"
            if self._run(container, "sh", "-c", "command -v gcc cc pip").returncode == 0:
                yield f"{image}: it has a compiler or pip"
            if self._run(container, "test", "-s", "/opt/segue/sbom.cdx.json").returncode != 0:
                yield f"{image}: it has no list of what is in it"
        finally:
            self._buildah("rm", container)

    def _base(self) -> str:
        """Debian with its Python, made once."""
        if self._buildah("inspect", BASE, check=False).returncode == 0:
            return BASE
        archive = self._folder / "base.tar"
        include = "--include=python3,python3-venv,ca-certificates"
        _done("mmdebstrap", "--quiet", "--variant=minbase", include, SUITE, archive)
        container = self._buildah("from", "scratch").stdout.strip()
        self._buildah("add", container, archive, "/")
        self._buildah("commit", "--quiet", container, BASE)
        self._buildah("rm", container)
        archive.unlink()
        return BASE

    def _wheels(self, service: str) -> Path:
        """A folder with all that is locked for a service, for the Python of the base."""
        wheels = self._folder / "wheels"
        target = ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
        target += [f"--platform={each}" for each in ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "any")]
        for member in ("image", *MEMBERS[service]):
            lock = DEPLOY / "docker" / f"{member}.lock"
            _done(
                "pip3", "download", "-q", "--no-deps", "--require-hashes", *target, "-d", wheels, "-r", lock
            )
        return wheels

    def _run(self, container: str, *command: str) -> subprocess.CompletedProcess[str]:
        return self._buildah("run", "--isolation", "chroot", container, "--", *command, check=False)

    def _buildah(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        store = (
            "--storage-driver",
            "vfs",
            "--root",
            self._folder / "store",
            "--runroot",
            self._folder / "run",
        )
        return _done("buildah", *store, *arguments, check=check)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 if an image was not built or is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m stack.manifests.images", description=__doc__)
    parser.add_argument("services", nargs="*", metavar="SERVICE", help=f"of {', '.join(SERVICES)}; none: all")
    wanted = parser.parse_args(arguments).services or SERVICES
    try:
        images = Images()
        faults = [fault for service in wanted for fault in images.faults(images.build(service))]
    except CannotBuild as error:
        faults = [str(error)]
    print(*faults, sep="\n", end="\n" if faults else "", file=sys.stderr)
    return 1 if faults else 0


def _done(program: str, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    path = shutil.which(program)
    if path is None:
        raise CannotBuild(f"There is no {program} here: apt-get install -y {NEEDED[program]}")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise CannotBuild(f"{program} {arguments[0]} failed: {done.stderr.strip()[-600:]}")
    return done


if __name__ == "__main__":
    sys.exit(main())
