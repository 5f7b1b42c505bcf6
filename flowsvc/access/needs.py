"""What each method of the API takes: a role, and what of the request it is needed for.

One table; a method that is not in it cannot be served (:func:`need_of`), and a test misses it.

* Who may look may look at previews too: one writes nothing, and tells nothing that its reader could
  not read. So a change can be shown to those who may not carry it out.
* What gives all there is (lists, and the watch of all flows) is allowed to everybody who may look
  at anything, and shows what the caller may look at.
* A roll-out changes all flows of a blueprint, and others that share something with them: it takes
  the role for all flows (``*``).
* Types of configuration that hold what flows are made of are a way round: reading those takes the
  role for everything. So does what ``apply`` keeps, which says what its next run removes.
* A processor works for all flows, and its status names their variants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from flowsvc.access.identity import Identity
from flowsvc.access.policy import Policy, Role, Touch
from flowsvc.api import config_methods as config
from flowsvc.api import methods as flow
from flowsvc.api.methods import Method
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.errors import Forbidden
from kvconfig.keyspace import RESERVED_TYPES

__all__ = ["NEEDS", "Need", "check", "need_of"]

Touches = Callable[[Any], Iterable[Touch]]


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """``role`` is needed for each of the ``touches`` of a request.

    ``shows``: what an item of the answer is about; those that the caller may not look at are left
    out.
    """

    role: Role
    touches: Touches
    shows: Callable[[Any], Touch] | None = None


ALL = "*"
_EVERYTHING = {"flow": ALL, "blueprint": ALL, "parameter_type": ALL}
_OF_FLOWS = frozenset(RESERVED_TYPES) - {"schema"}


def _nothing(_request: Any) -> Iterable[Touch]:
    return (Touch(),)


def _flow(request: Any) -> Iterable[Touch]:
    return (Touch(flow=request.flow),)


def _flow_of(request: Any) -> Iterable[Touch]:
    return (Touch(flow=request.flow, blueprint=request.blueprint_name or None),)


def _flows_of(request: Any) -> Iterable[Touch]:
    return (Touch(flow=ALL, blueprint=request.blueprint_name),)


def _blueprint(request: Any) -> Iterable[Touch]:
    return (Touch(blueprint=request.name),)


def _all_flows(_request: Any) -> Iterable[Touch]:
    return (Touch(flow=ALL),)


def _parameter_type(request: Any) -> Iterable[Touch]:
    return (Touch(parameter_type=request.name),)


def _history(request: Any) -> Iterable[Touch]:
    name = request.name or ALL
    match request.kind:
        case pb.HISTORY_KIND_FLOW:
            return (Touch(flow=name),)
        case pb.HISTORY_KIND_FLOW_BLUEPRINT:
            return (Touch(blueprint=name),)
        case pb.HISTORY_KIND_PARAMETER_TYPE:
            return (Touch(parameter_type=name),)
    return (Touch(**_EVERYTHING),)


def _config_type(type_: str) -> Touch:
    return Touch(config=type_, **(_EVERYTHING if type_ in _OF_FLOWS else {}))


def _applied(_request: Any) -> Iterable[Touch]:
    return (_config_type("applied"),)


def _config_types(types: Iterable[str]) -> list[Touch]:
    return [_config_type(type_) for type_ in sorted(set(types))] or [Touch()]


def _config(request: Any) -> Iterable[Touch]:
    return (_config_type(request.type),)


def _names(request: Any) -> Iterable[Touch]:
    return _config_types(name.type for name in request.names)


def _writes(request: Any) -> Iterable[Touch]:
    return _config_types(write.type for write in request.writes)


def _types(request: Any) -> Iterable[Touch]:
    return _config_types(request.types)


def _previewed(request: Any) -> Iterable[Touch]:
    """What the change would touch."""
    if field := request.WhichOneof("change"):
        return NEEDS[_BY_FIELD[field].path].touches(getattr(request, field))
    return _nothing(request)


_BY_FIELD = {method.field: method for method in flow.CHANGES}
_CHANGES: dict[str, tuple[Role, Touches]] = {
    "StartFlow": ("operator", _flow_of),
    "StopFlow": ("operator", _flow),
    "UpdateFlow": ("operator", _flow_of),
    "PauseFlow": ("operator", _flow),
    "ResumeFlow": ("operator", _flow),
    "RollBackFlow": ("operator", _flow),
    "RollOut": ("operator", _flows_of),
    "PutBlueprint": ("admin", _blueprint),
    "DeleteBlueprint": ("admin", _blueprint),
    "RollBackBlueprint": ("admin", _blueprint),
    "PutParameterType": ("admin", _parameter_type),
    "DeleteParameterType": ("admin", _parameter_type),
    "RollBackParameterType": ("admin", _parameter_type),
}


def _one(method: Method[Any, Any], role: Role, touches: Touches) -> tuple[str, Need]:
    return method.path, Need(role=role, touches=touches)


def _all(method: Method[Any, Any], shows: Callable[[Any], Touch]) -> tuple[str, Need]:
    return method.path, Need(role="viewer", touches=_nothing, shows=shows)


NEEDS: dict[str, Need] = dict(
    (
        *(_one(method, *_CHANGES[method.name]) for method in flow.CHANGES),
        _one(flow.RESTART_FLOW, "operator", _flow),
        _one(flow.PREVIEW, "viewer", _previewed),
        _one(flow.GET_FLOW, "viewer", _flow),
        _all(flow.LIST_FLOWS, lambda found: Touch(flow=found.id)),
        _one(flow.GET_BLUEPRINT, "viewer", _blueprint),
        _all(flow.LIST_BLUEPRINTS, lambda found: Touch(blueprint=found.name)),
        _one(flow.GET_PARAMETER_TYPE, "viewer", _parameter_type),
        _all(flow.LIST_PARAMETER_TYPES, lambda found: Touch(parameter_type=found.name)),
        _one(flow.GET_HISTORY, "viewer", _history),
        _one(flow.PRUNE_HISTORY, "admin", _history),
        _one(flow.GET_FLOW_STATUS, "viewer", _flow),
        _all(flow.LIST_FLOW_STATUSES, lambda found: Touch(flow=found.flow)),
        _one(flow.GET_PROCESSOR, "viewer", _all_flows),
        _one(flow.LIST_PROCESSORS, "viewer", _nothing),
        _all(flow.WATCH_FLOWS, lambda found: Touch(flow=found.flow)),
        _one(config.GET, "viewer", _names),
        _all(config.LIST_TYPES, _config_type),
        _one(config.LIST_KEYS, "viewer", _config),
        _one(config.GET_VALUES, "viewer", _config),
        (
            config.GET_EVERYTHING.path,
            Need(role="viewer", touches=_types, shows=lambda found: _config_type(found.type)),
        ),
        _one(config.PUT, "operator", _writes),
        _one(config.DELETE, "operator", _writes),
        _one(config.PUT_APPLIED, "operator", _applied),
        _one(config.PUT_SCHEMA, "admin", _config),
        _one(config.DELETE_SCHEMA, "admin", _config),
        _one(config.WATCH_CONFIG, "viewer", _config),
    )
)
"""By the method's name on the wire."""


def need_of(method: Method[Any, Any]) -> Need:
    """What it takes. KeyError for a method that nobody has given a role."""
    return NEEDS[method.path]


def check(policy: Policy, identity: Identity, method: Method[Any, Any], request: Any) -> None:
    """Raise :class:`flowsvc.errors.Forbidden` unless the policy allows the request."""
    need, rights = need_of(method), policy.rights_of(identity)
    for touch in need.touches(request):
        if not rights.permit(need.role, touch):
            raise Forbidden(identity.name, method=method.name, role=need.role, what=str(touch))
