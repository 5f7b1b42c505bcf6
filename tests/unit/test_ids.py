"""Operation ids."""

from __future__ import annotations

import uuid

from flowsvc.ids import new_op


def test_an_id_is_a_uuid_of_version_7():
    """Time and randomness stand where RFC 9562 puts them (its own example, appendix A.6)."""
    random = iter([0xCC3, 0x18C4DC0C0C07398F])
    op = new_op(
        time_ns=lambda: 0x017F22E279B0 * 1_000_000 + 999_999, random_bits=lambda _: next(random)
    )
    assert op == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    assert (uuid.UUID(op).variant, uuid.UUID(op).version) == (uuid.RFC_4122, 7)


def test_ids_sort_by_time_and_differ():
    """Ids of later milliseconds are greater as text; those of one millisecond differ."""
    clock = iter(ms * 1_000_000 for ms in (1, 2, 255, 256, 2**40))
    ids = [new_op(time_ns=lambda: next(clock)) for _ in range(5)]
    assert ids == sorted(ids)
    assert len({new_op(time_ns=lambda: 0) for _ in range(1_000)}) == 1_000
