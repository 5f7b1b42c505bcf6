"""What lies in etcd, and who looks at it: watches, layout, instances, flows, history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from flowsvc.doctor.check import Check, etcdctl, flowctl, number, some, span, unlearnt
from flowsvc.doctor.facts import Facts, InstanceFacts, Unknown
from kvconfig.errors import show_key
from kvconfig.records import LAYOUT_VERSION

__all__ = ["flows", "fsck", "history", "instances", "layout", "watches"]

MUCH_HISTORY = 10_000
"""Entries. Of each flow the newest 20 stay, of one that is gone for as long as nobody prunes."""


def watches(facts: Facts) -> Iterator[Check]:
    """Whether a watch on each member is alive."""
    asked = [each for each in facts.endpoints if each.serves]
    if not asked:
        unknown = Unknown("no endpoint answered")
        yield unlearnt("watches", unknown, "it is not known whether changes are heard of")
        return
    silent = [e for e in asked if isinstance(e.watch_s, Unknown)]
    if silent:
        reasons = (
            f"{e.name}: {e.watch_s.reason}" for e in silent if isinstance(e.watch_s, Unknown)
        )
        yield Check(
            name="watches",
            verdict="error",
            found=some(reasons),
            means="a processor that watches there hears of no change until it tries another member",
            cure=("see the checks above: quorum, leader, rights",),
        )
        return
    slowest_s = max(e.watch_s for e in asked if not isinstance(e.watch_s, Unknown))
    found = f"a sign of life within {span(slowest_s)} at {number(len(asked), 'endpoint')}"
    yield Check(name="watches", verdict="ok", found=found, means="changes are heard of")


def layout(facts: Facts) -> Iterator[Check]:
    """Whether the keys are laid out as this program knows them."""
    found = facts.layout
    if isinstance(found, Unknown):
        yield unlearnt("layout", found, "it is not known whether these keys can be used")
    elif found is None:
        yield Check(
            name="layout",
            verdict="note",
            found=f"no version below {show_key(facts.keyspace.everything().start)}",
            means="no flow service has worked here yet, or it has another root",
            cure=(flowctl(facts, "serve"), "or name the root: --root @NAME"),
        )
    elif found == LAYOUT_VERSION:
        means = "this program knows these keys"
        yield Check(name="layout", verdict="ok", found=f"version {found}", means=means)
    else:
        newer = found > LAYOUT_VERSION
        yield Check(
            name="layout",
            verdict="error",
            found=f"version {found}; this program knows {LAYOUT_VERSION}",
            means=f"the keys are of {'a newer' if newer else 'an older'} version: all is refused",
            cure=("upgrade this program",) if newer else (flowctl(facts, "migrate --from-etcd"),),
        )


# -- instances -----------------------------------------------------------------------------------


def instances(facts: Facts) -> Iterator[Check]:
    """Who runs, who has fallen silent, whose status cannot be taken for what it says."""
    if isinstance(facts.instances, Unknown):
        yield unlearnt("instances", facts.instances, "it is not known what processors say")
        return
    problems = [
        *_silent(facts, [each for each in facts.instances if each.behind]),
        *_failing([each for each in facts.instances if each.status and each.status.failed]),
        *_restored([each for each in facts.instances if each.restored]),
        *_unreadable([each for each in facts.instances if each.status is None]),
        *_for_ever([each for each in facts.instances if not each.leased], facts),
    ]
    processors = len({each.processor for each in facts.instances})
    found = f"{number(len(facts.instances), 'instance')} of {number(processors, 'processor')}"
    if not problems:
        means = "all that run have seen their newest variants"
        yield Check(name="instances", verdict="ok", found=found, means=means)
    yield from problems


def _silent(facts: Facts, found: list[InstanceFacts]) -> Iterator[Check]:
    if not found:
        return
    lag = max(each.newest - (each.status.observed_revision if each.status else 0) for each in found)
    yield Check(
        name="instances",
        verdict="warning",
        found=f"silent: {some(found)}, up to {number(lag, 'revision')} behind their newest "
        f"variant, still after {span(facts.settle_s)}",
        means="it keeps its lease alive and does not act: its watch is stale, or it is stuck",
        cure=("look into its log, then restart it",),
    )


def _failing(found: list[InstanceFacts]) -> Iterator[Check]:
    if not found:
        return
    names = sorted(
        {f"{e.processor}/{v}" for e in found for v in (e.status.failed if e.status else ())}
    )
    yield Check(
        name="instances",
        verdict="warning",
        found=f"{number(len(names), 'variant')} failed at {some(found)}: {some(names)}",
        means="they do not run as desired there; it tries again by itself, ever less often",
        cure=("flowctl flow list -o wide, then flowctl flow describe ID: it has the errors",),
    )


def _restored(found: list[InstanceFacts]) -> Iterator[Check]:
    if not found:
        return
    yield Check(
        name="instances",
        verdict="warning",
        found=f"of a time before a restore: {some(found)}",
        means="it claims more than could be known when it was written, so nothing in it counts",
        cure=("restart the instance; if it is gone, its key goes with its lease",),
    )


def _unreadable(found: list[InstanceFacts]) -> Iterator[Check]:
    if not found:
        return
    yield Check(
        name="instances",
        verdict="warning",
        found=f"not readable: {some(found)}",
        means="it counts as there, and as running nothing",
        cure=("bring the processor and this program to one version",),
    )


def _for_ever(found: list[InstanceFacts], facts: Facts) -> Iterator[Check]:
    if not found:
        return
    keys = [show_key(facts.keyspace.processor(each.processor, each.name)) for each in found]
    yield Check(
        name="instances",
        verdict="warning",
        found=f"without a lease: {some(found)}",
        means="no instance writes so, and nothing removes it: flows seem to run on it",
        cure=tuple(etcdctl(facts, "del", key) for key in keys[:5]),
    )


# -- flows ---------------------------------------------------------------------------------------


def flows(facts: Facts) -> Iterator[Check]:
    """How many flows are in which state."""
    if isinstance(facts.flows, Unknown):
        yield unlearnt("flows", facts.flows, "it is not known which flows run")
        return
    counts = Counter(status.state for status in facts.flows)
    found = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
    failed = [status.flow for status in facts.flows if status.state == "failed"]
    waiting = [s.flow for s in facts.flows if s.state in ("starting", "degraded")]
    missing = sorted({name for status in facts.flows for name in status.missing})
    if not (failed or waiting):
        means = "all that should run do"
        yield Check(name="flows", verdict="ok", found=found, means=means)
        return
    nobody = f"; nobody runs processor {some(missing)}" if missing else ""
    yield Check(
        name="flows",
        verdict="error" if failed else "warning",
        found=f"{found}{nobody}",
        means=f"not running as desired: {some([*failed, *waiting])}",
        cure=(
            *([f"start an instance of {some(missing)}"] if missing else ()),
            *(flowctl(facts, "flow", "describe", flow) for flow in [*failed, *waiting][:3]),
        ),
    )


def fsck(facts: Facts) -> Iterator[Check]:
    """Whether all keys of flows are what their records say."""
    if isinstance(facts.anomalies, Unknown):
        yield unlearnt("fsck", facts.anomalies, "it is not known whether records and keys agree")
        return
    errors = [each for each in facts.anomalies if each.severity == "error"]
    warnings = len(facts.anomalies) - len(errors)
    if not facts.anomalies:
        means = "variants, references and history are what the records of flows say"
        yield Check(name="fsck", verdict="ok", found="all is well", means=means)
        return
    codes = sorted({each.code for each in facts.anomalies})
    mendable = any(each.repair is not None for each in facts.anomalies)
    yield Check(
        name="fsck",
        verdict="error" if errors else "warning",
        found=f"{number(len(errors), 'error')}, {number(warnings, 'warning')}: {some(codes)}",
        means="keys are there, or not there, against what the records of flows say",
        cure=(
            flowctl(facts, "fsck"),
            *([flowctl(facts, "fsck", "--repair")] if mendable else []),
        ),
    )


def history(facts: Facts) -> Iterator[Check]:
    """How much of what is stored is history."""
    if isinstance(facts.history, Unknown) or isinstance(facts.keys, Unknown):
        unknown = facts.history if isinstance(facts.history, Unknown) else facts.keys
        assert isinstance(unknown, Unknown)
        yield unlearnt("history", unknown, "it is not known how much of it there is")
        return
    found = f"{number(facts.history, 'entry', 'entries')} of {number(facts.keys, 'key')}"
    if facts.history > MUCH_HISTORY:
        yield Check(
            name="history",
            verdict="note",
            found=found,
            means="what is kept of flows that are gone goes only when it is pruned",
            cure=(flowctl(facts, "flow", "history", "prune", "--older-than", "30d"),),
        )
    else:
        yield Check(name="history", verdict="ok", found=found, means="it takes little room")
