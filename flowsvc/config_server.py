"""What each method of the config service does: a message in, the configuration asked, messages out.

No decisions here, and nothing of gRPC: :mod:`flowsvc.server` calls it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

from flowsvc.api import config_methods as methods
from flowsvc.api.config_convert import change_to, item_to, json_from, unreadable_to
from flowsvc.api.methods import Method
from flowsvc.api.pieces import pieces_of
from flowsvc.api.v1 import config_pb2 as pb
from flowsvc.errors import Finding, InvalidInput
from kvconfig.config import ConfigItem, Configuration, Found, Unreadable

__all__ = ["CALLS", "list_", "watch"]

T = TypeVar("T")
_Pages: TypeAlias = AsyncGenerator[Found[T], None]

# -- reading -------------------------------------------------------------------------------------


async def list_(
    config: Configuration, method: Method[Any, Any], request: Any
) -> AsyncGenerator[Message, None]:
    """What a method that answers in pieces gives; one piece at least, for its revision."""
    async with aclosing(_PAGES[method](config, request)) as pages:
        async for page in pages:
            for piece in list(pieces_of(map(_part, page.all_in_order()))) or [[]]:
                parts: dict[str, list[Any]] = {field: [] for field in method.parts}
                for part in piece:
                    unreadable = isinstance(part, pb.Unreadable)
                    parts["unreadable" if unreadable else method.items].append(part)
                yield method.response(**parts, revision=page.revision)


def _part(found: ConfigItem | Unreadable | str) -> Any:
    if isinstance(found, Unreadable):
        return unreadable_to(found)
    return found if isinstance(found, str) else item_to(found)


async def _get(config: Configuration, request: pb.GetRequest) -> _Pages[ConfigItem]:
    names = [(name.type, name.key) for name in request.names]
    yield await config.get_many(names, revision=request.revision)


async def _keys(config: Configuration, request: pb.ListKeysRequest) -> _Pages[str]:
    yield await config.keys(request.type, request.under, revision=request.revision)


def _values(config: Configuration, request: pb.GetValuesRequest) -> _Pages[ConfigItem]:
    return config.values(request.type, request.under, revision=request.revision)


def _everything(config: Configuration, request: pb.GetEverythingRequest) -> _Pages[ConfigItem]:
    return config.everything(*request.types, revision=request.revision)


_PAGES: dict[Method[Any, Any], Callable[[Configuration, Any], _Pages[Any]]] = {
    methods.GET: _get,
    methods.LIST_KEYS: _keys,
    methods.GET_VALUES: _values,
    methods.GET_EVERYTHING: _everything,
}


async def _types(config: Configuration, request: pb.ListTypesRequest) -> pb.ListTypesResponse:
    types = await config.types(revision=request.revision)
    return pb.ListTypesResponse(types=types, revision=types.revision)


async def watch(
    config: Configuration, request: pb.WatchConfigRequest
) -> AsyncGenerator[pb.WatchConfigResponse, None]:
    """The messages of a watch; what is too long for one goes into several."""
    async with aclosing(config.changes(request.type, request.key)) as batches:
        async for batch in batches:
            *more, last = list(pieces_of(map(change_to, batch.changes))) or [[]]
            about: dict[str, Any] = {"revision": batch.revision, "resync": batch.resync}
            for piece in more:
                yield pb.WatchConfigResponse(changes=piece, more=True, **about)
            yield pb.WatchConfigResponse(changes=last, **about)


# -- writing -------------------------------------------------------------------------------------


async def _put(config: Configuration, request: pb.PutRequest) -> pb.PutResponse:
    _refuse_twice(request.writes)
    values = {
        (write.type, write.key): json_from(write.value, of=f"/{write.type}/{write.key}")
        for write in request.writes
    }
    revision = await config.put_many(
        values, if_revisions=_if_revisions(request.writes), resent=request.resent
    )
    return pb.PutResponse(revision=revision)


async def _delete(config: Configuration, request: pb.DeleteRequest) -> pb.DeleteResponse:
    _refuse_twice(request.writes)
    removed = await config.delete_many(
        [(write.type, write.key) for write in request.writes],
        if_revisions=_if_revisions(request.writes),
        resent=request.resent,
    )
    missing = [pb.Name(type=type_, key=key) for type_, key in removed.missing]
    return pb.DeleteResponse(deleted=removed, revision=removed.revision, missing=missing)


def _refuse_twice(writes: Iterable[pb.PutRequest.Write | pb.DeleteRequest.Write]) -> None:
    names: set[tuple[str, str]] = set()
    for number, write in enumerate(writes):
        if (write.type, write.key) in names:
            place = f"$.writes[{number}]"
            raise InvalidInput("write", [Finding(place, "names an item for the second time")])
        names.add((write.type, write.key))


def _if_revisions(
    writes: Iterable[pb.PutRequest.Write | pb.DeleteRequest.Write],
) -> dict[tuple[str, str], int]:
    return {(w.type, w.key): w.if_revision for w in writes if w.HasField("if_revision")}


async def _put_schema(config: Configuration, request: pb.PutSchemaRequest) -> pb.PutSchemaResponse:
    revision = await config.put_schema(
        request.type,
        json_from(request.schema, of=f"/schema/{request.type}"),
        if_revision=request.if_revision if request.HasField("if_revision") else None,
        force=request.force,
    )
    return pb.PutSchemaResponse(revision=revision)


async def _delete_schema(
    config: Configuration, request: pb.DeleteSchemaRequest
) -> pb.DeleteSchemaResponse:
    removed = await config.delete_schema(request.type)
    return pb.DeleteSchemaResponse(deleted=removed, revision=removed.revision)


async def _put_applied(
    config: Configuration, request: pb.PutAppliedRequest
) -> pb.PutAppliedResponse:
    revision = await config.put_applied(
        request.set, request.keys, if_revision=request.if_revision, resent=request.resent
    )
    return pb.PutAppliedResponse(revision=revision)


CALLS: dict[Method[Any, Any], Callable[[Configuration, Any], Awaitable[Message]]] = {
    methods.LIST_TYPES: _types,
    methods.PUT: _put,
    methods.DELETE: _delete,
    methods.PUT_SCHEMA: _put_schema,
    methods.DELETE_SCHEMA: _delete_schema,
    methods.PUT_APPLIED: _put_applied,
}
"""The methods with one answer."""
