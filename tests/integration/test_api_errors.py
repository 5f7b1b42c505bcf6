"""Errors over gRPC: the client raises what the service raised, class and fields."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterator
from contextlib import aclosing, suppress
from io import StringIO
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

import flowsvc.errors
import kvconfig.errors
from flowsvc.api import methods
from flowsvc.api.errors import DETAILS_KEY, TABLE, error_from, status_to
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.errors import (
    BlueprintInvalid,
    Finding,
    FlowServiceError,
    InvalidInput,
    ParameterTypeInvalid,
)
from flowsvc.model import Actor, Definition, PutDefinition, StartFlow
from flowsvc.server import serve
from kvconfig import jsonlog
from kvconfig.errors import InvalidName, InvalidValue, KvError, OutcomeUnknown, Unavailable
from kvconfig.model import Revision
from tests.every_error import ERRORS
from tests.fake_flows import FakeFlows, connected


@pytest.fixture
def flows() -> FakeFlows:
    return FakeFlows()


# -- errors --------------------------------------------------------------------------------------


def all_errors(module: Any, root: type) -> set[type]:
    return {
        found for _, found in inspect.getmembers(module, inspect.isclass) if issubclass(found, root)
    }


EVERY_CLASS = all_errors(flowsvc.errors, FlowServiceError) | all_errors(kvconfig.errors, KvError)


def test_every_error_has_a_row_and_an_example():
    """An error class added to either tree must be added to the table, and to this test."""
    assert set(TABLE) == EVERY_CLASS
    assert {type(error) for error in ERRORS} == EVERY_CLASS


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_crosses_the_wire_with_its_fields(flows, error):
    """The client raises the very class that the service raised, equal field by field."""
    flows.error = error
    async with connected(flows) as client:
        with pytest.raises(type(error)) as raised:
            await client._one(methods.GET_FLOW, pb.GetFlowRequest(flow="f"))
    got = raised.value
    assert type(got) is type(error)
    expected = dict(vars(error))
    if isinstance(error, InvalidName):  # an invalid character cannot travel: it comes escaped
        expected["name"] = "f\\udcff oo"
    assert vars(got) == expected
    assert str(got) == str(error) or isinstance(error, InvalidName)
    assert len(flows.asked) == (4 if isinstance(error, Unavailable) else 1)


async def test_foreign_clients_get_standard_details(flows):
    """A plain gRPC client finds google.rpc's ErrorInfo and BadRequest, within default limits."""
    many = [Finding(f"$.flow.p{n}", "is wrong " * 10) for n in range(2_000)]
    flows.error = BlueprintInvalid("blueprint 'b'", many)
    async with serve(flows) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            f"/{methods.SERVICE}/PutBlueprint",
            pb.PutBlueprintRequest.SerializeToString,
            pb.Done.FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(pb.PutBlueprintRequest(name="b", definition="{}"), timeout=5)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = status_pb2.Status.FromString(dict(raised.value.trailing_metadata() or ())[DETAILS_KEY])
    assert status.code == 3
    assert status.message == raised.value.details()
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    status.details[0].Unpack(info)
    status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("BLUEPRINT_INVALID", "flow.kvconfig")
    shown = len(bad.field_violations) - 1
    assert shown > 10
    assert bad.field_violations[0].field == "$.flow.p0"
    assert bad.field_violations[-1].description.startswith(f"and {2_000 - shown} more")


async def test_many_findings_reach_our_client_whole(flows):
    """A thousand findings come one by one, though gRPC's default would let sixty through."""
    many = tuple(Finding(f"$.flow.p{n}", "is wrong " * 10) for n in range(1_000))
    flows.error = BlueprintInvalid("blueprint 'b'", many)
    async with connected(flows) as client:
        with pytest.raises(BlueprintInvalid) as raised:
            await client.put_blueprint("b", b"{}")
    assert raised.value.findings == many


@pytest.mark.parametrize("limit", [1_000, 5_000, 50_000])
def test_details_keep_their_limit(limit):
    """However large an error is, its details fit what the caller can take."""
    wide = [Finding("$." + "p" * 300, "m" * 300) for _ in range(500)]
    for error in (
        BlueprintInvalid("s" * 100_000, wide),
        InvalidName("n" * 100_000, what="flow id", rule="A-Z"),
        Unavailable("r" * 100_000),
    ):
        _, status = status_to(error, limit_bytes=limit)
        assert status.ByteSize() <= max(limit, 2_500)
        assert type(error_from(status)) is type(error)


