"""Values to messages and back: nothing is lost, whatever they hold."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, NewType, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from flowsvc.api import convert, methods
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.errors import Finding
from flowsvc.model import (
    Definition,
    Done,
    Flow,
    HistoryEntry,
    HistoryKind,
    PauseFlow,
    Preview,
    Pruned,
    VariantChange,
)
from flowsvc.status import FlowStatus, InstanceReport, VariantStatus
from kvconfig.codec import encode
from tests.texts import text

some = settings(max_examples=30, deadline=None)

JSON: SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text(), inner, max_size=3),
    max_leaves=5,
)
SIMPLE: dict[Any, SearchStrategy[Any]] = {
    Any: JSON,
    str: text(),
    bytes: text().map(str.encode),
    bool: st.booleans(),
    int: st.integers(0, 2**31 - 1),
    type(None): st.none(),
    dict[str, Any]: st.dictionaries(text(), JSON, max_size=3),
}


def values_of(type_: Any) -> SearchStrategy[Any]:
    """Every value that a field of such a type can have on the wire."""
    if type_ in SIMPLE:
        return SIMPLE[type_]
    if isinstance(type_, NewType):  # a revision
        return st.integers(0, 2**63 - 1)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return structs(type_)
    origin, args = get_origin(type_), get_args(type_)
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, types.UnionType):
        return st.one_of(*(values_of(arg) for arg in args))
    if origin is tuple:
        return st.lists(values_of(args[0]), max_size=3).map(tuple)
    assert origin in (dict, Mapping), type_
    # Parameters arrive as text, whatever they were given as.
    either = get_origin(args[1]) in (Union, types.UnionType)
    inner = text() if either else values_of(args[1])
    return st.dictionaries(text(), inner, max_size=3)


def structs(struct: type[msgspec.Struct], **fixed: Any) -> SearchStrategy[Any]:
    """Values of a struct, every field drawn by its type."""
    fields = {
        field.name: st.just(fixed[field.name])
        if field.name in fixed
        else text(min_size=1)
        if field.name == "workspace"  # empty on the wire means: the default one
        else values_of(field.type)
        for field in msgspec.structs.fields(struct)
    }
    return st.builds(struct, **fields)


def over_the_wire(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())


@pytest.mark.parametrize("method", methods.CHANGES, ids=lambda method: method.name)
@some
@given(data=st.data())
def test_a_change_survives(method, data):
    """A request is the same after it travelled, alone or in a preview."""
    fixed = {} if method.kind is None else {"kind": method.kind}
    request = data.draw(structs(method.asks, **fixed))
    assert methods.change_method(request) is method
    message = over_the_wire(convert.change_to(request))
    assert isinstance(message, method.request)
    assert convert.change_from(method, message) == request
    assert convert.preview_from(over_the_wire(convert.preview_to(request))) == request


@some
@given(structs(PauseFlow))
def test_a_restart_survives(request_):
    """So is what asks for a restart."""
    assert convert.restart_from(over_the_wire(convert.restart_to(request_))) == request_


ANSWERS = [
    Done,
    Finding,
    Preview,
    VariantChange,
    HistoryEntry,
    Pruned,
    FlowStatus,
    VariantStatus,
    InstanceReport,
]


@pytest.mark.parametrize("struct", ANSWERS)
@some
@given(data=st.data())
def test_an_answer_survives(struct, data):
    """An answer is the same after it travelled, with every field that it has."""
    answer = data.draw(structs(struct))
    assert convert.answer_from(over_the_wire(convert.answer_to(answer)), struct) == answer


@some
@given(structs(Flow))
def test_a_flow_survives(flow):
    """Record and all; given and paused are not the same as nothing given, nothing paused."""
    assert convert.flow_from(over_the_wire(convert.flow_to(flow))) == flow


@pytest.mark.parametrize("message", [pb.Blueprint, pb.ParameterType])
@some
@given(data=st.data())
def test_a_definition_survives(message, data):
    """Blueprints and parameter types keep their numbers as they are written."""
    definition = data.draw(structs(Definition))
    back = convert.definition_from(over_the_wire(convert.definition_to(definition, message)))
    assert back == definition
    assert encode(back) == encode(definition), "1 and 1.0 are not the same"


def test_every_choice_has_a_number():
    """A word added to a Literal must be added to the enum of its field."""
    for kind in get_args(HistoryKind):
        assert convert.history_kind_from(convert.history_kind_to(kind)) == kind


def test_a_choice_of_a_later_version_reads_as_the_first():
    """An answer with a state that is not known here is still an answer."""
    message = pb.FlowStatus(flow="f")
    message.state = 99  # type: ignore[assignment]
    assert convert.answer_from(over_the_wire(message), FlowStatus).state == "starting"


def test_a_later_versions_missing_fields_are_defaults():
    """A server that knows less than we do leaves fields out."""
    flow = convert.flow_from(pb.Flow(id="f"))
    assert (flow.record.workspace, flow.record.given) == ("default", None)
