"""``flowctl``: help, exit codes, output, parameters, and where it goes for its answers."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from msgspec import structs

from flowsvc.cli import flowctl, main, settings
from flowsvc.cli.failure import EXIT_CODES, exit_code, explain
from flowsvc.cli.settings import DEFAULT_SERVER, Duration, Settings
from flowsvc.errors import AlreadyExists, BlueprintInvalid, Finding, NotFound
from flowsvc.model import (
    Actor,
    Change,
    DeleteDefinition,
    Flow,
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
from flowsvc.status import FlowStatus
from kvconfig.errors import WatchEnded
from kvconfig.model import Revision
from kvconfig.records import FlowRecord, FlowVariants
from tests.every_error import ERRORS
from tests.fake_flows import FLOW, HISTORY, STATUS, FakeFlows


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch) -> None:
    for name in ("FLOWCTL_SERVER", "ETCDCTL_ENDPOINTS", "FLOWCTL_ROOT", "FLOWCTL_BY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def opened() -> list[Settings]:
    """With what settings a command went for its answer."""
    return []


@pytest.fixture
def flows(monkeypatch, opened) -> FakeFlows:
    """What the commands get as the flow service."""
    fake = FakeFlows()

    @asynccontextmanager
    async def open_fake(where: Settings) -> AsyncIterator[FakeFlows]:
        opened.append(where)
        yield fake

    monkeypatch.setattr(settings, "open_flows", open_fake)
    return fake


def commands(
    command: click.Command = flowctl, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))


# -- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_every_command_has_help_with_an_example(path, capsys):
    """--help says what a command does and shows it in use; so does -h."""
    assert main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert main([*path, "-h"]) == 0
    assert capsys.readouterr().out == text
    assert text.startswith(" ".join(["Usage: flowctl", *path]))
    example = text[text.index("Example:") :]
    assert " ".join(["flowctl", *path]) in example


def test_every_option_has_help():
    """No option is left to be guessed."""
    for path, command in commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)


def test_help_loads_nothing_heavy():
    """``flowctl --help`` loads click and our command line: no gRPC, no loop, no JSON library."""
    code = (
        "import sys; before = set(sys.modules); from flowsvc.cli import main; main(['--help']);"
        "print(*sorted(set(sys.modules) - before), sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stderr.split())
    assert "click.core" in loaded
    heavy = {
        "asyncio", "google", "grpc", "json", "jsonschema_rs", "logging", "msgspec", "pathlib",
        "rich", "sqlite3", "structlog", "subprocess", "tenacity",
    }  # fmt: skip
    assert {name.partition(".")[0] for name in loaded} & heavy == set()
    ours = {name for name in loaded if name.startswith(("flowsvc", "kvconfig", "processors"))}
    assert {name for name in ours if not name.startswith("flowsvc.cli")} == {"flowsvc"}


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_has_an_exit_code_and_is_told(flows, capsys, error):
    """An error of ours ends with its code, on stderr, in words, without a traceback."""
    flows.error = error
    code = main(["flow", "get", "f1"])
    out, err = capsys.readouterr()
    assert 1 <= code <= 7
    assert code == exit_code(error)
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert all(line.isprintable() for line in err.splitlines())


def test_exit_codes_are_those_of_the_design():
    """One code of each kind, as DESIGN §7 has them, and every error class has its place."""
    by_name = {type(error).__name__: exit_code(error) for error in ERRORS}
    assert by_name["StoreError"] == 1
    assert by_name["NotFound"] == 3
    assert by_name["AlreadyExists"] == by_name["VariantTaken"] == by_name["Conflict"] == 4
    assert by_name["InUse"] == by_name["WrongState"] == by_name["PlanStale"] == 4
    assert by_name["FlowDamaged"] == 1
    assert by_name["BlueprintInvalid"] == by_name["InvalidName"] == by_name["FlowTooLarge"] == 5
    assert by_name["Unavailable"] == 6
    assert exit_code(TimeoutError()) == 7
    assert exit_code(ZeroDivisionError()) is None
    assert set(EXIT_CODES.values()) == {1, 3, 4, 5, 6, 7}


def test_every_finding_is_told_with_its_place():
    """All that is wrong with a blueprint comes at once, a line each."""
    findings = [Finding(f"$.flow.p{n}", "is wrong") for n in range(30)]
    lines = explain(BlueprintInvalid("blueprint 'b'", findings)).splitlines()
    assert lines[0] == "error: blueprint 'b' is not valid"
    assert lines[1:] == [f"  error: $.flow.p{n}: is wrong" for n in range(30)]


def test_errors_say_what_to_do():
    """The hint names the command that helps."""
    assert "`flowctl parameter-type list`" in explain(NotFound("parameter type", "p"))
    assert "hint" not in explain(NotFound("history of flow", "f1"))
    assert "`flowctl flow stop f1`" in explain(AlreadyExists("flow", "f1"))


def test_a_defect_keeps_its_traceback(flows):
    """What is no error of ours is not dressed up as one."""
    flows.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        main(["flow", "get", "f1"])


@pytest.mark.parametrize(
    "args",
    [
        ["flow", "start", "-i", "f1"],
        ["flow", "stop"],
        ["flow", "frobnicate"],
        ["flow", "list", "-o", "xml"],
        ["flow", "list", "--timeout", "0"],
        ["flow", "list", "--timeout", "10 s"],
        ["flow", "list", "-o", "jsonl"],
        ["flow", "history"],
        ["flow", "history", "prune"],
        ["flow", "history", "prune", "--older-than", "30"],
        ["flow", "rollback", "f1"],
        ["flow", "rollout"],
        ["flow", "update", "f1", "--check-revision", "0"],
        ["flow", "wait", "f1", "--for", "Godot"],
        ["blueprint", "delete", "b", "--strict"],
        ["flow", "list", "--endpoints", "nonsense"],
        ["serve"],
        ["bootstrap", "no-such-file.json"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(flows, capsys, args):
    """Wrong usage asks nobody, prints nothing on stdout, and names the way to help."""
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: flowctl" in err
    assert flows.asked == []


# -- output --------------------------------------------------------------------------------------


def test_a_list_as_a_table_is_aligned_and_plain(flows, capsys):
    """Piped, a table is text in columns: numbers to the right, nothing decorated."""
    record = FlowRecord(
        blueprint_name="document-index",
        description="evil \x1b[31m\nline",
        interfaces={},
        parameters={},
        variants=FlowVariants(own=("chunker/f",)),
        op="o",
    )
    flows.flows = [FLOW, Flow(id="a-long-id", record=record, mod_revision=Revision(7), version=1)]
    assert main(["flow", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ID         BLUEPRINT       VARIANTS  SHARED       REVISION  DESCRIPTION",
        "f1         b                      3       1  1099511627776  größer",
        "a-long-id  document-index         1       0              7  evil \\x1b[31m\\nline",
    ]


def test_an_empty_list_has_its_head_only(flows, capsys):
    """A table without rows is no error; as JSON it is an empty list, as names nothing."""
    flows.flows = []
    assert main(["flow", "list"]) == 0
    assert capsys.readouterr().out.startswith("ID  BLUEPRINT")
    assert main(["flow", "list", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["flow", "list", "-o", "name"]) == 0
    assert capsys.readouterr().out == ""


def test_json_is_the_record_as_it_stands(flows, capsys):
    """``-o json`` gives the words of the record in etcd, and what etcd knows of it."""
    assert main(["flow", "get", "f1", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "id": "f1",
        "revision": 2**40,
        "version": 3,
        "blueprint-name": "b",
        "description": "größer",
        "interfaces": {"agent": {"request": "r", "response": ""}, "none": {}},
        "parameters": {"size": "500", "empty": ""},
        "given": {"size": "500"},
        "variants": {"own": ["chunker/f1", "loader/f1"], "shared": ["query/b"]},
        "workspace": "w",
        "op": "op-1",
    }


def test_names_are_bare(flows, capsys):
    """``-o name`` gives one name a line, for xargs."""
    assert main(["flow", "list", "-o", "name"]) == 0
    assert main(["blueprint", "list", "-o", "name"]) == 0
    assert main(["parameter-type", "get", "b", "-o", "name"]) == 0
    assert main(["flow", "stop", "f1", "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == ["f1", "b", "b", "f1"]


def test_one_flow_is_described(flows, capsys):
    """A table of one flow shows all there is to it."""
    assert main(["flow", "get", "f1"]) == 0
    out = capsys.readouterr().out
    assert "  empty =   (not given)\n" in out
    for expected in ("größer", "size = 500\n", "chunker/f1", "query/b", "agent: request r", "op-1"):
        assert expected in out


def test_a_definition_comes_whole(flows, capsys):
    """``blueprint get -o json`` holds the definition as it stands, for the next ``put``."""
    for noun in ("blueprint", "parameter-type"):
        assert main([noun, "get", "b", "-o", "json"]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "name": "b",
            "revision": 5,
            "definition": {"flow": {"ö": [1, 2.5, None]}},
        }
        assert main([noun, "list"]) == 0
        assert capsys.readouterr().out.splitlines()[1].startswith("b ")


def test_a_change_says_what_it_did(flows, capsys):
    """Data on stdout, warnings on stderr."""
    assert main(["flow", "stop", "f1"]) == 0
    out, err = capsys.readouterr()
    assert out == "f1 stopped at revision 9\n"
    assert err.splitlines() == ["error: $.flow: is empty", "warning: $.tags[0]: ignored"]
    assert main(["flow", "stop", "f1", "-o", "json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["op"], done["revision"], done["round-trips"]) == ("op-1", 9, 2)
    assert done["findings"][1] == {
        "severity": "warning",
        "path": "$.tags[0]",
        "message": "ignored",
    }


def test_a_reader_that_leaves_early_is_no_error():
    """``flowctl … | head`` ends without a traceback."""
    code = (
        "import sys\n"
        "from flowsvc.cli import main\n"
        "from flowsvc.cli.output import print_table\n"
        "from flowsvc.cli import settings\n"
        "rows = [[str(n)] for n in range(50_000)]\n"
        "settings.run = lambda main: main.close() or print_table(['ID'], rows)\n"
        "sys.exit(main(['flow', 'list']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 1
    process.stderr.close()


# -- input ---------------------------------------------------------------------------------------


def test_start_understands_all_ways_to_give_parameters(flows, tmp_path: Path):
    """--param goes before --parameters, and that before --parameters-file; types stay."""
    file = tmp_path / "parameters.json"
    file.write_text('{"a": "file", "b": "file", "c": "file", "n": 1.5}')
    args = ["flow", "start", "--blueprint-name", "b", "--flow-id", "f1", "--description", "d"]
    args += ["--parameters-file", str(file), "--parameters", '{"b": "json", "c": 7, "t": true}']
    args += ["--param", "c=pair=with=equals", "--param", "empty="]
    args += ["--workspace", "w", "--op", "op-9", "--by", "ada", "--why", "to see"]
    assert main(args) == 0
    ((request,),) = flows.asked
    assert request.parameters == {
        "a": "file", "b": "json", "c": "pair=with=equals", "n": 1.5, "t": True, "empty": "",
    }  # fmt: skip
    assert (request.flow, request.blueprint_name, request.description) == ("f1", "b", "d")
    assert (request.workspace, request.op) == ("w", "op-9")
    assert (request.actor.by, request.actor.why) == ("ada", "to see")


def test_short_flags_are_those_of_trustgraph(flows):
    """-n, -i, -d and -p mean what they mean there; who does it is the user of this system."""
    args = ["flow", "start", "-n", "b", "-i", "f1", "-d", "d", "-p", '{"a": "x"}']
    assert main(args) == 0
    ((request,),) = flows.asked
    assert (request.flow, request.blueprint_name, request.description) == ("f1", "b", "d")
    assert request.parameters == {"a": "x"}
    assert request.actor.by


@pytest.mark.parametrize(
    "given",
    [
        ["--param", "novalue"],
        ["--param", "=value"],
        ["--param", "a=1", "--param", "a=2"],
        ["-p", "{"],
        ["-p", "[1]"],
        ["-p", '{"a": null}'],
        ["-p", '{"a": {"b": 1}}'],
    ],
    ids=" ".join,
)
def test_parameters_that_are_none_are_refused(flows, capsys, given):
    """Malformed parameters are wrong usage, said before anybody is asked."""
    assert main(["flow", "start", "-n", "b", "-i", "f1", *given]) == 2
    assert "Invalid value for --param" in capsys.readouterr().err
    assert flows.asked == []


def test_definitions_come_from_a_file_or_standard_input(flows, tmp_path: Path, monkeypatch):
    """The bytes go to the service as they are: it judges them."""
    file = tmp_path / "b.json"
    file.write_bytes(b"{not json")
    assert main(["blueprint", "put", "b", str(file), "--by", "ada"]) == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
    assert main(["parameter-type", "put", "p", "-", "--op", "op-9"]) == 0
    (first,), (second,) = flows.asked
    assert (first.kind, first.name, first.definition) == ("flow-blueprint", "b", b"{not json")
    assert first.actor.by == "ada"
    assert (second.kind, second.name, second.definition) == ("parameter-type", "p", b"{}")
    assert second.op == "op-9"


# -- where to go ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "environment", "server", "endpoints"),
    [
        ([], {}, DEFAULT_SERVER, ()),
        (["--server", "a:1"], {}, "a:1", ()),
        ([], {"FLOWCTL_SERVER": "b:2"}, "b:2", ()),
        (["--server", "a:1"], {"FLOWCTL_SERVER": "b:2"}, "a:1", ()),
        (["--endpoints", "c:3, https://d:4/"], {}, None, ("c:3", "https://d:4/")),
        ([], {"ETCDCTL_ENDPOINTS": "c:3"}, None, ("c:3",)),
        (["--endpoints", "c:3"], {"FLOWCTL_SERVER": "b:2"}, None, ("c:3",)),
        ([], {"ETCDCTL_ENDPOINTS": "c:3", "FLOWCTL_SERVER": "b:2"}, "b:2", ("c:3",)),
        (["--server", "a:1", "--endpoints", "c:3"], {}, "a:1", ("c:3",)),
    ],
)
def test_a_flag_goes_before_the_environment(  # noqa: PLR0917 - fixtures
    flows, opened, monkeypatch, args, environment, server, endpoints
):
    """flag > environment > default; endpoints alone mean the service in this process."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["flow", "list", *args, "--root", "@staging", "--timeout", "2.5"]) == 0
    assert opened == [Settings(server=server, endpoints=endpoints, root="@staging", timeout_s=2.5)]


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

