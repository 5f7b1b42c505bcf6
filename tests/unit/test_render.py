"""Rendering: one pass, bounded, and nothing half-done ever leaves."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsvc.blueprint import Blueprint, parse_blueprint
from flowsvc.errors import BlueprintInvalid, InvalidInput, ParametersInvalid
from flowsvc.render import MAX_RENDERED_BYTES, Rendered, decoded, form, render
from flowsvc.template import Template
from kvconfig.codec import encode
from kvconfig.errors import InvalidName
from kvconfig.keys import check_name
from kvconfig.keyspace import VariantName
from kvconfig.records import VariantRecord


def blueprint_of(name: str = "bp", **sections: object) -> Blueprint:
    return parse_blueprint(name, sections)


def rendered(blueprint: Blueprint, /, **parameters: str) -> Rendered:
    return render(blueprint, flow="f1", workspace="default", parameters=parameters)


def topic(template: str, /, **parameters: str) -> str:
    """What a topic with this template becomes."""
    blueprint = blueprint_of(flow={"a:{id}": {"topics": {"x": template}}})
    return decoded(rendered(blueprint, **parameters).own)[VariantName("a", "f1")].topics["x"]


def findings(raised: pytest.ExceptionInfo[Any]) -> dict[str, str]:
    return {finding.path: finding.message for finding in raised.value.findings}


# -- what goes where -------------------------------------------------------------------------


def test_own_and_shared_are_told_apart() -> None:
    """By their section; an entry without topics or parameters has empty ones."""
    blueprint = blueprint_of(
        blueprint={"s:{blueprint}": {"topics": {"x": "{workspace}"}}},
        flow={"a:{id}": {"parameters": {"{p}": "{p}{p}"}}},
        interfaces={"i": {"flow": "{id}"}},
    )
    result = render(blueprint, flow="f1", workspace="acme", parameters={"p": "v"})
    assert decoded(result.shared) == {VariantName("s", "bp"): VariantRecord(topics={"x": "acme"})}
    assert decoded(result.own) == {VariantName("a", "f1"): VariantRecord(parameters={"v": "vv"})}
    assert result.interfaces == {"i": {"flow": "f1"}}


def test_names_of_interfaces_are_plain() -> None:
    """Only their values are templates, as in TrustGraph."""
    blueprint = blueprint_of(flow={"a:{id}": {}}, interfaces={"{id}": {"{id}": "{id}"}})
    assert rendered(blueprint).interfaces == {"{id}": {"{id}": "f1"}}


def test_reserved_words_win_over_parameters_of_the_same_name() -> None:
    """TrustGraph substitutes them first."""
    values = {"id": "no", "workspace": "no", "blueprint": "no", "class": "no"}
    assert topic("{id}{workspace}{blueprint}{class}", **values) == "f1defaultbpbp"


def test_undeclared_parameters_are_filled_in() -> None:
    """A user may give what the blueprint forgot to declare."""
    assert topic("{extra}", extra="v") == "v"


def test_variants_of_one_processor() -> None:
    """A blueprint may have several."""
    blueprint = blueprint_of(flow={"a:{id}": {}, "a:{id}.b": {}, "a:x:{id}": {}})
    assert {name.variant for name in rendered(blueprint).own} == {"f1", "f1.b", "x:f1"}


# -- one pass --------------------------------------------------------------------------------

ODD_BRACES = st.sampled_from(
    [
        *("{}", "{ }", "{ id }", "{id ", "{a b}", "{3}", "{1,3}", '{"a": 1}', "{-id}", "{id-}"),
        *("{{", "}", "{/}", "{.}", "{é}", "{0}", "{id!r:{}", "{_}", "{a\nb}", "{}{}", "\\{"),
        *("%", "%s", "%(id)s", "%%", "$id"),
    ]
)
PLAIN = st.text(st.characters(exclude_characters="{}\0", exclude_categories=["Cs"]), max_size=6)


@given(st.lists(ODD_BRACES | PLAIN, max_size=8))
def test_text_without_placeholders_renders_to_itself(parts: list[str]) -> None:
    """Exactly: braces that are no placeholder are text."""
    text = "|".join(parts)
    assert Template.compile(text).render({}) == text
    assert topic(text) == text


@given(st.lists(PLAIN | st.sampled_from(["{id}", "{q}", "{p}", "%(id)s", "{{id}}"])).map("".join))
def test_a_value_is_never_expanded_again(value: str) -> None:
    """A parameter whose value looks like a placeholder gives just that text."""
    assert topic("{p}|{q}|{id}", p=value, q="Q") == f"{value}|Q|f1"
    assert topic("{q}{p}", p="{q}", q="{p}") == "{p}{q}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{id}}", "{f1}"),
        ("{id}{id}", "f1f1"),
        ("{a{id}b}", "{af1b}"),
        ("x{id", "x{id"),
        ("{Id}", None),
        ("{a.b:c+d_e-f}", "v"),
        ("{3d}", "v"),
    ],
)
def test_what_is_a_placeholder(template: str, expected: str | None) -> None:
    """Names by the name rule, with a letter; case counts."""
    given_ = {"a.b:c+d_e-f": "v", "3d": "v"}
    if expected is None:
        with pytest.raises(BlueprintInvalid):
            topic(template, **given_)
    else:
        assert topic(template, **given_) == expected


# -- nothing unresolved ----------------------------------------------------------------------


def test_weakness_9_no_placeholder_is_shipped_unresolved() -> None:
    """Undeclared ones blame the blueprint, at every place; declared ones the parameters."""
    blueprint = blueprint_of(
        flow={"a:{id}": {"topics": {"x": "{typo}"}, "parameters": {"{typo}": "1"}}},
        interfaces={"i": {"flow": "{other}"}},
    )
    with pytest.raises(BlueprintInvalid) as raised:
        rendered(blueprint)
    assert findings(raised).keys() == {
        "$.flow.a:{id}.topics.x",
        "$.flow.a:{id}.parameters.{typo}",
        "$.interfaces.i.flow",
    }
    declared = blueprint_of(
        flow={"a:{id}": {"topics": {"x": "{p}", "y": "{p}"}}}, parameters={"p": {}, "q": {}}
    )
    with pytest.raises(ParametersInvalid) as refused:
        rendered(declared)
    assert findings(refused).keys() == {"$.parameters.p"}
    assert "$.flow.a:{id}.topics.x" in findings(refused)["$.parameters.p"]
    (value,) = decoded(rendered(declared, p="").own).values()
    assert value.topics == {"x": "", "y": ""}


# -- names and keys --------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["a/b", "", " ", "{id}", "-", "x" * 129, "a\nb", "é", "x\n"])
def test_a_value_that_makes_no_name_is_to_blame(value: str) -> None:
    """A variant is checked in full after it is filled in, and never repaired."""
    blueprint = blueprint_of(flow={"a:{shard}": {}})
    with pytest.raises(ParametersInvalid) as raised:
        rendered(blueprint, shard=value)
    assert findings(raised).keys() == {"$.parameters.shard"}
    assert "$.flow.a:{shard}" in findings(raised)["$.parameters.shard"]


def test_a_name_that_gets_too_long_by_itself_blames_the_blueprint() -> None:
    """No parameter is part of it."""
    blueprint = blueprint_of(flow={"a:{id}.{id}": {}, "b:{id}": {}})
    with pytest.raises(BlueprintInvalid) as raised:
        render(blueprint, flow="f" * 100, workspace="default", parameters={})
    assert findings(raised).keys() == {"$.flow.a:{id}.{id}"}


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "x" * 129])
def test_flow_and_workspace_are_names(name: str) -> None:
    """They are in the keys, and in the topics."""
    blueprint = blueprint_of(flow={"a:{id}": {}})
    with pytest.raises(InvalidName):
        render(blueprint, flow=name, workspace="default", parameters={})
    with pytest.raises(InvalidName):
        render(blueprint, flow="f1", workspace=name, parameters={})


def test_entries_that_come_to_one_key_are_refused() -> None:
    """Own with own and own with shared, naming both places."""
    blueprint = blueprint_of(
        blueprint={"a:{s}": {}, "b:{s}": {}},
        flow={"a:{id}": {}, "a:{t}": {}, "b:{t}": {}},
    )
    assert len(rendered(blueprint, s="s", t="t").own) == 3
    for parameters, second, first in (
        ({"s": "f1", "t": "t"}, "$.flow.a:{id}", "$.blueprint.a:{s}"),
        ({"s": "s", "t": "f1"}, "$.flow.a:{t}", "$.flow.a:{id}"),
        ({"s": "x", "t": "x"}, "$.flow.b:{t}", "$.blueprint.b:{s}"),
    ):
        with pytest.raises(BlueprintInvalid) as raised:
            rendered(blueprint, **parameters)
        assert first in findings(raised)[second]


@pytest.mark.parametrize("field", ["topics", "parameters"])
def test_names_that_come_to_one_are_refused(field: str) -> None:
    """One topic would replace the other without a word."""
    blueprint = blueprint_of(flow={"a:{id}": {field: {"{p}": "1", "{q}": "2", "in": "3"}}})
    assert len(rendered(blueprint, p="x", q="y").own) == 1
    with pytest.raises(BlueprintInvalid) as raised:
        rendered(blueprint, p="in", q="in")
    path = f"$.flow.a:{{id}}.{field}"
    assert findings(raised).keys() == {f"{path}.{{p}}", f"{path}.{{q}}"}
    assert f"{path}.in" in findings(raised)[f"{path}.{{p}}"]


# -- bounded ---------------------------------------------------------------------------------


def size_of(result: Rendered) -> int:
    texts = [name.variant for name in (*result.own, *result.shared)]
    for record in decoded(result.own | result.shared).values():
        for pairs in (record.topics, record.parameters):
            texts += [*pairs, *pairs.values()]
    texts += [topic for kinds in result.interfaces.values() for topic in kinds.values()]
    return sum(len(text.encode()) for text in texts)


def test_the_size_is_known_exactly_beforehand() -> None:
    """The bound is held without making the output first."""
    blueprint = blueprint_of(
        blueprint={"s:{blueprint}": {"topics": {"x": "{p}ü", "y": "{p}ü"}}},
        flow={"a:{id}": {"parameters": {"n": 1, "é": "{p}{p}"}}, "b:{id}": {}},
        interfaces={"i": {"flow": "{id}{p}"}},
    )
    values = {"p": "öäü", "id": "f1"}
    expected = blueprint.literal_bytes + sum(
        count * len(values[name].encode()) for name, count in blueprint.placeholders.items()
    )
    assert size_of(rendered(blueprint, p="öäü")) == expected


def test_the_output_is_bounded() -> None:
    """A value put in many places cannot make more than etcd could store, nor eat the memory."""
    blueprint = blueprint_of(flow={"a:{id}": {"topics": {"x": "{p}" * 1024}}})
    fits = "x" * (MAX_RENDERED_BYTES // 1024 - 1)
    assert size_of(rendered(blueprint, p=fits)) <= MAX_RENDERED_BYTES
    with pytest.raises(ParametersInvalid) as raised:
        rendered(blueprint, p="x" * 2**24)  # would be 16 GiB
    assert findings(raised).keys() == {"$.parameters.p"}
    huge = blueprint_of(flow={"a:{id}": {"topics": {"x": "{id}" * 10_000}}})
    with pytest.raises(BlueprintInvalid, match="at most"):
        render(huge, flow="f" * 120, workspace="default", parameters={})


# -- anything --------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *("{id}", "{p}", "{q}", "{workspace}", "{blueprint}", "x", "-", "{", ".", "1", "f1"),
        *('"', "\\", "\\u", "\n", "é", "\uffff", "\U0001f600", "0000", "%", "%(id)s"),
    ]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=5).map("".join)
NAMES = st.sampled_from(["{id}", "x", "x{id}", "x~", "f1", "{p}", "{id}{id}"])
ENTRIES = st.dictionaries(
    st.sampled_from(["a:{id}", "a:f1", "a:x-{id}", "a:{id}-1", "a:x", "a:{q}"]),
    st.fixed_dictionaries(
        {
            field: st.dictionaries(NAMES | TEXTS, TEXTS, max_size=3)
            for field in ("topics", "parameters")
        }
    ),
    max_size=3,
)
FLOWS = st.lists(
    st.sampled_from(["f1", "x", "1", "x-1", "Z.0", "u0000", "a" * 127]), min_size=1, unique=True
)
PLACEHOLDER = re.compile(r"\{(id|p|q|workspace|blueprint)\}")


def at_once(
    sections: Collection[dict[str, Any]], words: dict[str, str]
) -> list[dict[VariantName, bytes]] | None:
    """What rendering is: every placeholder replaced in every text, and JSON made of that.

    ``None`` where a text has no value, a name is none, or two come to one.
    """

    def filled(text: str) -> str:
        return PLACEHOLDER.sub(lambda found: words[found[1]], text)

    def value(entry: dict[str, dict[str, str]]) -> bytes:
        fields = {
            field: {filled(name): filled(text) for name, text in texts.items()}
            for field, texts in entry.items()
        }
        assert all(len(fields[field]) == len(entry[field]) for field in entry)
        return encode(VariantRecord(**fields))

    try:
        made = [
            {
                VariantName("a", check_name(filled(key.removeprefix("a:")), "variant")): value(
                    entry
                )
                for key, entry in section.items()
            }
            for section in sections
        ]
        entries = sum(map(len, sections))
    except (KeyError, InvalidName, AssertionError):
        return None
    return made if len({name for values in made for name in values}) == entries else None


@given(ENTRIES, ENTRIES, st.fixed_dictionaries({"p": TEXTS}, optional={"q": NAMES}), FLOWS)
def test_parameters_first_and_ids_later_are_all_at_once(
    shared: dict[str, Any], own: dict[str, Any], parameters: dict[str, str], flows: list[str]
) -> None:
    """One form gives every flow what filling in everything at once would, or refuses what that
    would: ids that come to another's name, names that an id puts into another order, and all."""
    try:
        blueprint = blueprint_of(blueprint=shared, flow=own)
    except BlueprintInvalid:
        return
    words = {"workspace": "default", "blueprint": "bp", **parameters}
    expected = {flow: at_once((shared, own), {**words, "id": flow}) for flow in flows}
    try:
        made = form(blueprint, workspace="default", parameters=parameters)
    except InvalidInput:
        assert set(expected.values()) == {None}
        return
    for flow, wanted in expected.items():
        if wanted is None:
            with pytest.raises(InvalidInput):
                made.fill(flow)
        else:
            result = made.fill(flow)
            assert [result.shared, result.own] == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [("x{id}", "y"), ("x", "{id}\uffff"), ("x", "{id}{p}"), ("x", "\\{id}"), ("x", "\\\\u{id}")],
)
def test_an_id_is_left_open_or_filled_in_at_once(name: str, value: str) -> None:
    """It makes no difference: neither to names in JSON, nor to what looks like the gap."""
    blueprint = blueprint_of(flow={"a:{id}": {"topics": {name: value, "x~": "{id}"}}})
    parameters = {"p": "\uffff"}
    for flow in ("f1", "0", "z"):
        wanted = at_once(
            [{"a:{id}": {"topics": {name: value, "x~": "{id}"}, "parameters": {}}}],
            {"id": flow, **parameters},
        )
        made = render(blueprint, flow=flow, workspace="default", parameters=parameters)
        assert [made.own] == wanted
