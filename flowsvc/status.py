"""Whether flows run: folded from what instances of processors report. Pure.

The rules of DESIGN §3:

* Everything at or below an instance's ``observed-revision`` runs, except what ``pending`` and
  ``failed`` name.
* A status whose ``observed-revision`` lies above its own key's mod_revision was written before etcd
  was restored: the instance is live, and says nothing.
* ``failed`` counts only where ``observed-revision`` has reached the variant's mod_revision.

What is said is as true as presence is: up to lease TTL plus failover late.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from kvconfig.keyspace import VariantName
from kvconfig.model import Revision
from kvconfig.records import FlowRecord, InstanceStatus, VariantFailure

__all__ = [
    "FlowState",
    "FlowStatus",
    "Instance",
    "InstanceReport",
    "ProcessorInstance",
    "ProcessorState",
    "ProcessorStatus",
    "VariantState",
    "VariantStatus",
    "active_names",
    "fold",
    "fold_processor",
    "lacking",
    "not_left",
    "settled",
    "stopped",
    "stopped_everywhere",
]

FlowState: TypeAlias = Literal["starting", "running", "degraded", "failed", "paused", "stopped"]
VariantState: TypeAlias = Literal["starting", "running", "degraded", "failed"]
ProcessorState: TypeAlias = Literal["idle", "missing", "starting", "running", "degraded", "failed"]

NO_KEY = "the flow's record names it, and etcd has no key of it"
MOST_NAMED = 10
"""How many variants the text about a wait names."""


class InstanceReport(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one instance of the processor says of a variant.

    ``starting``: it has not come to this revision of the variant yet, or works on it. ``error``,
    ``attempts`` and ``since`` (RFC 3339) of one that failed. ``observed_revision`` is 0 where the
    instance says nothing that counts.
    """

    instance: str
    state: Literal["starting", "running", "failed"]
    observed_revision: Revision
    error: str = ""
    attempts: int = 0
    since: str = ""


class VariantStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One variant (``<processor>/<variant>``) at its ``mod_revision``, and who runs it.

    No ``instances`` at all: nobody runs that processor. ``shared``: other flows may need it too.
    ``error`` says what is wrong with the variant itself: its key is not in etcd (``mod_revision``
    is 0 then, and no instance is asked).
    """

    name: str
    shared: bool
    state: VariantState
    mod_revision: Revision
    instances: tuple[InstanceReport, ...] = ()
    error: str = ""


class FlowStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The observed state of a flow whose record is at ``mod_revision`` (0: there is none).

    ``variants`` by name; none while the flow is paused.
    """

    flow: str
    state: FlowState
    mod_revision: Revision
    variants: tuple[VariantStatus, ...] = ()
    missing: tuple[str, ...] = ()
    """Processors that nobody runs, of which the flow has variants; sorted."""


class ProcessorInstance(msgspec.Struct, frozen=True, kw_only=True):
    """A live instance of a processor, as it says itself.

    ``pending`` and ``failed``: how many variants it names so. ``observed_revision`` is 0 where it
    says nothing that counts; ``started`` is RFC 3339, and what cannot be read is empty. ``leaving``
    are those of the named variants that are not in etcd any more; sorted.
    """

    instance: str
    observed_revision: Revision
    pending: int = 0
    failed: int = 0
    host: str = ""
    started: str = ""
    version: str = ""
    leaving: tuple[str, ...] = ()


class ProcessorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a processor shall run, and what its instances say of that.

    ``desired`` variants stand in etcd, of which ``running`` run without a failure anywhere.
    ``idle``: there is nothing to run. ``missing``: there is, and nobody runs the processor.
    ``variants`` by name; a list of all processors leaves them out, and those that instances leave.
    """

    processor: str
    state: ProcessorState
    desired: int
    running: int
    instances: tuple[ProcessorInstance, ...] = ()
    variants: tuple[VariantStatus, ...] = ()


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A live instance of a processor, and what of its status counts. Made by :meth:`read`."""

    name: str
    host: str = ""
    started: str = ""
    version: str = ""
    observed_revision: Revision = Revision(0)
    pending: frozenset[str] = frozenset()
    failed: Mapping[str, VariantFailure] = {}

    @classmethod
    def read(cls, name: str, status: InstanceStatus | None, mod_revision: Revision) -> Instance:
        """From the status that was put at ``mod_revision``; ``None``: it could not be read.

        One that says more than could be known at its own revision is of a time before a restore.
        """
        if status is None:
            return cls(name=name)
        about = cls(name=name, host=status.host, started=status.started, version=status.version)
        if status.observed_revision > mod_revision:
            return about
        return msgspec.structs.replace(
            about,
            observed_revision=Revision(status.observed_revision),
            pending=frozenset(status.pending),
            failed=status.failed,
        )

    def report(self, variant: str, revision: Revision) -> InstanceReport:
        """What it says of a variant, by its name within the processor, put at ``revision``."""
        observed = self.observed_revision
        if observed < revision:
            return InstanceReport(instance=self.name, state="starting", observed_revision=observed)
        failure = self.failed.get(variant)
        if failure is not None:
            return InstanceReport(
                instance=self.name,
                state="failed",
                observed_revision=observed,
                error=failure.error,
                attempts=failure.attempts,
                since=failure.since,
            )
        state: Literal["starting", "running"] = "starting" if variant in self.pending else "running"
        return InstanceReport(instance=self.name, state=state, observed_revision=observed)

    def has_left(self, variant: str, revision: Revision) -> bool:
        """Whether nothing runs here of a variant that was deleted at ``revision``.

        ``failed`` makes no claim either: a variant that cannot be stopped is named there.
        """
        named = variant in self.pending or variant in self.failed
        return self.observed_revision >= revision and not named


# -- folding -------------------------------------------------------------------------------------


def active_names(record: FlowRecord) -> list[VariantName]:
    """The variants that the flow has under ``/active-flow/``: none while it is paused.

    Raises ``InvalidName`` for a record that names what is no variant.
    """
    if record.paused is not None:
        return []
    return [*record.variants.own_names(), *record.variants.shared_names()]


def fold(
    flow: str,
    record: FlowRecord,
    mod_revision: Revision,
    variants: Mapping[VariantName, Revision],
    instances: Mapping[str, Sequence[Instance]],
) -> FlowStatus:
    """The status of a flow.

    ``record`` is at ``mod_revision``. ``variants`` has the mod_revision of each variant whose key
    exists, read at the same revision as the record; ``instances`` the live ones, by processor.
    Both may hold more than the flow needs. Raises ``InvalidName`` as :func:`active_names`.
    """
    if record.paused is not None:
        return FlowStatus(flow=flow, state="paused", mod_revision=mod_revision)
    shared = set(record.variants.shared)
    names = sorted(active_names(record))
    folded = tuple(
        _variant(
            name,
            shared=str(name) in shared,
            revision=variants.get(name),
            instances=instances.get(name.processor, ()),
        )
        for name in names
    )
    missing = sorted({n.processor for n in names if not instances.get(n.processor)})
    return FlowStatus(
        flow=flow,
        state=_worst(folded),
        mod_revision=mod_revision,
        variants=folded,
        missing=tuple(missing),
    )


def fold_processor(
    processor: str,
    variants: Mapping[VariantName, Revision],
    shared: Container[VariantName],
    instances: Sequence[Instance],
) -> ProcessorStatus:
    """The status of a processor, from its ``variants`` and live ``instances`` at one revision."""
    folded = tuple(
        _variant(name, shared=name in shared, revision=revision, instances=instances)
        for name, revision in sorted(variants.items())
    )
    there = {name.variant for name in variants}
    state: ProcessorState = _worst(folded)
    if not folded:
        state = "idle"
    elif not instances:
        state = "missing"
    return ProcessorStatus(
        processor=processor,
        state=state,
        desired=len(folded),
        running=sum(variant.state == "running" for variant in folded),
        instances=tuple(
            ProcessorInstance(
                instance=instance.name,
                observed_revision=instance.observed_revision,
                pending=len(instance.pending),
                failed=len(instance.failed),
                host=instance.host,
                started=instance.started,
                version=instance.version,
                leaving=tuple(sorted({*instance.pending, *instance.failed} - there)),
            )
            for instance in sorted(instances, key=lambda instance: instance.name)
        ),
        variants=folded,
    )


