"""Any system, exported and imported: elsewhere, again, or over any other one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsvc.bootstrap import Policy
from kvconfig.memory import MemoryStore
from tests.seeds import MERGE, SEED, System, likeness, system_on
from tests.texts import text

AS_IT_SAYS = Policy(when_different="replace", prune=True, change_flows=True)

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text(max_size=3), inner),
    max_leaves=4,
)
keys = st.sampled_from(["a", "a/b", "a.b", "b", "B@c d", "10", "9"])
flows = st.fixed_dictionaries(
    {"blueprint-name": st.sampled_from(["index", "other"])},
    optional={
        "description": text(max_size=3),
        "parameters": st.fixed_dictionaries(
            {}, optional={"size": st.integers(0, 2), "free": text(max_size=3)}
        ),
        "paused": st.booleans(),
    },
)
schemas = st.sampled_from([True, {}, {"type": ["null", "string", "number", "array", "object"]}])
systems = st.fixed_dictionaries(
    {
        "t": st.dictionaries(keys, values),
        "flow": st.dictionaries(st.sampled_from(["f1", "f2", "f3"]), flows, min_size=1),
    },
    optional={
        "t-1": st.dictionaries(keys, values, max_size=2),
        "schema": st.dictionaries(st.sampled_from(["u", "v"]), schemas),
    },
)


def with_definitions(system: dict[str, Any], size: int) -> dict[str, Any]:
    """The same, with two blueprints and a type whose default is ``size``."""
    blueprints = {**SEED["flow-blueprint"], "other": {"flow": {"loader:{id}": {}}}}
    types = {"size": {"type": "integer", "default": size}}
    return {**system, "flow-blueprint": blueprints, "parameter-type": types}


def on_two_systems(test: Callable[[System, System], Awaitable[None]]) -> None:
    """Run it on two systems in stores of their own."""

    async def main() -> None:
        stores = MemoryStore(page_size=3), MemoryStore(page_size=3)
        async with system_on(stores[0]) as here, system_on(stores[1]) as there:
            await test(here, there)
        for store in stores:
            await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("format_", ["json", "yaml"])
@settings(max_examples=25, deadline=None)
@given(system=systems, size=st.integers(0, 2))
def test_exported_and_imported_it_is_the_same(format_, system, size):
    """The copy has the same keys and values, its export the same bytes, and nothing is left out."""

    async def test(here: System, there: System) -> None:
        await here.seed(with_definitions(system, size))
        document, exported = await here.exported(format_=format_)
        assert not exported.left_out
        await there.seed(document, format_, policy=MERGE)
        assert (await there.exported(format_=format_))[0] == document
        assert await likeness(there.store, there.ks) == await likeness(here.store, here.ks)
        before = await there.revision()
        await there.seed(document, format_, policy=AS_IT_SAYS)
        assert await there.revision() == before

    on_two_systems(test)


@settings(max_examples=40, deadline=None)
@given(system=systems, other=systems, sizes=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_over_any_other_system_it_is_what_the_document_says(system, other, sizes):
    """Of the types in the document all is as it says, and of the others as it was."""

    async def test(here: System, there: System) -> None:
        await here.seed(with_definitions(system, sizes[0]))
        await there.seed(with_definitions(other, sizes[1]))
        was, wanted = await there.document(), await here.document()
        report = await there.seed(wanted, policy=AS_IT_SAYS)
        assert await there.document() == {
            **{type_: section for type_, section in was.items() if type_ not in wanted},
            **wanted,
        }
        assert report.total("different", "left") == 0
        before = await there.revision()
        again = await there.seed(wanted, policy=AS_IT_SAYS)
        assert (await there.revision(), sum(again.written.values())) == (before, 0)

    on_two_systems(test)
