"""Every error of the processors, in one tree, with fields and not only prose.

::

    ProcessorError
    ├── Permanent               trying again gives the same answer: only a new put changes it
    │   └── InvalidVariant          what is wrong in the variant, each with its JSON path
    ├── SecretUnavailable       a secret that a variant refers to cannot be had, for now
    ├── StartTimeout            a variant did not start in time
    ├── UpdateTimeout           a variant did not take a change in time: it is replaced
    ├── StopTimeout             a variant did not stop in time, and may still be doing something
    └── CannotHost              a class or an id with which no processor can be run

Whatever else a processor raises counts as a passing failure of that one variant, and is retried.
Raise :class:`ProcessorError` itself for what is expected to pass: it is told in one line, anything
else with its traceback.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "CannotHost",
    "Finding",
    "InvalidVariant",
    "Permanent",
    "ProcessorError",
    "SecretUnavailable",
    "StartTimeout",
    "StopTimeout",
    "UpdateTimeout",
]


class ProcessorError(Exception):
    """Root of the tree: catch this to catch all that processors raise on purpose."""


class Permanent(ProcessorError):
    """Raise this where trying again is useless: the variant waits for its next put."""


class Finding(NamedTuple):
    """One thing that is wrong in a variant: where (``$.parameters.chunk-size``), and what."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class InvalidVariant(Permanent):
    """A variant that is not what its processor declared. Values never appear in it."""

    def __init__(self, path: str, reason: str, *others: Finding) -> None:
        self.findings = (Finding(path, reason), *others)
        super().__init__("; ".join(map(str, self.findings)))


class SecretUnavailable(ProcessorError):
    """What ``reference`` stands for cannot be had, and why. It is tried again: it may come."""

    def __init__(self, reference: str, reason: str) -> None:
        self.reference, self.reason = reference, reason
        super().__init__(f"secret {reference}: {reason}")


class StartTimeout(ProcessorError):
    """Entering ``variant()`` took longer than the processor's ``start_timeout_s``."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(f"did not start within {timeout_s:g} s")


class UpdateTimeout(ProcessorError):
    """``update()`` took longer than the processor's ``start_timeout_s``."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(f"did not take the change within {timeout_s:g} s")


class StopTimeout(ProcessorError):
    """Leaving ``variant()`` took longer than the processor's ``stop_timeout_s``, cancelled or not.

    Nothing of this variant is started before the old one has really ended.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(f"does not stop: still running {timeout_s:g} s after it was asked to")


class CannotHost(ProcessorError):
    """A class, an id or an instance name with which no processor can be run."""
