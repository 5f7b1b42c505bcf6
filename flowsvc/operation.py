"""Carry out one operation: plan, commit, and plan again from what stood in the way.

What may be given as an answer, and when:

* *done*, once the transaction, or a proof that shows its history entry, says so;
* a *refusal*, only when the plan that raised it rests on reads alone, none of them from a cache;
  and after a reply was lost only behind a *fence*: the operation's history key is taken first, so
  that the lost request cannot be committed any more;
* *unknown* (:class:`kvconfig.errors.OutcomeUnknown`), when the store does not answer at all. The
  same request with the same ``op`` finds out later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import tenacity

from flowsvc.errors import Finding, FlowServiceError, PlanStale, TooMuchContention
from flowsvc.model import Done
from flowsvc.plan import ABANDONED, Operation, Plan, Repeated, Unproven
from flowsvc.preview import written
from flowsvc.view import Proof, View
from kvconfig.errors import Compacted, OutcomeUnknown, StoreError, TransactionAborted, show_key
from kvconfig.keys import Range
from kvconfig.model import KeyValue, Revision
from kvconfig.records import decode_history
from kvconfig.store import Store
from kvconfig.txn import MAX_OPERATIONS, Commit, Put, Read, ReadResult, Txn, absent
from kvconfig.txn import Operation as TxnOperation

__all__ = ["Foreseen", "Performed", "Planner", "foresee", "perform"]

ATTEMPTS = 16
"""Plans made for one operation before it gives way to others."""

Planner: TypeAlias = Callable[[View], Plan | Repeated]


class Performed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer; and how many history entries there are now of what was changed (0: unknown)."""

    done: Done
    entries: int = 0


