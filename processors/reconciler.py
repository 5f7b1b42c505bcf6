"""From what is stored to what runs: informer → queue of keys → one step after another.

Promises:

* Level-triggered: it acts on what is wanted and what is there, never on the kind of an event.
* Serial per variant, parallel across variants; a variant never runs twice at once.
* A bad value, or a variant that fails, hurts that variant only. The last good value keeps running
  (it is started again, where trying a new one has ended it); the failure is reported, and tried
  again after growing, jittered delays. A permanent one waits for the next put.
* Equal values restart nothing.
* A change is offered to the running variant first, which may take it in place.
* A start or stop that takes long lets others past; one that hangs is cut off at a deadline. What
  ignores even that is reported, and nothing of that variant is started before it has ended.

Not promised: that each value put is started; of several in a row the last one counts.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from kvconfig.backoff import Backoff
from kvconfig.errors import KvError, show_key
from kvconfig.informer import Batch, Informer
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.owner import Owner
from kvconfig.records import VariantFailure, VariantRecord, decode_variant
from processors.diff import Bad, Decision, Desired, Gone, Wanted, decide
from processors.errors import ProcessorError, StopTimeout
from processors.lifecycle import RunningVariant
from processors.processor import FlowProcessor
from processors.resolving import resolved
from processors.secret import traceback_of
from processors.slot import Attempts, Slot, describe
from processors.stats import Stats
from processors.status import Row
from processors.variant import Variant
from processors.workqueue import CallLater, WorkQueue

__all__ = ["Reconciler", "decode_item"]

STABLE_S = 60.0
"""A variant that crashes after having run this long starts again with short delays."""

logger = logging.getLogger(__name__)


def decode_item(kv: KeyValue) -> VariantRecord:
    """What an informer of variants decodes with. (The name in the key is looked at later.)"""
    return decode_variant(kv.value, key=kv.key)


def patient() -> Backoff:
    """The delays between attempts at one variant."""
    return Backoff(first_s=0.5, most_s=60.0)


async def at_once() -> None:
    """Nothing has to be there first."""


class Reconciler(Owner):
    """Makes the variants of one processor run as ``informer`` has them.

    Enter it to start the work, once ``ready`` returns; leaving it stops every variant, in parallel.
    ``on_change`` is called whenever :meth:`rows` may have changed.
    """

    def __init__(
        self,
        processor: FlowProcessor,
        informer: Informer[VariantRecord],
        keyspace: Keyspace,
        *,
        ready: Callable[[], Awaitable[None]] = at_once,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        backoff: Callable[[], Backoff] = patient,
        call_later: CallLater | None = None,
    ) -> None:
        self.stats = Stats()
        self._processor = processor
        self._informer = informer
        self._keyspace = keyspace
        self._ready = ready
        self._on_change = on_change
        self._clock = clock
        self._now = now
        self._backoff = backoff
        self._queue: WorkQueue[bytes] = WorkQueue(
            concurrency=processor.concurrency,
            patience_s=processor.patience_s,
            on_slow=self._slow,
            call_later=call_later,
        )
        self._slots: dict[bytes, Slot] = {}
        self._moved = asyncio.Event()
        self._listening = asyncio.Event()
        self._prefix = len(informer.range.start)

    # -- what its owner sees -----------------------------------------------------------------

    @property
    def running(self) -> Mapping[str, Variant]:
        """What runs now, by the name of the variant."""
        found = ((slot.label, slot.running) for slot in self._slots.values())
        return {label: variant for label, variant in found if variant is not None}

    @property
    def failures(self) -> Mapping[str, VariantFailure]:
        """What does not run as desired, and why."""
        found = ((slot.label, slot.failure) for slot in self._slots.values())
        return {label: failure for label, failure in found if failure is not None}

    def rows(self) -> list[Row]:
        """Every variant that is not as desired."""
        return [
            Row(variant=slot.label, since=self._since(slot), failure=slot.failure)
            for slot in self._slots.values()
            if slot.since
        ]

    @property
    def listens(self) -> bool:
        """Whether it has begun: before that, it says nothing of variants that are there already."""
        return self._listening.is_set()

    async def until(self, predicate: Callable[[Reconciler], bool]) -> None:
        """Return once ``predicate`` holds; it is asked after every change."""
        while not predicate(self):
            self._moved.clear()
            await self._moved.wait()

    async def quiet(self) -> None:
        """Return when nothing is left to do but retries that are not due yet."""
        await self._listening.wait()
        await self._queue.quiet()

    def heard(self, batch: Batch[VariantRecord]) -> None:
        """Take note of what changed. The informer calls it."""
        for change in batch.changes:
            slot = self._slots.get(change.key)
            if slot is None:
                slot = self._slots[change.key] = Slot(change.key, self._label(change.key))
            revision = change.new.mod_revision if change.new else batch.revision
            if not slot.since:
                slot.heard_s = self._clock()
            slot.behind(revision)
            slot.failure = None  # it was of another value: this one is pending until it was tried
            for tried in slot.tries:
                tried.reset()
            self._queue.add(change.key)
        asyncio.get_running_loop().call_soon(self._tell, batch)  # the author's code goes first

    # -- life --------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self._ready()
        self._listening.set()
        self._informer.subscribe(self.heard)
        await self._queue.run(self._reconcile)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        finally:
            await self._drain()

    async def _drain(self) -> None:
        """Stop every variant, at the same time."""
        live = [slot for slot in self._slots.values() if slot.runner is not None]
        for slot in live:
            assert slot.runner is not None
            slot.behind(slot.runner.variant.mod_revision)
        self._changed()
        try:
            await asyncio.gather(*(self._stop(slot, "draining") for slot in live))
        finally:
            for slot in live:
                if slot.runner is not None:
                    slot.runner.kill()

    # -- one key -----------------------------------------------------------------------------

    def _reconcile(self, key: bytes) -> Coroutine[Any, Any, None] | None:
        """Begin to take one variant to where it shall be; the rest, where there is any.

        A start has begun on return: the author's code is entered in the loop's next turn.
        """
        slot = self._slots.get(key)
        if slot is None:
            return None
        decision = self._next(slot)
        return None if decision.action == "nothing" else self._step_on(slot, decision)

    async def _step_on(self, slot: Slot, decision: Decision) -> None:
        """Step by step until nothing is left to do for now; each step looks at the state anew."""
        while decision.action != "nothing":
            self._changed()
            await self._carry_out(slot, decision)
            decision = self._next(slot)

    def _next(self, slot: Slot) -> Decision:
        """What is to be done now. Where that is a start, it has begun."""
        runner = slot.runner
        if runner is not None and runner.ended and not runner.crashed:
            slot.runner, slot.stuck = None, None  # it came to its end after all
        desired = self._desired(slot.key)
        decision = decide(desired, slot.observed(self._clock()))
        if decision.action == "nothing":
            self._conclude(slot, desired, decision)
            return decision
        if decision.action == "start":
            assert decision.variant is not None
            self._start(slot, decision.variant)
        return decision

    async def _carry_out(self, slot: Slot, decision: Decision) -> None:
        if decision.action == "start":
            assert decision.variant is not None
            await self._started(slot, decision.variant)
        elif decision.action == "bury":
            await self._bury(slot)
        elif decision.action == "stop":
            await self._stop(slot, "deleted")
            slot.good = None
        else:
            assert decision.variant is not None
            await self._replace(slot, decision.variant)

    def _slow(self, key: bytes) -> None:
        """It goes on by itself, and lets others past."""
        slot = self._slots[key]
        self.stats.set_aside += 1
        logger.warning("variant takes long", extra=self._about(slot, slot.since))
        self._changed()

    def _desired(self, key: bytes) -> Desired:
        item = self._informer.items.get(key)
        if item is None:
            return Gone()
        if item.value is None:
            return Bad(item.error or RuntimeError("no value"))
        try:
            name = self._keyspace.parse_active_flow(key)
            variant = self._processor.spec.check(name, item.value, item.mod_revision)
            self._processor.check(variant)
        except Exception as error:  # noqa: BLE001 - a check that breaks is this variant's failure
            return Bad(error)
        return Wanted(variant)

    async def _bury(self, slot: Slot) -> None:
        """See to a runner that crashed."""
        runner = slot.runner
        assert runner is not None
        slot.behind(runner.variant.mod_revision)
        tried = slot.attempts(runner.variant)
        if self._clock() - tried.started_at >= STABLE_S:
            tried.reset()
        self.stats.crashes += 1
        await self._stop(slot, "crashed")
        self._failed(slot, tried, runner.error or RuntimeError("it ended by itself"))

    def _start(self, slot: Slot, variant: Variant) -> None:
        slot.runner = RunningVariant(
            variant,
            self._processor.variant,
            lambda: self._queue.add(slot.key),
            resolve=lambda v: resolved(v, self._processor.secret_resolvers),
            drain_timeout_s=self._processor.drain_timeout_s,
        )
        slot.runner.start()

    async def _started(self, slot: Slot, variant: Variant) -> None:
        """What has begun to start runs, or has failed."""
        runner = slot.runner
        assert runner is not None
        tried = slot.attempts(variant)
        try:
            await runner.started(self._processor.start_timeout_s)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this variant's failure
            if runner.ended:
                slot.runner = None
            else:
                slot.stuck = StopTimeout(self._processor.start_timeout_s)
            self._failed(slot, tried, error)
        else:
            tried.succeeded(self._clock())
            slot.good = variant
            self.stats.starts += 1
            self.stats.restarts += slot.starts > 0
            slot.starts += 1
            logger.info("variant started", extra=self._about(slot, variant.mod_revision))

    async def _replace(self, slot: Slot, variant: Variant) -> None:
        """Have the running variant take the change in place; stop it where it does not."""
        runner = slot.runner
        assert runner is not None
        about = self._about(slot, variant.mod_revision)
        processor = self._processor
        try:
            taken = await runner.update(variant, processor.update, processor.start_timeout_s)
        except Exception as error:
            logger.warning("variant not updated", exc_info=traceback_of(error), extra=about)
            taken = False
        if taken:
            slot.attempts(variant).succeeded(self._clock())
            slot.good = variant
            self.stats.updates += 1
            logger.info("variant updated", extra=about)
        elif not runner.crashed:
            await self._stop(slot, "changed")

    async def _stop(self, slot: Slot, reason: str) -> None:
        runner = slot.runner
        assert runner is not None
        about = {**self._about(slot, runner.variant.mod_revision), "reason": reason}
        crashed = runner.crashed
        try:
            await runner.stop(self._processor.stop_timeout_s)
        except StopTimeout as error:
            slot.stuck = error
        if not runner.ended:
            logger.error("variant does not stop", extra=about)
            return
        slot.runner, slot.stuck = None, None
        if runner.error is not None and not crashed:
            told = {**about, "error": describe(runner.error)}
            trace = traceback_of(runner.error)
            logger.warning("variant failed while it stopped", extra=told, exc_info=trace)
        self.stats.stops += 1
        logger.info("variant stopped", extra=about)

    def _failed(self, slot: Slot, tried: Attempts, error: Exception) -> None:
        tried.failed(error, self._clock(), self._backoff)
        self.stats.failures += 1
        retry_s = tried.retry_at - self._clock()
        self._log_failure(slot, tried.variant.mod_revision, error, tried.count, retry_s)

    def _conclude(self, slot: Slot, desired: Desired, decision: Decision) -> None:
        """Nothing is left to do, at least for now: as desired, or not, and then why."""
        wanted = desired.variant if isinstance(desired, Wanted) else None
        error = decision.error or slot.stuck
        if error is not None:
            self._report(slot, desired, error)
        elif slot.runner is None or slot.running is not None:
            if slot.since:
                self.stats.latency.observe(self._clock() - slot.heard_s)
            slot.failure, slot.since = None, Revision(0)
            if isinstance(desired, Gone):
                del self._slots[slot.key]
        slot.forget_others(wanted)
        retry_at = slot.next_retry_at(now := self._clock())
        if retry_at < math.inf:
            self._queue.add_after(slot.key, retry_at - now)
        self._changed()

    def _report(self, slot: Slot, desired: Desired, error: Exception) -> None:
        tried = slot.attempts(desired.variant) if isinstance(desired, Wanted) else None
        attempts = max(tried.count, 1) if tried else 1
        text = describe(error)
        before = slot.failure
        if tried is None and (before is None or before.error != text):
            self._log_failure(slot, slot.since, error, attempts, math.inf)
        since = before.since if before else self._now().isoformat(timespec="milliseconds")
        slot.failure = VariantFailure(error=text, attempts=attempts, since=since)

    def _since(self, slot: Slot) -> Revision:
        """Not above what the store says: it may have been restored, and revisions come again."""
        item = self._informer.items.get(slot.key)
        stands = item.mod_revision if item is not None else self._informer.revision
        return min(slot.since, stands) or slot.since

    # -- telling -----------------------------------------------------------------------------

    def _tell(self, batch: Batch[VariantRecord]) -> None:
        for change in batch.changes:
            logger.info(
                "variant changed",
                extra={
                    "processor": self._processor.id,
                    "variant": self._label(change.key),
                    "change": "put" if change.new else "delete",
                    "revision": change.new.mod_revision if change.new else batch.revision,
                    "resync": batch.resync,
                },
            )
        self._changed()

    def _label(self, key: bytes) -> str:
        return show_key(key[self._prefix :])[:128]

    def _log_failure(
        self, slot: Slot, revision: Revision, error: Exception, attempts: int, retry_s: float
    ) -> None:
        unexpected = not isinstance(error, ProcessorError | KvError)
        logger.warning(
            "variant failed",
            exc_info=traceback_of(error) if unexpected else None,
            extra={
                **self._about(slot, revision),
                "error": describe(error),
                "attempts": attempts,
                "retry_s": round(retry_s, 3) if retry_s < math.inf else None,
                "last_good_runs": slot.running is not None,
            },
        )

    def _about(self, slot: Slot, revision: Revision) -> dict[str, object]:
        return {"processor": self._processor.id, "variant": slot.label, "revision": revision}

    def _changed(self) -> None:
        self._moved.set()
        self._on_change()
