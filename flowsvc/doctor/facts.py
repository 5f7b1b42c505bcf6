"""What is known of an etcd and what lies in it. A value: judged elsewhere, and as good made up."""

from __future__ import annotations

import msgspec

from flowsvc.audit import Anomaly
from flowsvc.status import FlowStatus
from kvconfig.etcd.server import Alarm, Grant, ListedMember, Member, Published
from kvconfig.keyspace import Keyspace
from kvconfig.model import Revision
from kvconfig.records import InstanceStatus

__all__ = ["NOT_ASKED", "Endpoint", "Facts", "InstanceFacts", "Unknown"]


class Unknown(msgspec.Struct, frozen=True):
    """Stands for what could not be learnt, with the ``reason``."""

    reason: str


_SILENT = Unknown("not asked: it does not answer")
NOT_ASKED = Unknown("not asked: there is no quorum to answer")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint (``host:port``), and what it said; times in seconds.

    ``answer_s`` is the connection and the first answer, ``read_s`` the median of reads of this
    member alone, ``linearizable_s`` one that a quorum agreed to; a refusal for want of rights is
    an answer too. ``watch_s``: until a watch gave a sign of life.
    """

    name: str
    secure: bool
    loopback: bool
    answer_s: float | Unknown = _SILENT
    member: Member | Unknown = _SILENT
    read_s: float | Unknown = _SILENT
    linearizable_s: float | Unknown = _SILENT
    watch_s: float | Unknown = _SILENT
    published: Published | Unknown = _SILENT

    @property
    def answers(self) -> bool:
        """Whether anybody is there."""
        return not isinstance(self.answer_s, Unknown)

    @property
    def agrees(self) -> bool:
        """Whether it has a quorum behind it."""
        return not isinstance(self.linearizable_s, Unknown)

    @property
    def serves(self) -> bool:
        """Whether clients may use it; a learner answers, and refuses them."""
        return self.answers and not (isinstance(self.member, Member) and self.member.learner)

    @property
    def address(self) -> str:
        """As commands want it."""
        return f"https://{self.name}" if self.secure else self.name


class InstanceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The key of an instance, as it stands; ``status`` is ``None`` where it cannot be read.

    ``newest`` is the highest mod_revision among the variants of its processor at the first look:
    what it should have heard of. (The head of the store says nothing: an instance whose
    variants rest writes nothing, and so lags behind it, for as long as it likes.)
    """

    processor: str
    name: str
    mod_revision: Revision
    leased: bool
    status: InstanceStatus | None
    newest: Revision = Revision(0)

    @property
    def restored(self) -> bool:
        """Whether its status is of a time before etcd was restored (:mod:`flowsvc.status`)."""
        return self.status is not None and self.status.observed_revision > self.mod_revision

    @property
    def behind(self) -> bool:
        """Whether it has not seen the newest variants, as far as it says."""
        if self.status is None or self.restored:
            return False
        return self.status.observed_revision < self.newest

    def __str__(self) -> str:
        return f"{self.processor}/{self.name}"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, as of ``now_s`` (seconds since 1970).

    ``compacted`` is the oldest revision that can still be read, 1 where nothing was compacted.
    ``auth``: whether etcd asks who comes; ``user`` is who came, ``certificate`` whether with one,
    ``refused`` why he was not let in. ``commit_s`` is ``None`` where no write was asked for,
    ``layout`` where no version is written. ``instances`` are those ``settle_s`` after the first
    look, where any was behind then. ``keys`` and ``history`` count keys below the root.
    """

    now_s: float
    keyspace: Keyspace
    endpoints: tuple[Endpoint, ...] = ()
    user: str = ""
    certificate: bool = False
    refused: str = ""
    settle_s: float = 0.0
    members: tuple[ListedMember, ...] | Unknown = NOT_ASKED
    alarms: tuple[Alarm, ...] | Unknown = NOT_ASKED
    compacted: Revision | Unknown = NOT_ASKED
    auth: bool | Unknown = NOT_ASKED
    grants: tuple[Grant, ...] | Unknown = NOT_ASKED
    commit_s: float | Unknown | None = None
    layout: int | Unknown | None = NOT_ASKED
    instances: tuple[InstanceFacts, ...] | Unknown = NOT_ASKED
    flows: tuple[FlowStatus, ...] | Unknown = NOT_ASKED
    anomalies: tuple[Anomaly, ...] | Unknown = NOT_ASKED
    keys: int | Unknown = NOT_ASKED
    history: int | Unknown = NOT_ASKED

    @property
    def known_members(self) -> list[Member]:
        """What those said who told of themselves, each member once."""
        found = {}
        for endpoint in self.endpoints:
            if isinstance(member := endpoint.member, Member):
                found[member.member_id or endpoint.name] = member
        return list(found.values())

    @property
    def published(self) -> list[Published]:
        """What those publish who do."""
        found = (endpoint.published for endpoint in self.endpoints)
        return [each for each in found if isinstance(each, Published)]

    @property
    def head(self) -> int:
        """The newest revision that any member told of; 0 where none did."""
        return max((member.revision for member in self.known_members), default=0)
