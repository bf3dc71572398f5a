"""Runs a command that the kernel kills when the launcher dies, so that even kill -9 leaves nothing behind.

Executed as a plain script, `python -I -S leash.py PARENT_PID COMMAND...`, never imported: a `preexec_fn`
would run Python between fork and exec of a threaded launcher, which may deadlock. It imports nothing but the
standard library.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
EXIT_NOT_FOUND = 127


def main() -> int:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        # Survives the exec below. SIGKILL, because a child that hangs would outlive anything milder.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the leash was on
        return 1
    try:
        os.execvp(command[0], command)  # noqa: S606  (starting it without a shell is the point)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return EXIT_NOT_FOUND


if __name__ == "__main__":
    sys.exit(main())
