"""Reading a seed: what it holds, from which files, and all that is wrong with it at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowsvc.errors import Finding, InvalidInput
from flowsvc.seed.reading import Seed, Source, parse_seed, read_seed, sources
from flowsvc.seed.shape import SeedFlow
from flowsvc.seed.staging import Staging
from flowsvc.seed.watching import Watcher
from kvconfig.config.bulk import Write


def items_of(seed: Seed) -> dict[tuple[str, str], Any]:
    """The items as they are waiting; the seed is closed."""
    with seed:
        return {(item.type, item.key): json.loads(item.value or b"") for item in seed.items.items()}


def refused(*found: Source, skip: tuple[str, ...] = ()) -> list[str]:
    """All that is wrong with it: path and message."""
    with pytest.raises(InvalidInput) as raised:
        read_seed(found, "the seed", skip=skip)
    return [f"{finding.path}: {finding.message}" for finding in raised.value.findings]


def files(folder: Path, **texts: str) -> list[Source]:
    """Files in a folder, ``__`` in a name for a dot, and the sources that they are."""
    for name, text in texts.items():
        path = folder / name.replace("__", ".")
        path.write_text(text)
    return list(sources(folder))


# -- what may stand in it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "paths"),
    [
        ("[]", ["$"]),
        ("{", ["$"]),
        ('{"active-flow": {}}', ["$.active-flow"]),
        (
            '{"processor:chunker": {}, "flows-active": {}}',
            ["$.processor:chunker", "$.flows-active"],
        ),
        ('{"flow-ref": {}, "history": {}}', ["$.flow-ref", "$.history"]),
        ('{"applied": {}, "kvconfig": {}}', ["$.applied", "$.kvconfig"]),
        ('{"blueprint-use": {}, "processor": {}}', ["$.blueprint-use", "$.processor"]),
        ('{"flow-classes": {}, "flows": {}}', ["$.flow-classes", "$.flows"]),
        ('{"blueprint": {"b": {}, "c": 1}}', ["$.blueprint"]),
        ('{"@other": {}, "": {}, "a b": {}}', ["$.@other", '$.""', "$.a b"]),
        ('{"prompt": 7, "tool": []}', ["$.prompt", "$.tool"]),
        ('{"name": "b"}', ["$.name"]),
        ('{"prompt": {"a//b": 1, "ok/x": 1}}', ["$.prompt.a//b"]),
        ('{"prompt": {"a": {"b": ["\\ud800"]}}}', ["$.prompt.a"]),
        ('{"prompt": {"a": {"b": [1, 1e999, null]}}}', ["$.prompt.a.b[1]"]),
        ('{"prompt": {"a": 1, "b": 1, "a": 1}}', ["$.prompt.a"]),
        ('{"flow": {"a": {"blueprint-name": "b"}, "a": {"blueprint-name": "b"}}}', ["$.flow.a"]),
        ('{"flow-blueprint": {"a/b": {}, "c": 7}}', ["$.flow-blueprint.a/b", "$.flow-blueprint.c"]),
        ('{"parameter-type": {"c": null}}', ["$.parameter-type.c"]),
        ('{"flow": {"f": {}}}', ["$.flow.f"]),
        ('{"flow": {"f": {"blueprint-name": "b", "blueprint": "b"}}}', ["$.flow.f"]),
        (
            '{"flow": {"f": {"blueprint-name": "b", "parameters": {"x": [1]}}}}',
            ["$.flow.f.parameters.x"],
        ),
        ('{"schema": {"prompt": {"type": 7}}}', ["$.schema.prompt.type"]),
        ('{"schema": {"flow": {}, "processor": true}}', ["$.schema.flow", "$.schema.processor"]),
        ('{"name": "b", "blueprint": {}, "prompt": {}}', ["$.prompt"]),
        (
            json.dumps({"name": "b", "blueprint": {}, **{f"t{n}": {} for n in range(9, 0, -1)}}),
            [f"$.t{n}" for n in range(1, 10)],
        ),
        ('{"name": {"x": "b"}, "blueprint": {}}', ["$.blueprint"]),
    ],
)
def test_a_seed_that_is_none_is_refused_with_every_place(seed, paths):
    """All that is wrong is said at once; reserved and old types are named as such."""
    with pytest.raises(InvalidInput) as raised:
        parse_seed(seed.encode(), "the seed")
    assert [finding.path for finding in raised.value.findings] == paths


def test_what_a_seed_holds():
    """Definitions and flows by name, items in the order of their keys, and every section."""
    data = {
        "prompt": {"b": 1, "a/c": {"z": 1, "y": 2}, "a": None},
        "empty": {},
        "flow": {"f": {"blueprint-name": "b", "parameters": {"x": 1}, "paused": True}},
        "parameter-type": {"p": {"type": "string"}},
        "flow-blueprint": {"b": {"flow": {}}},
        "schema": {"prompt": True},
    }
    with parse_seed(json.dumps(data).encode(), "the seed") as seed:
        assert list(seed.types) == list(data)
        assert seed.item_types == ["empty", "prompt"]
        assert seed.flows == {"f": SeedFlow(blueprint_name="b", parameters={"x": 1}, paused=True)}
        assert seed.parameter_types == {"p": {"type": "string"}}
        assert seed.blueprints == {"b": {"flow": {}}}
        assert {type_: s.document for type_, s in seed.schemas.items()} == {"prompt": True}
        seed.schemas["prompt"].check(1, key=b"compiled")
        assert list(seed.items.items()) == [
            Write("prompt", "a", b"null", 0),
            Write("prompt", "a/c", b'{"y":2,"z":1}', 0),
            Write("prompt", "b", b"1", 0),
        ]


def test_a_file_of_one_blueprint_is_a_seed():
    """``{"name", "blueprint", "parameter-type"}`` needs no rewriting; remarks are passed over."""
    file = {
        "blueprint": {"flow": {}, "blueprint": {}},
        "name": "b",
        "template-version": "2.8",
        "parameter-type": {"p": {"type": "string"}},
    }
    seed = parse_seed(json.dumps(file).encode(), "the seed")
    assert seed.blueprints == {"b": {"flow": {}, "blueprint": {}}}
    assert seed.parameter_types == {"p": {"type": "string"}}
    assert (items_of(seed), seed.flows) == ({}, {})


def test_types_may_be_called_as_the_parts_of_a_file_of_one_blueprint():
    """``name`` and ``note`` with objects in them are types like any other."""
    seed = parse_seed(b'{"name": {"a": 1}, "note": {"b": 2}}', "the seed")
    assert items_of(seed) == {("name", "a"): 1, ("note", "b"): 2}


def test_types_can_be_left_out():
    """``skip`` takes patterns: rendered state of an older system is left out so."""
    data = b'{"processor:chunker": {"x": {}}, "processor:x": 1, "prompt": {"a": 1}}'
    seed = parse_seed(data, "the seed", skip=["processor:*"])
    assert list(seed.types) == ["prompt"]
    assert items_of(seed) == {("prompt", "a"): 1}


def test_no_more_is_told_than_anybody_reads():
    """A thousand findings, and that there are more."""
    data = json.dumps({"prompt": {f"/{n}": n for n in range(3000)}}).encode()
    with pytest.raises(InvalidInput) as raised:
        parse_seed(data, "the seed")
    assert len(raised.value.findings) == 1001
    assert raised.value.findings[-1] == Finding("$", "has more than 1000 findings")


# -- which files -----------------------------------------------------------------------------------


def test_the_files_of_a_folder_are_one_seed(tmp_path):
    """JSON and YAML, below folders too; what begins with a dot, and what is neither, is not."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "deep" / "er" / "c.yml").write_text("prompt: {c: 3}\n")
    (tmp_path / ".hidden" / "d.json").write_text("nonsense")
    found = files(
        tmp_path,
        a__json='{"prompt": {"a": 1}, "empty": {}}',
        b__yaml="prompt:\n  b: no\nflow-blueprint: {b: {flow: {}}}\n",
        __e__json="nonsense",
        README__md="nonsense",
    )
    names = [Path(source.name).relative_to(tmp_path).as_posix() for source in found]
    assert names == ["a.json", "b.yaml", "deep/er/c.yml"]
    seed = read_seed(found, "the folder")
    assert list(seed.types) == ["prompt", "empty", "flow-blueprint"]
    assert seed.blueprints == {"b": {"flow": {}}}
    assert items_of(seed) == {("prompt", "a"): 1, ("prompt", "b"): "no", ("prompt", "c"): 3}


