"""Which roles and users there shall be: each may do what its work takes, and nothing else. Pure.

=======================  ==============================================  =======================
role, below the root     reads                                           reads and writes
=======================  ==============================================  =======================
``flow-service``         all                                             all but what processors
                                                                         write, and ``applied``
``operator``             all                                             configuration, schemas,
                                                                         ``applied``
``viewer``               all                                             nothing
``processor/<id>``       ``/active-flow/<id>/``, ``/kvconfig/layout``,   ``/processor/<id>/``
                         the types of configuration that it declares
=======================  ==============================================  =======================

"All" is all of one root: a system below ``@staging`` knows nothing of the one beside it. Every
range begins and ends where a whole name does, so ``chunk`` never reaches what is ``chunker``'s.

A role is called ``kvconfig/`` and then as its keys would be (``kvconfig/@staging/operator``). By
that it is known which roles are ours: no name holds a slash, so no two systems share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from flowsvc.errors import Finding, InvalidInput
from kvconfig.errors import InvalidName
from kvconfig.etcd.server import Grant
from kvconfig.keys import Range, check_name, one
from kvconfig.keyspace import RESERVED_TYPES, Keyspace

__all__ = ["FLOW_SERVICE", "OPERATOR", "VIEWER", "Policy", "Role", "User", "is_ours", "policy"]

FLOW_SERVICE, OPERATOR, VIEWER = "flow-service", "operator", "viewer"
PROCESSOR = "processor/"

SUPERUSER = "root"
"""etcd's own user, and its own role, which may do everything."""

OF_OTHERS = ("active-flow", "processor")
"""Types of which a processor may read its own part only, whatever it declares."""

_WRITTEN_BY: dict[str, frozenset[str]] = {
    FLOW_SERVICE: frozenset({"the flow service", "kvconfig itself", "flowctl config schema"}),
    OPERATOR: frozenset({"flowctl config schema", "flowctl apply"}),
}
"""Whose reserved types a role writes, by the words of the keyspace. Both write configuration: the
flow service offers it to others."""


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role by its full name, and what it may do: one grant for each range, in order."""

    name: str
    grants: tuple[Grant, ...]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user (or the common name of a certificate), and the full names of his roles, in order."""

    name: str
    roles: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """All roles and users of one system."""

    keyspace: Keyspace
    roles: tuple[Role, ...]
    users: tuple[User, ...]


def policy(
    keyspace: Keyspace,
    processors: Mapping[str, Iterable[str]],
    users: Mapping[str, Iterable[str]] = {},
) -> Policy:
    """What there shall be for these ``processors``, each with the types of configuration it reads.

    ``users`` names some, each with the roles he shall have, as the table above writes them. A role
    that is given to nobody so gets a user of its own: ``flow-service``, or just the id of the
    processor, with the root behind it (``chunker@staging``).

    Raises :class:`InvalidInput` with all that is wrong: names that are none, types that hold what
    is other processors', roles that do not exist, two roles that would share a user.
    """
    findings: list[Finding] = []
    grants = {
        FLOW_SERVICE: _writing(keyspace, FLOW_SERVICE),
        OPERATOR: _writing(keyspace, OPERATOR),
        VIEWER: tuple(_may(range_) for range_ in keyspace.all_types()),
    }
    for processor, types in sorted(processors.items()):
        try:
            grants[PROCESSOR + processor] = _of_processor(keyspace, processor, types)
        except InvalidName as error:
            findings.append(Finding(f"processor {processor}", str(error)))
    base = _base(keyspace)
    roles = tuple(Role(name=base + label, grants=grants[label]) for label in grants)
    made = _users(keyspace, grants, users, findings)
    if findings:
        raise InvalidInput("roles and users", findings)
    return Policy(keyspace=keyspace, roles=roles, users=made)


def is_ours(keyspace: Keyspace, role: str) -> bool:
    """Whether a role belongs to the system of this root."""
    base = _base(keyspace)
    return role.startswith(base) and not role.startswith(f"{base}@")


# -- roles ---------------------------------------------------------------------------------------


def _base(keyspace: Keyspace) -> str:
    return f"kvconfig/{keyspace.root}/" if keyspace.root else "kvconfig/"


def _may(range_: Range, *, write: bool = False) -> Grant:
    return Grant(range=range_, read=True, write=write)


def _writing(keyspace: Keyspace, role: str) -> tuple[Grant, ...]:
    """Reads all; writes configuration, and of the reserved types those that are the role's."""
    owners = _WRITTEN_BY[role]
    others = [type_ for type_, owner in RESERVED_TYPES.items() if owner not in owners]
    written = keyspace.all_types(but=others)
    read = [range_ for range_ in keyspace.all_types() if range_ not in written]
    return tuple(
        sorted(
            [*map(_may, read), *(_may(range_, write=True) for range_ in written)],
            key=lambda grant: grant.range.start,
        )
    )


def _of_processor(keyspace: Keyspace, processor: str, types: Iterable[str]) -> tuple[Grant, ...]:
    """Raises :class:`InvalidName`."""
    types = sorted(set(types))
    for type_ in types:
        if type_ in OF_OTHERS:
            rule = f"a type of configuration; of {type_} a processor reads only what is its own"
            raise InvalidName(type_, what="type", rule=rule)
    return (
        _may(keyspace.active_flow_range(processor)),
        _may(one(keyspace.layout())),
        _may(keyspace.processor_range(processor), write=True),
        *(_may(range_) for range_ in keyspace.type_ranges(types)),
    )


# -- users ---------------------------------------------------------------------------------------


def _users(
    keyspace: Keyspace,
    labels: Iterable[str],
    named: Mapping[str, Iterable[str]],
    findings: list[Finding],
) -> tuple[User, ...]:
    given = {user: sorted(set(roles)) for user, roles in sorted(named.items())}
    labels = list(labels)
    for user, roles in given.items():
        if unknown := [role for role in roles if role not in labels]:
            message = f"there is no role {', '.join(unknown)}; there are {', '.join(labels)}"
            findings.append(Finding(f"user {user}", message))
    taken = {role for roles in given.values() for role in roles}
    for label in labels:
        if label in taken:
            continue
        user = label.removeprefix(PROCESSOR) + keyspace.root
        if user in given:
            message = f"would be that of {', '.join(given[user])} and of {label}: name one for each"
            findings.append(Finding(f"user {user}", message))
        given.setdefault(user, [label])
    findings += [finding for user in given for finding in _refused(user)]
    base = _base(keyspace)
    return tuple(
        User(name=user, roles=tuple(base + role for role in roles)) for user, roles in given.items()
    )


def _refused(user: str) -> list[Finding]:
    """What is wrong with the name of a user."""
    if user == SUPERUSER:
        message = "is etcd's own, who may do everything already: give the role to another"
        return [Finding(f"user {user}", message)]
    try:
        name, _, root = user.partition("@")
        check_name(name, "user")
        check_name(root or name, "user")
    except InvalidName as error:
        return [Finding(f"user {user}", str(error))]
    # As etcdctl and the environment have it: name:password.
    return [Finding(f"user {user}", 'holds a ":"; name another')] if ":" in user else []
