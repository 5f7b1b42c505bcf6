"""Whether each flow refers to just what it shares, and to the blueprint that it is made from."""

from __future__ import annotations

from collections.abc import Iterator

from flowsvc.audit.anomaly import Anomaly, anomaly, unchanged
from flowsvc.audit.system import Flow, System
from kvconfig.keyspace import VariantName
from kvconfig.model import KeyValue
from kvconfig.txn import Delete, Put, Txn, absent

__all__ = ["check_refs", "check_uses"]


def check_refs(system: System) -> Iterator[Anomaly]:
    """References to shared variants."""
    keyspace, refs = system.keyspace, system.keys.refs
    for name, claim in system.claims.items():
        known = refs.get(name, {})
        for flow in claim.shared:
            if flow.id not in known:
                key = keyspace.flow_ref(VariantName.parse(name), flow.id)
                said = f"is missing: flow {flow.id!r} shares {name}, which could go under it"
                yield _missing("missing-ref", key, said, flow)
    for name, flows in refs.items():
        for id_, kv in flows.items():
            holder = system.flows.get(id_)
            if holder is None or (holder.record is not None and name not in holder.shared):
                said = f"keeps {name} alive for flow {id_!r}, which does not share it"
                yield _stray("stray-ref", kv, said, id_, system)


def check_uses(system: System) -> Iterator[Anomaly]:
    """Uses of blueprints."""
    keyspace, uses = system.keyspace, system.keys.uses
    for flow in system.flows.values():
        if flow.record is not None:
            blueprint = flow.record.blueprint_name
            if (blueprint, flow.id) not in uses:
                key = keyspace.blueprint_use(blueprint, flow.id)
                said = f"is missing: blueprint {blueprint!r} could be deleted under {flow.id!r}"
                yield _missing("missing-use", key, said, flow)
    for (blueprint, id_), kv in uses.items():
        user = system.flows.get(id_)
        if user is None or (user.record is not None and user.record.blueprint_name != blueprint):
            said = f"keeps blueprint {blueprint!r} for flow {id_!r}, which is not made from it"
            yield _stray("stray-use", kv, said, id_, system)


def _missing(code: str, key: bytes, said: str, flow: Flow) -> Anomaly:
    repair = Txn((absent(key), flow.guard), (Put(key, b"{}"),))
    return anomaly(code, key, said, repair, does="puts it")


def _stray(code: str, kv: KeyValue, said: str, id_: str, system: System) -> Anomaly:
    flow = system.flows.get(id_)
    guard = absent(system.keyspace.flow(id_)) if flow is None else flow.guard
    return anomaly(
        code, kv.key, said, Txn((unchanged(kv), guard), (Delete(kv.key),)), does="deletes it"
    )
