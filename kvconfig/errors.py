"""Every error of the config layer, in one tree, with fields and not only prose.

::

    KvError
    ├── InvalidName            a name or key that the keyspace refuses
    ├── InvalidValue           a value that is not what its key promises
    ├── InvalidSchema          what shall be the schema of a type is none
    ├── SchemaViolated         a value that is not as the schema of its type demands
    ├── SchemaNotMet           a new schema that is not met by what stands there
    ├── ReservedType           a write past the guards of the flow service
    ├── Conflict               a compare of a write did not hold
    ├── LayoutTooNew           the data was laid out by a newer version
    ├── LayoutTooOld           the data was laid out by an older version
    └── StoreError             what the store itself says
        ├── RequestRefused         terminal: sending it again gives the same answer
        │   ├── TooManyOperations
        │   ├── RequestTooLarge
        │   ├── DuplicateKey
        │   ├── LeaseNotFound
        │   ├── PermissionDenied
        │   ├── AuthenticationFailed
        │   └── TransactionAborted     a nested guard ended the whole transaction
        ├── NoSpace                terminal until an operator acts; deletes still pass
        ├── ResponseTooLarge       the answer is over the receive limit: ask for less
        ├── Compacted              the revision asked for is gone: list again
        ├── FutureRevision         the revision asked for does not exist yet
        ├── Unavailable            nothing happened; may be sent again
        ├── OutcomeUnknown         a write that may or may not have been committed
        └── WatchEnded             the stream ended: list again

Messages name the key and the cure. Values never appear in a message: they may be secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "AuthenticationFailed",
    "Compacted",
    "Conflict",
    "DuplicateKey",
    "FutureRevision",
    "InvalidName",
    "InvalidSchema",
    "InvalidValue",
    "KvError",
    "LayoutTooNew",
    "LayoutTooOld",
    "LeaseNotFound",
    "NoSpace",
    "OutcomeUnknown",
    "PermissionDenied",
    "RequestRefused",
    "RequestTooLarge",
    "ReservedType",
    "ResponseTooLarge",
    "SchemaNotMet",
    "SchemaViolated",
    "StoreError",
    "TooManyOperations",
    "TransactionAborted",
    "Unavailable",
    "Violation",
    "WatchEnded",
    "show_key",
]


def show_key(key: bytes) -> str:
    """A key as a person reads it: UTF-8, whatever is not printable escaped."""
    text = key.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class KvError(Exception):
    """Root of the tree: catch this to catch all that kvconfig raises on purpose."""


class InvalidName(KvError):
    """A name, or a part of a key, that is not allowed. It is refused, never normalised."""

    def __init__(self, name: str, *, what: str, rule: str) -> None:
        self.name, self.what, self.rule = name, what, rule
        shown = show_key(name.encode("utf-8", "backslashreplace"))
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"{what} {shown!r} is not allowed: {rule}")


class InvalidValue(KvError):
    """A value that does not decode to what its key promises.

    ``path`` is where in the JSON (``$.parameters.size``), ``reason`` what is wrong there.
    """

    def __init__(self, reason: str, *, path: str = "$", key: bytes = b"") -> None:
        self.key, self.path, self.reason = key, path, reason
        where = f"{show_key(key)} " if key else ""
        super().__init__(f"{where}at {path}: {reason}")

    def at(self, key: bytes) -> InvalidValue:
        """The same finding, with the key under which the value stands."""
        return InvalidValue(self.reason, path=self.path, key=key)


class Violation(NamedTuple):
    """One thing that is wrong with a value: where (``$.text``), and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class SchemaViolated(KvError):
    """A value that is not as the schema of its type demands. It never holds the value."""

    def __init__(self, type_: str, key: bytes, findings: Iterable[Violation]) -> None:
        self.type, self.key = type_, key
        self.findings = tuple(Violation(found.path, found.message) for found in findings)
        super().__init__(
            f"{show_key(key)} is not as /schema/{type_} demands: "
            + "; ".join(map(str, self.findings))
        )


class SchemaNotMet(KvError):
    """A new schema that is not met by what stands there. Nothing was written."""

    def __init__(self, type_: str, keys: Iterable[bytes]) -> None:
        self.type, self.keys = type_, tuple(keys)
        shown = ", ".join(map(show_key, self.keys[:10])) + (", …" if len(self.keys) > 10 else "")
        super().__init__(
            f"{len(self.keys)} of type {type_!r} are not as the new schema demands: {shown}; "
            "change these first, or force it"
        )


class InvalidSchema(KvError):
    """What is, or shall be, the schema of a type cannot be used as one."""

    def __init__(self, type_: str, reason: str, *, path: str = "$") -> None:
        self.type, self.path, self.reason = type_, path, reason
        super().__init__(f"/schema/{type_} at {path}: {reason}")


class ReservedType(KvError):
    """A write through the config layer to a type that only its owner may write."""

    def __init__(self, type_: str, *, owner: str) -> None:
        self.type, self.owner = type_, owner
        super().__init__(f"type {type_!r} is written by {owner} only; use it instead")


