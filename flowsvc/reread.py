"""Files that are read again when they change, so that secrets and rules are replaced in place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from flowsvc.errors import FlowServiceError

__all__ = ["Reread"]

_log = logging.getLogger(__name__)

T = TypeVar("T")
_Seen = list[tuple[int, ...] | None]


class Reread(Generic[T]):
    """Calling it gives what ``read`` makes of the files as they are now.

    Where that cannot be had (a file is gone, or ``read`` raises OSError, ValueError or an error of
    the flow service), the last good one counts, the log says so once, and :meth:`refused` does for
    as long as it is so. At first there is no last good one: what ``read`` raises is raised.

    Looking costs a ``stat`` for each file. It may be called from any thread.
    """

    def __init__(self, name: str, files: Iterable[Path], read: Callable[[], T]) -> None:
        self.name = name
        self._refused = False
        self._files, self._read = tuple(files), read
        self._seen = self._look()
        self._value = read()

    def __call__(self) -> T:
        """What counts now."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen  # before reading: what is written meanwhile is seen the next time
            try:
                self._value = self._read()
            except (OSError, ValueError, FlowServiceError) as error:
                self._refused = True
                _log.error(
                    "a changed file is no good: what it held before counts on",
                    extra={"file": self.name, "why": str(error)},
                )
            else:
                self._refused = False
                _log.info("a changed file was read", extra={"file": self.name})
        return self._value

    def refused(self) -> bool:
        """Whether the files are no good as they are now."""
        self()
        return self._refused

    def _look(self) -> _Seen:
        return [_state(file) for file in self._files]


def _state(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
