"""What the demo is made from: parameters, processors, the words to search for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from flowsvc.cli.demo import parse_params
from flowsvc.cli.scenario import document_index, other_blueprint
from flowsvc.errors import InvalidInput


def test_parameters_as_pairs_or_json():
    """``k=v,k=v`` gives text; JSON keeps types, and takes values with commas."""
    assert parse_params("") == {}
    assert parse_params("a=1,b=x=y,") == {"a": "1", "b": "x=y"}
    assert parse_params(' {"a": 1, "b": "x,y"}') == {"a": 1, "b": "x,y"}
    for wrong in ("a", "=1", "{", '{"a": []}'):
        with pytest.raises(click.BadParameter):
            parse_params(wrong)


def test_a_generic_processor_for_each_id():
    """Ids of all sections, each once; and one that nobody names, whose id begins another's."""
    definition: dict[str, Any] = {
        "flow": {"chunker:{id}": {}, "a:{id}": {}, "a:x": {}},
        "blueprint": {"q:b": {}},
    }
    file = json.dumps({"name": "b", "blueprint": definition, "parameter-type": {}}).encode()
    scenario = other_blueprint(file, "b.json", {"x": "1"})
    ids = [processor.partition("=")[2] for processor in scenario.processors]
    assert ids == ["a", "chunker", "q", "chunk"]
    assert scenario.bystander == "chunk"
    assert scenario.blueprint_name == "b"
    assert [flow.parameters for flow in scenario.flows] == [{"x": "1"}, {"x": "1"}]


def test_exactly_one_blueprint_is_shown():
    """A file that holds none or several is refused."""
    several: list[dict[str, Any]] = [{}, {"a": {}, "b": {}}]
    for blueprints in several:
        with pytest.raises(click.UsageError):
            other_blueprint(json.dumps({"flow-blueprint": blueprints}).encode(), "f", {})
    with pytest.raises(InvalidInput):
        other_blueprint(b"{", "f", {})


def test_the_document_index_finds_words_to_search_for(tmp_path: Path):
    """A frequent long word of the first document that is not hidden; none without documents."""
    with pytest.raises(click.UsageError):
        document_index(tmp_path, None, {}, tmp_path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.md").write_text("invisible invisible")
    (tmp_path / "b.md").write_text("Transactions, transactions; revisions.")
    scenario = document_index(tmp_path, None, {"chunk-size": "9"}, tmp_path)
    assert scenario.query == "transactions"
    assert document_index(tmp_path, "words", {}, tmp_path).query == "words"
    small, large = (flow.parameters for flow in scenario.flows)
    assert small["input-path"] == large["input-path"] == str(tmp_path)
    assert small["index-path"] == large["index-path"]
    assert small["chunk-size"] == "9"
    assert scenario.blueprint_name == "document-index"
