"""The suite of the config client once more, over gRPC: who calls cannot tell the difference."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest

from flowsvc.config_client import ConfigClient
from flowsvc.server import serve
from kvconfig.config import Config, Configuration
from kvconfig.keyspace import Keyspace
from kvconfig.store import Store
from tests.contract.test_config import (  # noqa: F401 - pytest collects them here, on what is below
    test_a_broken_schema_in_the_store_lets_nothing_past,
    test_a_schema_that_is_not_met_is_refused,
    test_bad_names_and_values_are_refused,
    test_delete_says_whether_there_was_one,
    test_if_revision_refuses_what_is_stale,
    test_keys_may_be_deep_and_are_listed_by_prefix,
    test_many_are_one_transaction,
    test_more_than_a_transaction_can_hold_is_refused,
    test_nothing_to_write_is_no_write,
    test_reserved_types_are_read_and_not_written,
    test_types_and_keys_are_found_without_reading_values,
    test_what_is_no_schema_is_refused,
    test_what_was_put_is_got,
)
from tests.counting import count_up
from tests.fake_flows import FakeFlows


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


@pytest.fixture
async def config(store: Store, ks: Keyspace) -> AsyncIterator[Configuration]:
    async with (
        serve(FakeFlows(), config=Config(store, ks)) as port,
        ConfigClient(f"127.0.0.1:{port}") as client,
    ):
        yield client


async def test_concurrent_increments_lose_nothing(config: Configuration) -> None:
    """8 writers read, add one and put with `if_revision`; each of 160 increments is there."""
    assert await count_up(cast(Config, config), writers=8, each=20) > 0, "nobody was in the way"
