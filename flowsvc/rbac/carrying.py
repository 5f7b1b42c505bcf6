"""The shell: looks at roles, users and processors in etcd, and carries steps out."""

from __future__ import annotations

from collections.abc import Mapping

from flowsvc.errors import Finding
from flowsvc.rbac.difference import (
    AddRole,
    AddUser,
    DeleteRole,
    GiveRole,
    GrantRange,
    RevokeRange,
    Standing,
    Step,
    TakeRole,
)
from flowsvc.rbac.policy import is_ours
from flowsvc.rbac.processors import processors_in
from kvconfig.etcd.users import Users
from kvconfig.keyspace import Keyspace
from kvconfig.store import Store, list_all

__all__ = ["carry_out", "in_use", "look"]


async def in_use(store: Store, keyspace: Keyspace) -> tuple[frozenset[str], list[Finding]]:
    """The processors of all blueprints and flows that stand, and warnings of what is not readable.

    Two lists: what is written between them is for the next run.
    """
    blueprints = await list_all(store, keyspace.type_range("flow-blueprint"))
    flows = await list_all(store, keyspace.type_range("flow"))
    return processors_in(keyspace, blueprints.items, flows.items)


async def look(users: Users, keyspace: Keyspace) -> Standing:
    """The roles of this system with what they may do, and all users with their roles."""
    ours = [role for role in await users.roles() if is_ours(keyspace, role)]
    grants = {role: await users.grants(role) for role in ours}
    return Standing(roles=grants, users=await users.users())


async def carry_out(users: Users, step: Step, passwords: Mapping[str, str | None]) -> None:
    """Do one step: one commit. Raises as :class:`~kvconfig.etcd.users.Users` does.

    ``passwords`` has one for each user that is added; ``None`` is for one who comes by certificate
    only.
    """
    match step:
        case AddRole(role=role):
            await users.add_role(role)
        case GrantRange(role=role, grant=grant):
            await users.grant(role, grant)
        case RevokeRange(role=role, grant=grant):
            await users.revoke(role, grant.range)
        case AddUser(user=user):
            await users.add_user(user, passwords[user])
        case GiveRole(user=user, role=role):
            await users.give_role(user, role)
        case TakeRole(user=user, role=role):
            await users.take_role(user, role)
        case DeleteRole(role=role):
            await users.delete_role(role)
        case _:
            raise AssertionError(step)