class Conflict(KvError):
    """Somebody else wrote first: ``key`` is at ``actual`` (0: absent), not at ``expected``."""

    def __init__(self, key: bytes, *, expected: int | None, actual: int | None) -> None:
        self.key, self.expected, self.actual = key, expected, actual
        super().__init__(
            f"{show_key(key)} is {_at(actual)}, expected {_at(expected)}; read it and try again"
        )


def _at(revision: int | None) -> str:
    if revision is None:
        return "at another revision"
    return f"at mod_revision {revision}" if revision else "absent"


class LayoutTooOld(KvError):
    """The keys were laid out by an older version of this program."""

    def __init__(self, *, found: int, supported: int) -> None:
        self.found, self.supported = found, supported
        super().__init__(
            f"the data has layout version {found}, this program needs {supported}: "
            "run `flowctl migrate --from-etcd` first"
        )


class LayoutTooNew(KvError):
    """The keys were laid out by a newer version of this program."""

    def __init__(self, *, found: int, supported: int) -> None:
        self.found, self.supported = found, supported
        super().__init__(
            f"the data has layout version {found}, this program knows {supported}: upgrade it"
        )


class StoreError(KvError):
    """The store refused, failed or could not be reached. The transport's error is its cause."""


class RequestRefused(StoreError):
    """The request itself is wrong: sending it again gives the same answer."""


class TooManyOperations(RequestRefused):
    """More operations than one transaction can hold (etcd's ``--max-txn-ops``)."""

    def __init__(self, *, count: int | None = None, limit: int | None = None) -> None:
        self.count, self.limit = count, limit
        said = f"{count} operations, " if count is not None else "too many operations, "
        bound = f"at most {limit} fit" if limit is not None else "more than fit"
        super().__init__(f"{said}{bound} into one transaction")


class RequestTooLarge(RequestRefused):
    """The request is over the size limit (1.5 MiB by default in etcd)."""

    def __init__(self, *, size: int | None = None, limit: int | None = None) -> None:
        self.size, self.limit = size, limit
        said = f" of {size} bytes" if size is not None else ""
        bound = f" of {limit} bytes" if limit is not None else ""
        super().__init__(f"a request{said} is over the size limit{bound}")


class DuplicateKey(RequestRefused):
    """One transaction writes one key twice."""

    def __init__(self) -> None:
        super().__init__("one transaction writes one key twice")


class LeaseNotFound(RequestRefused):
    """The lease has expired or was revoked."""

    def __init__(self, lease: int) -> None:
        self.lease = lease
        super().__init__(f"lease {lease:x} does not exist any more")


class PermissionDenied(RequestRefused):
    """The user may not touch ``key`` (or the range that starts there)."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        where = show_key(key) if key else "this request"
        super().__init__(f"permission denied for {where}: grant the role what it needs")


class AuthenticationFailed(RequestRefused):
    """User, password or token are not accepted, or are missing."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"authentication failed: {reason}")


class TransactionAborted(RequestRefused):
    """A guard inside a nested transaction did not hold: nothing was written.

    See :func:`kvconfig.txn.assemble`. Which key it was, a read tells.
    """

    def __init__(self) -> None:
        super().__init__("a guard in a nested transaction did not hold; nothing was written")


class NoSpace(StoreError):
    """The NOSPACE alarm is on: the database has reached its quota."""

    def __init__(self) -> None:
        super().__init__(
            "etcd is out of space: compact, defragment and disarm the alarm, or raise the quota"
        )


class ResponseTooLarge(StoreError):
    """The answer to a read is larger than this client takes; ask for less at a time."""

    def __init__(self) -> None:
        super().__init__("the answer is over the receive limit: ask for less at a time")


class Compacted(StoreError):
    """The revision asked for has been compacted; what is newer can be listed."""

    def __init__(self, *, compact_revision: int | None = None) -> None:
        self.compact_revision = compact_revision
        upto = f" up to {compact_revision}" if compact_revision else ""
        super().__init__(f"revisions{upto} have been compacted: list again")


class FutureRevision(StoreError):
    """The revision asked for lies in the future (was etcd restored from a snapshot?)."""

    def __init__(self) -> None:
        super().__init__("the revision asked for does not exist yet")


class Unavailable(StoreError):
    """etcd could not be reached, or has no leader. Nothing was written; it may be sent again."""

    def __init__(self, reason: str, *, endpoints: tuple[str, ...] = ()) -> None:
        self.reason, self.endpoints = reason, endpoints
        at = f" at {', '.join(endpoints)}" if endpoints else ""
        super().__init__(f"etcd{at} is not available: {reason}")


class OutcomeUnknown(StoreError):
    """A write ended without an answer: it may have been committed, or may still be."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the write may or may not have been committed: {reason}")


class WatchEnded(StoreError):
    """A watch ended and cannot go on from where it was. The cure is to list again."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the watch ended: {reason}")
