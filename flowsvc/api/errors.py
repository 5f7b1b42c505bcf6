"""One table: each error of ours, its gRPC code, and the fields that travel with it.

An error crosses the wire as a ``google.rpc.Status`` in ``grpc-status-details-bin``: an
``ErrorInfo`` says which one it is and holds its fields, a ``BadRequest`` holds findings. The client
makes the same error of it, so callers cannot tell whether the service runs in their process.

Codes follow google.rpc.code.proto. What the *service* may not do in etcd is FAILED_PRECONDITION,
not PERMISSION_DENIED: the caller's own rights are not in question.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

import grpc

# Generated, with stubs but without py.typed.
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

import flowsvc.errors as flow
import kvconfig.errors as kv
from flowsvc.errors import Finding

__all__ = ["DETAILS_KEY", "DOMAIN", "TABLE", "Row", "error_from", "reason_of", "status_to"]

DETAILS_KEY = "grpc-status-details-bin"
DOMAIN = "flow.kvconfig"

_MESSAGE_LIMIT = 1_000  # characters; the whole message is made again from the fields
_FIELD_LIMIT = 500
_SAFE = "/@:+ "  # what a key may hold unquoted, beside letters, digits and _.-~


class Kind(NamedTuple):
    """How a field travels as text."""

    to: Callable[[Any], str]
    back: Callable[[str], Any]


TEXT = Kind(str, str)
NUMBER = Kind(str, int)
KEY = Kind(lambda key: quote_from_bytes(key, safe=_SAFE), unquote_to_bytes)
KEYS = Kind(
    lambda keys: json.dumps([KEY.to(key) for key in keys]),
    lambda text: [KEY.back(key) for key in json.loads(text)],
)
TEXTS = Kind(lambda texts: json.dumps(list(texts)), json.loads)
ENDPOINTS = Kind(lambda texts: json.dumps(list(texts)), lambda text: tuple(json.loads(text)))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One error: its code, and its fields by the name that its constructor gives them.

    A field that is ``None`` is left out. ``findings`` come from the ``BadRequest``; an error
    without fields (``bare``) takes its message as it is.
    """

    code: grpc.StatusCode
    fields: Mapping[str, Kind] = field(default_factory=dict)
    findings: bool = False
    bare: bool = False


_code = grpc.StatusCode
_INVALID = Row(code=_code.INVALID_ARGUMENT, fields={"subject": TEXT}, findings=True)
_NAMED = {"kind": TEXT, "name": TEXT}
_VARIANT = {"flow": TEXT, "variant": TEXT, "holder": TEXT}
_REASON = {"reason": TEXT}

