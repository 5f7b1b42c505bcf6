"""What stands in etcd against what shall be, and the steps from one to the other. Pure.

A step is a value: printed, as a sentence or as a command of etcdctl, or carried out
(:mod:`flowsvc.rbac.carrying`). Steps come in the order in which they are to be done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import msgspec

from flowsvc.rbac.policy import Policy, is_ours
from kvconfig.errors import show_key
from kvconfig.etcd.server import Grant
from kvconfig.keys import Range, one, prefix

__all__ = [
    "AddRole",
    "AddUser",
    "DeleteRole",
    "GiveRole",
    "GrantRange",
    "RevokeRange",
    "Standing",
    "Step",
    "TakeRole",
    "difference",
    "etcdctl",
    "right",
]

When: TypeAlias = Literal["always", "prune", "by hand"]
"""Who does it: ``apply``, ``apply --prune``, or only a person, where what is taken is not ours."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What there is: what each role of ours may do, and the roles of every user, ours or not."""

    roles: Mapping[str, tuple[Grant, ...]] = {}
    users: Mapping[str, tuple[str, ...]] = {}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One change."""

    @property
    def when(self) -> When:
        """Who does it; all but ``always`` takes away what somebody may do and should not."""
        return "always"

    @property
    def excess(self) -> bool:
        """Whether there is too much now, rather than too little."""
        return self.when != "always"


class AddRole(Step, frozen=True, kw_only=True, tag=True):
    """A role that may do nothing yet."""

    role: str

    def __str__(self) -> str:
        return f"add role {self.role}"


class GrantRange(Step, frozen=True, kw_only=True, tag=True):
    """Let a role do this; ``before`` is what it may do on that very range now."""

    role: str
    grant: Grant
    before: Grant | None = None

    @property
    def when(self) -> When:
        """To prune where the role may do there what it should not."""
        before, after = self.before, self.grant
        narrower = before is not None and (before.write > after.write or before.read > after.read)
        return "prune" if narrower else "always"

    def __str__(self) -> str:
        return f"let {self.role} {right(self.grant)} {_where(self.grant.range)}"


class RevokeRange(Step, frozen=True, kw_only=True, tag=True):
    """Take back what a role of ours may do on a range."""

    role: str
    grant: Grant

    @property
    def when(self) -> When:
        """A type of configuration may just have been left out where it was planned."""
        return "prune"

    def __str__(self) -> str:
        return f"let {self.role} no longer {right(self.grant)} {_where(self.grant.range)}"


class AddUser(Step, frozen=True, kw_only=True, tag=True):
    """A user, or the common name of a certificate."""

    user: str

    def __str__(self) -> str:
        return f"add user {self.user}"


class GiveRole(Step, frozen=True, kw_only=True, tag=True):
    """Let a user do what a role may."""

    user: str
    role: str

    def __str__(self) -> str:
        return f"give user {self.user} the role {self.role}"


class TakeRole(Step, frozen=True, kw_only=True, tag=True):
    """A user has a role that was not meant for him; ``ours``: whether it is one of this system."""

    user: str
    role: str
    ours: bool

    @property
    def when(self) -> When:
        """Who gave him a role that is not ours had a reason, or made a mistake: ask him."""
        return "prune" if self.ours else "by hand"

    def __str__(self) -> str:
        return f"take the role {self.role} from user {self.user}"


class DeleteRole(Step, frozen=True, kw_only=True, tag=True):
    """A role of ours that is not needed any more: its processor is in no blueprint."""

    role: str

    @property
    def when(self) -> When:
        """Left out by mistake, a processor would lose its rights while it runs."""
        return "prune"

    def __str__(self) -> str:
        return f"delete role {self.role}"


def difference(policy: Policy, standing: Standing) -> tuple[Step, ...]:
    """All steps, in order; none where all is as it shall be.

    Nothing is done about roles that are not ours, nor about users who have none of ours, and no
    user is deleted: without a role he may do nothing.
    """
    return (*_roles(policy, standing), *_users(policy, standing))


def _roles(policy: Policy, standing: Standing) -> Iterator[Step]:
    for role in policy.roles:
        if role.name not in standing.roles:
            yield AddRole(role=role.name)
        stands = {grant.range: grant for grant in standing.roles.get(role.name, ())}
        wanted = {grant.range for grant in role.grants}
        for grant in role.grants:
            before = stands.get(grant.range)
            if before != grant:
                yield GrantRange(role=role.name, grant=grant, before=before)
        for range_, grant in stands.items():
            if range_ not in wanted:
                yield RevokeRange(role=role.name, grant=grant)
    planned = {role.name for role in policy.roles}
    for name in sorted(standing.roles.keys() - planned):
        yield DeleteRole(role=name)


def _users(policy: Policy, standing: Standing) -> Iterator[Step]:
    planned = {user.name: user.roles for user in policy.users}
    kept = {role.name for role in policy.roles}
    for user, roles in planned.items():
        if user not in standing.users:
            yield AddUser(user=user)
        stands = standing.users.get(user, ())
        yield from (GiveRole(user=user, role=role) for role in roles if role not in stands)
    for user, stands in sorted(standing.users.items()):
        for role in stands:
            ours = is_ours(policy.keyspace, role)
            if role in planned.get(user, ()) or (ours and role not in kept):
                continue  # as it shall be, or gone with the role
            if ours or user in planned:
                yield TakeRole(user=user, role=role, ours=ours)


# -- words ---------------------------------------------------------------------------------------


def right(grant: Grant) -> str:
    """In etcdctl's words."""
    return ("readwrite" if grant.read else "write") if grant.write else "read"


def etcdctl(step: Step, *, password: bool = True) -> tuple[str, ...]:
    """The step as arguments of etcdctl; it asks for the password of a user who shall have one."""
    match step:
        case AddRole(role=role):
            return ("role", "add", role)
        case GrantRange(role=role, grant=grant):
            return ("role", "grant-permission", role, right(grant), *_range(grant.range))
        case RevokeRange(role=role, grant=grant):
            return ("role", "revoke-permission", role, *_range(grant.range))
        case AddUser(user=user):
            return ("user", "add", user, *(() if password else ("--no-password",)))
        case GiveRole(user=user, role=role):
            return ("user", "grant-role", user, role)
        case TakeRole(user=user, role=role):
            return ("user", "revoke-role", user, role)
        case DeleteRole(role=role):
            return ("role", "delete", role)
    raise AssertionError(step)


def _range(range_: Range) -> tuple[str, ...]:
    start = show_key(range_.start)
    if range_ == one(range_.start):
        return (start,)
    if range_.start.endswith(b"/") and range_ == prefix(range_.start):
        return ("--prefix", start)
    return (start, show_key(range_.end))


def _where(range_: Range) -> str:
    return show_key(range_.start) if range_ == one(range_.start) else str(range_)
