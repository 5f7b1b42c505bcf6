"""Leases by a clock that the caller holds. Which keys hang on them is the keys' own business."""

from __future__ import annotations

from collections.abc import Iterable

from kvconfig.errors import LeaseNotFound
from kvconfig.model import LeaseId

__all__ = ["Leases"]


class Leases:
    """Times to live and deadlines. Ids are never used twice, not even after a restore."""

    def __init__(self) -> None:
        self._ttls_s: dict[LeaseId, int] = {}
        self._deadlines_s: dict[LeaseId, float] = {}
        self._last = 0

    def __contains__(self, lease: object) -> bool:
        return lease in self._ttls_s

    def grant(self, ttl_s: int, *, now_s: float) -> LeaseId:
        """A new lease."""
        self._last += 1
        lease = LeaseId(self._last)
        self._ttls_s[lease] = ttl_s
        self._deadlines_s[lease] = now_s + ttl_s
        return lease

    def renew(self, lease: LeaseId, *, now_s: float) -> int:
        """Its whole time to live again, which is returned."""
        self.check(lease)
        self._deadlines_s[lease] = now_s + self._ttls_s[lease]
        return self._ttls_s[lease]

    def check(self, lease: LeaseId) -> None:
        """Raises :class:`LeaseNotFound`."""
        if lease not in self._ttls_s:
            raise LeaseNotFound(lease)

    def end(self, lease: LeaseId) -> None:
        """Forget it."""
        del self._ttls_s[lease], self._deadlines_s[lease]

    def expired(self, *, now_s: float) -> list[LeaseId]:
        """Those whose time is over, in the order in which it was."""
        over = ((at_s, lease) for lease, at_s in self._deadlines_s.items() if at_s <= now_s)
        return [lease for _, lease in sorted(over)]

    def ttls_s(self) -> tuple[tuple[LeaseId, int], ...]:
        """What a snapshot keeps of them."""
        return tuple(self._ttls_s.items())

    def restore(self, ttls_s: Iterable[tuple[LeaseId, int]], *, now_s: float) -> None:
        """The leases of a snapshot, each with its whole time to live, as etcd does."""
        self._ttls_s = dict(ttls_s)
        self._deadlines_s = {lease: now_s + ttl_s for lease, ttl_s in self._ttls_s.items()}
