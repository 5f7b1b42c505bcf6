"""One etcd process: its command line, its ports, its readiness, its end. Synchronous.

``DevServer`` calls this from worker threads. It is bound to no event loop, so a server may be
started under one loop and stopped under another, or under none, as test sessions do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from kvconfig.devserver.errors import EtcdStartFailed
from kvconfig.devserver.finder import EtcdBinary
from kvconfig.devserver.probe import free_ports, is_healthy
from kvconfig.devserver.spawn import spawn_tied

_PORT_TRIES = 5
_POLL_S = 0.01
_STOP_TIMEOUT_S = 10.0
_TAIL_LINES = 15


class EtcdProcess:
    """An etcd with fixed data and log, that can be started again after it ended.

    Methods may be called from any thread, one at a time.
    """

    def __init__(
        self,
        binary: EtcdBinary,
        *,
        data_dir: Path,
        log_path: Path,
        durable: bool,
        extra_args: Sequence[str] = (),
        start_timeout_s: float,
    ) -> None:
        self.binary, self.data_dir, self.log_path = binary, data_dir, log_path
        self._durable, self._extra_args = durable, tuple(extra_args)
        self._start_timeout_s = start_timeout_s
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self.client_port = 0
        self.peer_port = 0

    @property
    def pid(self) -> int | None:
        """Of the running process; ``None`` while there is none."""
        return self._popen.pid if self._popen and self._popen.poll() is None else None

    def start(self, given_up: threading.Event) -> None:
        """Start, and return when etcd answers. The first start chooses the ports for all others.

        Raises EtcdStartFailed, also soon after ``given_up`` is set; then nothing is left running.
        """
        chosen = self.client_port != 0
        for attempt in range(1, _PORT_TRIES + 1):
            if not chosen:
                self.client_port, self.peer_port = free_ports(2)
            try:
                self._spawn()
                self._wait_ready(given_up)
            except EtcdStartFailed as error:
                self.kill()
                # Another process took a port between our look and etcd's bind.
                taken = any("address already in use" in line for line in error.log_tail)
                if not taken or chosen or attempt == _PORT_TRIES:
                    raise
            except BaseException:
                self.kill()
                raise
            else:
                return

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not end it; returns when it has ended."""
        if self._popen is None:
            return
        # A stopped (SIGSTOP) process would not see the SIGTERM.
        for number in (signal.SIGTERM, signal.SIGCONT):
            self._send(number)
        try:
            self._popen.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL; returns when it has ended."""
        if self._popen is None:
            return
        self._send(signal.SIGKILL)
        self._popen.wait()

    def log_tail(self) -> list[str]:
        """The last lines since the last start, without the help that a bad flag prints."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(self._log_start)
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        lines = text.splitlines()
        if "Usage:" in lines:
            lines = lines[: lines.index("Usage:")]
        return lines[-_TAIL_LINES:]

    def _send(self, number: signal.Signals) -> None:
        if self._popen is not None:
            self._popen.send_signal(number)

    def _spawn(self) -> None:
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._popen = spawn_tied(
            self._command(),
            env={k: v for k, v in os.environ.items() if not k.startswith("ETCD_")},
            output=self.log_path,
            # With data worth keeping, let it close them when we are killed.
            signal=signal.SIGTERM if self._durable else signal.SIGKILL,
        )

    def _command(self) -> list[str]:
        """Only flags that every version from 3.4 to 3.7 has."""
        client = f"http://127.0.0.1:{self.client_port}"
        peer = f"http://127.0.0.1:{self.peer_port}"
        return [
            str(self.binary.path.absolute()),
            "--name=dev",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=dev={peer}",
            *([] if self._durable else ["--unsafe-no-fsync"]),
            *self._extra_args,
        ]

    def _wait_ready(self, given_up: threading.Event) -> None:
        """Until etcd says that it is healthy, which includes that it has elected itself."""
        popen = self._popen
        assert popen is not None
        deadline = time.monotonic() + self._start_timeout_s
        while not is_healthy("127.0.0.1", self.client_port):
            # A process that ended, or another's that answers on this port, is seen here.
            if (code := popen.poll()) is not None:
                raise self._failed(f"it ended with exit code {code}", code)
            if time.monotonic() > deadline:
                raise self._failed(f"no answer within {self._start_timeout_s:g} s", None)
            if given_up.wait(_POLL_S):
                raise self._failed("given up by its caller", None)
        if (code := popen.poll()) is not None:
            raise self._failed(f"it ended with exit code {code}", code)

    def _failed(self, reason: str, code: int | None) -> EtcdStartFailed:
        return EtcdStartFailed(
            reason=reason, exit_code=code, log_path=self.log_path, log_tail=self.log_tail()
        )
