"""What etcd itself says that happened: every revision with its changes, read without our client.

The judge must not be the accused: this speaks to one member directly, over a channel and a watch of
its own, and shares only the messages with ``kvconfig.etcd``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

import grpc
import grpc.aio

from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.keys import Range

PATIENCE_S = 30.0
Metadata = tuple[tuple[str, str], ...]
Changes = dict[bytes, bytes | None]
"""Keys with their new values; ``None`` where they were deleted."""


class History:
    """All changes of a whole etcd, by revision. ``collect`` reads on from where it stopped."""

    def __init__(
        self,
        endpoint: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        user: str = "",
        password: str = "",
    ) -> None:
        self.endpoint, self.credentials = endpoint, credentials
        self.user, self.password = user, password
        self.revisions: dict[int, Changes] = {}
        self.upto = 1  # an empty etcd's

    async def collect(self) -> None:
        """Read what has happened since the last time. Call before a compaction takes it away."""
        if self.credentials is None:
            channel = grpc.aio.insecure_channel(self.endpoint)
        else:
            channel = grpc.aio.secure_channel(self.endpoint, self.credentials)
        async with channel, asyncio.timeout(PATIENCE_S):
            metadata = (("token", await self._token(channel)),) if self.user else ()
            now = await self._revision(channel, metadata)
            if now > self.upto:
                await self._read(channel, metadata, now)

    def within(self, range_: Range) -> list[tuple[int, Changes]]:
        """The revisions that changed something in a range, with what they changed there."""
        found = []
        for revision, changes in sorted(self.revisions.items()):
            inside = {key: value for key, value in changes.items() if key in range_}
            if inside:
                found.append((revision, inside))
        return found

    async def _token(self, channel: grpc.aio.Channel) -> str:
        ask = channel.unary_unary(
            "/etcdserverpb.Auth/Authenticate",
            request_serializer=pb.AuthenticateRequest.SerializeToString,
            response_deserializer=pb.AuthenticateResponse.FromString,
        )
        who = pb.AuthenticateRequest(name=self.user, password=self.password)
        return str((await ask(who, wait_for_ready=True)).token)

    async def _revision(self, channel: grpc.aio.Channel, metadata: Metadata) -> int:
        ask = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=pb.RangeRequest.SerializeToString,
            response_deserializer=pb.RangeResponse.FromString,
        )
        request = pb.RangeRequest(key=b"\0")
        answer = await ask(request, wait_for_ready=True, metadata=metadata)
        return int(answer.header.revision)

    async def _read(self, channel: grpc.aio.Channel, metadata: Metadata, upto: int) -> None:
        """Every revision changes something, so a watch of everything shows each of them."""
        stream = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )(metadata=metadata)
        create = pb.WatchCreateRequest(
            key=b"\0", range_end=b"\0", start_revision=self.upto + 1, fragment=True
        )
        await stream.write(pb.WatchRequest(create_request=create))
        found: dict[int, Changes] = defaultdict(dict)
        fragment = False
        while fragment or max(found, default=0) < upto:
            response = await stream.read()
            assert isinstance(response, pb.WatchResponse), "etcd ended the history"
            assert not response.canceled, f"etcd refused the history: {response}"
            fragment = response.fragment
            for event in response.events:
                changes = found[event.kv.mod_revision]
                assert event.kv.key not in changes, "etcd told one change twice"
                deleted = event.type == pb.Event.DELETE
                changes[event.kv.key] = None if deleted else event.kv.value
        stream.cancel()
        self.revisions.update(found)
        self.upto = max(found)
