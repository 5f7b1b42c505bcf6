"""Each operation as one transaction: what it compares, what it writes. Pure.

A planner takes a request and a :class:`flowsvc.view.View` and gives a :class:`Plan`, or the answer
to a request that was carried out before (:class:`Repeated`), or raises a refusal. The compares
prove, inside etcd, that what the view said still holds; the failure branch reads what the view was
asked for, so that the next plan starts from what stands.

Everything is guarded by the absence of the operation's own history entry. So the *same*
transaction may be sent twice: the second one fails, and reads what the first has done.

``core`` has what all planners share, ``variants`` the heart of those for flows, ``made`` what goes
into it: what a flow is, and what it shall be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowsvc.model import (
    AdoptFlow,
    Change,
    DeleteDefinition,
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
from flowsvc.plan.adopt import plan_adopt
from flowsvc.plan.core import ABANDONED, Operation, Plan, Repeated, Unproven
from flowsvc.plan.definitions import plan_delete, plan_put, plan_roll_back_definition
from flowsvc.plan.flows import (
    plan_pause,
    plan_resume,
    plan_roll_back,
    plan_start,
    plan_stop,
    plan_update,
)
from flowsvc.plan.rollout import plan_roll_out
from flowsvc.view import View

__all__ = ["ABANDONED", "Operation", "Plan", "Repeated", "Unproven", "plan"]

_PLANNERS: Mapping[type, Callable[[Any, Operation, View], Plan | Repeated]] = {
    AdoptFlow: plan_adopt,
    StartFlow: plan_start,
    StopFlow: plan_stop,
    UpdateFlow: plan_update,
    PauseFlow: plan_pause,
    ResumeFlow: plan_resume,
    RollBackFlow: plan_roll_back,
    RollOut: plan_roll_out,
    PutDefinition: plan_put,
    DeleteDefinition: plan_delete,
    RollBackDefinition: plan_roll_back_definition,
}


def plan(request: Change | AdoptFlow, operation: Operation, view: View) -> Plan | Repeated:
    """The plan for any change: see the planner of its kind."""
    return _PLANNERS[type(request)](request, operation, view)