TABLE: dict[type[flow.FlowServiceError | kv.KvError], Row] = {
    flow.FlowServiceError: Row(code=_code.INTERNAL, bare=True),
    flow.InvalidInput: _INVALID,
    flow.BlueprintInvalid: _INVALID,
    flow.ParameterTypeInvalid: _INVALID,
    flow.ParametersInvalid: _INVALID,
    flow.FlowTooLarge: Row(
        code=_code.INVALID_ARGUMENT, fields={"flow": TEXT, "count": NUMBER, "limit": NUMBER}
    ),
    flow.NotFound: Row(code=_code.NOT_FOUND, fields=_NAMED),
    flow.AlreadyExists: Row(code=_code.ALREADY_EXISTS, fields=_NAMED),
    flow.InUse: Row(code=_code.FAILED_PRECONDITION, fields={**_NAMED, "users": TEXTS}),
    flow.WrongState: Row(
        code=_code.FAILED_PRECONDITION, fields={"flow": TEXT, "state": TEXT, "cure": TEXT}
    ),
    flow.FlowDamaged: Row(
        code=_code.FAILED_PRECONDITION, fields={"flow": TEXT, "key": TEXT, "reason": TEXT}
    ),
    flow.PlanStale: Row(
        code=_code.ABORTED, fields={"key": TEXT, "revision": NUMBER, "check_revision": NUMBER}
    ),
    flow.VariantTaken: Row(code=_code.FAILED_PRECONDITION, fields=_VARIANT),
    flow.SharedVariantDiffers: Row(
        code=_code.FAILED_PRECONDITION, fields={**_VARIANT, "fields": TEXTS}
    ),
    flow.RequestReused: Row(code=_code.FAILED_PRECONDITION, fields={"op": TEXT, "was": TEXT}),
    flow.TooMuchContention: Row(code=_code.ABORTED, fields={"what": TEXT, "attempts": NUMBER}),
    flow.Unauthenticated: Row(code=_code.UNAUTHENTICATED),
    flow.Forbidden: Row(
        code=_code.PERMISSION_DENIED,
        fields={"identity": TEXT, "method": TEXT, "role": TEXT, "what": TEXT},
    ),
    kv.KvError: Row(code=_code.INTERNAL, bare=True),
    kv.InvalidName: Row(
        code=_code.INVALID_ARGUMENT, fields={"name": TEXT, "what": TEXT, "rule": TEXT}
    ),
    kv.InvalidValue: Row(
        code=_code.INVALID_ARGUMENT, fields={"reason": TEXT, "path": TEXT, "key": KEY}
    ),
    kv.SchemaViolated: Row(
        code=_code.INVALID_ARGUMENT, fields={"type_": TEXT, "key": KEY}, findings=True
    ),
    kv.SchemaNotMet: Row(code=_code.FAILED_PRECONDITION, fields={"type_": TEXT, "keys": KEYS}),
    kv.InvalidSchema: Row(
        code=_code.INVALID_ARGUMENT, fields={"type_": TEXT, "reason": TEXT, "path": TEXT}
    ),
    kv.ReservedType: Row(code=_code.INVALID_ARGUMENT, fields={"type_": TEXT, "owner": TEXT}),
    kv.Conflict: Row(code=_code.ABORTED, fields={"key": KEY, "expected": NUMBER, "actual": NUMBER}),
    kv.LayoutTooNew: Row(
        code=_code.FAILED_PRECONDITION, fields={"found": NUMBER, "supported": NUMBER}
    ),
    kv.LayoutTooOld: Row(
        code=_code.FAILED_PRECONDITION, fields={"found": NUMBER, "supported": NUMBER}
    ),
    kv.StoreError: Row(code=_code.INTERNAL, bare=True),
    kv.RequestRefused: Row(code=_code.INTERNAL, bare=True),
    kv.TooManyOperations: Row(
        code=_code.INVALID_ARGUMENT, fields={"count": NUMBER, "limit": NUMBER}
    ),
    kv.RequestTooLarge: Row(code=_code.INVALID_ARGUMENT, fields={"size": NUMBER, "limit": NUMBER}),
    kv.DuplicateKey: Row(code=_code.INTERNAL),
    kv.LeaseNotFound: Row(code=_code.FAILED_PRECONDITION, fields={"lease": NUMBER}),
    kv.PermissionDenied: Row(code=_code.FAILED_PRECONDITION, fields={"key": KEY}),
    kv.AuthenticationFailed: Row(code=_code.FAILED_PRECONDITION, fields=_REASON),
    kv.TransactionAborted: Row(code=_code.ABORTED),
    kv.NoSpace: Row(code=_code.RESOURCE_EXHAUSTED),
    kv.ResponseTooLarge: Row(code=_code.RESOURCE_EXHAUSTED),
    kv.Compacted: Row(code=_code.OUT_OF_RANGE, fields={"compact_revision": NUMBER}),
    kv.FutureRevision: Row(code=_code.OUT_OF_RANGE),
    kv.Unavailable: Row(code=_code.UNAVAILABLE, fields={**_REASON, "endpoints": ENDPOINTS}),
    kv.OutcomeUnknown: Row(code=_code.UNKNOWN, fields=_REASON),
    kv.WatchEnded: Row(code=_code.ABORTED, fields=_REASON),
}


def reason_of(error: type[flow.FlowServiceError | kv.KvError]) -> str:
    """What ``ErrorInfo.reason`` says: FLOW_TOO_LARGE for FlowTooLarge."""
    name = error.__name__
    return "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(name)).upper()


