"""Whether just those variants stand that the flows have, each with its value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from flowsvc.audit.anomaly import Anomaly, anomaly, unchanged
from flowsvc.audit.system import Claims, Flow, System, listed, value_of
from kvconfig.codec import encode
from kvconfig.keyspace import VariantName
from kvconfig.model import KeyValue, Revision
from kvconfig.txn import Delete, Put, Txn, absent, not_newer

__all__ = ["check_variants"]


def check_variants(system: System) -> Iterator[Anomaly]:
    """Each that stands has a flow, and each that a flow has stands as it should."""
    active, claims = system.keys.active, system.claims
    doubt = _doubts(system)
    for name, kv in active.items():
        if name not in claims:
            yield _orphan(name, kv, doubt, system)
    for name, claim in claims.items():
        holders = {flow.id for flow in (*claim.own, *claim.shared)}
        if claim.own and len(holders) > 1:
            yield _claimed_twice(name, claim, system)
        else:
            yield from _variant(name, claim.own or claim.shared, active.get(name), system)


def _doubts(system: System) -> Callable[[str], str | None]:
    """Which flow may have a variant, though no record that can be trusted names it."""
    unread = next((flow.id for flow in system.flows.values() if flow.record is None), None)
    disputed = {name: flow.id for flow in system.flows.values() for name in flow.disputed}
    return lambda name: disputed.get(name, unread)


def _orphan(name: str, kv: KeyValue, doubt: Callable[[str], str | None], system: System) -> Anomaly:
    """A processor runs what no flow has.

    A flow that starts could take it up without writing it, if it finds a reference to it that is
    stray: hence the compare of the references.
    """
    claimant = doubt(name)
    refs = system.keyspace.flow_ref_range(VariantName.parse(name))
    known = (ref.mod_revision for ref in system.keys.refs.get(name, {}).values())
    guards = (unchanged(kv), not_newer(refs, Revision(max(known, default=0))))
    return anomaly(
        "orphan-variant",
        kv.key,
        "runs, and belongs to no flow: somebody wrote it by hand, or deleted the flow's record",
        None if claimant is not None else Txn(guards, (Delete(kv.key),)),
        does="deletes it",
        cure=f"it may be one of flow {claimant!r}: settle first what is said of that one",
    )


def _claimed_twice(name: str, claim: Claims, system: System) -> Anomaly:
    key = system.keyspace.active_flow(VariantName.parse(name))
    said = f"is said to belong to {listed(claim.own)} alone"
    if claim.shared:
        said += f", and to be shared by {listed(claim.shared)}"
    return anomaly("claimed-twice", key, said, cure="stop or update one of them")


def _variant(
    name: str, holders: Sequence[Flow], kv: KeyValue | None, system: System
) -> Iterator[Anomaly]:
    """One that is claimed as it should be: whether it stands, with the value it should have."""
    knowing = [flow for flow in holders if name in flow.values]
    wanted = knowing[0].values[name] if knowing else None
    agreed = all(flow.values[name] == wanted for flow in knowing)
    stands = None if kv is None else value_of(kv)
    if stands is not None and agreed and (wanted is None or wanted == stands):
        return
    key = system.keyspace.active_flow(VariantName.parse(name))
    repair = None
    plain = wanted is not None and any(system.is_plain(flow, {name: wanted}) for flow in knowing)
    if wanted is not None and agreed:
        still = absent(key) if kv is None else unchanged(kv)
        if not plain:
            repair = Txn((still, knowing[0].guard), (Put(key, encode(wanted)),))
    does = f"puts the value that the history of {listed(knowing)} has"
    cure = f"no history says what it should be: update or stop {listed(holders)}"
    if not agreed:
        cure = "the histories of its flows differ: roll the blueprint out, or stop one of them"
    elif plain:
        cure = "what it was is a secret by now: update the flow, with a reference"
    if kv is None:
        said = f"is missing, {listed(holders)} should have it"
        yield anomaly("missing-variant", key, said, repair, does=does, cure=cure)
    elif stands is None:
        said = f"of {listed(holders)} is no value of a variant, so no processor can run it"
        yield anomaly("broken-variant", key, said, repair, does=does, cure=cure)
    elif agreed:
        said = f"has another value than the last operation of {listed(knowing)} gave it"
        yield anomaly("wrong-value", key, said, repair, does=does, cure=cure)
    else:
        for flow in knowing:
            if flow.values[name] != stands:
                said = f"has another value than the last operation of {listed([flow])} gave it"
                yield anomaly("wrong-value", key, said, cure=cure)
