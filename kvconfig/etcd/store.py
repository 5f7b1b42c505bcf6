"""The store port on etcd's gRPC API."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import grpc.aio
from google.protobuf.message import Message

from kvconfig.errors import (
    AuthenticationFailed,
    LeaseNotFound,
    OutcomeUnknown,
    RequestRefused,
    ResponseTooLarge,
    StoreError,
    Unavailable,
)
from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.access import Access
from kvconfig.etcd.auth import Metadata, Tokens
from kvconfig.etcd.calls import Ask, Response, again, unary
from kvconfig.etcd.endpoints import MAX_RESPONSE_BYTES, Endpoints
from kvconfig.etcd.messages import commit_of, key_value, member_of, range_request
from kvconfig.etcd.server import Member, advise, parse_version
from kvconfig.etcd.status import Call, RightsChanged, from_status
from kvconfig.etcd.watch import Opener, WatchHub
from kvconfig.keys import Range
from kvconfig.model import KeyValue, LeaseId, Page, Revision
from kvconfig.store import Watch
from kvconfig.txn import Commit, Put, Read, Txn, may_write
from kvconfig.wire import txn_bytes

__all__ = ["EtcdStore", "connect"]

logger = logging.getLogger(__name__)

PAGE_SIZE = 10_000
"""Keys a page. etcd counts the rest of the range again for each: for a list of 100,000 keys it
takes twice the CPU with pages half as large, and hardly less with larger ones (measured)."""

CAREFUL_PAGE_SIZE = MAX_RESPONSE_BYTES // (3 * 2**19)
"""Keys a page where pages are too large: as many as fit with etcd's largest values, 1.5 MiB."""

_HAS_LEADER = (("hasleader", "true"),)
"""etcd then ends a watch on a member that has lost its leader, instead of falling silent."""


@asynccontextmanager
async def connect(
    access: Access | Sequence[str],
    *,
    timeout_s: float = 5.0,
    page_size: int = PAGE_SIZE,
    silence_s: float = 15.0,
) -> AsyncIterator[EtcdStore]:
    """A store on the etcd cluster at ``access`` (or just its endpoints), closed on leaving.

    ``timeout_s`` bounds each attempt of a call, and three times that all of them; ``silence_s``
    how long a watch may hear nothing.
    No connection is made before the first call.
    """
    if not isinstance(access, Access):
        access = Access(endpoints=tuple(access))
    store = EtcdStore(access, timeout_s=timeout_s, page_size=page_size, silence_s=silence_s)
    try:
        yield store
    finally:
        await store.close()


