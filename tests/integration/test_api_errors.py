"""Errors over gRPC: the client raises what the service raised, class and fields."""

from __future__ import annotations

import inspect
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
from flowsvc.server import serve
from kvconfig.errors import (
    InvalidName,
    InvalidValue,
    KvError,
    Unavailable,
)
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
            methods.PUT_BLUEPRINT.path, pb.PutBlueprintRequest.SerializeToString, pb.Done.FromString
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
    """A bug in the service ends the call with INTERNAL; its text stays in the service's log."""
    flows.error = ZeroDivisionError("secret")
    async with connected(flows) as client:
        with pytest.raises(FlowServiceError) as raised:
            await client.get_flow("f")
    assert "secret" not in str(raised.value)
    assert "INTERNAL" in str(raised.value)
    (record,) = [r for r in caplog.records if r.name == "flowsvc.server"]
    assert record.exc_info is not None
    assert record.exc_info[1] is flows.error


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
