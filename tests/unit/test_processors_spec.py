"""Declared topics and parameters: what a processor is given, and what it never sees."""

import pytest

from kvconfig.keyspace import VariantName
from kvconfig.model import Revision
from kvconfig.records import VariantRecord
from processors import InvalidVariant, Parameter, Spec, Variant

NAME = VariantName("chunker", "f1")
SPEC = Spec(
    topics=("input", "output"),
    optional_topics=("errors",),
    parameters={
        "size": Parameter(int, default=2000, minimum=1, maximum=9000),
        "ratio": Parameter(float, required=False),
        "fast": Parameter(bool, default=False),
        "mode": Parameter(str, choices=("a", "b")),
    },
)
TOPICS = {"input": "in", "output": "out"}


def check(
    topics: dict[str, str], parameters: dict[str, str], spec: Spec = SPEC, revision: int = 7
) -> Variant:
    record = VariantRecord(topics=topics, parameters=parameters)
    return spec.check(NAME, record, Revision(revision))


def findings(topics: dict[str, str], parameters: dict[str, str], spec: Spec = SPEC) -> list[str]:
    with pytest.raises(InvalidVariant) as caught:
        check(topics, parameters, spec)
    return [str(finding) for finding in caught.value.findings]


def test_values_arrive_in_their_declared_types() -> None:
    """Strings become what was declared; what is undeclared stays a string; defaults are filled."""
    given = {"size": "0012", "ratio": "2e-1", "fast": "true", "mode": "a", "other": "12"}
    variant = check({**TOPICS, "more": "m"}, given)
    assert dict(variant.parameters) == {
        "size": 12,
        "ratio": 0.2,
        "fast": True,
        "mode": "a",
        "other": "12",
    }
    assert dict(variant.topics) == {**TOPICS, "more": "m"}
    assert (variant.processor, variant.name, variant.mod_revision) == ("chunker", "f1", 7)
    assert dict(check(TOPICS, {"mode": "b"}).parameters) == {
        "size": 2000,
        "fast": False,
        "mode": "b",
    }


def test_a_variant_is_frozen() -> None:
    """Nobody can change it on the way: neither its fields nor what is in them."""
    variant = check(TOPICS, {"mode": "a"})
    with pytest.raises(AttributeError):
        variant.name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        variant.topics["input"] = "x"  # type: ignore[index]


def test_typed_access() -> None:
    """``parameter`` gives the declared type, and tells a processor its own mistakes."""
    variant = check(TOPICS, {"mode": "a", "fast": "true"})
    assert variant.parameter("size", int) == 2000
    with pytest.raises(TypeError, match="fast is bool, not int"):
        variant.parameter("fast", int)
    with pytest.raises(KeyError):
        variant.parameter("ratio", float)


@pytest.mark.parametrize(
    "text", ["", " 12", "12 ", "12.0", "1e3", "١٢", "1_000", "0x10", "0", "9001"]
)
def test_bad_integers(text: str) -> None:
    """Only an integer within its bounds is one; the value is not shown, it may be secret."""
    assert findings(TOPICS, {"mode": "a", "size": text}) == [
        "$.parameters.size: expected an integer from 1 to 9000"
    ]


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e999", "1,5", "0x1p3", "."])
def test_bad_numbers(text: str) -> None:
    """A number is finite and in plain notation."""
    assert findings(TOPICS, {"mode": "a", "ratio": text}) == [
        "$.parameters.ratio: expected a number"
    ]


def test_every_finding_comes_at_once() -> None:
    """All that is wrong, each with its path; the first one is the error's path in short."""
    assert findings({"input": ""}, {"fast": "True", "mode": "c"}) == [
        "$.topics.input: expected a topic, found nothing",
        "$.topics.output: expected a topic, found nothing",
        "$.parameters.fast: expected true or false",
        "$.parameters.mode: expected a string, one of a, b",
    ]
    assert findings(TOPICS, {}) == [
        "$.parameters.mode: expected a string, one of a, b, found nothing"
    ]


def test_undeclared_is_allowed_or_refused_as_declared() -> None:
    """Blueprints are generous; a processor that wants to find misspelt names says so."""
    strict = Spec(topics=("input",), optional_topics=("errors",), undeclared="refuse")
    check({"input": "i", "errors": "e"}, {}, strict)
    assert findings({"input": "i", "inptu": "i"}, {"sise": "1"}, strict) == [
        "$.topics.inptu: not declared by this processor",
        "$.parameters.sise: not declared by this processor",
    ]
    assert check({"x": "y"}, {"z": "1"}, Spec()).parameters["z"] == "1"


def test_equal_is_by_value() -> None:
    """The same topics and parameters are the same, whatever put them there, however written."""
    one = check(TOPICS, {"mode": "a", "size": "12"}, revision=7)
    two = check(TOPICS, {"mode": "a", "size": "+12", "fast": "false"}, revision=9)
    assert one.same_value(two)
    assert not one.same_value(check(TOPICS, {"mode": "b", "size": "12"}))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Parameter(list),  # type: ignore[type-var]
        lambda: Parameter(int, default=0, minimum=1),
        lambda: Parameter(int, default=True),
        lambda: Parameter(str, minimum=1),
        lambda: Parameter(str, default="c", choices=("a",)),
        lambda: Parameter(int, default=1, required=True),
    ],
)
def test_a_wrong_declaration_fails_when_it_is_made(wrong) -> None:
    """An author hears of it at import, not from a variant."""
    with pytest.raises(TypeError):
        wrong()
