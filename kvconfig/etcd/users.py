"""Users and roles of etcd: who they are, and what may be changed about them.

Each change is a commit of its own; there is no transaction over several. Every one of them makes
etcd refuse requests that were under way, which kvconfig's clients send again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from google.protobuf.message import Message

from kvconfig.errors import AuthenticationFailed, Unavailable
from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.access import Access
from kvconfig.etcd.calls import Response
from kvconfig.etcd.inspection import Inspector, inspecting
from kvconfig.etcd.messages import grant_of, permission_of
from kvconfig.etcd.server import Grant
from kvconfig.etcd.status import Call
from kvconfig.keys import Range

__all__ = ["Users", "administering"]


@asynccontextmanager
async def administering(access: Access, *, timeout_s: float = 5.0) -> AsyncIterator[Users]:
    """Users and roles at the first endpoint that answers, asked as the user of ``access``.

    Where etcd has no users yet it is asked as nobody. Raises ``Unavailable``, and
    ``AuthenticationFailed`` for a user whom etcd does not let in.
    """
    async with inspecting(access, timeout_s=timeout_s) as inspector:
        refused = Unavailable("no endpoint", endpoints=inspector.endpoints)
        for at in range(len(inspector.endpoints)):
            try:
                enabled = await _logged_in(inspector, at, access)
            except Unavailable as error:
                refused = error
                continue
            if not enabled:
                access = msgspec.structs.replace(access, user="", password="")
            yield Users(inspector, at, access, enabled=enabled)
            return
        raise refused


async def _logged_in(inspector: Inspector, at: int, access: Access) -> bool:
    """Whether etcd asks who comes. A login shows it on every version, and whoever comes: where
    there are no users it is refused for just that, also to nobody."""
    try:
        return await inspector.login(at)
    except AuthenticationFailed:
        if access.user:
            raise
        return True


class Users:
    """What root may ask and do. :func:`administering` makes one.

    ``enabled``: whether etcd asks who comes. ``access`` is how to come as the same user; without
    one where etcd has none. Each call ends within the time given, and raises a
    :class:`kvconfig.errors.StoreError`: ``PermissionDenied`` for all but root, and
    ``OutcomeUnknown`` for a change whose answer was lost.
    """

    def __init__(self, inspector: Inspector, at: int, access: Access, *, enabled: bool) -> None:
        self.access = access
        self.enabled = enabled
        self._inspector = inspector
        self._at = at

    async def users(self) -> dict[str, tuple[str, ...]]:
        """All users, and the roles of each."""
        listed = await self._ask("UserList", pb.AuthUserListRequest(), pb.AuthUserListResponse)
        found = {}
        for name in listed.users:
            request = pb.AuthUserGetRequest(name=name)
            user = await self._ask("UserGet", request, pb.AuthUserGetResponse)
            found[name] = tuple(user.roles)
        return found

    async def roles(self) -> tuple[str, ...]:
        """The names of all roles."""
        listed = await self._ask("RoleList", pb.AuthRoleListRequest(), pb.AuthRoleListResponse)
        return tuple(listed.roles)

    async def grants(self, role: str) -> tuple[Grant, ...]:
        """What a role may read and write."""
        request = pb.AuthRoleGetRequest(role=role)
        found = await self._ask("RoleGet", request, pb.AuthRoleGetResponse)
        return tuple(map(grant_of, found.perm))

    async def add_role(self, role: str) -> None:
        """A role that may do nothing yet."""
        await self._change("RoleAdd", pb.AuthRoleAddRequest(name=role), pb.AuthRoleAddResponse)

    async def delete_role(self, role: str) -> None:
        """Its users lose it."""
        request = pb.AuthRoleDeleteRequest(role=role)
        await self._change("RoleDelete", request, pb.AuthRoleDeleteResponse)

    async def grant(self, role: str, grant: Grant) -> None:
        """Let a role do this; of one range only the last grant counts."""
        request = pb.AuthRoleGrantPermissionRequest(name=role, perm=permission_of(grant))
        await self._change("RoleGrantPermission", request, pb.AuthRoleGrantPermissionResponse)

    async def revoke(self, role: str, range_: Range) -> None:
        """Take back what was granted on exactly this range."""
        perm = permission_of(Grant(range=range_, read=True, write=True))
        request = pb.AuthRoleRevokePermissionRequest(
            role=role, key=perm.key, range_end=perm.range_end
        )
        await self._change("RoleRevokePermission", request, pb.AuthRoleRevokePermissionResponse)

    async def add_user(self, user: str, password: str | None) -> None:
        """With ``None`` it is one that comes by the common name of a certificate only."""
        options = pb.UserAddOptions(no_password=password is None)
        request = pb.AuthUserAddRequest(name=user, password=password or "", options=options)
        await self._change("UserAdd", request, pb.AuthUserAddResponse)

    async def give_role(self, user: str, role: str) -> None:
        """From now on the user may do what the role may."""
        request = pb.AuthUserGrantRoleRequest(user=user, role=role)
        await self._change("UserGrantRole", request, pb.AuthUserGrantRoleResponse)

    async def take_role(self, user: str, role: str) -> None:
        """The inverse of :meth:`give_role`."""
        request = pb.AuthUserRevokeRoleRequest(name=user, role=role)
        await self._change("UserRevokeRole", request, pb.AuthUserRevokeRoleResponse)

    async def enable(self) -> None:
        """From now on etcd asks who comes. It refuses where no user root has the role root."""
        await self._change("AuthEnable", pb.AuthEnableRequest(), pb.AuthEnableResponse)

    # -- inside ------------------------------------------------------------------------------

    async def _ask(self, method: str, request: Message, response: type[Response]) -> Response:
        return await self._inspector.ask(self._at, f"Auth/{method}", request, response)

    async def _change(self, method: str, request: Message, response: type[Response]) -> None:
        call = Call(writes=True)
        await self._inspector.ask(self._at, f"Auth/{method}", request, response, call)
