"""What a change is about: whose history it goes into, and what to call it."""

from __future__ import annotations

import msgspec

from flowsvc.model import (
    AdoptFlow,
    Change,
    DeleteDefinition,
    HistoryKind,
    PauseFlow,
    PutDefinition,
    ResumeFlow,
    RollBackDefinition,
    RollBackFlow,
    RollOut,
    StartFlow,
    StopFlow,
    UpdateFlow,
)

__all__ = ["VERBS", "Target", "target_of"]

VERBS: dict[type, str] = {
    AdoptFlow: "adopt",
    StartFlow: "start",
    StopFlow: "stop",
    UpdateFlow: "update",
    PauseFlow: "pause",
    ResumeFlow: "resume",
    RollBackFlow: "rollback",
    RollOut: "roll-out",
    PutDefinition: "put",
    DeleteDefinition: "delete",
    RollBackDefinition: "rollback",
}
"""The word for each change, as its history has it."""


class Target(msgspec.Struct, frozen=True):
    """``verb`` is done to ``name``, of type ``kind``."""

    verb: str
    kind: HistoryKind
    name: str

    def __str__(self) -> str:
        return f"{self.verb} of {self.kind} {self.name!r}"


def target_of(request: Change | AdoptFlow) -> Target:
    """What the request is about."""
    verb = VERBS[type(request)]
    if isinstance(request, PutDefinition | DeleteDefinition | RollBackDefinition):
        return Target(verb, request.kind, request.name)
    if isinstance(request, RollOut):
        return Target(verb, "flow-blueprint", request.blueprint_name)
    return Target(verb, "flow", request.flow)
