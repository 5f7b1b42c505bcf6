"""Any files applied over any others, and killed anywhere: what stands then, and what is owned."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from kvconfig.codec import encode
from kvconfig.memory import MemoryStore
from kvconfig.txn import Commit, Txn, may_write
from tests.applying import Applier, applier_on
from tests.property.test_import_any import systems, with_definitions
from tests.seeds import SEED, likeness, system_on

Things: TypeAlias = dict[str, bytes]
"""Values in canonical form by ``<type>/<key>``."""


def things_of(document: dict[str, Any]) -> Things:
    return {
        f"{type_}/{key}": encode(value)
        for type_, section in document.items()
        for key, value in section.items()
    }


async def as_it_stands(document: dict[str, Any]) -> Things:
    """What an empty system holds once it was seeded with it: parameters are texts, and so on."""
    store = MemoryStore()
    async with system_on(store) as system:
        await system.seed(document)
        found = things_of(await system.document())
    await store.close()
    return found


@settings(max_examples=40, deadline=None)
@given(others=systems, first=systems, second=systems, sizes=st.tuples(*[st.integers(0, 2)] * 2))
def test_what_stands_is_what_the_files_say_and_what_others_made(others, first, second, sizes):
    """Whatever the first files held and the second do not is gone, and of the others' nothing."""
    others, first = with_definitions(others, sizes[0]), with_definitions(first, sizes[0])
    second = with_definitions(second, sizes[1])

    async def main() -> None:
        theirs, one, two = [await as_it_stands(each) for each in (others, first, second)]
        made = {name for name, value in one.items() if theirs.get(name) != value}
        stood = {**theirs, **one}
        store = MemoryStore(page_size=3)
        async with applier_on(store) as applier:
            await applier.system.seed(others)
            await applier.apply(first)
            assert set(await applier.owned()) == made
            assert things_of(await applier.system.document()) == stood
            await applier.apply(second, prune=True)
            kept = {name: value for name, value in stood.items() if name not in made - two.keys()}
            assert things_of(await applier.system.document()) == {**kept, **two}
            before = await applier.system.revision()
            assert (await applier.apply(second, prune=True)).steps == []
            assert await applier.system.revision() == before
        await store.close()

    asyncio.run(main())


class Killed(BaseException):
    """As good as kill -9: no line of the apply runs after it that could repair anything."""


class Mortal(MemoryStore):
    """Takes so many writes more, and is dead then. (``None``: it lives.)"""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None

    async def commit(self, txn: Txn) -> Commit:
        if self.left is not None and may_write(txn):
            if self.left == 0:
                raise Killed
            self.left -= 1
        return await super().commit(txn)


FIRST: dict[str, Any] = {**SEED, "tool": {"gone": 1, "stays": 2}}
SECOND: dict[str, Any] = {
    "parameter-type": SEED["parameter-type"],
    "flow-blueprint": {"other": {"flow": {"loader:{id}": {}}}, **SEED["flow-blueprint"]},
    "flow": {
        "f1": {"blueprint-name": "index", "description": "another", "paused": True},
        "f3": {"blueprint-name": "other"},
    },
    "tool": {"stays": 2, "new": 3},
    "prompt": {"system": "Be long."},
}


async def killed_after(writes: int | None) -> tuple[bool, list[tuple[str, bytes]]]:
    """Whether the apply was killed; and what stands after another one, history included."""
    store = Mortal()
    async with applier_on(store) as applier:
        await applier.apply(FIRST)
        killed = await _is_killed(store, applier, writes)
        known = set(await applier.owned())
        assert things_of(await applier.system.document()).keys() <= known
        await applier.apply(SECOND, prune=True)
        assert things_of(await applier.system.document()) == await as_it_stands(SECOND)
        assert set(await applier.owned()) == things_of(SECOND).keys()
        assert (await applier.plan(SECOND)).steps == []
        stands = await likeness(store, applier.system.ks)
    await store.close()
    return killed, stands


async def _is_killed(store: Mortal, applier: Applier, writes: int | None) -> bool:
    store.left = writes
    try:
        await applier.apply(SECOND, prune=True)
    except Killed:
        return True
    finally:
        store.left = None
    return False


async def test_killed_after_any_write_the_next_one_ends_the_same():
    """All that was made is known, whenever that was; and no operation is done a second time."""
    _, wanted = await killed_after(None)
    writes, killed = 0, True
    while killed:
        killed, stands = await killed_after(writes)
        assert stands == wanted, f"killed after {writes} writes"
        writes += 1
    assert writes > 8