RUNS = FlowStatus(flow="f1", state="running", mod_revision=Revision(5))


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
    assert err.splitlines()[-1].startswith("error: flow 'f1' after 0.02 s: it is starting; ")


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


# -- durations and examples ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2592000), ("12h", 43200), ("1.5m", 90), ("90s", 90), ("20ms", 0.02), ("7", 7)],
)
def test_durations_have_a_unit(text, seconds):
    """A number and its unit; without one it is seconds, where that is allowed."""
    assert Duration(bare=True).convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0s", "-1s", "1w", "1h30m", "inf", "nan", "1e9s", "٣s", "s"])
def test_what_is_no_duration_is_refused(text):
    """Nothing, less than nothing, for ever, and what no clock knows."""
    with pytest.raises(click.BadParameter):
        Duration(bare=True).convert(text, None, None)


def examples() -> Iterator[tuple[str, ...]]:
    for path, command in commands():
        if path[:1] and path[0] in {"flow", "blueprint", "parameter-type"}:
            lines = (command.help or "").splitlines()
            yield from (
                tuple(shlex.split(line)[1:])
                for line in lines
                if line.strip().startswith("flowctl ")
            )


@pytest.mark.parametrize("args", sorted(set(examples())), ids=" ".join)
def test_every_example_works(flows, tmp_path: Path, monkeypatch, args):
    """What --help shows can be typed."""
    monkeypatch.chdir(tmp_path)
    for name in ("document-index", "chunk-size"):
        (tmp_path / f"{name}.json").write_text("{}")
    monkeypatch.setattr(
        "tests.fake_flows.HISTORY",
        [*HISTORY, structs.replace(HISTORY[0], op="01936c0e-8d5f-7a10-9f3e-5b6f8f0d2c41")],
    )
    flows.statuses = [structs.replace(RUNS, mod_revision=Revision(42))]
    flows.news.put_nowait(WatchEnded("closed"))
    assert main(list(args)) == (1 if "watch" in args else 0)
    assert flows.asked
