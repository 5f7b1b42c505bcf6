"""``flowctl`` on the life of flows: changes and their dry runs, history, status."""

from __future__ import annotations

import io
import json
import sys
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import structs

from flowsvc.cli import main, settings
from flowsvc.cli.settings import Settings
from flowsvc.errors import Finding, NotFound
from flowsvc.model import (
    Actor,
    Change,
    DeleteDefinition,
    PauseFlow,
    Preview,
    PutDefinition,
    ResumeFlow,
    RollBackDefinition,
    RollBackFlow,
    RollOut,
    StartFlow,
    StopFlow,
    UpdateFlow,
    VariantChange,
)
from flowsvc.status import FlowStatus, ProcessorStatus
from kvconfig.codec import encode
from kvconfig.errors import WatchEnded
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.records import InstanceStatus
from kvconfig.txn import Put, Txn
from tests.fake_flows import HISTORY, PROCESSOR, RUNS, STATUS
from tests.flows import a_service, start
from tests.unit.cli.commands import commands

# -- changes -------------------------------------------------------------------------------------

HOW = ["--op", "op-9", "--by", "ada", "--why", "to see", "--check-revision", "7"]
LIKE: dict[str, Any] = {
    "op": "op-9",
    "actor": Actor(by="ada", why="to see"),
    "check_revision": Revision(7),
}
CHANGES: list[tuple[list[str], Change]] = [
    (["flow", "stop", "f1"], StopFlow(flow="f1", **LIKE)),
    (["flow", "pause", "f1"], PauseFlow(flow="f1", **LIKE)),
    (["flow", "resume", "f1"], ResumeFlow(flow="f1", **LIKE)),
    (
        ["flow", "start", "-n", "b", "-i", "f1", "--strict"],
        StartFlow(flow="f1", blueprint_name="b", strict=True, **LIKE),
    ),
    (
        [
            "flow",
            "update",
            "f1",
            "--param",
            "a=1",
            "-p",
            '{"b": 2}',
            "--reset",
            "c",
            "--reset",
            "d",
        ],
        UpdateFlow(flow="f1", parameters={"a": "1", "b": 2}, reset=("c", "d"), **LIKE),
    ),
    (
        ["flow", "update", "f1", "-n", "other", "-d", "", "--strict"],
        UpdateFlow(flow="f1", blueprint_name="other", description="", strict=True, **LIKE),
    ),
    (
        ["flow", "rollout", "-n", "b", "--param", "a=1", "--reset", "c", "--strict"],
        RollOut(blueprint_name="b", parameters={"a": "1"}, reset=("c",), strict=True, **LIKE),
    ),
    (
        ["flow", "rollback", "f1", "--to", "op-1", "--strict"],
        RollBackFlow(flow="f1", to="op-1", strict=True, **LIKE),
    ),
    (
        ["blueprint", "put", "b", "-", "--force", "--strict"],
        PutDefinition(
            kind="flow-blueprint", name="b", definition=b"{}", force=True, strict=True, **LIKE
        ),
    ),
    (
        ["blueprint", "delete", "b"],
        DeleteDefinition(kind="flow-blueprint", name="b", **LIKE),
    ),
    (
        ["parameter-type", "delete", "p", "--force"],
        DeleteDefinition(kind="parameter-type", name="p", force=True, **LIKE),
    ),
    (
        ["parameter-type", "rollback", "p", "--to", "op-1", "--force", "--strict"],
        RollBackDefinition(
            kind="parameter-type", name="p", to="op-1", force=True, strict=True, **LIKE
        ),
    ),
]


