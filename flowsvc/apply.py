"""Apply: an import that replaces, shows its plan first, and knows what it made.

What is made of a *set* of files is recorded at ``/applied/<set>``: so what the files no longer hold
can be pruned, and nothing else. The order makes it safe to be killed anywhere. First the record
gets what is about to be made beside what was; then it is made, each flow in a transaction; last the
record gets exactly what was made. Each time it is compared, so of two applies of one set one ends
with :class:`AppliedMeanwhile`.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import Final

from flowsvc.applied import announced, is_changed_since, owned_after, type_of
from flowsvc.bootstrap import Policy, Prepared, prepare
from flowsvc.bootstrap.work import MAX_TRIES
from flowsvc.errors import TooMuchContention, WrongState
from flowsvc.model import NOBODY, Actor, Flows
from flowsvc.seed.reading import Seed, is_skipped
from flowsvc.seed.shape import FLOW, refused_type
from flowsvc.seed.watching import UNWATCHED, Step, Watcher
from kvconfig.config import Configuration
from kvconfig.config.bulk import ItemPort
from kvconfig.errors import Conflict, InvalidValue, show_key

__all__ = ["DEFAULT_SET", "AppliedMeanwhile", "Apply", "plan"]

DEFAULT_SET: Final = "default"


class AppliedMeanwhile(Conflict):
    """Another apply of the same set was at work; ``begun``: and so was this one by then."""

    def __init__(self, set_: str, conflict: Conflict, *, begun: bool) -> None:
        self.set, self.begun = set_, begun
        super().__init__(conflict.key, expected=conflict.expected, actual=conflict.actual)
        done = "what both made is recorded" if begun else "nothing was written"
        said = f"{show_key(conflict.key)}: another apply of set {set_!r} was at work; {done}"
        self.args = (f"{said}: once it has ended, apply again",)


async def plan(
    seed: Seed,
    flows: Flows,
    bulk: ItemPort,
    *,
    set_: str = DEFAULT_SET,
    prune: bool = False,
    skip: Collection[str] = (),
    actor: Actor = NOBODY,
    watcher: Watcher = UNWATCHED,
) -> Apply:
    """Compare all of the seed, and what was made of its set before, with what stands.

    What was made of the types that ``skip`` names is left alone, as these are left out of the seed.

    Raises what :func:`flowsvc.bootstrap.bootstrap` raises before it writes; ``WrongState`` for a
    flow that cannot be changed in place; ``InvalidValue`` where the record is not as we write it.
    """
    record, revision = await bulk.config.get_applied(set_)
    aside = frozenset(name for name in record.keys if is_skipped(type_of(name), skip))
    owned = frozenset(record.keys) - aside
    for type_ in sorted(set(map(type_of, owned))):
        if reason := refused_type(type_):
            raise InvalidValue(f"type {type_} {reason}", key=f"/applied/{set_}".encode())
        seed.types.setdefault(type_)
    noted = _Noting(owned, watcher)
    policy = Policy(when_different="replace", prune=prune, change_flows=True, owned=owned)
    prepared = await prepare(seed, flows, bulk, policy=policy, actor=actor, watcher=noted)
    for name in prepared.report.named("different"):  # a flow: all else is replaced
        flow = name.removeprefix(f"{FLOW}/")
        cure = f"stop it, to start it in workspace {seed.flows[flow].workspace!r}"
        raise WrongState(flow, state="in another workspace", cure=cure)
    written = _Record(bulk.config, set_, aside)
    return Apply(written, revision, prepared, noted)


class Apply:
    """What :func:`plan` has found: to be looked at, and carried out once.

    ``report`` counts it. ``owned`` is what was made of the ``set`` before, by the record that
    stood at ``revision``.
    """

    def __init__(self, record: _Record, revision: int, prepared: Prepared, noted: _Noting) -> None:
        self.set, self.owned, self.revision = record.set, noted.owned, revision
        self.report = prepared.report
        self._record, self._prepared, self._noted = record, prepared, noted

    @property
    def steps(self) -> list[Step]:
        """What is written, in the order of types."""
        return [step for step in self._noted.steps.values() if step.writes]

    @property
    def left_over(self) -> list[str]:
        """The names of what is owned and not in the files, and stays.

        Where it is pruned that shows only once it was carried out: others rest on these.
        """
        return [step.name for step in self._noted.steps.values() if step.outcome == "left"]

    def is_changed_since(self, step: Step) -> bool:
        """See :func:`flowsvc.applied.is_changed_since`."""
        return is_changed_since(step, self.owned, self.revision)

    async def carry_out(self, watcher: Watcher = UNWATCHED) -> None:
        """Do it. Where there is nothing to do, nothing is written.

        Raises :class:`AppliedMeanwhile`; ``Conflict`` where somebody else has started a flow of the
        set meanwhile, in another way; and what an import raises while it writes. What was made is
        recorded then, and the next apply goes on from there.
        """
        if not self.steps:
            if (owned := self._owned_after()) != self.owned:  # something of it is gone since
                await self._record.write(owned, self.revision, begun=False)
            return
        self._noted.watcher = watcher
        coming = announced(self.owned, self.steps)
        revision = await self._record.write(coming, self.revision, begun=False)
        await self._prepared.write()
        await self._record.write(self._owned_after(), revision, begun=True)
        for name in self.report.named("different"):
            raise Conflict(f"/{name}".encode(), expected=0, actual=None)

    def _owned_after(self) -> frozenset[str]:
        return owned_after(self.owned, self._noted.steps.values())


class _Record:
    """Where it is written what is owned; what is ``aside`` stays in it as it is."""

    def __init__(self, config: Configuration, set_: str, aside: frozenset[str]) -> None:
        self.set = set_
        self._config, self._aside = config, aside

    async def write(self, keys: Set[str], revision: int, *, begun: bool) -> int:
        """Over what stands at ``revision``. Raises :class:`AppliedMeanwhile`."""
        keys = keys | self._aside
        try:
            return await self._config.put_applied(self.set, keys, if_revision=revision)
        except Conflict as conflict:
            if begun:
                await self._add(keys)
            raise AppliedMeanwhile(self.set, conflict, begun=begun) from conflict

    async def _add(self, keys: Set[str]) -> None:
        """What was made is recorded, whoever else writes there."""
        for _ in range(MAX_TRIES):
            record, revision = await self._config.get_applied(self.set)
            if keys <= set(record.keys):
                return
            try:
                await self._config.put_applied(
                    self.set, keys | set(record.keys), if_revision=revision
                )
            except Conflict:
                continue
            return
        raise TooMuchContention(f"/applied/{self.set}", attempts=MAX_TRIES)


class _Noting(Watcher):
    """Keeps the steps that matter, and passes on how far it is.

    Of what is equal only what is owned matters: there may be much of it.
    """

    def __init__(self, owned: frozenset[str], watcher: Watcher) -> None:
        self.owned, self.watcher = owned, watcher
        self.steps: dict[str, Step] = {}

    def begin(self, what: str, total: int) -> None:
        """See :class:`Watcher`."""
        self.watcher.begin(what, total)

    def advance(self, count: int) -> None:
        """See :class:`Watcher`."""
        self.watcher.advance(count)

    def noted(self, step: Step) -> None:
        """See :class:`Watcher`."""
        if step.outcome != "equal":
            self.steps[step.name] = step
        elif step.name in self.owned:
            self.steps[step.name] = step._replace(before=None, after=None)
        else:
            self.steps.pop(step.name, None)
