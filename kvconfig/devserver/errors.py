"""What can go wrong with a local etcd, before anybody talks to it.

::

    KvError
    └── DevServerError
        ├── EtcdUnavailable    no etcd, or none that is new enough
        └── EtcdStartFailed    there is one, but it did not come up
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kvconfig.errors import KvError

CURE = (
    "put one on PATH, or name it in ETCD_BIN (ETCDCTL_BIN), or `pip install 'kvconfig[etcd]'` "
    "(3.5.1); on Debian tools/get-etcd fetches a newer one"
)


class DevServerError(KvError):
    """Root of the errors of a local etcd."""


class EtcdUnavailable(DevServerError):
    """No etcd to run, or none that is new enough.

    ``needed`` is what was asked for ("etcd", "etcd 3.5.6 or newer", "etcdctl"), ``found`` what is
    there instead (``None``: nothing), ``tried`` every place that was looked at, in order, ``cure``
    what a person can do about it.
    """

    def __init__(
        self, *, needed: str, found: str | None, tried: Sequence[str], cure: str = CURE
    ) -> None:
        self.needed, self.found, self.tried, self.cure = needed, found, tuple(tried), cure
        there = f"there is {found}" if found else "there is none"
        super().__init__(
            f"{needed} is needed, {there} (looked at: {', '.join(tried) or 'nothing'}); {cure}"
        )


class EtcdStartFailed(DevServerError):
    """etcd was started and ended, or did not answer in time.

    ``exit_code`` is ``None`` if it still ran when we gave up; ``log_tail`` its last lines.
    """

    def __init__(
        self, *, reason: str, exit_code: int | None, log_path: Path | None, log_tail: Sequence[str]
    ) -> None:
        self.reason, self.exit_code = reason, exit_code
        self.log_path, self.log_tail = log_path, tuple(log_tail)
        lines = "".join(f"\n  {line}" for line in log_tail)
        super().__init__(f"etcd did not start: {reason} (log: {log_path}){lines}")
