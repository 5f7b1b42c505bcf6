"""What the demo does and shows: two flows come, one is searched, both go; who heard what, when."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import click

from flowsvc.bootstrap import bootstrap
from flowsvc.cli.bootstrap import summarise
from flowsvc.cli.children import ChildFailed, Line
from flowsvc.cli.output import print_table, printable
from flowsvc.cli.scenario import PlannedFlow, Scenario
from flowsvc.cli.stage import Stage, set_up
from flowsvc.model import Actor, Done, StartFlow, StopFlow
from kvconfig.keyspace import VariantName
from kvconfig.model import KeyValue, Revision
from kvconfig.records import FlowRecord

__all__ = ["play"]

ACTOR = Actor(by="flowctl demo")
MANY_LINES = 48
"""With more lines from etcdctl than this, long ones are cut."""
WIDTH = 100


@dataclass(frozen=True, kw_only=True)
class Act:
    """One transaction: when its reply was here, and how many variants of whom it touched."""

    title: str
    revision: Revision
    replied_at: float
    touched: Counter[str]
    before: dict[bytes, KeyValue]
    after: dict[bytes, KeyValue]


async def play(scenario: Scenario) -> None:
    """All of it. Raises what goes wrong; everything that was started is ended then too."""
    began = time.monotonic()
    async with set_up(scenario.processors) as stage:
        await _Story(stage, scenario).tell()
    for child in (stage.host, stage.service):
        if child.exit_code != 0:
            raise ChildFailed(child.name, f"ended with exit code {child.exit_code}", [])
    _title("The end")
    took_s = time.monotonic() - began
    click.echo(f"etcd, flow service and processor host have ended in order; {took_s:.1f} s in all")


class _Story:
    def __init__(self, stage: Stage, scenario: Scenario) -> None:
        self._stage, self._scenario = stage, scenario

    async def tell(self) -> None:
        """The acts, in order."""
        first, second = self._scenario.flows
        await self._prepare()
        acts = [await self._start(first), await self._start(second)]
        await self._show_etcdctl("get", "--prefix", "/active-flow/")
        if self._scenario.query:
            await self._search()
        acts.append(await self._stop(first))
        await self._show_etcdctl("get", "--prefix", "--keys-only", "/active-flow/")
        acts.append(await self._stop(second))
        _show_who_heard(self._stage.host.lines, self._stage.processors, acts)

    async def _prepare(self) -> None:
        stage, scenario = self._stage, self._scenario
        _title("Processes of their own")
        version = ".".join(map(str, stage.etcd.version))
        _say(f"etcd {version}", f"process {stage.etcd.pid} at {stage.etcd.endpoint}")
        _say("flow service", f"process {stage.service.pid} at {stage.address}")
        _say("processor host", f"process {stage.host.pid}: {_names(stage.processors)}")
        _title(f"flowctl bootstrap {scenario.seed_name}")
        for line in summarise(await bootstrap(scenario.seed, stage.flows, None, actor=ACTOR)):
            click.echo(line)

    async def _start(self, flow: PlannedFlow) -> Act:
        blueprint = self._scenario.blueprint_name
        _title(f"flowctl flow start -n {blueprint} -i {flow.id}")
        request = StartFlow(
            flow=flow.id,
            blueprint_name=blueprint,
            description=flow.description,
            parameters=flow.parameters,
            actor=ACTOR,
        )
        act = await self._act(f"start {flow.id}", lambda: self._stage.flows.start_flow(request))
        self._show_one_revision(act, flow.id, (await self._stage.flows.get_flow(flow.id)).record)
        return act

    async def _stop(self, flow: PlannedFlow) -> Act:
        _title(f"flowctl flow stop {flow.id}")
        request = StopFlow(flow=flow.id, actor=ACTOR)
        act = await self._act(f"stop {flow.id}", lambda: self._stage.flows.stop_flow(request))
        before, after = self._variants(act.before), self._variants(act.after)
        gone = before.keys() - after.keys()
        _say(f"at revision {act.revision}", f"{len(gone)} variants went: {_names(gone)}")
        _say("", f"{len(after)} stayed: {_names(after)}")
        space = self._stage.keyspace
        refs = [key for key in act.after if key in space.type_range("flow-ref")]
        held = [f"{name} by {holder}" for name, holder in map(space.parse_flow_ref, refs)]
        _say("", f"still shared: {_names(held)}")
        return act

    async def _act(self, title: str, do: Callable[[], Awaitable[Done]]) -> Act:
        """Do it; wait until all concerned have heard of it, and run as they should."""
        stage = self._stage
        before = await stage.keys()
        asked_at = time.time()
        done = await do()
        replied_at = time.time()
        after = await stage.keys()
        stand = self._variants(after)
        changed = [name for name, kv in stand.items() if kv.mod_revision == done.revision]
        changed += self._variants(before).keys() - stand.keys()
        act = Act(
            title=title,
            revision=done.revision,
            replied_at=replied_at,
            touched=Counter(name.processor for name in changed),
            before=before,
            after=after,
        )
        await stage.host.wait_until(
            lambda lines: len(_heard(lines, act)) >= len(changed),
            f"{len(changed)} events of revision {act.revision}",
        )
        await stage.observed(act.touched, act.revision)
        took_ms = (replied_at - asked_at) * 1000
        round_trips = _counted(done.round_trips, "round trip")
        _say("reply", f"after {took_ms:.1f} ms; {round_trips} from the service to etcd")
        self._show_hearing(act)
        return act

    def _show_hearing(self, act: Act) -> None:
        heard = _heard(self._stage.host.lines, act)
        after_ms = sorted(_after_ms(line, act) for line in heard)
        by = {str(line["processor"]) for line in heard}
        between = f"{after_ms[0]:+.1f} to {after_ms[-1]:+.1f} ms from the reply"
        _say(f"{len(heard)} events", f"heard {between} by {_names(by)}")
        _say("nothing", f"heard by {_names(set(self._stage.processors) - by)}")

    # -- what stands in etcd -----------------------------------------------------------------

    def _variants(self, keys: dict[bytes, KeyValue]) -> dict[VariantName, KeyValue]:
        space = self._stage.keyspace
        range_ = space.type_range("active-flow")
        return {space.parse_active_flow(key): kv for key, kv in keys.items() if key in range_}

    def _show_one_revision(self, act: Act, flow: str, record: FlowRecord) -> None:
        """The promise, read back from etcd: all keys of the flow were put at one revision."""
        space = self._stage.keyspace
        shared = record.variants.shared_names()
        new = [n for n in shared if space.active_flow(n) not in act.before]
        keys = {
            "record": [space.flow(flow)],
            "own variant": [space.active_flow(n) for n in record.variants.own_names()],
            "shared variant": [space.active_flow(n) for n in new],
            "reference": [space.flow_ref(n, flow) for n in shared],
            "use of the blueprint": [space.blueprint_use(record.blueprint_name, flow)],
            "entry of history": [space.history("flow", flow, record.op)],
        }
        all_keys = [key for several in keys.values() for key in several]
        revisions = {act.after[key].mod_revision for key in all_keys}
        if revisions != {act.revision}:
            raise ChildFailed("the flow service", f"put keys at revisions {revisions}", [])
        listed = ", ".join(
            _counted(len(several), kind) for kind, several in keys.items() if several
        )
        _say(f"at revision {act.revision}", f"all {len(all_keys)} keys: {listed}")
        for name in (name for name in shared if name not in new):
            if act.after[space.active_flow(name)] != act.before[space.active_flow(name)]:
                raise ChildFailed("the flow service", f"put {name} again", [])
        if len(new) < len(shared):
            _say("", f"not put again: {_names(set(shared) - set(new))}")

    async def _show_etcdctl(self, *args: str) -> None:
        _title(f"etcdctl {' '.join(args)}")
        lines = (await self._stage.ask_etcdctl(*args)).splitlines()
        lines = [line for line in lines if line]
        for line in lines:
            click.echo(_cut(line, WIDTH) if len(lines) > MANY_LINES else printable(line))

    # -- searching ---------------------------------------------------------------------------

    async def _search(self) -> None:
        """Ask from other processes, once both flows have indexed all that they load."""
        query, flows = self._scenario.query, self._scenario.flows
        _title(f"Search for {query!r}")
        answers = await asyncio.gather(*(self._ask(flow.id, query) for flow in flows))
        for flow, answer in zip(flows, answers, strict=True):
            line = await self._stage.host.line(event="documents indexed", variant=flow.id)
            _say(flow.id, f"{line['documents']} documents in {line['chunks']} chunks")
            for hit in answer:
                click.echo(f"  {_cut(hit, WIDTH)}")

    async def _ask(self, flow: str, query: str) -> list[str]:
        interfaces = (await self._stage.flows.get_flow(flow)).record.interfaces
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "processors.samples.search",
            "--socket", self._scenario.socket,
            "--request-topic", interfaces["search"]["request"],
            "--response-topic", interfaces["search"]["response"],
            "--done-topic", interfaces["indexed"]["flow"],
            "--flow", flow, "--limit", "2", "--", query,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if process.returncode != 0:
            said = err.decode("utf-8", "replace").splitlines()
            raise ChildFailed("the search", f"in flow {flow} came to nothing", said)
        return out.decode("utf-8", "replace").splitlines()


# -- who heard what ------------------------------------------------------------------------------


def _heard(lines: Iterable[Line], act: Act) -> list[Line]:
    """The events of one transaction, as processors have logged them."""
    return [
        line
        for line in lines
        if line.get("event") == "variant changed" and line.get("revision") == act.revision
    ]


def _after_ms(line: Line, act: Act) -> float:
    return (float(line["time"]) - act.replied_at) * 1000


def _show_who_heard(lines: list[Line], processors: Iterable[str], acts: list[Act]) -> None:
    """Processors against transactions. An error if one heard more than was its own."""
    _title("Who heard what, and how long after the commit")
    click.echo("In milliseconds, from when the service's reply was here to when the processor had")
    click.echo("the event, by one clock; below zero: before the reply. A dot: it heard nothing.")
    rows = []
    for processor in processors:
        cells = [processor]
        for act in acts:
            heard = [line for line in _heard(lines, act) if line["processor"] == processor]
            if len(heard) != act.touched[processor]:
                wrong = f"heard {len(heard)} events of {act.title}, not {act.touched[processor]}"
                raise ChildFailed(processor, wrong, [str(line) for line in heard])
            said = [f"{line['change']} {_after_ms(line, act):+.1f}" for line in heard]
            cells.append(", ".join(said) or "·")
        rows.append(cells)
    print_table(["processor", *(f"{act.title} @{act.revision}" for act in acts)], rows)


# -- printing ------------------------------------------------------------------------------------


def _title(text: str) -> None:
    click.echo(click.style(f"\n{text}", bold=True))


def _say(what: str, text: str) -> None:
    click.echo(f"{what.ljust(16)}  {printable(text)}")


def _names(names: Iterable[object], most: int = 8) -> str:
    shown = sorted(map(str, names))
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return (", ".join(shown[:most]) + more) or "none"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _cut(text: str, width: int) -> str:
    text = printable(text)
    return text if len(text) <= width else f"{text[: width - 1]}…"