def test_what_stands_in_two_files_is_refused_and_both_are_named(tmp_path):
    """Items, definitions and flows alike; nobody has to guess which one would count."""
    found = files(
        tmp_path,
        a__json='{"prompt": {"x": 1, "y": 1}, "parameter-type": {"p": {}}}',
        b__yaml="prompt: {z: 1, y: 1}\nparameter-type: {p: {}}\n",
        c__json='{"prompt": {"x": 1, "x": 2}, "nope": 1}',
    )
    a, b, c = (source.name for source in found)
    assert refused(*found) == [
        f"{b}: $.prompt.y: stands in {a} too",
        f"{b}: $.parameter-type.p: stands in {a} too",
        f"{c}: $.prompt.x: stands in {a} too",
        f"{c}: $.nope: must be an object, {{key: value}}; is a number",
    ]


def test_a_file_that_is_broken_is_named_and_the_others_are_read(tmp_path):
    """One syntax error hides nothing that is wrong elsewhere."""
    found = files(tmp_path, a__json='{"prompt": {"a": 1', b__yaml="x: {a: &b 1}", c__json="[]")
    assert [line.partition(": ")[0] for line in refused(*found)] == [
        str(tmp_path / name) for name in ("a.json", "b.yaml", "c.json")
    ]


def test_a_folder_without_seeds_is_refused(tmp_path):
    """A wrong folder is not an empty seed."""
    (tmp_path / "README.md").write_text("no seed")
    with pytest.raises(InvalidInput, match=r"without any of \*\.json, \*\.yaml, \*\.yml"):
        list(sources(tmp_path))


