"""The values: what is read strictly, what is forgiven, and how they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kvconfig.codec import encode
from kvconfig.errors import InvalidName, InvalidValue
from kvconfig.keyspace import VariantName
from kvconfig.records import (
    LAYOUT_VERSION,
    FlowRecord,
    FlowVariants,
    HistoryRecord,
    InstanceStatus,
    LayoutRecord,
    VariantFailure,
    VariantRecord,
    decode_flow,
    decode_history,
    decode_json_object,
    decode_layout,
    decode_status,
    decode_variant,
)

VARIANT = VariantRecord(topics={"out": "t", "in": "s"}, parameters={"size": "1"})
FLOW = FlowRecord(
    blueprint_name="b",
    description="d",
    interfaces={"api": {"request": "q"}},
    parameters={"size": "1"},
    variants=FlowVariants(own=("chunker/f1",), shared=("query/v",)),
    op="op-1",
)
PAUSED = msgspec.structs.replace(FLOW, interfaces={}, paused={"chunker/f1": VARIANT})
STATUS = InstanceStatus(
    observed_revision=7,
    pending=("f1",),
    failed={"f2": VariantFailure(error="boom", attempts=2, since="2026-01-01T00:00:00Z")},
    host="h",
    started="2026-01-01T00:00:00Z",
    version="1",
)

FLOW_DATA = (
    b'{"blueprint-name":"b","description":"d","interfaces":{"api":{"request":"q"}},"op":"op-1",'
    b'"parameters":{"size":"1"},"variants":{"own":["chunker/f1"],"shared":["query/v"]}}'
)
PAUSED_DATA = (
    b'{"blueprint-name":"b","description":"d","interfaces":{},"op":"op-1",'
    b'"parameters":{"size":"1"},"paused":{"chunker/f1":{"parameters":{"size":"1"},'
    b'"topics":{"in":"s","out":"t"}}},"variants":{"own":["chunker/f1"],"shared":["query/v"]}}'
)
STATUS_DATA = (
    b'{"failed":{"f2":{"attempts":2,"error":"boom","since":"2026-01-01T00:00:00Z"}},"host":"h",'
    b'"observed-revision":7,"pending":["f1"],"started":"2026-01-01T00:00:00Z","version":"1"}'
)
STOPPED = HistoryRecord(action="stop", by="me", at="2026-01-01T00:00:00Z", why="")
STOPPED_DATA = b'{"action":"stop","after":null,"at":"2026-01-01T00:00:00Z","by":"me","why":""}'

WRITTEN: list[tuple[Any, Callable[..., Any], bytes]] = [
    (VARIANT, decode_variant, b'{"parameters":{"size":"1"},"topics":{"in":"s","out":"t"}}'),
    (VariantRecord(), decode_variant, b'{"parameters":{},"topics":{}}'),
    (FLOW, decode_flow, FLOW_DATA),
    (PAUSED, decode_flow, PAUSED_DATA),
    (STOPPED, decode_history, STOPPED_DATA),
    (STATUS, decode_status, STATUS_DATA),
    (LayoutRecord(version=LAYOUT_VERSION), decode_layout, b'{"version":1}'),
]


@pytest.mark.parametrize(("record", "decoder", "data"), WRITTEN)
def test_written(record: Any, decoder: Callable[..., Any], data: bytes) -> None:
    """Each record has one form under DESIGN's field names, and comes back equal."""
    assert encode(record) == data
    assert decoder(data) == record


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b'{"topics":{},"parameters":{},"extra":1}', "$"),
        (b'{"Topics":{}}', "$"),
        (b'{"topics":{"in":1}}', "$.topics.in"),
        (b'{"topics":{"a":"x"},"parameters":{"size":10,"name":"n"}}', "$.parameters.size"),
        (b'{"parameters":{"a":"x","b":true}}', "$.parameters.b"),
        (b'{"parameters":{"a":"x","b":{"c":"d"}}}', "$.parameters.b"),
        (b'{"parameters":{"a":null}}', "$.parameters.a"),
        (b'{"topics":[]}', "$.topics"),
        (b'{"topics":null}', "$.topics"),
        (b'["topics"]', "$"),
        (b"null", "$"),
        (b"not json", "$"),
        (b"", "$"),
    ],
)
def test_variants_are_strict(data: bytes, path: str) -> None:
    """What a processor acts on holds topics and parameters, texts all, and nothing else."""
    with pytest.raises(InvalidValue) as caught:
        decode_variant(data, key=b"/active-flow/chunker/f1")
    assert (caught.value.path, caught.value.key) == (path, b"/active-flow/chunker/f1")


def test_a_variant_may_leave_out() -> None:
    """No topics, or no parameters, is as good as empty ones."""
    assert decode_variant(b"{}") == VariantRecord()
    assert decode_variant(b'{"topics":{"a":"b"}}') == VariantRecord(topics={"a": "b"})


@pytest.mark.parametrize(("record", "decoder", "data"), WRITTEN[2:])
def test_newer_fields(record: Any, decoder: Callable[..., Any], data: bytes) -> None:
    """Fields that a newer version added to the other records are ignored."""
    assert decoder(data[:-1] + b',"new-field":{"x":[1]}}') == record


@pytest.mark.parametrize(
    ("decoder", "data", "path"),
    [
        (decode_status, b'{"host":"h","started":"s","version":"v"}', "$"),
        (decode_status, encode(STATUS).replace(b"7", b'"7"'), "$.observed-revision"),
        (decode_status, encode(STATUS).replace(b'"f1"', b"1"), "$.pending[0]"),
        (decode_status, encode(STATUS).replace(b'"boom"', b"[]"), "$.failed.f2.error"),
        (decode_flow, encode(FLOW).replace(b'"q"', b"1"), "$.interfaces.api.request"),
        (decode_flow, encode(FLOW).replace(b'"op-1"', b"null"), "$.op"),
        (decode_layout, b'{"version":"1"}', "$.version"),
        (decode_history, b'{"action":"x"}', "$"),
        (decode_json_object, b"[]", "$"),
        (decode_json_object, b'"text"', "$"),
    ],
)
def test_wrong_records(decoder: Callable[..., Any], data: bytes, path: str) -> None:
    """A record that is not what its key promises is refused, with the exact place."""
    with pytest.raises(InvalidValue) as caught:
        decoder(data)
    assert caught.value.path == path


def test_flow_variants() -> None:
    """A flow's record names its variants without the root; a name that is none is refused."""
    assert FLOW.variants.own_names() == [VariantName("chunker", "f1")]
    assert FLOW.variants.shared_names() == [VariantName("query", "v")]
    with pytest.raises(InvalidName):
        FlowVariants(own=("chunker",)).own_names()


def test_records_are_values() -> None:
    """Records compare by value and cannot be changed."""
    assert VariantRecord(parameters={"a": "1"}) == decode_variant(b'{"parameters":{"a":"1"}}')
    with pytest.raises(AttributeError):
        VARIANT.topics = {}  # type: ignore[misc] # which is the promise