_BY_REASON = {reason_of(error): error for error in TABLE}


# -- out -----------------------------------------------------------------------------------------


def status_to(
    error: flow.FlowServiceError | kv.KvError, *, limit_bytes: int
) -> tuple[grpc.StatusCode, status_pb2.Status]:
    """The error as it travels, in at most ``limit_bytes``: what does not fit is left out, said so.

    A subclass that the table does not hold goes as the nearest one above it.
    """
    known = next(cls for cls in type(error).__mro__ if cls in TABLE)
    row = TABLE[known]
    info = error_details_pb2.ErrorInfo(reason=reason_of(known), domain=DOMAIN)
    for name, kind in row.fields.items():
        value = getattr(error, name.removesuffix("_"))
        if value is not None:
            info.metadata[name] = _printable(kind.to(value))
    status = status_pb2.Status(code=row.code.value[0], message=_clip(str(error), _MESSAGE_LIMIT))
    status.details.add().Pack(info)
    if status.ByteSize() > limit_bytes:
        for name, text in info.metadata.items():
            info.metadata[name] = _clip(text, _FIELD_LIMIT)
        status.details[0].Pack(info)
    violations = _violations(list(_findings(error)), limit_bytes - status.ByteSize())
    if violations is not None:
        status.details.add().Pack(violations)
    return row.code, status


def _findings(error: flow.FlowServiceError | kv.KvError) -> Iterable[Finding]:
    """What is wrong with the input, for ``BadRequest``."""
    if isinstance(error, flow.InvalidInput):
        yield from error.findings
    elif isinstance(error, kv.SchemaViolated):
        yield from (Finding(found.path, found.message) for found in error.findings)
    elif isinstance(error, kv.InvalidValue | kv.InvalidSchema):
        yield Finding(error.path, error.reason)
    elif isinstance(error, kv.InvalidName):
        yield Finding(error.what, error.rule)
    elif isinstance(error, kv.ReservedType):
        yield Finding("type", str(error))


def _violations(findings: list[Finding], room_bytes: int) -> error_details_pb2.BadRequest | None:
    """As many as there is room for; the last one says how many are left out."""
    bad = error_details_pb2.BadRequest()
    room_bytes -= 200  # the envelope, and the line that says "more"
    for index, finding in enumerate(findings):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_printable(finding.path),
            description=_printable(finding.message),
            reason=finding.severity.upper(),
        )
        room_bytes -= violation.ByteSize() + 6
        if room_bytes < 0:
            left = f"and {len(findings) - index} more, left out: too long for an error's details"
            bad.field_violations.add(field="$", description=left, reason="ERROR")
            break
        bad.field_violations.append(violation)
    return bad if findings else None


def _printable(text: str) -> str:
    """Lone surrogates, which a message cannot hold, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _clip(text: str, limit: int) -> str:
    text = _printable(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


# -- back ----------------------------------------------------------------------------------------


def error_from(status: status_pb2.Status) -> flow.FlowServiceError | kv.KvError:
    """The error that :func:`status_to` was given.

    One that this version does not know (the server is newer) becomes an ``InvalidInput`` where
    there are findings, else a ``FlowServiceError``, with the server's message.
    """
    info, findings = _details(status)
    cls = _BY_REASON.get(info.reason) if info.domain == DOMAIN else None
    if cls is None:
        if findings:
            return flow.InvalidInput(status.message, findings)
        return flow.FlowServiceError(status.message)
    row = TABLE[cls]
    if row.bare:
        return cls(status.message)
    values: dict[str, Any] = dict.fromkeys(row.fields)
    for name, text in info.metadata.items():
        if kind := row.fields.get(name):
            values[name] = kind.back(text)
    if row.findings:
        values["findings"] = findings
    try:
        return cls(**values)
    except (AttributeError, TypeError, ValueError):  # another version: other fields
        return flow.FlowServiceError(status.message)


def _details(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo, list[Finding]]:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            detail.Unpack(bad)
    findings = [
        Finding(v.field, v.description, "warning" if v.reason == "WARNING" else "error")
        for v in bad.field_violations
    ]
    return info, findings
