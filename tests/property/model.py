"""What a store holds, as a dict that anybody can follow; and the transactions it understands."""

from __future__ import annotations

from typing import NamedTuple

from kvconfig.model import LeaseId
from kvconfig.txn import Compare, Delete, Operation, Put, Txn, absent, exists, holds

__all__ = ["Model", "transaction"]


class Model(NamedTuple):
    """What the store holds: values with their leases, and each lease's end and time to live."""

    held: dict[bytes, tuple[bytes, LeaseId]]
    leases: dict[LeaseId, tuple[float, int]]

    def copy(self) -> Model:
        return Model(self.held.copy(), self.leases.copy())

    def do(self, txn: Txn) -> bool:
        """What a transaction of ours means; whether its compares hold."""
        if not all(map(self._holds, txn.compares)):
            return False
        for op in txn.then:
            if isinstance(op, Put):
                self.held[op.key] = (op.value, op.lease)
            elif isinstance(op, Delete):
                self.held.pop(op.key, None)
        return True

    def end(self, lease: LeaseId) -> None:
        del self.leases[lease]
        for key in [key for key, (_, held) in self.held.items() if held == lease]:
            del self.held[key]

    def expire(self, now_s: float) -> None:
        for lease in [lease for lease, (end_s, _) in self.leases.items() if end_s <= now_s]:
            self.end(lease)

    def _holds(self, compare: Compare) -> bool:
        if compare.target == "value":
            return compare.key in self.held and self.held[compare.key][0] == compare.value
        return (compare.key in self.held) is (compare.op == "!=")


def transaction(ops: dict[bytes, bytes | None], guards: dict[bytes, bytes | bool]) -> Txn:
    """``None`` deletes; a guard is a value, or whether the key is there."""
    then: list[Operation] = [
        Delete(key) if value is None else Put(key, value) for key, value in ops.items()
    ]
    compares = [
        holds(key, guard) if isinstance(guard, bytes) else (exists if guard else absent)(key)
        for key, guard in guards.items()
    ]
    return Txn(tuple(compares), tuple(then))
