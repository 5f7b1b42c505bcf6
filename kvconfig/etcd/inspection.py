"""What an operator asks of single members: how each is, who belongs to them, who may do what.

Beside the store, which goes to whichever member answers and tries again: here each question goes
once, to the member that is meant, and what comes back is the finding. Nothing of it writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
from google.protobuf.message import Message

from kvconfig.errors import AuthenticationFailed, PermissionDenied, RequestRefused
from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.access import Access
from kvconfig.etcd.auth import Metadata
from kvconfig.etcd.calls import Response, unary
from kvconfig.etcd.endpoints import Endpoints
from kvconfig.etcd.messages import alarm_of, grant_of, listed_member, member_of
from kvconfig.etcd.server import Alarm, Grant, ListedMember, Member
from kvconfig.etcd.status import Call, from_status
from kvconfig.keys import everything
from kvconfig.model import Revision

__all__ = ["Inspector", "inspecting"]

ALL_RIGHTS = "root"
"""The role that may do everything, whatever is granted to it."""


@asynccontextmanager
async def inspecting(access: Access, *, timeout_s: float) -> AsyncIterator[Inspector]:
    """An inspector of the members at ``access``; its connections end when the block does."""
    endpoints = Endpoints(access)
    try:
        yield Inspector(access, endpoints, timeout_s=timeout_s)
    finally:
        await endpoints.close()


class Inspector:
    """Asks members, named by their place in ``endpoints``. :func:`inspecting` makes one.

    Each question ends within ``timeout_s``. Raises :class:`kvconfig.errors.StoreError`:
    ``Unavailable`` where a member does not answer, a ``RequestRefused`` where it refuses to.
    """

    def __init__(self, access: Access, endpoints: Endpoints, *, timeout_s: float) -> None:
        self.endpoints = endpoints.names
        self._access = access
        self._members = endpoints
        self._timeout_s = timeout_s
        self._metadata: Metadata = ()

    async def login(self, at: int) -> bool:
        """Ask as the user of ``access`` from now on; ``False`` where etcd does not ask for users.

        Raises ``AuthenticationFailed`` where it does not know this user and password.
        """
        request = pb.AuthenticateRequest(name=self._access.user, password=self._access.password)
        ask = unary("Auth/Authenticate", request, pb.AuthenticateResponse, self._timeout_s)
        try:
            answer = await ask(self._members.channel_to(at), ())
        except grpc.aio.AioRpcError as error:
            if "authentication is not enabled" in (error.details() or ""):
                return False
            raise from_status(error, Call(), self.endpoints[at]) from error
        self._metadata = (("token", answer.token),)
        return True

    async def auth_enabled(self, at: int, key: bytes) -> bool | None:
        """Whether etcd asks who comes. 3.4 does not say; then reading ``key`` shows it, but for
        those who come as somebody, by a token or a certificate: ``None``."""
        try:
            request = pb.AuthStatusRequest()
            answer = await self.ask(at, "Auth/AuthStatus", request, pb.AuthStatusResponse)
            return answer.enabled
        except (AuthenticationFailed, PermissionDenied):
            return True
        except RequestRefused:  # no such call
            return await self._asked_who_reads(at, key)

    async def _asked_who_reads(self, at: int, key: bytes) -> bool | None:
        try:
            await self.read(at, key)
        except (AuthenticationFailed, PermissionDenied):
            return True
        return None if self._metadata or self._access.cert else False

    async def grants(self, at: int) -> tuple[Grant, ...]:
        """What the user of ``access`` may read and write, by his roles."""
        user = pb.AuthUserGetRequest(name=self._access.user)
        found = await self.ask(at, "Auth/UserGet", user, pb.AuthUserGetResponse)
        if ALL_RIGHTS in found.roles:
            return (Grant(range=everything(), read=True, write=True),)
        requests = [pb.AuthRoleGetRequest(role=role) for role in found.roles]
        roles = await asyncio.gather(
            *(self.ask(at, "Auth/RoleGet", each, pb.AuthRoleGetResponse) for each in requests)
        )
        return tuple(grant_of(permission) for role in roles for permission in role.perm)

    async def status(self, at: int) -> Member:
        """Its status. With users, newer versions tell only root."""
        answer = await self.ask(at, "Maintenance/Status", pb.StatusRequest(), pb.StatusResponse)
        return member_of(self.endpoints[at], answer)

    async def alarms(self, at: int) -> tuple[Alarm, ...]:
        """The alarms of the cluster. Takes a quorum; the status of a member has them without."""
        answer = await self.ask(at, "Maintenance/Alarm", pb.AlarmRequest(), pb.AlarmResponse)
        return tuple(map(alarm_of, answer.alarms))

    async def members(self, at: int) -> tuple[ListedMember, ...]:
        """The members of the cluster, as far as this one knows: that takes no quorum."""
        request = pb.MemberListRequest(linearizable=False)
        answer = await self.ask(at, "Cluster/MemberList", request, pb.MemberListResponse)
        return tuple(map(listed_member, answer.members))

    async def read(
        self, at: int, key: bytes, *, revision: Revision = Revision(0), linearizable: bool = False
    ) -> None:
        """Read ``key`` and forget it: from this member alone, or such that a quorum must agree."""
        request = pb.RangeRequest(
            key=key, revision=revision, serializable=not linearizable, keys_only=True
        )
        await self.ask(at, "KV/Range", request, pb.RangeResponse, Call(key=key))

    async def ask(
        self,
        at: int,
        method: str,
        request: Message,
        response: type[Response],
        call: Call = Call(),  # noqa: B008 - a frozen value
    ) -> Response:
        """One question of etcd's, by its wire name, as whoever has logged in."""
        ask = unary(method, request, response, self._timeout_s)
        try:
            return await ask(self._members.channel_to(at), self._metadata)
        except grpc.aio.AioRpcError as error:
            raise from_status(error, call, self.endpoints[at]) from error
