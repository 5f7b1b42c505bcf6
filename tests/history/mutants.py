"""Our own code with one mistake in it each: what the checker has to catch, or it proves nothing.

A mutant is a change of a module's source. Text that is not found once is an error: then the code
has moved on, and the mutant has to follow it.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import FunctionType, ModuleType
from typing import Any

import msgspec
import pytest

from tests.history.findings import Rule

__all__ = ["ETCD", "MEMORY", "Mutant", "mutate"]


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """``changes`` of ``module``, any of ``rules`` being what they break."""

    name: str
    module: str
    changes: tuple[tuple[str, str], ...]
    rules: tuple[Rule, ...]


def mutate(mutant: Mutant, patch: pytest.MonkeyPatch) -> None:
    """Put the mutant's functions and methods in the place of the right ones."""
    module = importlib.import_module(mutant.module)
    source = inspect.getsource(module)
    for right, wrong in mutant.changes:
        assert source.count(right) == 1, f"{mutant.name}: {mutant.module} has not, once: {right}"
        source = source.replace(right, wrong)
    wrong_module = ModuleType(mutant.module)
    wrong_module.__file__ = f"<{mutant.name}>"
    exec(compile(source, wrong_module.__file__, "exec"), vars(wrong_module))
    for name, value in vars(wrong_module).items():
        if getattr(value, "__module__", None) != mutant.module:
            continue
        right_one = getattr(module, name)
        if isinstance(value, FunctionType):
            _replace_everywhere(name, right_one, value, patch)
        elif isinstance(value, type) and not issubclass(value, msgspec.Struct):
            for attribute, method in vars(value).items():
                if isinstance(method, FunctionType | property):
                    patch.setattr(right_one, attribute, method)


def _replace_everywhere(name: str, right: Any, wrong: Any, patch: pytest.MonkeyPatch) -> None:
    for module in tuple(sys.modules.values()):
        if getattr(module, name, None) is right:
            patch.setattr(module, name, wrong)


_INFORMER = "kvconfig.informer"
_CONFIG = "kvconfig.config.client"

_PUBLISH = "        self._publish(Batch(batch.revision, tuple(changes), resync=False))\n"
_OPEN_AND_LIST = """\
        async with self._store.watch(self.range, start=Revision(0)) as batches:
            self.stats.watches += 1
            await self._list(batches)
"""
_STILL_ALIVE = """\
        if watch.ended is not None:
            raise watch.ended
"""
_REFILL = """\
        self._cache.clear()
        self._cache.update(fresh)
"""
_NOT_BEFORE = """\
        if batch.revision <= self.revision:
            raise WatchEnded(f"revision {batch.revision} came after {self.revision}")
"""
_FAILED = """\
                self.stats.watch_ends += 1
"""
_TAKE_EACH = """\
                        await batches.each(self._take)
"""

