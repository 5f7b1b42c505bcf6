"""The async client: :class:`kvconfig.config.Configuration` over gRPC, with the errors of the store.

A read is sent again where it was not answered; a list that was cut goes on where it was. A write is
sent again where it has a revision for each of its items: done twice it does no harm then.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from google.protobuf.message import Message

from flowsvc.api import config_methods as methods
from flowsvc.api.calls import Caller, message_of
from flowsvc.api.config_convert import change_from, item_from, json_to, unreadable_from
from flowsvc.api.methods import Method
from flowsvc.api.tls import Credentials
from flowsvc.api.v1 import config_pb2 as pb
from kvconfig.config import ConfigChanges, ConfigItem, Configuration, Found, Removed
from kvconfig.keys import check_item_key, check_name
from kvconfig.keyspace import Keyspace
from kvconfig.model import Revision

__all__ = ["ConfigClient"]

T = TypeVar("T")
W = TypeVar("W", bound=Message)

_NAMES = Keyspace()
"""Names are checked at home first, in the order in which the server would do it."""


class ConfigClient(Caller, Configuration):
    """The configuration of a flow service at ``target``, as :class:`flowsvc.client.Client` has it.

    ::

        async with ConfigClient("127.0.0.1:7480") as config:
            revision = await config.put("prompt", "greeting", {"text": "hello"})

    Raises what :class:`kvconfig.config.Config` raises. Beside that: ``ServerUnavailable`` (a
    ``kvconfig.errors.Unavailable``) where nothing was done. To be used in one event loop.
    """

    def __init__(
        self, target: str, *, timeout_s: float = 10.0, credentials: Credentials | None = None
    ) -> None:
        super().__init__(target, methods.METHODS, timeout_s=timeout_s, credentials=credentials)

    # -- reading -----------------------------------------------------------------------------

    async def get_many(
        self, names: Iterable[tuple[str, str]], *, revision: int = 0
    ) -> Found[ConfigItem]:
        """See :meth:`kvconfig.config.Configuration.get_many`."""
        wanted = list(dict.fromkeys(names))
        for name in wanted:
            _NAMES.item(*name)
        request = message_of(
            lambda: pb.GetRequest(
                names=[pb.Name(type=type_, key=key) for type_, key in wanted], revision=revision
            )
        )
        return await Found.together(self._pages(methods.GET, request, item_from))

    async def types(self, *, revision: int = 0) -> Found[str]:
        """See :meth:`kvconfig.config.Configuration.types`."""
        request = message_of(lambda: pb.ListTypesRequest(revision=revision))
        answer = await self._one(methods.LIST_TYPES, request)
        return Found(answer.types, revision=Revision(answer.revision))

    async def keys(self, type_: str, under: str = "", *, revision: int = 0) -> Found[str]:
        """See :meth:`kvconfig.config.Configuration.keys`."""
        _check_range(type_, under)
        request = message_of(lambda: pb.ListKeysRequest(type=type_, under=under, revision=revision))
        return await Found.together(self._pages(methods.LIST_KEYS, request, str))

    def values(
        self, type_: str, under: str = "", *, revision: int = 0
    ) -> AsyncGenerator[Found[ConfigItem], None]:
        """See :meth:`kvconfig.config.Configuration.values`."""
        _check_range(type_, under)
        request = message_of(
            lambda: pb.GetValuesRequest(type=type_, under=under, revision=revision)
        )
        return self._pages(methods.GET_VALUES, request, item_from)

    def everything(self, *types: str, revision: int = 0) -> AsyncGenerator[Found[ConfigItem], None]:
        """See :meth:`kvconfig.config.Configuration.everything`."""
        for type_ in types:
            check_name(type_, "type")
        request = message_of(lambda: pb.GetEverythingRequest(types=types, revision=revision))
        return self._pages(methods.GET_EVERYTHING, request, item_from)

    async def _pages(
        self, method: Method[Any, Any], request: Message, part: Callable[[Any], T]
    ) -> AsyncGenerator[Found[T], None]:
        async with aclosing(self._pieces(method, request)) as pieces:
            async for piece in pieces:
                yield Found(
                    map(part, getattr(piece, method.items)),
                    revision=Revision(piece.revision),
                    unreadable=map(unreadable_from, piece.unreadable),
                )

    def changes(self, type_: str, key: str = "") -> AsyncGenerator[ConfigChanges, None]:
        """See :meth:`kvconfig.config.Configuration.changes`. Connects again when it is cut.

        The first connection has the attempts that any call has, then ``ServerUnavailable`` is
        raised.
        """
        _check_range(type_, key)
        request = message_of(lambda: pb.WatchConfigRequest(type=type_, key=key))
        return self._watch(methods.WATCH_CONFIG, request, _Told(type_))

    # -- writing -----------------------------------------------------------------------------

    async def put_many(
        self,
        values: Mapping[tuple[str, str], object],
        *,
        if_revisions: Mapping[tuple[str, str], int] | None = None,
        resent: bool = False,
    ) -> Revision:
        """See :meth:`kvconfig.config.Configuration.put_many`."""
        expected = if_revisions or {}
        request = pb.PutRequest(resent=resent)
        for name, value in values.items():
            _NAMES.writable_item(*name)
            text = json_to(value)
            request.writes.append(_write(pb.PutRequest.Write, name, expected, value=text))
        answer = await self._one(methods.PUT, request, again=_all_guarded(request.writes))
        return Revision(answer.revision)

    async def delete_many(
        self,
        names: Iterable[tuple[str, str]],
        *,
        if_revisions: Mapping[tuple[str, str], int] | None = None,
        resent: bool = False,
    ) -> Removed:
        """See :meth:`kvconfig.config.Configuration.delete_many`."""
        expected = if_revisions or {}
        request = pb.DeleteRequest(resent=resent)
        for name in dict.fromkeys(names):
            _NAMES.writable_item(*name)
            request.writes.append(_write(pb.DeleteRequest.Write, name, expected))
        answer = await self._one(methods.DELETE, request, again=_all_guarded(request.writes))
        missing = [(name.type, name.key) for name in answer.missing]
        return Removed(answer.deleted, revision=Revision(answer.revision), missing=missing)

    async def put_applied(
        self, set_: str, keys: Iterable[str], *, if_revision: int, resent: bool = False
    ) -> Revision:
        """See :meth:`kvconfig.config.Configuration.put_applied`."""
        _NAMES.applied(set_)
        request = message_of(
            lambda: pb.PutAppliedRequest(
                set=set_, keys=keys, if_revision=if_revision, resent=resent
            )
        )
        return Revision((await self._one(methods.PUT_APPLIED, request)).revision)

    async def put_schema(
        self, type_: str, document: object, *, if_revision: int | None = None, force: bool = False
    ) -> Revision:
        """See :meth:`kvconfig.config.Configuration.put_schema`."""
        check_name(type_, "type")
        text = json_to(document)
        request = message_of(
            lambda: pb.PutSchemaRequest(
                type=type_, schema=text, if_revision=if_revision, force=force
            )
        )
        return Revision((await self._one(methods.PUT_SCHEMA, request, again=False)).revision)

    async def delete_schema(self, type_: str) -> Removed:
        """See :meth:`kvconfig.config.Configuration.delete_schema`."""
        check_name(type_, "type")
        request = pb.DeleteSchemaRequest(type=type_)
        answer = await self._one(methods.DELETE_SCHEMA, request, again=False)
        return Removed(answer.deleted, revision=Revision(answer.revision))


def _check_range(type_: str, key: str) -> None:
    check_name(type_, "type")
    if key:
        check_item_key(key)


def _write(
    message: type[W], name: tuple[str, str], expected: Mapping[tuple[str, str], int], **more: str
) -> W:
    """One item to be written, on condition where ``expected`` has one."""
    type_, key = name
    return message_of(lambda: message(type=type_, key=key, if_revision=expected.get(name), **more))


def _all_guarded(writes: Iterable[pb.PutRequest.Write | pb.DeleteRequest.Write]) -> bool:
    """Whether it does no harm to ask for them twice."""
    return all(write.HasField("if_revision") for write in writes)


class _Told:
    """What a watch has told of a type, so that what comes again after a cut can be told apart.

    Of values it keeps a digest only.
    """

    def __init__(self, type_: str) -> None:
        self._type = type_
        self._known: dict[str, int] = {}
        self._parts: list[pb.Change] = []
        self._began = self._again = False

    def take(self, message: pb.WatchConfigResponse) -> list[ConfigChanges]:
        """The changes of one revision, once all of them are there."""
        self._parts += message.changes
        if message.more:
            return []
        parts, self._parts = self._parts, []
        if self._again:
            self._again = False
            parts = self._difference(parts)
            if not parts:
                return []
        self._began = True
        for part in parts:
            if _is_gone(part):
                self._known.pop(part.key, None)
            else:
                self._known[part.key] = _digest(part)
        return [
            ConfigChanges(
                revision=Revision(message.revision),
                changes=tuple(change_from(part, self._type) for part in parts),
                resync=message.resync,
            )
        ]

    async def again(self) -> tuple[ConfigChanges, ...]:
        """Nothing: the next message has all that stands."""
        self._parts = []
        self._again = self._began
        return ()

    def _difference(self, parts: Iterable[pb.Change]) -> list[pb.Change]:
        """Of all that stands, what was not told; before it, what is gone."""
        stands = {part.key: part for part in parts}
        gone = [pb.Change(key=key) for key in self._known if key not in stands]
        changed = [part for part in stands.values() if self._known.get(part.key) != _digest(part)]
        return gone + changed


def _is_gone(part: pb.Change) -> bool:
    return not (part.HasField("item") or part.error)


def _digest(part: pb.Change) -> int:
    return hash((part.item.value, part.error))
