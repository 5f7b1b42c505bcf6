"""Every mistake that we can think of is caught, by itself."""

from __future__ import annotations

import pytest

from tests.history.checker import check
from tests.history.findings import Finding
from tests.history.mutants import ETCD, MEMORY, Mutant, mutate
from tests.history.simulation import SEEDS, simulate
from tests.history.storm import storm

STORM_S = 3.0
STORMS = 5


def ids(mutant: Mutant) -> str:
    return mutant.name.replace(" ", "-")


def caught(mutant: Mutant, seed: int, findings: list[Finding]) -> bool:
    """For the reason that it should be, if at all."""
    if findings:
        print(f"\nseed {seed}: {findings[0]}")
        assert {finding.rule for finding in findings} & set(mutant.rules), findings
    return bool(findings)


@pytest.mark.parametrize("mutant", MEMORY, ids=ids)
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker objects to one of the runs that the code as it is passes (test_simulation)."""
    mutate(mutant, monkeypatch)
    assert any(caught(mutant, seed, check(simulate(seed))) for seed in SEEDS), "not caught"


@pytest.mark.parametrize("mutant", ETCD, ids=ids)
async def test_a_mutant_of_the_etcd_store_is_caught(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch, etcd_endpoint: str, root: str
) -> None:
    """Within a few short runs on a real etcd; ``test_storm`` is the code as it is."""
    mutate(mutant, monkeypatch)
    for seed in range(1, STORMS + 1):
        history = await storm(etcd_endpoint, f"{root}-{seed}", seed=seed, seconds=STORM_S)
        if caught(mutant, seed, check(history)):
            return
    pytest.fail("not caught")
