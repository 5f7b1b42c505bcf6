"""Errors at the command line: one table of exit codes (DESIGN §7), and what an operator can do.

Imported only once something has failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flowsvc import errors as flow
from flowsvc.bootstrap import BootstrapRefused
from flowsvc.cli.output import printable
from flowsvc.client import ServerUnavailable
from kvconfig import errors as kv

T = TypeVar("T")

__all__ = ["EXIT_CODES", "exit_code", "explain"]

FAILED, USAGE, NOT_FOUND, CONFLICT, INVALID, UNAVAILABLE, TIMED_OUT = range(1, 8)

EXIT_CODES: dict[type[Exception], int] = {
    flow.FlowServiceError: FAILED,
    flow.InvalidInput: INVALID,
    flow.NotFound: NOT_FOUND,
    flow.AlreadyExists: CONFLICT,
    flow.InUse: CONFLICT,
    flow.WrongState: CONFLICT,
    flow.PlanStale: CONFLICT,
    flow.VariantTaken: CONFLICT,
    flow.SharedVariantDiffers: CONFLICT,
    flow.RequestReused: CONFLICT,
    flow.TooMuchContention: CONFLICT,
    BootstrapRefused: CONFLICT,
    kv.KvError: FAILED,
    kv.InvalidName: INVALID,
    kv.InvalidValue: INVALID,
    kv.ReservedType: INVALID,
    kv.InvalidSchema: INVALID,
    kv.SchemaViolated: INVALID,
    kv.SchemaNotMet: CONFLICT,
    kv.Conflict: CONFLICT,
    kv.TooManyOperations: INVALID,
    kv.RequestTooLarge: INVALID,
    kv.TransactionAborted: CONFLICT,
    kv.Unavailable: UNAVAILABLE,
    TimeoutError: TIMED_OUT,
}
"""By class; a class that is not here has the code of the nearest one above it."""

LISTS = {
    "flow": "`flowctl flow list` shows what is there",
    "blueprint": "`flowctl blueprint list` shows what is there",
    "parameter type": "`flowctl parameter-type list` shows what is there",
    "history entry": "its `history` lists the operations that are known",
    "configuration item": "`flowctl config list TYPE` shows what is there",
    "schema": "`flowctl config list schema` shows what is there",
}
"""Where to look for what does not exist, by kind."""

CURES: dict[type[Exception], Callable[[Any], str]] = {
    flow.NotFound: lambda e: LISTS.get(e.kind, ""),
    flow.AlreadyExists: lambda e: (
        f"stop it first (`flowctl flow stop {e.name}`), or choose another id"
        if e.kind == "flow"
        else f"`flowctl {e.kind.replace(' ', '-')} put {e.name} FILE` replaces it"
    ),
    flow.InUse: lambda _: "--force does it all the same",
    flow.PlanStale: lambda _: "--dry-run shows the new plan, and its --check-revision",
    flow.SharedVariantDiffers: lambda _: (
        "`flowctl flow rollout` changes it for all flows of a blueprint at once"
    ),
    flow.VariantTaken: lambda _: "choose another flow id, or stop the flow that holds it",
    flow.TooMuchContention: lambda _: "try again",
    flow.Unauthenticated: lambda _: (
        "FLOWCTL_TOKEN_FILE names a file with a token, FLOWCTL_CERT and FLOWCTL_KEY a certificate"
    ),
    flow.Forbidden: lambda _: "who may do what stands in the --policy of the server",
    ServerUnavailable: lambda _: (
        "is it running? `flowctl serve` starts one, --server or FLOWCTL_SERVER names another, and "
        "with --endpoints none is needed"
    ),
    kv.Unavailable: lambda _: "is it running? --endpoints or ETCDCTL_ENDPOINTS names another",
    kv.OutcomeUnknown: lambda _: (
        "look what stands now; with the same --op, or with --if-revision, it is done once at most"
    ),
    kv.TooManyOperations: lambda _: "`flowctl import` writes any number, in many transactions",
}


def exit_code(error: Exception) -> int | None:
    """``None`` for what is no error of ours: a defect, which deserves its traceback."""
    return _nearest(EXIT_CODES, error)


def explain(error: Exception) -> str:
    """What went wrong, where, and what to do."""
    lines = [f"error: {_headline(error)}"]
    if isinstance(error, flow.InvalidInput):
        lines += [
            f"  {finding.severity}: {finding.path}: {finding.message}" for finding in error.findings
        ]
    elif isinstance(error, kv.SchemaViolated):
        lines += [f"  error: {finding}" for finding in error.findings]
    cure = _nearest(CURES, error)
    if cure and (hint := cure(error)):
        lines.append(f"hint: {hint}")
    return "\n".join(printable(line) for text in lines for line in text.splitlines())


def _headline(error: Exception) -> str:
    if isinstance(error, flow.InvalidInput):
        return f"{error.subject} is not valid" if error.findings else error.subject
    if isinstance(error, kv.SchemaViolated):
        return f"{kv.show_key(error.key)} is not as /schema/{error.type} demands"
    return str(error) or type(error).__name__


def _nearest(table: dict[type[Exception], T], error: Exception) -> T | None:
    return next((table[cls] for cls in type(error).__mro__ if cls in table), None)
