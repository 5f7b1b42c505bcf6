"""Whether a flow can be made from each blueprint, and each flow has its own still."""

from __future__ import annotations

from collections.abc import Iterator

from flowsvc.audit.anomaly import Anomaly, anomaly
from flowsvc.audit.system import System
from flowsvc.blueprint import parse_blueprint
from flowsvc.errors import BlueprintInvalid

__all__ = ["check_blueprints"]


def check_blueprints(system: System) -> Iterator[Anomaly]:
    """Warnings only: flows run, and stop, without their blueprints."""
    for name, kv in system.keys.blueprints.items():
        try:
            parse_blueprint(name, kv.value)
        except BlueprintInvalid as error:
            (first, *_) = (each for each in error.findings if each.severity == "error")
            yield anomaly(
                "broken-blueprint",
                kv.key,
                f"no flow can be made from it: {first.path}",
                cure="`flowctl blueprint put` says all that is wrong",
                severity="warning",
            )
    for flow in system.flows.values():
        if flow.record is not None and flow.record.blueprint_name not in system.keys.blueprints:
            yield anomaly(
                "blueprint-missing",
                flow.kv.key,
                f"its blueprint {flow.record.blueprint_name!r} does not exist: it runs, but cannot "
                "be updated",
                cure="put the blueprint again, or stop the flow",
                severity="warning",
            )