MEMORY = (
    Mutant(
        name="an event is skipped",
        module=_INFORMER,
        changes=(
            (
                "for event in batch.events:\n            if",
                "for event in batch.events[:2]:\n            if",
            ),
        ),
        rules=("batch",),
    ),
    Mutant(
        name="a revision is skipped",
        module=_INFORMER,
        changes=(
            (
                "elif batch.revision > self._listed:",
                "elif batch.revision > self._listed and batch.revision % 7:",
            ),
        ),
        rules=("batch",),
    ),
    Mutant(
        name="a revision is delivered twice",
        module=_INFORMER,
        changes=((_PUBLISH, _PUBLISH * 2),),
        rules=("adds-up", "batch"),
    ),
    Mutant(
        name="what a store repeats is delivered",
        module=_INFORMER,
        changes=((_NOT_BEFORE, ""),),
        rules=("adds-up", "batch"),
    ),
    Mutant(
        name="a revision is split over batches",
        module=_INFORMER,
        changes=(
            (
                _PUBLISH,
                """\
        for change in changes:
            self._publish(Batch(batch.revision, (change,), resync=False))
""",
            ),
        ),
        rules=("adds-up", "batch"),
    ),
    Mutant(
        name="two revisions change places",
        module=_INFORMER,
        changes=(
            (
                _TAKE_EACH,
                """\
                        held = None
                        async for batch in batches:
                            if held is None and batch.revision % 3 == 0:
                                held = batch
                                continue
                            self._take(batch)
                            if held is not None:
                                self._take(held)
                                held = None
""",
            ),
            (_NOT_BEFORE, ""),
        ),
        rules=("batch",),
    ),
    Mutant(
        name="a watch is resumed and not listed",
        module=_INFORMER,
        changes=(
            (
                _OPEN_AND_LIST,
                """\
        start = Revision(self.revision + 1 if self.revision else 0)
        async with self._store.watch(self.range, start=start) as batches:
            self.stats.watches += 1
            if not self.revision:
                await self._list(batches)
""",
            ),
            (
                _FAILED,
                _FAILED
                + """\
                if type(error).__name__ == "Compacted":
                    self.revision = Revision(0)
""",
            ),
        ),
        rules=("batch", "settled"),
    ),
    Mutant(
        name="the list comes before the watch",
        module=_INFORMER,
        changes=(
            (
                _OPEN_AND_LIST,
                """\
        await self._list(None)
        async with self._store.watch(self.range, start=Revision(self._listed + 1)) as batches:
            self.stats.watches += 1
""",
            ),
            (_STILL_ALIVE, ""),
        ),
        rules=("batch", "resync", "settled"),
    ),
    Mutant(
        name="a list goes on over a restore",
        module=_INFORMER,
        changes=((_STILL_ALIVE, ""),),
        rules=("batch", "resync"),
    ),
    Mutant(
        name="a new list tells no deletes",
        module=_INFORMER,
        changes=(("return gone + changed", "return changed"),),
        rules=("adds-up",),
    ),
    Mutant(
        name="a new list forgets deletes",
        module=_INFORMER,
        changes=(
            (_REFILL, "        self._cache.update(fresh)\n"),
            ("return gone + changed", "return changed"),
        ),
        rules=("resync",),
    ),
    Mutant(
        name="a new list tells all there is",
        module=_INFORMER,
        changes=(("if key not in old or old[key].kv.value != item.kv.value", "if key"),),
        rules=("adds-up",),
    ),
    Mutant(
        name="a new list keeps old revisions",
        module=_INFORMER,
        changes=(
            (
                _REFILL,
                """\
        told = {change.key for change in changes if change.new}
        kept = {key: self._cache[key] for key in fresh if key not in told}
        self._cache.clear()
        self._cache.update(fresh | kept)
""",
            ),
        ),
        rules=("resync",),
    ),
    Mutant(
        name="an error empties the cache",
        module=_INFORMER,
        changes=((_FAILED, _FAILED + "                self._cache.clear()\n"),),
        rules=("cache", "adds-up"),
    ),
    Mutant(
        name="an unconditional write is sent again",
        module=_CONFIG,
        changes=(("            if not again:\n                raise\n", "            pass\n"),),
        rules=("exactly-once",),
    ),
    Mutant(
        name="a conditional write is not",
        module=_CONFIG,
        changes=(
            (
                "held = () if self.expected is None else (at(self.key, Revision(self.expected)),)",
                "held = ()",
            ),
        ),
        rules=("whole", "lost-update"),
    ),
    Mutant(
        name="a failure after a lost reply says that nothing was written",
        module=_CONFIG,
        changes=(("raise OutcomeUnknown(str(error)) from error", "raise"),),
        rules=("exactly-once",),
    ),
    Mutant(
        name="a conflict after a lost reply says that nothing was written",
        module=_CONFIG,
        changes=(
            ("if conflict and (resent or sent.lost):", "if False:"),
            ("isinstance(error, OutcomeUnknown):", "isinstance(error, OutcomeUnknown | Conflict):"),
        ),
        rules=("exactly-once",),
    ),
    Mutant(
        name="a store tears a transaction apart",
        module="kvconfig.memory.store",
        changes=(
            (
                "        commit, changed = self._mvcc.commit(txn, leases=self._leases)\n",
                """\
        if len(txn.then) > 2 and not txn.compares:
            self._do(Txn(then=txn.then[:1]))
            return self._do(Txn(then=txn.then[1:]))
        commit, changed = self._mvcc.commit(txn, leases=self._leases)
""",
            ),
        ),
        rules=("whole", "exactly-once"),
    ),
    Mutant(
        name="a store reads what was",
        module="kvconfig.memory.store",
        changes=(
            (
                "return self._mvcc.get(key, revision)",
                "return self._mvcc.get(key, max(self._mvcc.compacted, self.revision - 1))",
            ),
        ),
        rules=("real-time",),
    ),
)

_TAKE_BATCHES = """\
        for batch in batches_of(events):
            self._push(batch)
"""

ETCD = (
    Mutant(
        name="a write whose reply was lost is sent again",
        module="kvconfig.etcd.store",
        changes=(
            ("again(Unavailable,", "again((Unavailable, OutcomeUnknown),"),
            (
                "except Unavailable:\n            return await self._again",
                "except (Unavailable, OutcomeUnknown):\n            return await self._again",
            ),
        ),
        rules=("exactly-once",),
    ),
    Mutant(
        name="a lost reply says that nothing was written",
        module="kvconfig.etcd.status",
        changes=(("    if call.writes and not", "    if False and not"),),
        rules=("exactly-once", "answer"),  # what is "not written" is sent again by the store
    ),
    Mutant(
        name="each event is a batch",
        module="kvconfig.etcd.watch",
        changes=(
            (
                _TAKE_BATCHES,
                """\
        for batch in batches_of(events):
            for event in batch.events:
                self._push(WatchBatch(batch.revision, (event,)))
""",
            ),
        ),
        rules=("batch",),
    ),
    Mutant(
        name="a response is dropped now and then",
        module="kvconfig.etcd.watch",
        changes=(
            (
                _TAKE_BATCHES,
                "        if events[0].kv.mod_revision % 11 == 0:\n            return\n"
                + _TAKE_BATCHES,
            ),
        ),
        rules=("batch",),
    ),
)
