"""The command line: without options, check what we deploy; `--write` writes what is generated; `--server` has
a real API server judge it; `--render` prints an overlay.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stack.manifests import checking, generated, server
from stack.manifests.rendering import K8S, OVERLAYS, RenderFailed, text_of
from stack.node import NodeMissing


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 if something is wrong, and it is said."""
    parser = argparse.ArgumentParser(prog="python -m stack.manifests", description=__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--write", action="store_true", help="write topics, users, roles, alerts, dashboards")
    kind.add_argument("--server", action="store_true", help="build an API server once, and ask it")
    kind.add_argument("--render", choices=OVERLAYS, help="print what a cluster would be given")
    given = parser.parse_args(arguments)
    if given.write:
        generated.write()
        return 0
    try:
        if given.render:
            print(text_of(K8S / "overlays" / given.render), end="")
            return 0
        wrong = _asked() if given.server else list(checking.problems())
    except (RenderFailed, NodeMissing, server.ServerMissing) as error:
        wrong = [str(error)]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


def _asked() -> list[str]:
    with tempfile.TemporaryDirectory(prefix="segue-apiserver-") as folder:
        return server.refusals(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
