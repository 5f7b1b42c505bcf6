"""Whether a process of processors is well: live, while its event loop turns; ready, while what its
processors know is fresh.

Not live is a reason to restart the process, not ready is none: without etcd, processors run on with
what they know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kvconfig.informer import Informer
from kvconfig.owner import Owner
from processors.configuration import ConfigView
from processors.instance import Instance

__all__ = ["FRESH_S", "Heartbeat", "config_views", "unready"]

FRESH_S = 30.0
"""How old a cache may be: a watch gives up a silent etcd after 15 s, and then lists again."""


class Heartbeat(Owner):
    """Knows when the event loop turned last; any thread may ask."""

    name = "of the event loop"

    def __init__(
        self, *, every_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._every_s = every_s
        self._clock = clock
        self._last = clock()

    @property
    def age_s(self) -> float:
        """Seconds since the loop turned last, as far as we know: it is looked at ``every_s``."""
        return self._clock() - self._last

    async def _run(self) -> None:
        while True:
            self._last = self._clock()
            await asyncio.sleep(self._every_s)


def unready(instances: Sequence[Instance], *, fresh_s: float = FRESH_S) -> list[str]:
    """What keeps ``instances`` from being up to date, a line each: ``chunker: watch silent …``.

    To be called in their event loop.
    """
    caches = _caches(instances)
    found = ((name, _trouble(informer, fresh_s)) for name, informer in caches)
    return [f"{name}: {trouble}" for name, trouble in found if trouble]


def config_views(instances: Sequence[Instance]) -> Mapping[str, Sequence[ConfigView[Any]]]:
    """The views of configuration that ``instances`` read, by type: one for each of its shapes."""
    found: dict[str, dict[int, ConfigView[Any]]] = {}
    for instance in instances:
        for type_ in instance.processor.spec.config:
            view = instance.processor.config(type_)
            found.setdefault(type_, {})[id(view)] = view
    return {type_: tuple(views.values()) for type_, views in found.items()}


def _caches(instances: Sequence[Instance]) -> Iterator[tuple[str, Informer[Any]]]:
    for instance in instances:
        yield instance.processor.id, instance.informer
    for type_, views in config_views(instances).items():
        for view in views:
            yield f"configuration {type_}", view.informer


def _trouble(informer: Informer[Any], fresh_s: float) -> str:
    if informer.stale:
        return "stale: etcd has not answered yet, what an earlier life knew is used"
    if not informer.revision:
        return "not synced: etcd has not answered yet"
    age_s = informer.last_progress_age_s
    return "" if age_s < fresh_s else f"watch silent for {age_s:.0f} s"