async def perform(
    store: Store,
    operation: Operation,
    history_key: bytes,
    view_of: Callable[[Proof], View],
    planner: Planner,
    *,
    what: str,
) -> Performed:
    """Carry out what ``planner`` plans, in one transaction.

    ``view_of`` makes a view from a proof (and the caches behind it). ``what`` names the operation
    in errors. Raises what the planner raises, ``PlanStale``, ``TooMuchContention``, or a
    ``StoreError``.
    """
    sender = _Sender(store, operation, history_key)
    proof: Proof = {}
    for _ in range(ATTEMPTS):
        view = view_of(proof)
        try:
            plan = planner(view)
            if isinstance(plan, Plan):
                _check_fresh(operation, view)
        except FlowServiceError as refusal:
            if view.proven:
                return Performed(done=await sender.settle(refusal))
            proof = await sender.read(view.asked)
            continue
        if isinstance(plan, Repeated):
            return Performed(done=sender.done(plan.revision))
        commit = await sender.send(plan.txn)
        if commit is not None and commit.succeeded:
            done = sender.done(commit.revision, plan.findings)
            return Performed(done=done, entries=_counted(commit))
        sender.conflicts += 1
        if commit is not None and commit.results:
            proof = _proof(plan.txn.otherwise, commit)
        else:
            proof = await sender.read(view.asked)
    return Performed(done=await sender.settle(TooMuchContention(what, attempts=ATTEMPTS)))


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sent now, made from what stands at ``revision``.

    ``before``: what stands there at those of the keys to be written that were asked for.
    """

    plan: Plan | Repeated
    revision: Revision
    before: dict[bytes, KeyValue]


async def foresee(
    store: Store,
    operation: Operation,
    history_key: bytes,
    view_of: Callable[[Proof], View],
    planner: Planner,
    *,
    shown: Range,
    what: str,
) -> Foreseen:
    """The plan as :func:`perform` would send it now; ``before`` is told of keys in ``shown``.

    Raises what the planner raises, ``PlanStale``, ``TooMuchContention``. Writes nothing.
    """
    sender = _Sender(store, operation, history_key)
    proof: Proof = {}
    for _ in range(ATTEMPTS):
        view = view_of(proof)
        try:
            plan = planner(view)
            if view.proven:
                _check_fresh(operation, view)
                txn = plan.txn if isinstance(plan, Plan) else Txn()
                keys = {op.key for op in written(txn) if op.key in shown}
                reads = tuple(Read(key) for key in sorted(keys))
                found = await sender.read(reads, at=sender.revision)
                before = {kv.key: kv for answer in found.values() for kv in answer.items}
                return Foreseen(plan=plan, revision=sender.revision, before=before)
        except FlowServiceError:
            if view.proven:
                raise
        except Compacted:  # what the plan rests on is gone by now
            pass
        proof = await sender.read(view.asked)
    raise TooMuchContention(what, attempts=ATTEMPTS)


def _check_fresh(operation: Operation, view: View) -> None:
    """Nothing that the plan rests on is newer than the request allows."""
    allowed = operation.check_revision
    if not allowed:
        return
    if not view.proven:
        raise Unproven("what the plan rests on")
    newest = view.newest()
    if newest is not None and newest.mod_revision > allowed:
        raise PlanStale(show_key(newest.key), revision=newest.mod_revision, check_revision=allowed)


class _Sender:
    """Sends transactions for one operation; counts, and remembers whether a reply was lost."""

    def __init__(self, store: Store, operation: Operation, history_key: bytes) -> None:
        self._store = store
        self._operation = operation
        self._history_key = history_key
        self._round_trips = 0
        self.conflicts = 0
        self._lost_a_reply = operation.resent
        self.revision = Revision(0)  # of the last proof

    def done(self, revision: Revision, findings: tuple[Finding, ...] = ()) -> Done:
        """The answer."""
        return Done(
            op=self._operation.op,
            revision=revision,
            round_trips=self._round_trips,
            conflicts=self.conflicts,
            findings=findings,
        )

    async def send(self, txn: Txn) -> Commit | None:
        """Commit; ``None`` where a nested guard ended it. Safe to repeat: see the plan's guards."""
        try:
            return await self._until_known(txn)
        except TransactionAborted:
            return None

    async def _until_known(self, txn: Txn) -> Commit:
        """Commit; four times at the most, while no reply comes."""
        try:
            return await self._once(txn)
        except OutcomeUnknown:
            return await _SEND_AGAIN(self._once, txn)

    async def read(self, reads: tuple[Read, ...], *, at: Revision = Revision(0)) -> Proof:
        """The answers to ``reads``, all as of one revision: ``at``, or that of now."""
        return await _READ_AGAIN(self._read, reads, at)

    async def _read(self, reads: tuple[Read, ...], at: Revision) -> Proof:
        proof: dict[Read, ReadResult] = {}
        revision = at
        for start in range(0, len(reads), MAX_OPERATIONS):
            asked = reads[start : start + MAX_OPERATIONS]
            then = tuple(msgspec.structs.replace(read, revision=revision) for read in asked)
            commit = await self._once(Txn(then=then))
            revision = revision or commit.revision
            proof.update(_proof(asked, commit))
        self.revision = revision
        return proof

    async def settle(self, refusal: FlowServiceError) -> Done:
        """Raise ``refusal``; unless a request whose reply was lost has done it all the same.

        Its history key is taken first, so that it cannot be committed later.
        """
        if self._lost_a_reply:
            key, entry = self._history_key, self._operation.entry(ABANDONED, None)
            fence = Txn((absent(key),), (Put(key, entry),), (Read(key),))
            commit = await self.send(fence)
            assert commit is not None, "a fence nests nothing"
            if not commit.succeeded:
                (found,) = _proof(fence.otherwise, commit)[Read(key)].items
                if decode_history(found.value, key=key).action != ABANDONED:
                    return self.done(found.create_revision)
        raise refusal

    async def _once(self, txn: Txn) -> Commit:
        """One round trip. After a lost reply no failure can say that nothing was done."""
        self._round_trips += 1
        try:
            return await self._store.commit(txn)
        except TransactionAborted:
            raise
        except OutcomeUnknown:
            self._lost_a_reply = True
            raise
        except StoreError as error:
            if self._lost_a_reply:
                raise OutcomeUnknown(str(error)) from error
            raise


# For what comes after a first failure: tenacity itself takes a twentieth of what a start takes.
_SEND_AGAIN = tenacity.AsyncRetrying(
    retry=tenacity.retry_if_exception_type(OutcomeUnknown),
    stop=tenacity.stop_after_attempt(3),
    wait=tenacity.wait_random_exponential(multiplier=0.05, max=1.0),
    reraise=True,
)


_READ_AGAIN = tenacity.AsyncRetrying(
    retry=tenacity.retry_if_exception_type(Compacted),  # its revision is gone: take a newer one
    stop=tenacity.stop_after_attempt(4),
    reraise=True,
)


def _proof(ops: Sequence[TxnOperation], commit: Commit) -> dict[Read, ReadResult]:
    return {
        op: result
        for op, result in zip(ops, commit.results, strict=True)
        if isinstance(op, Read) and isinstance(result, ReadResult)
    }


def _counted(commit: Commit) -> int:
    """What the planner's read of the history, the last thing that is done, has counted."""
    counts = [result.count for result in commit.results if isinstance(result, ReadResult)]
    return counts[-1] if counts else 0
