"""Every key is built and parsed in one place, and the two are inverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvconfig.errors import InvalidName, ReservedType
from kvconfig.keys import Range
from kvconfig.keyspace import RESERVED_TYPES, ItemName, Keyspace, VariantName

ROOTS = ["", "@staging"]
NAME = VariantName("chunker", "v:1")


@pytest.fixture(params=ROOTS)
def keyspace(request: pytest.FixtureRequest) -> Keyspace:
    return Keyspace(request.param)


def under(keyspace: Keyspace, key: str) -> bytes:
    return (f"/{keyspace.root}" if keyspace.root else "").encode() + key.encode()


Build = Callable[[Keyspace], bytes]
Parse = Callable[[Keyspace, bytes], object]

KEYS: list[tuple[Build, str, Parse, object]] = [
    (lambda k: k.active_flow(NAME), "/active-flow/chunker/v:1", Keyspace.parse_active_flow, NAME),
    (lambda k: k.flow("f1"), "/flow/f1", lambda k, b: k.parse_named(b, "flow"), "f1"),
    (
        lambda k: k.flow_ref(NAME, "f1"),
        "/flow-ref/chunker/v:1/f1",
        Keyspace.parse_flow_ref,
        (NAME, "f1"),
    ),
    (
        lambda k: k.flow_blueprint("b"),
        "/flow-blueprint/b",
        lambda k, b: k.parse_named(b, "flow-blueprint"),
        "b",
    ),
    (
        lambda k: k.blueprint_use("b", "f1"),
        "/blueprint-use/b/f1",
        Keyspace.parse_blueprint_use,
        ("b", "f1"),
    ),
    (
        lambda k: k.parameter_type("p"),
        "/parameter-type/p",
        lambda k, b: k.parse_named(b, "parameter-type"),
        "p",
    ),
    (
        lambda k: k.history("flow", "f1", "op-1"),
        "/history/flow/f1/op-1",
        Keyspace.parse_item,
        ItemName("history", "flow/f1/op-1"),
    ),
    (
        lambda k: k.processor("chunker", "i1"),
        "/processor/chunker/i1",
        Keyspace.parse_processor,
        ("chunker", "i1"),
    ),
    (
        lambda k: k.layout(),
        "/kvconfig/layout",
        Keyspace.parse_item,
        ItemName("kvconfig", "layout"),
    ),
    (
        lambda k: k.item("prompt", "a/b c@d"),
        "/prompt/a/b c@d",
        Keyspace.parse_item,
        ItemName("prompt", "a/b c@d"),
    ),
    (
        lambda k: k.writable_item("tool", "t"),
        "/tool/t",
        Keyspace.parse_item,
        ItemName("tool", "t"),
    ),
]
IDS = [text for _, text, _, _ in KEYS]


@pytest.mark.parametrize(("build", "text", "parse", "parts"), KEYS, ids=IDS)
def test_round_trip(
    keyspace: Keyspace, build: Build, text: str, parse: Parse, parts: object
) -> None:
    """Each key is where DESIGN puts it under its root, and says again what it was made from."""
    key = build(keyspace)
    assert key == under(keyspace, text)
    assert parse(keyspace, key) == parts
    assert key in keyspace.everything()


@pytest.mark.parametrize(("build", "text", "parse", "parts"), KEYS, ids=IDS)
def test_what_no_builder_makes(
    keyspace: Keyspace, build: Build, text: str, parse: Parse, parts: object
) -> None:
    """A key that somebody else made is refused, never guessed at."""
    key = build(keyspace)
    strict = parse is not Keyspace.parse_item
    bad = [key + end for end in (b"\n", b"/", b"\xff", "é".encode())]
    bad += [key[1:], b"/@other" + key, b"", b"/"]
    bad += [key + b"/more", key.rsplit(b"/", 1)[0], b"/x" + key] if strict else []
    bad += [key.replace(text.split("/")[1].encode(), b"other")] if strict else []
    for wrong in bad:
        with pytest.raises(InvalidName):
            parse(keyspace, wrong)


Ranges = Callable[[Keyspace], Range]
RANGES: list[tuple[Ranges, str, list[Build], list[Build]]] = [
    (
        lambda k: k.active_flow_range("chunk"),
        "/active-flow/chunk/",
        [lambda k: k.active_flow(VariantName("chunk", "v"))],
        [lambda k: k.active_flow(VariantName("chunker", "v")), lambda k: k.flow("chunk")],
    ),
    (
        lambda k: k.flow_ref_range(VariantName("query", "v")),
        "/flow-ref/query/v/",
        [lambda k: k.flow_ref(VariantName("query", "v"), "f")],
        [lambda k: k.flow_ref(VariantName("query", "v2"), "f")],
    ),
    (
        lambda k: k.blueprint_use_range("b"),
        "/blueprint-use/b/",
        [lambda k: k.blueprint_use("b", "f")],
        [lambda k: k.blueprint_use("b2", "f"), lambda k: k.blueprint_use("a", "b")],
    ),
    (
        lambda k: k.history_range("flow", "f"),
        "/history/flow/f/",
        [lambda k: k.history("flow", "f", "op")],
        [lambda k: k.history("flow", "f2", "op"), lambda k: k.history("flow-blueprint", "f", "op")],
    ),
    (
        lambda k: k.processor_range("chunk"),
        "/processor/chunk/",
        [lambda k: k.processor("chunk", "i")],
        [lambda k: k.processor("chunker", "i")],
    ),
    (
        lambda k: k.type_range("flow"),
        "/flow/",
        [lambda k: k.flow("f"), lambda k: k.item("flow", "x/y")],
        [lambda k: k.flow_blueprint("f"), lambda k: k.flow_ref(VariantName("f", "f"), "f")],
    ),
]


@pytest.mark.parametrize(("build", "text", "inside", "outside"), RANGES, ids=[r[1] for r in RANGES])
def test_ranges(
    keyspace: Keyspace, build: Ranges, text: str, inside: list[Build], outside: list[Build]
) -> None:
    """A range holds its own keys and none of a name that begins alike, nor of another root."""
    range_ = build(keyspace)
    assert range_.start == under(keyspace, text)
    assert all(key(keyspace) in range_ for key in inside)
    others = [Keyspace(root) for root in (*ROOTS, "@staging2") if root != keyspace.root]
    assert not any(key(keyspace) in range_ for key in outside)
    assert not any(key(other) in range_ for key in inside for other in others)


@pytest.mark.parametrize("bad", ["", "a/b", "a\n", "..", "é", "@a", "x" * 129])
def test_builders_check(keyspace: Keyspace, bad: str) -> None:
    """No builder lets a bad name into a key, in whichever part."""
    good, k = "x", keyspace
    builders: list[Callable[[], Any]] = [
        lambda: k.active_flow(VariantName(bad, good)),
        lambda: k.active_flow(VariantName(good, bad)),
        lambda: k.flow(bad),
        lambda: k.flow_ref(VariantName(bad, good), good),
        lambda: k.flow_ref(VariantName(good, bad), good),
        lambda: k.flow_ref(VariantName(good, good), bad),
        lambda: k.flow_blueprint(bad),
        lambda: k.blueprint_use(bad, good),
        lambda: k.blueprint_use(good, bad),
        lambda: k.parameter_type(bad),
        lambda: k.history(bad, good, good),
        lambda: k.history(good, bad, good),
        lambda: k.history(good, good, bad),
        lambda: k.processor(bad, good),
        lambda: k.processor(good, bad),
        lambda: k.item(bad, good),
        lambda: k.type_range(bad),
        lambda: k.active_flow_range(bad),
        lambda: k.flow_ref_range(VariantName(good, bad)),
        lambda: k.blueprint_use_range(bad),
        lambda: k.history_range(good, bad),
        lambda: k.processor_range(bad),
        lambda: VariantName.parse(f"{bad}/x"),
        lambda: VariantName.parse(f"x/{bad}"),
        lambda: VariantName.parse(bad.replace("/", ":")),
    ]
    for build in builders:
        with pytest.raises(InvalidName):
            build()


@pytest.mark.parametrize("type_", RESERVED_TYPES)
def test_reserved(keyspace: Keyspace, type_: str) -> None:
    """A type with an owner can be read by anybody and written, as configuration, by nobody."""
    assert keyspace.item(type_, "x") == under(keyspace, f"/{type_}/x")
    for write in (
        lambda: keyspace.writable_item(type_, "x"),
        lambda: keyspace.writable_type(type_),
    ):
        with pytest.raises(ReservedType) as caught:
            write()
        assert (caught.value.type, caught.value.owner) == (type_, RESERVED_TYPES[type_])


def test_a_type_without_an_owner_may_be_written(keyspace: Keyspace) -> None:
    """Its keys are those of the type, whatever its name begins with."""
    for type_ in ("prompt", "flows", "flow.x"):
        assert keyspace.writable_type(type_) == keyspace.type_range(type_)


def test_the_ranges_of_all_types(keyspace: Keyspace) -> None:
    """In order, without those left out, without other roots, and nothing twice."""
    names = ["0/k", "a/k", "flow-ref/k", "flow.x/k", "flow/k", "flow0/k", "z/k"]
    keys = [keyspace.item(*name.split("/")) for name in names]
    others = [Keyspace(root).item("a", "k") for root in (*ROOTS, "@x") if root != keyspace.root]
    for left_out in ((), ("flow",), ("flow-ref", "z", "flow", "z")):
        ranges = keyspace.all_types(but=left_out)
        assert ranges == sorted(ranges, key=lambda range_: range_.start)
        held = [sum(key in range_ for range_ in ranges) for key in keys]
        assert held == [int(name.partition("/")[0] not in left_out) for name in names]
        assert not any(key in range_ for key in others for range_ in ranges)
    ranges = keyspace.type_ranges(["z", "a", "z"])
    assert ranges == [keyspace.type_range("a"), keyspace.type_range("z")]


def test_variant_names() -> None:
    """A variant's name is written as processor and variant, and read back."""
    assert str(NAME) == "chunker/v:1"
    assert VariantName.parse("chunker/v:1") == NAME


def test_roots_are_apart() -> None:
    """A root that is no root is refused; keys of one are no keys of another."""
    with pytest.raises(InvalidName):
        Keyspace("staging")
    for key_of, reader in ((Keyspace("@a"), Keyspace("@b")), (Keyspace("@a"), Keyspace())):
        with pytest.raises(InvalidName):
            reader.parse_item(key_of.item("prompt", "x"))
