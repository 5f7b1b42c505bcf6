"""``flowctl``: help, exit codes, output, parameters, and where it goes for its answers."""

from __future__ import annotations

import asyncio
import io
import json
import shlex
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import pytest
from msgspec import structs

from flowsvc.cli import flowctl, main, settings
from flowsvc.cli.failure import EXIT_CODES, exit_code, explain
from flowsvc.cli.settings import DEFAULT_SERVER, Duration, Settings
from flowsvc.errors import AlreadyExists, BlueprintInvalid, Finding, NotFound
from flowsvc.model import (
    Flow,
)
from flowsvc.reader import StoreReader
from flowsvc.server import serve
from flowsvc.service import FlowService
from kvconfig.errors import WatchEnded
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.records import FlowRecord, FlowVariants
from kvconfig.txn import Put, Txn
from tests.every_error import ERRORS
from tests.fake_flows import FLOW, HISTORY, RUNS, FakeFlows
from tests.unit.cli.commands import commands

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


async def test_a_list_loads_only_what_asks_the_service():
    """``flowctl flow list`` of a server loads gRPC and our messages: no service, no store."""
    code = (
        "import sys; from flowsvc.cli import main;"
        "assert main(sys.argv[1:]) == 0; print(*sorted(sys.modules), sep='\\n', file=sys.stderr)"
    )
    async with serve(FakeFlows()) as port:
        args = ["flow", "list", "--server", f"127.0.0.1:{port}"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, *args, stdout=PIPE, stderr=PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, out.split()[0]) == (0, b"ID"), err.decode()
    loaded = set(err.decode().split())
    assert "flowsvc.client" in loaded
    heavy = {
        "jsonschema_rs", "prometheus_client", "pygments", "rich", "sqlite3", "structlog",
        "tomllib", "yaml",
    }  # fmt: skip
    assert {name.partition(".")[0] for name in loaded} & heavy == set()
    assert loaded & {"flowsvc.service", "flowsvc.plan", "kvconfig.etcd", "kvconfig.memory"} == set()
    assert "flowsvc.cli.flow" in loaded
    assert loaded & {f"flowsvc.cli.{name}" for name in ("apply", "config", "serve", "up")} == set()


async def test_secrets_are_looked_up_through_a_service(monkeypatch):
    """Where no parameter type is secret, what is looked up is read, and no layout is claimed."""
    store, ks = MemoryStore(), Keyspace()

    @asynccontextmanager
    async def open_store(_: Settings):
        yield store

    monkeypatch.setattr(settings, "open_store", open_store)
    for type_, expected in (
        (b'{"type":"string"}', StoreReader),
        (b'{"type":"string","secret":true}', FlowService),
        (b"not JSON", FlowService),
    ):
        await store.commit(Txn(then=(Put(ks.parameter_type("t"), type_),)))
        async with settings.open_reader(Settings(endpoints=("e:1",))) as reader:
            assert type(reader) is expected
            assert await reader.list_flows() == []
        if expected is StoreReader:
            assert await store.read(ks.layout()) is None


def test_every_command_goes_by_its_name():
    """What is loaded for a word is the command of that name."""
    assert {name: command.name for name, command in flowctl.commands.items()} == {
        name: name for name in flowctl.commands
    }


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
    assert "`flowctl parameter-type put p FILE`" in explain(AlreadyExists("parameter type", "p"))


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
        ["flow", "watch", "-o", "table"],
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


BLUEPRINT = '{"flow": {"p:{id}": {"topics": {"input": "in:{id}"}}}, "blueprint": {}}'
FLOW_NOUNS = {"flow", "blueprint", "parameter-type", "processor"}


def examples() -> Iterator[tuple[str, ...]]:
    for path, command in commands():
        if path[:1] and path[0] in FLOW_NOUNS:
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
    (tmp_path / "document-index.json").write_text(BLUEPRINT)
    (tmp_path / "chunk-size.json").write_text('{"type": "integer"}')
    monkeypatch.setattr(
        "tests.fake_flows.HISTORY",
        [*HISTORY, structs.replace(HISTORY[0], op="01936c0e-8d5f-7a10-9f3e-5b6f8f0d2c41")],
    )
    flows.statuses = [
        structs.replace(RUNS, flow=flow, mod_revision=Revision(42)) for flow in ("f1", "f4")
    ]
    flows.definition = structs.replace(flows.definition, definition={})
    flows.news.put_nowait(WatchEnded("closed"))
    assert main(list(args)) == (1 if "watch" in args else 0)
    assert flows.asked or "validate" in args
