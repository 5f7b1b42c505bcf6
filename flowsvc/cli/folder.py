"""The folder of a ``flowctl up``: who has it, where to reach what it started, and its logs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import msgspec

from flowsvc.errors import FlowServiceError

__all__ = ["Folder", "FolderTaken", "Running", "default_folder", "hold", "who_runs"]


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The ``up`` that has a folder.

    ``etcd`` and ``server`` are ``host:port``, and empty until all is ready.
    """

    pid: int
    etcd: str = ""
    server: str = ""


class FolderTaken(FlowServiceError):
    """Another ``up`` has the folder; ``by`` says which one, where that can be read."""

    def __init__(self, folder: Path, by: Running | None) -> None:
        self.folder, self.by = folder, by
        process = f"process {by.pid}" if by else "another process"
        super().__init__(
            f"`flowctl up` runs on {folder} already, as {process}: end that one, or give --data DIR"
        )


class Folder:
    """A folder that is held. ``killed``: who had it before did not end in order."""

    def __init__(self, path: Path, lock: TextIO, *, killed: bool) -> None:
        self.path, self.killed = path, killed
        self._lock = lock

    def tell(self, running: Running) -> None:
        """Let others know; see :func:`who_runs`."""
        self._lock.truncate(0)
        self._lock.write(msgspec.json.encode(running).decode())
        self._lock.flush()

    def log(self, name: str) -> Path:
        """A new ``<name>.log``; that of the life before is kept as ``<name>.log.1``."""
        path = self.path / f"{name}.log"
        if path.exists():
            path.replace(path.with_name(f"{path.name}.1"))
        return path


def default_folder() -> Path:
    """Where a user's programs keep their state: ``$XDG_STATE_HOME``, else ``~/.local/state``."""
    named = Path(os.environ.get("XDG_STATE_HOME", ""))
    state = named if named.is_absolute() else Path.home() / ".local" / "state"
    return state / "kvconfig" / "up"


@contextmanager
def hold(path: Path) -> Iterator[Folder]:
    """Have the folder, which is made if need be, until the block is left.

    Raises :class:`FolderTaken`. When this process ends, however it ends, the folder is free.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (path / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise FlowServiceError(f"{path}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderTaken(path, _read(lock)) from None
        folder = Folder(path, lock, killed=_read(lock) is not None)
        folder.tell(Running(pid=os.getpid()))
        try:
            yield folder
        finally:
            lock.truncate(0)


def who_runs(path: Path) -> Running | None:
    """The ``up`` that has this folder now, if one does."""
    try:
        with (path / "lock").open(encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(lock)
    except FileNotFoundError:
        pass
    return None


def _read(lock: TextIO) -> Running | None:
    """What is told there; the whole file is one line, and empty while nobody has the folder."""
    lock.seek(0)
    try:
        return msgspec.json.decode(lock.read(), type=Running)
    except msgspec.MsgspecError:
        return None
