"""What the members of a cluster say: each of itself, and one for all."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from msgspec import structs

from flowsvc.doctor import NOT_ASKED, Endpoint, Facts, Unknown
from flowsvc.probe.asking import answered, known, timed
from kvconfig.errors import AuthenticationFailed, Compacted
from kvconfig.etcd import Access
from kvconfig.etcd.inspection import Inspector
from kvconfig.etcd.published import published
from kvconfig.etcd.server import Alarm, Grant, Member, Published
from kvconfig.model import Revision

__all__ = ["ClusterProbe"]

READS = 5
"""Of which the median counts."""


class ClusterProbe:
    """Asks by the inspector. Each step gives the facts back with what it has learnt.

    ``key`` is one that this user may read, if any: whether it exists does not matter.
    """

    def __init__(self, access: Access, inspector: Inspector, key: bytes, timeout_s: float) -> None:
        self._access = access
        self._inspector = inspector
        self._key = key
        self._timeout_s = timeout_s

    async def reach(self, facts: Facts) -> Facts:
        """Which endpoints answer, and how fast; as nobody, so a refusal is an answer."""
        places = range(len(self._access.endpoints))
        endpoints = await asyncio.gather(*map(self._reach, places))
        return structs.replace(facts, endpoints=tuple(endpoints))

    async def log_in(self, facts: Facts) -> Facts:
        """Whether etcd asks who comes; if so, the inspector asks as the user from here on."""
        agreeing = [at for at, endpoint in enumerate(facts.endpoints) if endpoint.agrees]
        if not agreeing:
            return facts
        found = await known(self._asks_who_comes(agreeing[0]), self._timeout_s)
        if isinstance(found, Unknown):
            return structs.replace(facts, auth=found)
        asks, refused = found
        if asks is None:
            unknown = Unknown("this version does not tell those who come with a certificate")
            return structs.replace(facts, auth=unknown)
        return structs.replace(facts, auth=asks, refused=refused)

    async def look(self, facts: Facts) -> Facts:
        """What each member says of itself, and the first one that can of the cluster."""
        answering = [at for at, endpoint in enumerate(facts.endpoints) if endpoint.answers]
        agreeing = [at for at in answering if facts.endpoints[at].agrees]
        statuses = await asyncio.gather(
            *(known(self._inspector.status(at), self._timeout_s) for at in answering)
        )
        endpoints = list(facts.endpoints)
        for at, status in zip(answering, statuses, strict=True):
            found = _member(status, endpoints[at].published)
            endpoints[at] = structs.replace(endpoints[at], member=found)
        facts = structs.replace(facts, endpoints=tuple(endpoints))
        first = (agreeing or answering)[0]
        members, alarms, grants, compacted = await asyncio.gather(
            known(self._inspector.members(first), self._timeout_s),
            self._alarms(statuses, agreeing),
            self._grants(facts, agreeing),
            self._compacted(first, endpoints[first].member),
        )
        return structs.replace(
            facts, members=members, alarms=alarms, grants=grants, compacted=compacted
        )

    # -- the questions -------------------------------------------------------------------------

    async def _reach(self, at: int) -> Endpoint:
        given, inspector = self._access.endpoints[at], self._inspector
        status = partial(answered, partial(inspector.status, at))
        read = partial(answered, partial(inspector.read, at, self._key))
        agreed = partial(answered, partial(inspector.read, at, self._key, linearizable=True))
        endpoint = Endpoint(
            name=inspector.endpoints[at],
            secure=self._access.secure(given),
            loopback=_is_loopback(given),
            answer_s=await known(timed(status), self._timeout_s),
        )
        if not endpoint.answers:
            return endpoint
        return structs.replace(
            endpoint,
            read_s=await known(timed(read, times=READS), self._timeout_s),
            linearizable_s=await known(timed(agreed), self._timeout_s),
            published=await known(published(self._access, given), self._timeout_s),
        )

    async def _asks_who_comes(self, at: int) -> tuple[bool | None, str]:
        """Whether etcd does, where it tells; and why it does not let our user in."""
        if not self._access.user:
            return await self._inspector.auth_enabled(at, self._key), ""
        try:
            return await self._inspector.login(at), ""
        except AuthenticationFailed as error:
            return True, error.reason

    async def _alarms(
        self, statuses: Sequence[Member | Unknown], agreeing: Sequence[int]
    ) -> tuple[Alarm, ...] | Unknown:
        told = [status for status in statuses if isinstance(status, Member)]
        if told:
            return tuple({alarm: None for status in told for alarm in status.alarms})
        if agreeing:
            return await known(self._inspector.alarms(agreeing[0]), self._timeout_s)
        return NOT_ASKED

    async def _grants(self, facts: Facts, agreeing: Sequence[int]) -> tuple[Grant, ...] | Unknown:
        if not facts.user:
            return Unknown("the user is the name in the client certificate, which is not read here")
        if not agreeing or facts.auth is not True or facts.refused:
            return NOT_ASKED
        return await known(self._inspector.grants(agreeing[0]), self._timeout_s)

    async def _compacted(self, at: int, member: Member | Unknown) -> Revision | Unknown:
        if isinstance(member, Unknown):
            return member
        return await known(self._oldest(at, Revision(member.revision)), self._timeout_s)

    async def _oldest(self, at: int, head: Revision) -> Revision:
        """The oldest revision that can be read. Halved, with a local read each time: a watch from
        the first revision would tell at once, and have etcd load all there is to send it."""
        low, high = 1, int(head)
        while low < high:
            middle = (low + high) // 2
            try:
                await self._inspector.read(at, self._key, revision=Revision(middle))
            except Compacted:
                low = middle + 1
            else:
                high = middle
        return Revision(low)


def _member(status: Member | Unknown, told: Published | Unknown) -> Member | Unknown:
    """By its status, else by its numbers, which also have the quota where a status has none."""
    if isinstance(told, Unknown):
        return status
    if isinstance(status, Unknown):
        return told.member
    return structs.replace(status, quota=status.quota or told.member.quota)


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
