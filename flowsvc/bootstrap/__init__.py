"""Make what a seed holds: schemas, parameter types, blueprints, configuration, flows.

Two faces of one thing. *Bootstrap* seeds a new system, at every deployment: what is not there is
made, what is there stays as it is. *Import* carries a configuration over: what differs is replaced
and, if so asked, what the document does not hold goes. Flows are started like any other, so what
processors see comes from one place only: the flow service.

Nothing is written before the whole seed was read, checked, and compared with what is there; then
only what differs is. What breaks off in the middle is run again, and ends as if it never had.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowsvc.bootstrap.definitions import Definitions
from flowsvc.bootstrap.flows import FlowsPart
from flowsvc.bootstrap.items import Items
from flowsvc.bootstrap.report import Report
from flowsvc.bootstrap.schemas import Schemas
from flowsvc.bootstrap.work import Part, Policy, WhenDifferent, Work
from flowsvc.errors import FlowServiceError
from flowsvc.model import NOBODY, Actor, Flows
from flowsvc.seed.reading import Seed, parse_seed
from flowsvc.seed.shape import BLUEPRINT, FLOW, PARAMETER_TYPE, SeedFlow
from flowsvc.seed.watching import OUTCOMES, UNWATCHED, WRITTEN, Outcome, Watcher
from kvconfig.config.bulk import ItemPort

__all__ = [
    "KEEP",
    "OUTCOMES",
    "BootstrapRefused",
    "Outcome",
    "Policy",
    "Prepared",
    "Report",
    "Seed",
    "SeedFlow",
    "WhenDifferent",
    "bootstrap",
    "parse_seed",
    "prepare",
]

KEEP = Policy()
"""What is there stays as it is."""


class BootstrapRefused(FlowServiceError):
    """Something of the seed is there with another value. Nothing was written."""

    def __init__(self, subject: str, differing: Iterable[str]) -> None:
        self.subject, self.differing = subject, tuple(differing)
        super().__init__(
            f"{subject}: there with another value: {', '.join(self.differing)}; nothing was written"
        )


async def bootstrap(
    seed: Seed,
    flows: Flows,
    bulk: ItemPort | None,
    *,
    policy: Policy = KEEP,
    dry_run: bool = False,
    actor: Actor = NOBODY,
    watcher: Watcher = UNWATCHED,
) -> Report:
    """Make everything of the seed that is not there; ``policy`` says what of the rest.

    ``bulk`` may be ``None`` for a seed without configuration and schemas. The seed's items are used
    up by it. With ``dry_run`` nothing is written, and the report says what would be.

    Raises :class:`BootstrapRefused` and :class:`InvalidInput` before anything is written, and what
    ``flows`` and ``bulk`` raise; once something was written, a note on the error says what.
    """
    prepared = await prepare(seed, flows, bulk, policy=policy, actor=actor, watcher=watcher)
    if not dry_run:
        await prepared.write()
    return prepared.report


async def prepare(
    seed: Seed,
    flows: Flows,
    bulk: ItemPort | None,
    *,
    policy: Policy = KEEP,
    actor: Actor = NOBODY,
    watcher: Watcher = UNWATCHED,
) -> Prepared:
    """The first half of :func:`bootstrap`: all is compared, and nothing is written yet."""
    report = Report(watcher)
    work = Work(
        seed=seed,
        flows=flows,
        bulk=bulk,
        policy=policy,
        actor=actor,
        report=report,
        watcher=watcher,
    )
    parts = _parts(work)
    watcher.begin("comparing", 0)
    for part in parts:
        await part.compare()
    if policy.when_different == "refuse" and (differing := _differing(report)):
        raise BootstrapRefused(seed.subject, differing)
    return Prepared(work, parts)


class Prepared:
    """A seed that was compared with what stands; ``report`` says what will be done, or was."""

    def __init__(self, work: Work, parts: list[Part]) -> None:
        self._work, self._parts = work, parts
        self.report = work.report

    async def write(self) -> None:
        """The second half of :func:`bootstrap`, to be done once."""
        self._work.watcher.begin("writing", self.report.total(*WRITTEN))
        try:
            for part in self._parts:
                await part.write()
            for part in reversed(self._parts):
                await part.remove()
        except Exception as error:
            error.add_note(self.report.so_far())
            raise


def _parts(work: Work) -> list[Part]:
    """Each rests on those before it."""
    seed = work.seed
    schemas = Schemas(work)
    parameter_types = Definitions(work, PARAMETER_TYPE, seed.parameter_types)
    blueprints = Definitions(work, BLUEPRINT, seed.blueprints)
    items = Items(work, schemas)
    return [
        schemas,
        parameter_types,
        blueprints,
        items,
        FlowsPart(work, parameter_types, blueprints),
    ]


def _differing(report: Report) -> list[str]:
    """What differs and is no flow: these are left alone, and so no reason to refuse."""
    return [name for name in report.named("different") if not name.startswith(f"{FLOW}/")]
