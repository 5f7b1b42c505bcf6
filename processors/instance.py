"""One running copy of a processor: informer → reconciler → status."""

from __future__ import annotations

import importlib.metadata
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from kvconfig.backoff import Backoff
from kvconfig.errors import InvalidName
from kvconfig.informer import Informer
from kvconfig.keys import check_name
from kvconfig.keyspace import Keyspace
from kvconfig.layout import known_layout, unknown_layout
from kvconfig.model import Revision
from kvconfig.owner import Owner, until_one_ends
from kvconfig.records import InstanceStatus, LayoutRecord, VariantRecord
from kvconfig.store import Store
from processors.configuration import ConfigView, Views
from processors.errors import CannotHost
from processors.processor import FlowProcessor
from processors.reconciler import Reconciler, decode_item, patient
from processors.sessions import Sessions
from processors.status import About, Publisher, fold

__all__ = ["Instance", "hosted"]

logger = logging.getLogger(__name__)


class Instance:
    """What the host of an instance sees of it. :func:`hosted` makes one."""

    def __init__(
        self,
        processor: FlowProcessor,
        name: str,
        informer: Informer[VariantRecord],
        reconciler: Reconciler,
        publisher: Publisher,
        *,
        layout: Informer[LayoutRecord] | None = None,
        views: Sequence[ConfigView[Any]] = (),
        rests_on: Iterable[Owner] = (),
    ) -> None:
        self.processor = processor
        self.name = name
        self.informer = informer
        self.reconciler = reconciler
        self._publisher = publisher
        self._layout = layout
        self._views = views
        self.rests_on = list(rests_on)
        """Whose failure is its own, too."""

    async def settled(self, revision: Revision = Revision(0)) -> None:
        """Return when everything up to ``revision`` was heard, and all was done that is due."""
        await self.informer.until(lambda _: self.informer.revision >= revision)
        await self.reconciler.quiet()

    async def failed(self) -> None:
        """Raise what ended the machinery itself, when something does. Never returns.

        So does a layout of keys that is not known here: what stands there may mean something else.
        """
        await until_one_ends(
            self.informer.until(lambda _: False),
            self.reconciler.failed(),
            self._publisher.failed(),
            *(owner.failed() for owner in self.rests_on),
            *(view.informer.until(lambda _: False) for view in self._views),
            *([unknown_layout(self._layout)] if self._layout else []),
        )


@asynccontextmanager
async def hosted(
    processor: FlowProcessor,
    store: Store,
    sessions: Sessions,
    keyspace: Keyspace,
    *,
    instance: str,
    views: Views = MappingProxyType({}),
    layout: Informer[LayoutRecord] | None = None,
    backoff: Callable[[], Backoff] = patient,
) -> AsyncIterator[Instance]:
    """Run ``processor`` as ``instance`` until the block is left: then every variant is stopped.

    ``views`` are what :func:`processors.configuration.watched` made of its ``spec.config``;
    ``layout`` is the layout of keys, where that is to be looked at. No variant is started before
    both have something to go by. Raises :class:`CannotHost` for an id or a name that is not one.
    """
    try:
        check_name(processor.id, "processor")
        key = keyspace.processor(processor.id, instance)
    except InvalidName as error:
        raise CannotHost(f"{type(processor).__name__}: {error}") from error
    informer: Informer[VariantRecord] = Informer(
        store,
        keyspace.active_flow_range(processor.id),
        decode_item,
        name=processor.id,
    )
    about = About(
        host=socket.gethostname(),
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
        version=_version(),
    )

    def status() -> InstanceStatus | None:
        if not (informer.revision and reconciler.listens):
            return None
        return fold(reconciler.rows(), informer.revision, about)

    read = [views[pair] for pair in processor.spec.config.items()]
    processor.attach(views)
    publisher = Publisher(store, sessions, key, status)
    reconciler = Reconciler(
        processor,
        informer,
        keyspace,
        ready=lambda: _filled(read, layout),
        on_change=publisher.notify,
        backoff=backoff,
    )
    informer.subscribe(lambda batch: publisher.doubt() if batch.resync else None)
    async with informer, publisher, reconciler:
        logger.info("instance started", extra={"processor": processor.id, "instance": instance})
        yield Instance(
            processor,
            instance,
            informer,
            reconciler,
            publisher,
            layout=layout,
            views=read,
            rests_on=[sessions],
        )
    logger.info("instance ended", extra={"processor": processor.id, "instance": instance})


async def _filled(views: Iterable[ConfigView[Any]], layout: Informer[LayoutRecord] | None) -> None:
    """Return when all is there that variants rest on. Raises where that can never be."""
    if layout is not None:
        await known_layout(layout)
    for view in views:
        await view.informer.filled()


def _version() -> str:
    try:
        return importlib.metadata.version("kvconfig")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # run from a folder, without being installed