class EtcdStore:
    """:class:`kvconfig.store.Store` on etcd; see there for what it promises.

    A call that changed nothing (a read, or a write that provably was not proposed) is tried again
    on the next endpoint, a bounded number of times. ``calls`` counts requests by etcd's method
    name, tries included.
    """

    def __init__(
        self, access: Access, *, timeout_s: float, page_size: int, silence_s: float
    ) -> None:
        self.calls: Counter[str] = Counter()
        self._access = access
        self._endpoints = Endpoints(access)
        self._tokens = Tokens(access.user, self._authenticate)
        self._timeout_s = timeout_s
        # After a first attempt: where two members are silent there is time for a third.
        self._again = again(Unavailable, within_s=2 * timeout_s)
        self._page_size = page_size
        self._hub = WatchHub(
            self._open_watch, self._endpoints.failed, self._tokens, silence_s=silence_s
        )
        self._closed = asyncio.Event()

    @property
    def access(self) -> Access:
        """Where it goes, and as whom."""
        return self._access

    async def read(self, key: bytes, *, revision: Revision = Revision(0)) -> KeyValue | None:
        response = await self._range(Read(key, revision=revision))
        return key_value(response.kvs[0]) if response.kvs else None

    async def list(
        self, range_: Range, *, revision: Revision = Revision(0), keys_only: bool = False
    ) -> AsyncIterator[Page]:
        limit = self._page_size
        start: bytes | None = range_.start
        while start is not None:
            read = Read(start, range_.end, limit, keys_only, revision)
            try:
                response = await self._range(read)
            except ResponseTooLarge:
                if limit == 1:
                    raise
                limit = CAREFUL_PAGE_SIZE if limit > CAREFUL_PAGE_SIZE else limit // 2
                continue
            revision = revision or Revision(response.header.revision)
            yield Page(tuple(map(key_value, response.kvs)), revision)
            start = response.kvs[-1].key + b"\0" if response.more else None

    async def commit(self, txn: Txn) -> Commit:
        keys = (op.key for op in (*txn.then, *txn.otherwise) if not isinstance(op, Txn))
        lease = next((op.lease for op in txn.then if isinstance(op, Put)), LeaseId(0))
        call = Call(writes=may_write(txn), transaction=True, key=next(keys, b""), lease=lease)
        response = await self._unary("KV/Txn", txn_bytes(txn), pb.TxnResponse, call)
        return commit_of(response, txn)

    def watch(self, range_: Range, *, start: Revision) -> AbstractAsyncContextManager[Watch]:
        return self._hub.watch(range_, start)

    async def grant(self, ttl_s: int) -> LeaseId:
        # A grant whose answer is lost leaves a lease that ends by itself: trying again is safe.
        request = pb.LeaseGrantRequest(TTL=ttl_s)
        response = await self._unary("Lease/LeaseGrant", request, pb.LeaseGrantResponse, Call())
        return LeaseId(response.ID)

    async def keep_alive(self, lease: LeaseId) -> int:
        async def renew(channel: grpc.aio.Channel, metadata: Metadata) -> pb.LeaseKeepAliveResponse:
            # On the wire a stream of one request. As `stream_stream`, grpc.aio leaves the task that
            # sends it pending where the call fails early.
            stream = channel.unary_stream(
                "/etcdserverpb.Lease/LeaseKeepAlive",
                request_serializer=pb.LeaseKeepAliveRequest.SerializeToString,
                response_deserializer=pb.LeaseKeepAliveResponse.FromString,
            )(pb.LeaseKeepAliveRequest(ID=lease), timeout=self._timeout_s, metadata=metadata)
            async for response in stream:
                return response
            raise Unavailable("the keep-alive stream ended", endpoints=self._endpoints.names)

        answer = await self._try("Lease/LeaseKeepAlive", renew, Call(lease=lease))
        if answer.TTL <= 0:
            raise LeaseNotFound(lease)
        return answer.TTL

    async def revoke(self, lease: LeaseId) -> None:
        request = pb.LeaseRevokeRequest(ID=lease)
        call = Call(writes=True, lease=lease)
        await self._unary("Lease/LeaseRevoke", request, pb.LeaseRevokeResponse, call)

    async def close(self) -> None:
        self._closed.set()
        await self._hub.close()
        await self._endpoints.close()

    async def members(self) -> Sequence[Member]:
        """Each endpoint's own status, asked at the same time; never raises for one that is away."""
        return await asyncio.gather(*map(self._member, range(len(self._endpoints.names))))

    async def log_advice(self) -> None:
        """Warn, once for each version that answers, of what is known to be wrong with it."""
        for text in sorted({member.version for member in await self.members() if member.version}):
            version = parse_version(text)
            for advice in advise(version) if version else ():
                about = {"version": text, "advice": advice.what, "upgrade_to": advice.upgrade_to}
                logger.warning("etcd has a known fault", extra=about)

    # -- inside ------------------------------------------------------------------------------

    async def _member(self, index: int) -> Member:
        endpoint = self._endpoints.names[index]
        self.calls["Maintenance/Status"] += 1
        ask = unary("Maintenance/Status", pb.StatusRequest(), pb.StatusResponse, self._timeout_s)
        try:
            metadata = await self._tokens.metadata()
            status = await ask(self._endpoints.channel_to(index), metadata)
        except grpc.aio.AioRpcError as error:
            return Member(endpoint=endpoint, error=error.details() or error.code().name)
        except StoreError as error:
            return Member(endpoint=endpoint, error=str(error))
        return member_of(endpoint, status)

    async def _range(self, read: Read) -> pb.RangeResponse:
        call = Call(key=read.key)
        return await self._unary("KV/Range", range_request(read), pb.RangeResponse, call)

    async def _authenticate(self) -> str:
        request = pb.AuthenticateRequest(name=self._access.user, password=self._access.password)
        ask = unary("Auth/Authenticate", request, pb.AuthenticateResponse, self._timeout_s)

        async def ask_without_token() -> pb.AuthenticateResponse:
            return await self._once("Auth/Authenticate", ask, Call(), ())

        return (await self._again(ask_without_token)).token

    async def _unary(
        self, method: str, request: Message | bytes, response: type[Response], call: Call
    ) -> Response:
        return await self._try(method, unary(method, request, response, self._timeout_s), call)

    async def _try(self, method: str, ask: Ask[Response], call: Call) -> Response:
        """Ask; again, on the next endpoint, only where it is certain that nothing was written."""
        try:
            return await self._with_token(method, ask, call)
        except Unavailable:
            return await self._again(self._with_token, method, ask, call)

    async def _with_token(self, method: str, ask: Ask[Response], call: Call) -> Response:
        """Ask; once more with a new token where the old one is not accepted any more."""
        metadata = await self._tokens.metadata()
        try:
            return await self._once(method, ask, call, metadata)
        except (AuthenticationFailed, RightsChanged):
            if not self._tokens.refused(metadata):
                raise
        return await self._once(method, ask, call, await self._tokens.metadata())

    async def _once(
        self, method: str, ask: Ask[Response], call: Call, metadata: Metadata
    ) -> Response:
        if self._closed.is_set():
            raise RequestRefused("this store is closed")
        endpoint = self._endpoints.name
        self.calls[method] += 1
        try:
            return await ask(self._endpoints.channel, metadata)
        except grpc.aio.AioRpcError as error:
            problem = from_status(error, call, endpoint)
            if isinstance(problem, Unavailable | OutcomeUnknown) and not isinstance(
                problem, RightsChanged
            ):
                self._endpoints.failed(endpoint)
            raise problem from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed.is_set() and not (task and task.cancelling()):
                reason = "the store was closed"  # which cancels its calls, not their callers
                raise (OutcomeUnknown if call.writes else RequestRefused)(reason) from None
            raise

    def _open_watch(self, metadata: Metadata) -> tuple[Opener, str]:
        if self._closed.is_set():
            raise RequestRefused("this store is closed")
        self.calls["Watch/Watch"] += 1
        multi = self._endpoints.channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )
        endpoint = self._endpoints.name
        return partial(multi, metadata=(*_HAS_LEADER, *metadata)), endpoint