def test_a_file_that_cannot_be_opened_is_no_defect_of_ours(tmp_path):
    """Gone between looking and opening: said with its name."""
    found = files(tmp_path, a__json="{}")
    (tmp_path / "a.json").unlink()
    assert refused(*found) == [f"{tmp_path / 'a.json'}: cannot be read: No such file or directory"]


def test_the_end_of_the_name_decides_unless_told(tmp_path):
    """YAML by its name, JSON otherwise; ``format_`` is for all."""
    for name in ("a.yaml", "b.yml", "c.json", "d", "e.txt"):
        (tmp_path / name).write_text("x: {a: 1}")
    found = [next(sources(path)).format for path in sorted(tmp_path.iterdir())]
    assert found == ["yaml", "yaml", "json", "json", "json"]
    told = [next(sources(path, "yaml")).format for path in sorted(tmp_path.iterdir())]
    assert told == ["yaml"] * 5


def test_who_looks_on_sees_every_byte(tmp_path):
    """The total is known before, and reached at the end."""

    class Watching(Watcher):
        total = seen = 0

        def begin(self, what: str, total: int) -> None:
            self.total = total

        def advance(self, count: int) -> None:
            self.seen += count

    found = files(tmp_path, a__json='{"a": {"b": 1}}', c__yaml="c: {d: 1}")
    watching = Watching()
    read_seed(found, "the seed", watcher=watching).close()
    assert watching.seen == watching.total == 15 + 9


# -- items on their way ----------------------------------------------------------------------------


def test_staged_items_become_what_is_to_be_written():
    """Settled ones go, expected ones keep their value, deletes come in between, all in order."""
    staging = Staging()
    assert list(staging.items()) == []
    twice: list[tuple[str, str, int]] = []
    rows = [("t", "c", b"3", 0), ("t", "a", b"1", 0), ("t", "a", b"9", 1), ("s", "b", b"2", 1)]
    staging.add(iter(rows), lambda *found: twice.append(found))
    assert twice == [("t", "a", 0)]
    assert [item.key for item in staging.items("t")] == ["a", "c"]
    staging.settle("t", "c")
    staging.expect("t", "a", 7)
    staging.delete("t", "B", 8)
    assert list(staging.items()) == [
        Write("s", "b", b"2", 0),
        Write("t", "B", None, 8),
        Write("t", "a", b"1", 7),
    ]
    staging.close()
    staging.close()
