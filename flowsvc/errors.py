"""Every error of the flow service, in one tree, with fields and not only prose.

::

    FlowServiceError
    ├── InvalidInput            the request can never work as it is
    │   ├── BlueprintInvalid        findings, each with its JSON path
    │   ├── ParameterTypeInvalid    the same, for a parameter type
    │   ├── ParametersInvalid       violations, each with its path
    │   └── FlowTooLarge            more than one transaction can hold
    ├── NotFound                a flow, blueprint or parameter type that is not there
    ├── AlreadyExists           a flow that is there already
    ├── InUse                   a definition that others rest on, and who they are
    ├── WrongState              a flow that is paused, or that is not
    ├── FlowDamaged             keys of a flow that are not as its record says
    ├── PlanStale               something that a plan rests on was written since it was shown
    ├── VariantTaken            an own variant that exists already, and whose it is
    ├── SharedVariantDiffers    a shared variant that runs with another value
    ├── RequestReused           an operation id that did something else before
    ├── TooMuchContention       others kept writing first; nothing was done
    ├── Unauthenticated         who calls the API is not known
    └── Forbidden               who calls is known, and may not do that

What the store itself says (not available, outcome unknown, …) comes as a
:class:`kvconfig.errors.KvError`, unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

__all__ = [
    "AlreadyExists",
    "BlueprintInvalid",
    "Finding",
    "FlowDamaged",
    "FlowServiceError",
    "FlowTooLarge",
    "Forbidden",
    "InUse",
    "InvalidInput",
    "NotFound",
    "ParameterTypeInvalid",
    "ParametersInvalid",
    "PlanStale",
    "RequestReused",
    "SharedVariantDiffers",
    "TooMuchContention",
    "Unauthenticated",
    "VariantTaken",
    "WrongState",
]


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, where (a JSON path such as ``$.flow.chunker:{id}.topics``)."""

    path: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.severity}: {self.path}: {self.message}"


class FlowServiceError(Exception):
    """Root of the tree: catch this to catch all that the flow service raises on purpose."""


class InvalidInput(FlowServiceError):
    """The request can never work as it is; ``findings`` says all that is wrong at once."""

    def __init__(self, subject: str, findings: Iterable[Finding]) -> None:
        self.subject = subject
        self.findings = tuple(findings)
        errors = [finding for finding in self.findings if finding.severity == "error"]
        listed = "; ".join(f"{finding.path}: {finding.message}" for finding in errors[:20])
        more = f"; and {len(errors) - 20} more" if len(errors) > 20 else ""
        super().__init__(f"{subject}: {listed}{more}")


class BlueprintInvalid(InvalidInput):
    """A blueprint that cannot be stored, or from which this flow cannot be made."""


class ParameterTypeInvalid(InvalidInput):
    """A parameter type that cannot be stored."""


class ParametersInvalid(InvalidInput):
    """Parameters of a flow that its blueprint does not accept."""


class FlowTooLarge(InvalidInput):
    """The flow needs more operations, or more bytes, than one transaction can hold."""

    def __init__(self, flow: str, *, count: int, limit: int) -> None:
        self.flow, self.count, self.limit = flow, count, limit
        message = f"needs {count} operations, one transaction holds {limit}"
        super().__init__(f"flow {flow!r} is too large", [Finding("$", message)])


class NotFound(FlowServiceError):
    """There is no such flow, blueprint or parameter type."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"{kind} {name!r} does not exist")


class AlreadyExists(FlowServiceError):
    """There is one already: stop it first, or choose another id."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"{kind} {name!r} exists already")


class InUse(FlowServiceError):
    """Others rest on a blueprint or a parameter type: ``users``, each as ``<type>/<name>``."""

    def __init__(self, kind: str, name: str, *, users: Sequence[str]) -> None:
        self.kind, self.name, self.users = kind, name, tuple(users)
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        super().__init__(
            f"{kind} {name!r} is in use by {', '.join(users[:5])}{more}; "
            "force it, and they go on with what they were made from"
        )


class WrongState(FlowServiceError):
    """The flow is in a state in which this cannot be done."""

    def __init__(self, flow: str, *, state: str, cure: str) -> None:
        self.flow, self.state, self.cure = flow, state, cure
        super().__init__(f"flow {flow!r} is {state}: {cure}")


class FlowDamaged(FlowServiceError):
    """A key of the flow is missing, or cannot be read, so nothing can be built on it."""

    def __init__(self, flow: str, *, key: str, reason: str) -> None:
        self.flow, self.key, self.reason = flow, key, reason
        super().__init__(
            f"flow {flow!r} is damaged: {key} {reason}; flowctl fsck --repair mends what it can"
        )


class PlanStale(FlowServiceError):
    """A key was written after the revision at which the plan was shown."""

    def __init__(self, key: str, *, revision: int, check_revision: int) -> None:
        self.key, self.revision, self.check_revision = key, revision, check_revision
        super().__init__(
            f"the plan is stale: {key} was written at revision {revision}, after "
            f"{check_revision}; look at a new plan"
        )


class VariantTaken(FlowServiceError):
    """A variant that the flow would own exists already.

    ``holder`` is the flow that owns it, where one is known; else somebody wrote it by hand.
    """

    def __init__(self, flow: str, variant: str, *, holder: str | None) -> None:
        self.flow, self.variant, self.holder = flow, variant, holder
        whose = f"flow {holder!r}" if holder else "no flow that is known"
        super().__init__(f"flow {flow!r} needs variant {variant}, which belongs to {whose}")


class SharedVariantDiffers(FlowServiceError):
    """A shared variant runs already, for another flow, with another value."""

    def __init__(
        self, flow: str, variant: str, *, holder: str | None, fields: Sequence[str]
    ) -> None:
        self.flow, self.variant, self.holder, self.fields = flow, variant, holder, tuple(fields)
        whose = f"flow {holder!r}" if holder else "somebody that is no flow"
        super().__init__(
            f"flow {flow!r} shares variant {variant} with {whose}, but with another value of "
            f"{', '.join(fields)}: give the same, or stop the other first"
        )


class RequestReused(FlowServiceError):
    """An operation id that was used for another request, or whose request was given up."""

    def __init__(self, op: str, *, was: str) -> None:
        self.op, self.was = op, was
        super().__init__(f"operation {op!r} was {was} before: choose a new id")


class TooMuchContention(FlowServiceError):
    """Others wrote first, again and again. Nothing was done; try again."""

    def __init__(self, what: str, *, attempts: int) -> None:
        self.what, self.attempts = what, attempts
        super().__init__(f"{what}: others wrote first {attempts} times; nothing was done")


class Unauthenticated(FlowServiceError):
    """Who calls is not known. The same for every reason: a stranger learns nothing by trying."""

    def __init__(self) -> None:
        super().__init__("who calls is not known: a certificate or a token that counts is needed")


class Forbidden(FlowServiceError):
    """``identity`` may not call ``method``, which takes ``role`` for ``what`` the request names."""

    def __init__(self, identity: str, *, method: str, role: str, what: str) -> None:
        self.identity, self.method, self.role, self.what = identity, method, role, what
        about = f" for {what}" if what else ""
        super().__init__(f"{identity} may not call {method}: it takes the role {role}{about}")