def test_errors_of_another_version_are_still_errors():
    """An unknown reason, and missing or additional fields, never make the client fail itself."""
    for error in ERRORS:
        _, status = status_to(error, limit_bytes=10_000)
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        info.metadata["new"] = "field"
        status.details[0].Pack(info)
        assert type(error_from(status)) is type(error)
        info.metadata.clear()
        status.details[0].Pack(info)
        assert isinstance(error_from(status), FlowServiceError | KvError)
        info.reason = "INVENTED_LATER"
        status.details[0].Pack(info)
        later = error_from(status)
        assert isinstance(later, FlowServiceError)
        assert isinstance(later, InvalidInput) is bool(len(status.details) > 1), (
            "findings are kept where there are any"
        )


async def test_a_defect_is_logged_and_not_told(flows, caplog):
    """A bug in the service ends the call with INTERNAL; its log says where, and not with what."""
    flows.error = ZeroDivisionError("secret")
    async with connected(flows) as client:
        with pytest.raises(FlowServiceError) as raised:
            await client.get_flow("f")
    assert "secret" not in str(raised.value)
    assert "INTERNAL" in str(raised.value)
    (record,) = [r for r in caplog.records if r.name == "flowsvc.server"]
    said = vars(record)
    assert (said["method"], said["error"]) == ("GetFlow", "ZeroDivisionError")
    assert said["at"][-1].startswith("fake_flows.py:")
    assert said["at"][-1].endswith(" _answer")


@pytest.fixture
def json_log() -> Iterator[StringIO]:
    """What is logged as JSON, of every logger and from the lowest level on."""
    root, written = logging.getLogger(), StringIO()
    handlers, level = root.handlers[:], root.level
    jsonlog.configure("json", written, logging.DEBUG)
    yield written
    root.handlers[:], root.level = handlers, level


SECRET = "hunter2-of-the-user"


@pytest.mark.parametrize(
    "error",
    [
        None,
        KeyError(SECRET),
        InvalidInput("flow 'f'", [Finding("$.parameters.key", f"{SECRET} is no number")]),
        InvalidValue(SECRET, path="$.parameters.key"),
        Unavailable(SECRET),
        OutcomeUnknown(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_logged_holds_no_value(flows, json_log, error):
    """Neither a request nor an answer, nor what an error says of them, gets into the log."""
    secret = {"key": SECRET}
    flows.error = error
    flows.definition = Definition(name="b", definition=secret, mod_revision=Revision(1))
    actor = Actor(by="ada", why=SECRET)
    start = StartFlow(flow="f", blueprint_name="b", parameters=secret, actor=actor)
    put = PutDefinition(kind="flow-blueprint", name="b", definition=json.dumps(secret).encode())
    async with connected(flows) as client, aclosing(client.watch_flows()) as watch:
        for call in (
            client.change(start),
            client.change(put),
            client.preview(start),
            client.get_definition("parameter-type", "b"),
            client.list_definitions("flow-blueprint"),
            *([] if isinstance(error, Unavailable) else [anext(watch)]),
        ):
            with suppress(FlowServiceError, KvError):
                await call
    assert SECRET not in json_log.getvalue()
    lines = [json.loads(line) for line in json_log.getvalue().splitlines()]
    ours = [line for line in lines if line["logger"] == "flowsvc.server"]
    assert {line["method"] for line in ours} >= (
        {"StartFlow", "GetParameterType"} if error else set()
    )


async def test_text_that_no_message_holds_is_refused_at_home(flows):
    """Bytes that are not UTF-8 end as the errors that the service in process gives for them."""
    async with connected(flows) as client:
        with pytest.raises(InvalidValue):
            await client.get_flow("f\udcff")
        with pytest.raises(BlueprintInvalid):
            await client.put_blueprint("b", b"\xff")
        with pytest.raises(ParameterTypeInvalid):
            await client.put_parameter_type("p", b"\xff")
    assert flows.asked == []
