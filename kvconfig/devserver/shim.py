"""Tie this process to its parent, then become a program.

``python shim.py PARENT SIGNAL PROGRAM [ARGUMENT …]``: run as a script, never imported, Linux only.
The kernel is asked to send SIGNAL when the parent ends, however it ends; the request outlives exec,
so the pid stays the program's own and nothing stands in between. A parent that was gone before the
request was made is noticed by its pid.

Not done by ``preexec_fn``: Python code between fork and exec can deadlock where threads run, and
gRPC runs some.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, signal: int, command: list[str]) -> None:
    """Does not return."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent is gone already")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