def stopped(flow: str) -> FlowStatus:
    """The status of a flow that has no record (any more)."""
    return FlowStatus(flow=flow, state="stopped", mod_revision=Revision(0))


def _variant(
    name: VariantName, *, shared: bool, revision: Revision | None, instances: Sequence[Instance]
) -> VariantStatus:
    if revision is None:
        return VariantStatus(
            name=str(name), shared=shared, state="failed", mod_revision=Revision(0), error=NO_KEY
        )
    reports = [instance.report(name.variant, revision) for instance in instances]
    reports.sort(key=lambda report: report.instance)
    states = {report.state for report in reports}
    state: VariantState = "starting"
    if "failed" in states:
        state = "degraded" if "running" in states else "failed"
    elif "running" in states:
        state = "running"
    return VariantStatus(
        name=str(name),
        shared=shared,
        state=state,
        mod_revision=revision,
        instances=tuple(reports),
    )


def _worst(variants: Iterable[VariantStatus]) -> VariantState:
    states = {variant.state for variant in variants}
    order: tuple[VariantState, ...] = ("failed", "degraded", "starting")
    return next((state for state in order if state in states), "running")


# -- waiting -------------------------------------------------------------------------------------


def settled(
    status: FlowStatus, *, revision: Revision = Revision(0), everywhere: bool = False
) -> bool:
    """Whether a wait for the flow to run is over, well or not: the state says which.

    Over is: each variant runs on one instance (``everywhere``: no live instance has anything left
    to start, so that ``degraded`` is the answer where some failed); or the flow is ``failed``,
    ``paused`` or ``stopped``, which waiting does not change. A status of a record older than
    ``revision``, that of the operation waited for, ends no wait.
    """
    if status.state == "stopped":
        return True
    if status.mod_revision < revision:
        return False
    if status.state == "failed":
        return True
    return not any(_unsettled(variant, everywhere) for variant in status.variants)


def lacking(
    status: FlowStatus, *, revision: Revision = Revision(0), everywhere: bool = False
) -> str:
    """What a wait that is not :func:`settled` still waits for, in words, without values."""
    if status.mod_revision < revision:
        return f"its record is at revision {status.mod_revision}, not at {revision} yet"
    names = [v.name for v in status.variants if _unsettled(v, everywhere)]
    parts = []
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        where = "everywhere" if everywhere else "anywhere"
        parts.append(f"not running {where} yet: {', '.join(names[:MOST_NAMED])}{more}")
    if status.missing:
        parts.append(f"nobody runs processor {', '.join(status.missing)}")
    return "; ".join(parts)


def _unsettled(variant: VariantStatus, everywhere: bool) -> bool:
    if everywhere and any(report.state == "starting" for report in variant.instances):
        return True
    return variant.state == "starting"


def not_left(
    processor: ProcessorStatus, names: Iterable[VariantName], revision: Revision
) -> list[str]:
    """Which of ``names``, taken away at ``revision``, may still run, and where: "p/v on instance".

    The same as :func:`stopped_everywhere`, seen from outside. Those of other processors are passed
    over, and so are those that are there (again): other flows keep them.
    """
    there = {variant.name for variant in processor.variants}
    gone = [n for n in names if n.processor == processor.processor and str(n) not in there]
    return [
        f"{name} on {instance.instance}"
        for name in gone
        for instance in processor.instances
        if instance.observed_revision < revision or name.variant in instance.leaving
    ]


def stopped_everywhere(
    names: Iterable[VariantName], revision: Revision, instances: Mapping[str, Iterable[Instance]]
) -> bool:
    """Whether variants that were deleted at ``revision`` run on no live instance any more.

    One whose status does not count (see :meth:`Instance.read`) may still run them.
    """
    return all(
        instance.has_left(name.variant, revision)
        for name in names
        for instance in instances.get(name.processor, ())
    )
