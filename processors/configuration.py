"""Configuration beside the flows: live, typed views of the types that a processor declares.

::

    class Prompt(msgspec.Struct):
        text: str

    class Writer(FlowProcessor):
        spec = Spec(config={"prompt": Prompt})

        @asynccontextmanager
        async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
            prompts = self.config("prompt", Prompt)
            with prompts.on_change(self.prompts_changed):
                yield

A view is one native watch of ``/<type>/``, shared by all processors of a process that read the type
in the same shape. It is complete before the first variant is entered.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from contextvars import copy_context
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from kvconfig.codec import Decoder
from kvconfig.errors import KvError, show_key
from kvconfig.informer import Batch, Informer, Item
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.store import Store

__all__ = ["ConfigChange", "ConfigView", "Views", "watched"]

T = TypeVar("T")
logger = logging.getLogger(__name__)


class ConfigChange(msgspec.Struct, Generic[T], frozen=True):
    """One key before and after; ``old`` is ``None`` for a new one, ``new`` for a deleted one."""

    key: str
    old: T | None
    new: T | None


class ConfigView(Mapping[str, T]):
    """The items of one type by their keys, as they stand now. Read it anew whenever it matters.

    A value that is not of its shape is in ``errors``; the last good one stays, where there was one.
    Equal values call nobody.
    """

    def __init__(self, informer: Informer[T]) -> None:
        self.informer = informer
        self._values: dict[str, T] = {}
        self._errors: dict[str, KvError] = {}
        self._handlers: list[Callable[[tuple[ConfigChange[T], ...]], None]] = []
        self._prefix = len(informer.range.start)
        informer.subscribe(self._heard)

    @property
    def revision(self) -> Revision:
        """The revision of the store up to which the view is complete."""
        return self.informer.revision

    @property
    def errors(self) -> Mapping[str, KvError]:
        """What is wrong with the items that do not decode, by key."""
        return dict(self._errors)

    def on_change(self, handler: Callable[[tuple[ConfigChange[T], ...]], None]) -> ExitStack:
        """Call ``handler`` with the changes of each revision, in the event loop; it must not block.

        It is called in the context of this very call, so what it logs for a variant is about that
        variant. Leaving what is returned (or ``close()``) takes it off again. A handler that raises
        is logged and stays.
        """
        context = copy_context()

        def call(changes: tuple[ConfigChange[T], ...]) -> None:
            context.run(handler, changes)

        self._handlers.append(call)
        subscription = ExitStack()
        subscription.callback(self._handlers.remove, call)
        return subscription

    def __getitem__(self, key: str) -> T:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _heard(self, batch: Batch[T]) -> None:
        taken = (self._take(change.key, change.new) for change in batch.changes)
        changes = tuple(change for change in taken if change is not None)
        for change in changes:
            logger.info(
                "configuration changed",
                extra={
                    "type": self.informer.name,
                    "key": change.key,
                    "change": "delete" if change.key not in self._values else "put",
                    "revision": batch.revision,
                },
            )
        for handler in tuple(self._handlers) if changes else ():
            try:
                handler(changes)
            except Exception:
                logger.exception("handler failed", extra={"view": self.informer.name})

    def _take(self, stored: bytes, item: Item[T] | None) -> ConfigChange[T] | None:
        """What one change of the store is to those who read the view; ``None``: nothing."""
        key = show_key(stored[self._prefix :])
        self._errors.pop(key, None)
        old = self._values.get(key)
        if item is None:
            if key not in self._values:
                return None  # it never was of its shape: nobody has heard of it
            del self._values[key]
        elif item.value is None and item.error is not None:
            self._errors[key] = item.error
            logger.warning(
                "configuration not usable",
                extra={"error": str(item.error), "last_good_stays": key in self._values},
            )
            return None
        elif key not in self._values or old != item.value:
            self._values[key] = item.value  # type: ignore[assignment] # None is a value here
        else:
            return None
        return ConfigChange(key, old, self._values.get(key))


Views: TypeAlias = Mapping[tuple[str, Any], ConfigView[Any]]
"""By type and shape."""


@asynccontextmanager
async def watched(
    store: Store, keyspace: Keyspace, declared: Iterable[tuple[str, Any]]
) -> AsyncIterator[Views]:
    """A view for each pair of type and shape that is declared; they fill in the background."""
    async with AsyncExitStack() as stack:
        views: dict[tuple[str, Any], ConfigView[Any]] = {}
        for type_, shape in dict.fromkeys(declared):
            informer = _informer(store, keyspace, type_, shape)
            views[type_, shape] = ConfigView(informer)
            await stack.enter_async_context(informer)
        yield views


def _informer(store: Store, keyspace: Keyspace, type_: str, shape: Any) -> Informer[Any]:
    decode_value = Decoder(shape).decode

    def decode(kv: KeyValue) -> Any:
        return decode_value(kv.value, key=kv.key)

    return Informer(store, keyspace.type_range(type_), decode, name=type_)