@pytest.mark.parametrize(("args", "request_"), CHANGES, ids=lambda value: str(value)[:60])
def test_a_change_asks_for_just_that(flows, capsys, monkeypatch, args, request_):
    """Each command makes one request, with all that was given; a dry run asks for its preview."""
    for dry in ([], ["--dry-run"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
        assert main([*args, *HOW, *dry, "-o", "name"]) == 0
    capsys.readouterr()
    assert flows.asked == [(request_,), ("preview", request_)]


def test_what_is_not_given_stays_as_it_is(flows):
    """An update without anything asks for no other blueprint, description or parameter."""
    assert main(["flow", "update", "f1", "--by", "ada"]) == 0
    assert flows.asked == [(UpdateFlow(flow="f1", actor=Actor(by="ada")),)]


def test_a_restart_is_asked_for_as_one(flows, capsys):
    """The service does both halves; a dry run shows the first, and says so."""
    assert main(["flow", "restart", "f1", *HOW]) == 0
    assert capsys.readouterr().out == "f1 restarted at revision 9\n"
    assert main(["flow", "restart", "f1", *HOW, "--dry-run"]) == 0
    assert "second transaction" in capsys.readouterr().err
    request = PauseFlow(flow="f1", **LIKE)
    assert flows.asked == [("restart_flow", request), ("preview", request)]


def test_every_changing_command_can_be_tried_first():
    """--dry-run, --check-revision, --op, --by and --why belong to all that change something."""
    nouns = {"flow", "blueprint", "parameter-type"}
    changing = {
        path: {option for parameter in command.params for option in parameter.opts}
        for path, command in commands()
        if path and path[0] in nouns and "--op" in {o for p in command.params for o in p.opts}
    }
    assert {" ".join(path) for path in changing} == {
        *(
            f"flow {verb}"
            for verb in (
                "start", "stop", "update", "rollout", "pause", "resume", "restart", "rollback",
            )
        ),
        *(f"{noun} {v}" for noun in nouns - {"flow"} for v in ("put", "delete", "rollback")),
    }  # fmt: skip
    for path, options in changing.items():
        assert options >= {"--dry-run", "--check-revision", "--by", "--why", "-o"}, path


def test_a_dry_run_shows_what_processors_see_and_the_transaction(flows, capsys):
    """First each variant with its fields, then the exact transaction; on stderr how to go on."""
    before = {"topics": {"in": "a"}, "parameters": {"size": "1"}}
    after = {"topics": {"in": "a"}, "parameters": {"size": "2\x1b[31m"}}
    flows.previewed = Preview(
        text="if\n  version(/flow/f1) = 1\nthen\n  put /flow/f1 {}",
        txn={"then": [{"put": {"key": "/flow/f1", "value": {}}}]},
        changes=(
            VariantChange(processor="chunker", variant="f1", before=before, after=after),
            VariantChange(processor="loader", variant="f1", after={"topics": {}}),
            VariantChange(processor="query", variant="b", before={"parameters": {"n": "ö"}}),
        ),
        check_revision=Revision(12),
        findings=(Finding("$.flow", "is odd", "warning"),),
    )
    assert main(["flow", "update", "f1", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "~ chunker/f1",
        '    ~ $.parameters.size: "1" -> "2\\u001b[31m"',
        "+ loader/f1",
        "    + $.topics: {}",
        "- query/b",
        '    - $.parameters.n: "ö"',
        "",
        "if",
        "  version(/flow/f1) = 1",
        "then",
        "  put /flow/f1 {}",
    ]
    assert err.splitlines()[0] == "warning: $.flow: is odd"
    assert "--check-revision 12" in err
    assert main(["flow", "update", "f1", "--dry-run", "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["check-revision"] == 12
    assert shown["transaction"] == flows.previewed.txn
    assert shown["changes"][1] == {
        "processor": "loader",
        "variant": "f1",
        "before": None,
        "after": {"topics": {}},
    }
    assert shown["findings"][0]["path"] == "$.flow"
    assert main(["flow", "update", "f1", "--dry-run", "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == ["chunker/f1", "loader/f1", "query/b"]


def test_a_dry_run_says_when_nothing_would_happen(flows, capsys):
    """A change that changes nothing is told in words, not by an empty page."""
    read: dict[str, Any] = {"get": {"key": "/history/flow/f1"}}
    for writes, then in (
        (False, []),
        (False, [read, {"txn": {"then": [read]}}]),
        (True, [read, {"txn": {"then": [{"delete": {"key": "/flow/f1"}}]}}]),
    ):
        flows.previewed = Preview(
            text="if", txn={"then": then}, changes=(), check_revision=Revision(1), findings=()
        )
        assert main(["flow", "update", "f1", "--dry-run"]) == 0
        said = capsys.readouterr().out.splitlines()
        last = "if" if writes else "nothing would be written"
        assert said == ["processors would see nothing of it", "", last]


# -- history -------------------------------------------------------------------------------------


def test_history_is_a_table_the_newest_first(flows, capsys):
    """Who did what, when and why; all three nouns have it, and flows may have any name."""
    assert main(["flow", "history", "f1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "OP    ACTION  REVISION  AT  BY   WHY",
        "op-2  stop           9  t2  ada",
        "op-1  start          7  t1       to see",
    ]
    for args in (
        ["flow", "history", "-o", "json", "f1"],
        ["flow", "history", "show", "prune", "-o", "json"],
        ["blueprint", "history", "b", "-o", "json"],
        ["parameter-type", "history", "show", "p", "-o", "json"],
    ):
        assert main(args) == 0
        entries = json.loads(capsys.readouterr().out)
        assert [entry["op"] for entry in entries] == ["op-2", "op-1"]
        assert entries[0]["after"] is None
        assert entries[1]["after"] == {"record": {"ö": [1, 2.5, None]}}
    assert [asked[1:] for asked in flows.asked] == [
        ("flow", "f1"),
        ("flow", "f1"),
        ("flow", "prune"),
        ("flow-blueprint", "b"),
        ("parameter-type", "p"),
    ]


def test_history_is_pruned_by_age(flows, capsys):
    """Of one or of all; a dry run says what would go."""
    assert main(["flow", "history", "prune", "--older-than", "30d"]) == 0
    assert capsys.readouterr().out == "3 of 7 entries removed\n"
    args = ["blueprint", "history", "prune", "b", "--older-than", "12h", "--dry-run"]
    assert main(args) == 0
    assert capsys.readouterr().out == "3 of 7 entries would be removed\n"
    assert main([*args, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": 3, "found": 7, "dry-run": True}
    assert [asked[1:] for asked in flows.asked[:2]] == [
        ("flow", 30 * 86400.0, "", False),
        ("flow-blueprint", 12 * 3600.0, "b", True),
    ]


def test_a_diff_is_between_two_operations(flows, capsys, monkeypatch):
    """The newest against the one before it, unless operations are named."""
    after = {"record": {"op": "op-3", "parameters": {"size": "1"}}}
    newer = {"record": {"op": "op-4", "parameters": {"size": "2"}}}
    entry = HISTORY[1]
    entries = [
        structs.replace(entry, op="op-4", action="update", after=newer, by="ada"),
        structs.replace(entry, op="op-3", after=after),
        *HISTORY,
    ]
    monkeypatch.setattr("tests.fake_flows.HISTORY", entries)
    assert main(["flow", "diff", "f1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "from  op-3  start at t1, revision 7",
        "to    op-4  update at t1 by ada, revision 7",
        '~ $.record.parameters.size: "1" -> "2"',
    ]
    assert main(["flow", "diff", "f1", "op-2"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == ['+ $.record.parameters.size: "2"']
    assert main(["flow", "diff", "f1", "op-4", "op-3", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "from": "op-4",
        "to": "op-3",
        "differences": [{"path": "$.record.parameters.size", "before": "2", "after": "1"}],
    }
    assert main(["flow", "diff", "f1", "op-1", "op-2", "-o", "name"]) == 0
    assert capsys.readouterr().out == "$.record.ö\n"
    assert main(["flow", "diff", "f1", "op-9"]) == 3
    assert "op-9 of flow f1" in capsys.readouterr().err


def test_a_diff_of_the_oldest_is_against_nothing(flows, capsys, monkeypatch):
    """All of it is new, and it is said that nothing older is known."""
    entry = structs.replace(HISTORY[1], after={"record": {"op": 1}})
    monkeypatch.setattr("tests.fake_flows.HISTORY", [entry])
    assert main(["blueprint", "diff", "b"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "from  nothing: no older operation is known",
        "to    op-1  start at t1, revision 7",
        "+ $.record.op: 1",
    ]


# -- status --------------------------------------------------------------------------------------


def test_a_flow_is_described_with_what_runs(flows, capsys):
    """The record, each variant on each instance, errors, and processors that nobody runs."""
    assert main(["flow", "describe", "f1"]) == 0
    out = capsys.readouterr().out
    assert "  size = 500\n" in out
    failure = "no such model (3 attempts since 2025-01-01T00:00:00.000Z)"
    assert out[out.index("state ") :].splitlines() == [
        "state        degraded, at revision 1099511627776",
        "nobody runs  query",
        "VARIANT     STATE     INSTANCE  REPORTS  OBSERVED       ERROR",
        "chunker/f1  degraded  c1        running  2199023255552",
        f"chunker/f1  degraded  c2        failed   2199023255552  {failure}",
        "query/b     starting                                    no key",
    ]
    assert main(["flow", "describe", "f1", "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["blueprint-name"] == "b"
    assert shown["status"]["state"] == "degraded"
    assert shown["status"]["missing"] == ["query"]
    assert shown["status"]["variants"][0]["instances"][1] == {
        "instance": "c2",
        "state": "failed",
        "observed-revision": 2**41,
        "error": "no such model",
        "attempts": 3,
        "since": "2025-01-01T00:00:00.000Z",
    }


def test_a_wide_list_says_what_runs(flows, capsys):
    """Only ``-o wide`` asks for statuses: they cost more."""
    assert main(["flow", "list"]) == 0
    assert flows.asked == [()]
    capsys.readouterr()
    assert main(["flow", "list", "-o", "wide"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["ID", "STATE", "MISSING"]
    assert row.split()[:3] == ["f1", "degraded", "query"]
    flows.statuses = []
    assert main(["flow", "list", "-o", "wide"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "f1"


def test_wait_tells_what_lacks_until_it_runs(flows, capsys):
    """Progress on stderr, each state of things once; then one line, and exit code 0."""
    starting = structs.replace(STATUS, state="starting", variants=STATUS.variants[1:])
    flows.statuses = [starting]
    flows.news.put_nowait(structs.replace(RUNS, flow="f2"))
    flows.news.put_nowait(structs.replace(starting, missing=()))
    flows.news.put_nowait(RUNS)
    assert main(["flow", "wait", "f1"]) == 0
    out, err = capsys.readouterr()
    assert out == "f1 is running\n"
    assert err.splitlines() == [
        "f1 is starting: not running anywhere yet: query/b; nobody runs processor query",
        "f1 is starting: not running anywhere yet: query/b",
    ]
    assert flows.watching == 0


def test_wait_knows_which_change_it_waits_for(flows, capsys):
    """What was before --revision does not count."""
    flows.statuses = [structs.replace(RUNS, mod_revision=Revision(4))]
    flows.news.put_nowait(RUNS)
    assert main(["flow", "wait", "f1", "--revision", "5", "-o", "name"]) == 0
    out, err = capsys.readouterr()
    assert (out, "at revision 4, not at 5" in err) == ("f1\n", True)


def test_wait_ends_with_7_when_it_takes_too_long(flows, capsys):
    """And says what was missing at the end."""
    flows.statuses = [structs.replace(STATUS, state="starting")]
    assert main(["flow", "wait", "f1", "--timeout", "20ms"]) == 7
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(
        "error: flow 'f1' does not run after 0.02 s: it is starting; "
    )


WAITS = [
    ["start", "-n", "b", "-i", "f1"],
    ["update", "f1"],
    ["resume", "f1"],
    ["restart", "f1"],
    ["rollback", "f1", "--to", "op"],
]


@pytest.mark.parametrize("args", WAITS, ids=lambda args: args[0])
def test_a_change_can_wait_until_the_flow_runs(flows, capsys, args):
    """What was done comes first; then what lacks, on stderr, until its own revision runs."""
    starting = structs.replace(STATUS, state="starting", variants=STATUS.variants[1:])
    flows.statuses = [structs.replace(starting, mod_revision=Revision(8))]
    flows.news.put_nowait(structs.replace(RUNS, mod_revision=Revision(8)))
    flows.news.put_nowait(structs.replace(starting, mod_revision=flows.done.revision))
    flows.news.put_nowait(structs.replace(RUNS, mod_revision=flows.done.revision))
    assert main(["flow", *args, "--wait", "-o", "name"]) == 0
    out, err = capsys.readouterr()
    assert out == "f1\n"
    told = [line for line in err.splitlines() if "f1" in line]
    assert told[0] == "f1 is starting: its record is at revision 8, not at 9 yet"
    assert told[-2].startswith("f1 is starting: not running ")
    assert told[-1] == "f1 runs"


@pytest.mark.parametrize("args", WAITS, ids=lambda args: args[0])
def test_a_change_that_waits_has_a_deadline(flows, capsys, args):
    """--timeout is that of the wait; the change is made, and the exit code says that it lacks."""
    flows.statuses = [structs.replace(STATUS, state="starting", mod_revision=Revision(9))]
    flows.statuses[0] = structs.replace(flows.statuses[0], variants=STATUS.variants[1:])
    assert main(["flow", *args, "--wait", "--timeout", "20ms"]) == 7
    out, err = capsys.readouterr()
    assert "at revision 9" in out
    assert "nobody runs processor query" in err.splitlines()[-1]


def test_a_timeout_in_the_file_is_that_of_calls(flows, capsys, tmp_path, monkeypatch):
    """A change waits for as long as it says itself, and one call may take less."""
    file = tmp_path / "config.toml"
    file.write_text('timeout = "20ms"')
    monkeypatch.setenv("FLOWCTL_CONFIG", str(file))
    monkeypatch.setattr("flowsvc.cli.changes.WAIT_S", 0.03)
    starting = structs.replace(STATUS, state="starting", variants=STATUS.variants[1:])
    flows.statuses = [structs.replace(starting, mod_revision=flows.done.revision)]
    assert main(["flow", "update", "f1", "--wait"]) == 7
    assert "after 0.03 s" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["stop", "pause"])
def test_a_flow_that_goes_is_waited_for_until_it_has_left(flows, capsys, monkeypatch, verb):
    """Until no live instance runs what it had before; shared variants that stay do not count."""
    had: dict[str, Any] = {"chunker/f1": {}, "chunker/common": {}, "query/f1": {}}
    before = structs.replace(HISTORY[1], op="op-0", after={"record": {}, "variants": had})
    monkeypatch.setattr("tests.fake_flows.HISTORY", [HISTORY[1], before, HISTORY[1]])
    monkeypatch.setattr("flowsvc.waiting.ASK_EVERY_S", 0)
    (variant,) = PROCESSOR.variants
    common = structs.replace(variant, name="chunker/common")

    def chunker(observed: int, *leaving: str) -> ProcessorStatus:
        instance = structs.replace(
            PROCESSOR.instances[0], observed_revision=Revision(observed), leaving=leaving
        )
        return structs.replace(PROCESSOR, instances=(instance,), variants=(common,))

    answers = iter([chunker(8), chunker(9, "f1"), chunker(9, "f0")])
    asked = []

    async def get_processor(processor: str) -> ProcessorStatus:
        asked.append(processor)
        if processor == "query":
            raise NotFound("processor", processor)
        return next(answers)

    monkeypatch.setattr(flows, "get_processor", get_processor)
    assert main(["flow", verb, "f1", "--wait"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith(" at revision 9\n")
    assert err.splitlines()[-2:] == [
        "f1: not seen to have ended: chunker/f1 on c1",
        "f1 runs nowhere any more",
    ]
    assert asked == ["chunker", "query", "chunker", "chunker"]


def test_what_does_not_leave_is_named(flows, capsys, monkeypatch):
    """After --timeout the exit code is 7; the flow is stopped all the same."""
    entry = structs.replace(HISTORY[0], op="op-0", after={"variants": {"chunker/f1": {}}})
    monkeypatch.setattr("tests.fake_flows.HISTORY", [HISTORY[1], entry])
    stays = structs.replace(PROCESSOR.instances[0], leaving=("f1",))
    flows.processors = [structs.replace(PROCESSOR, instances=(stays,), variants=())]
    assert main(["flow", "stop", "f1", "--wait", "--timeout", "20ms"]) == 7
    out, err = capsys.readouterr()
    assert out == "f1 stopped at revision 9\n"
    assert err.splitlines()[-1] == (
        "error: not gone after 0.02 s: not seen to have ended: chunker/f1 on c1"
    )


def test_an_update_that_changes_nothing_waits_for_no_record(monkeypatch, capsys):
    """It writes none; what stands runs already, on a flow service as it is."""
    store, ks = MemoryStore(), Keyspace()

    @asynccontextmanager
    async def open_flows(_: Settings):
        async with a_service(store, ks) as service:
            revision = (await service.start_flow(start("f1"))).revision
            says = InstanceStatus(observed_revision=revision, host="h", started="", version="1")
            for processor in ("chunker", "indexer", "query"):
                await store.commit(Txn(then=(Put(ks.processor(processor, "i"), encode(says)),)))
            yield service

    monkeypatch.setattr(settings, "open_flows", open_flows)
    assert main(["flow", "update", "f1", "--wait", "--timeout", "5s"]) == 0
    assert capsys.readouterr().err == "f1 runs\n"


def test_wait_ends_with_1_for_what_has_failed(flows, capsys):
    """Its errors are told; JSON comes all the same."""
    flows.statuses = [structs.replace(STATUS, state="failed")]
    assert main(["flow", "wait", "f1", "-o", "json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["state"] == "failed"
    assert err.splitlines() == [
        "error: flow 'f1' is failed:",
        "  chunker/f1 on c2: no such model (3 attempts since 2025-01-01T00:00:00.000Z)",
        "  query/b: no key",
    ]


@pytest.mark.parametrize("state", ["paused", "stopped"])
def test_wait_ends_with_1_for_what_will_not_run(flows, capsys, state):
    """It does not wait for what waiting does not bring."""
    flows.statuses = [FlowStatus(flow="f1", state=state, mod_revision=Revision(5))]
    assert main(["flow", "wait", "f1"]) == 1
    assert capsys.readouterr() == ("", f"error: flow 'f1' is {state}\n")


def test_a_degraded_flow_runs_but_not_everywhere(flows, capsys):
    """Without --everywhere one instance of each will do, and the others' errors are warnings."""
    flows.statuses = [structs.replace(STATUS, variants=STATUS.variants[:1], missing=())]
    assert main(["flow", "wait", "f1"]) == 0
    out, err = capsys.readouterr()
    assert out == "f1 is degraded\n"
    assert err.startswith("warning: chunker/f1 on c2: no such model")
    assert main(["flow", "wait", "f1", "--everywhere"]) == 1


def test_watch_gives_a_line_for_each_change(flows, capsys):
    """All flows first, then what changes, until the watch ends; only those that were named."""
    for output in ("text", "jsonl"):
        flows.news.put_nowait(RUNS)
        flows.news.put_nowait(structs.replace(RUNS, flow="f2"))
        flows.news.put_nowait(FlowStatus(flow="f1", state="stopped", mod_revision=Revision(0)))
        flows.news.put_nowait(WatchEnded("closed"))
        assert main(["flow", "watch", "f1", "-o", output]) == 1
        out, err = capsys.readouterr()
        assert err.startswith("error: ")
        lines = out.splitlines()
        if output == "jsonl":
            assert [json.loads(line)["state"] for line in lines] == [
                "degraded",
                "running",
                "stopped",
            ]
        else:
            assert lines[1:] == ["f1 running at revision 5", "f1 stopped"]
            assert lines[0].startswith("f1 degraded at revision 1099511627776: chunker/f1 on c2: ")
            assert lines[0].endswith("nobody runs processor query")
    assert flows.watching == 0
