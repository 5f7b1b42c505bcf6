"""From a command line or a group file to processors: what is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

import processors
from processors import CannotHost, FlowProcessor
from processors.loading import from_argument, from_group, load, load_all

GENERIC = "processors.samples.generic:Generic"
CHUNKER = "processors.samples.chunker:Chunker"


class Takes(FlowProcessor):
    """Can be made with arguments only."""

    id = "takes"

    def __init__(self, what: str, *, size: int = 3) -> None:
        if size < 0:
            raise ValueError("size is below 0")
        self.what, self.size = what, size


TAKES = f"{__name__}:Takes"


class Outer:
    """Holds a processor."""

    class Inner(FlowProcessor):
        """Reached through a dot."""

        id = "inner"


def loaded(*texts: str) -> list[FlowProcessor]:
    return load_all(map(from_argument, texts))


@pytest.fixture
def group(tmp_path: Path) -> Path:
    return tmp_path / "group.toml"


def test_load_finds_classes() -> None:
    """A class by its path, with its own id or another."""
    texts = [CHUNKER, f"{CHUNKER}=other", f"{__name__}:Outer.Inner", f"{GENERIC}=a", f"{GENERIC}=b"]
    assert [one.id for one in loaded(*texts)] == ["chunker", "other", "inner", "a", "b"]
    assert load(from_argument(GENERIC, id_="c")).id == "c"
    assert CHUNKER.endswith(type(loaded(CHUNKER)[0]).__name__)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chunker", "chunker: 'chunker' is not module:Class"),
        (":Chunker", "':Chunker' is not module:Class"),
        ("no.such.module:C", "cannot import no.such.module: No module named 'no'"),
        ("processors.samples.chunker:Nope", "processors.samples.chunker has no Nope"),
        ("processors.samples.chunker:split", "is no subclass of FlowProcessor"),
        ("processors.spec:Parameter", "is no subclass of FlowProcessor"),
        (GENERIC, f"give it one: {GENERIC}=ID"),
        (f"{CHUNKER}=", f"give it one: {CHUNKER}=ID"),
        (f"{GENERIC}=a/b", f"{GENERIC}=a/b: processor id 'a/b' is not allowed"),
        (TAKES, f"{TAKES} cannot be made without arguments: TypeError: "),
        (TAKES, "missing 1 required positional argument: 'what'; a group file can give it some"),
    ],
)
def test_what_cannot_be_hosted(text: str, said: str) -> None:
    """Each mistake says what is wrong with which argument."""
    with pytest.raises(CannotHost) as caught:
        loaded(text)
    assert said in str(caught.value)


def test_two_processors_with_one_id() -> None:
    """They would hear the same keys and hold the same status: refused, with both named."""
    with pytest.raises(CannotHost) as caught:
        loaded(f"{GENERIC}=a", f"{CHUNKER}=a")
    assert str(caught.value) == (
        f"{GENERIC}=a and {CHUNKER}=a both have the id 'a': give one another, as in {CHUNKER}=ID"
    )


def test_an_argument_takes_one_id() -> None:
    """Of two that are given for it, neither is preferred."""
    with pytest.raises(CannotHost, match="has an id of its own already: leave out one"):
        from_argument(f"{GENERIC}=a", id_="b")


def test_a_group_has_classes_ids_and_arguments(group: Path) -> None:
    """All of them, in order; arguments as TOML has them."""
    group.write_text(
        f"""
        [[processor]]
        class = "{CHUNKER}"

        [[processor]]
        class = "{TAKES}"
        id = "docs"
        arguments = {{what = "docs", size = 5}}
        """
    )
    chunker, docs = load_all(from_group(group))
    assert (chunker.id, docs.id) == ("chunker", "docs")
    assert isinstance(docs, Takes)
    assert (docs.what, docs.size) == ("docs", 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[processor]", "not TOML: "),
        ("\udcff", "not TOML: "),
        ("", "at $: Object missing required field `processor`; there are [[processor]] entries"),
        ("processor = []", "at $.processor: Expected `array` of length >= 1"),
        ("[[processors]]", "at $: Object contains unknown field `processors`; there are"),
        ("[[processor]]", "at $.processor[0]: Object missing required field `class`"),
        (
            '[[processor]]\nclass = "a:B"\n[[processor]]\nclass = "a:C"\nargs = {}',
            "at $.processor[1]: Object contains unknown field `args`; there are [[processor]]",
        ),
        (
            '[[processor]]\nclass = "a:B"\nid = 7',
            "at $.processor[0].id: Expected `str`, got `int`; there are",
        ),
        ('[[processor]]\nclass = "a:B"\nid = ""', "at $.processor[0].id: Expected `str` of length"),
        ('[[processor]]\nclass = "nope:C"', ", processor 1: cannot import nope"),
        (f'[[processor]]\nclass = "{GENERIC}"', ", processor 1: processor id '' is not allowed"),
        (f'[[processor]]\nclass = "{GENERIC}"', 'give it one: id = "ID"'),
        (
            f'[[processor]]\nclass = "{TAKES}"\narguments = {{waht = 1}}',
            f", processor 1: {TAKES} cannot be made with waht: TypeError: ",
        ),
        (
            f'[[processor]]\nclass = "{TAKES}"\narguments = {{what = "", size = -1}}',
            "cannot be made with what, size: ValueError: size is below 0",
        ),
    ],
)
def test_what_a_group_cannot_have(group: Path, text: str, said: str) -> None:
    """Each mistake says in which file it is, and where in it."""
    group.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CannotHost) as caught:
        load_all(from_group(group))
    assert said in str(caught.value)
    assert str(group) in str(caught.value)


def test_a_group_and_arguments_share_no_id(group: Path) -> None:
    """Whoever has it twice learns from where it came each time."""
    group.write_text(f'[[processor]]\nclass = "{GENERIC}"\nid = "a"')
    with pytest.raises(CannotHost) as caught:
        load_all([from_argument(f"{CHUNKER}=a"), *from_group(group)])
    assert str(caught.value) == (
        f"{CHUNKER}=a and {group}, processor 1 both have the id 'a': "
        'give one another, as in id = "ID"'
    )


def test_a_group_that_cannot_be_read(group: Path) -> None:
    """It is said which one it was."""
    with pytest.raises(CannotHost, match=f"{group}: No such file"):
        from_group(group)


def test_the_public_api_is_what_it_was() -> None:
    """Outsiders build on these names: a change of this list is a change of the API."""
    assert processors.__all__ == [
        "CannotHost",
        "ConfigChange",
        "ConfigView",
        "Finding",
        "FlowProcessor",
        "Instance",
        "InvalidVariant",
        "Parameter",
        "Permanent",
        "ProcessorError",
        "Secret",
        "SecretUnavailable",
        "Spec",
        "StartTimeout",
        "StopTimeout",
        "Tasks",
        "UpdateTimeout",
        "Value",
        "Variant",
        "run",
        "running",
    ]
    for name in processors.__all__:
        assert hasattr(processors, name)
