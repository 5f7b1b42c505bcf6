"""Start a program that ends when this process ends, even by SIGKILL.

On Linux the kernel does it (see ``shim``). Elsewhere it does not: there a program whose parent was
killed by SIGKILL stays until somebody stops it; every tidy end still stops it.

The kernel's "parent" is the *thread* that forked. A program started from a thread of a pool would
be killed when that pool is shut down (the end of ``asyncio.run``), so all are started from one
thread that lives as long as the process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue

_SHIM = Path(__file__).with_name("shim.py")


def spawn_tied(
    command: Sequence[str], *, env: Mapping[str, str], output: Path, signal: int
) -> subprocess.Popen[bytes]:
    """Start ``command`` (an absolute path first), its output appended to a file.

    ``signal`` is what it gets when this process is gone. It runs in a session of its own, so that
    Ctrl-C in a terminal reaches only us, and we stop it in order. Blocks for the fork only.
    """
    tied = sys.platform == "linux" and sys.executable
    # -I -S: the shim needs no site-packages, and must not be led astray by PYTHON* variables.
    shim = [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), str(signal)] if tied else []

    def start() -> subprocess.Popen[bytes]:
        with output.open("ab") as log:
            return subprocess.Popen(
                [*shim, *command],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    return _thread().run(start)


class _SpawnThread:
    """One daemon thread that calls what it is given. It is never ended: see the module."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._calls: SimpleQueue[
            tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]
        ] = SimpleQueue()
        threading.Thread(target=self._work, name="kvconfig-spawn", daemon=True).start()

    def run(self, call: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        self._calls.put((call, future))
        return future.result()

    def _work(self) -> None:
        while True:
            call, future = self._calls.get()
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001 - handed to the caller, whatever it is
                future.set_exception(error)
            del call, future  # else the last process would be kept alive by this frame


_lock = threading.Lock()
_current: _SpawnThread | None = None


def _thread() -> _SpawnThread:
    """This process's thread; a new one in a forked child, where the parent's does not run."""
    global _current  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _current = _SpawnThread()
        return _current
