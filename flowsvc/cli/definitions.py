"""``flowctl blueprint …`` and ``flowctl parameter-type …``: the same verbs on two nouns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from flowsvc.cli import graph
from flowsvc.cli.changes import How, carry_out, change_options, force_option
from flowsvc.cli.completion import complete
from flowsvc.cli.history import diff_command, history_group
from flowsvc.cli.output import View, output_option, show
from flowsvc.cli.settings import Settings, connection_options, look_up
from flowsvc.cli.validate import validate_command

if TYPE_CHECKING:
    from flowsvc.model import Definition, DefinitionKind

__all__ = ["blueprints", "parameter_types"]


@dataclass(frozen=True, kw_only=True)
class Noun:
    """One kind of definition: how it is called, what it is asked for, how it is shown."""

    word: str  # "parameter-type", as typed
    kind: DefinitionKind
    example: str  # a name
    view: View

    @property
    def text(self) -> str:
        """As people say it."""
        return self.word.replace("-", " ")


def _group(noun: Noun) -> click.Group:
    """The group of commands for one noun."""
    group = click.Group(
        noun.word,
        help=f"{noun.text.capitalize()}s: put, get, list, delete, and their history.\n\n"
        f"\b\nExample:\n"
        f"  flowctl {noun.word} put {noun.example} {noun.example}.json\n"
        f"  flowctl {noun.word} list",
    )
    for add in (_add_put, _add_get, _add_list, _add_delete, _add_rollback):
        add(group, noun)
    group.add_command(history_group(noun.kind, noun.word, noun.example))
    group.add_command(diff_command(noun.kind, noun.word, noun.example))
    group.add_command(validate_command(noun.kind, noun.word, noun.example))
    return group


def _add_put(group: click.Group, noun: Noun) -> None:
    help_ = (
        f"Store the {noun.text} in FILE (a JSON object; - is standard input) under NAME.\n\n"
        "Flows that run are not touched: `flowctl flow update` takes them to the new one.\n\n"
        "\b\nExample:\n"
        f"  flowctl {noun.word} put {noun.example} {noun.example}.json --why 'first version'\n"
        f"  flowctl {noun.word} put {noun.example} {noun.example}.json --force --dry-run"
    )

    @group.command("put", help=help_)
    @click.argument("name", shell_complete=complete(noun.kind))
    @click.argument("file", type=click.File("rb"))
    @force_option("Replace it though flows were made from it.")
    @change_options(strict=True)
    @connection_options
    @output_option
    def put(
        *, settings: Settings, how: How, output: str, name: str, file: BinaryIO, force: bool
    ) -> None:
        definition = file.read()
        from flowsvc.model import PutDefinition

        request = PutDefinition(
            kind=noun.kind, name=name, definition=definition, force=force, **how.fields()
        )
        carry_out(settings, request, how, name=name, did="put", output=output)


def _add_get(group: click.Group, noun: Noun) -> None:
    help_ = (
        f"Show one {noun.text}; the definition itself with -o json.\n\n\b\nExample:\n"
        f"  flowctl {noun.word} get {noun.example} -o json"
    )

    @group.command("get", help=help_)
    @click.argument("name", shell_complete=complete(noun.kind))
    @connection_options
    @output_option
    def get(*, settings: Settings, output: str, name: str) -> None:
        found = look_up(settings, lambda reader: reader.get_definition(noun.kind, name))
        show(found, noun.view, output)


def _add_list(group: click.Group, noun: Noun) -> None:
    help_ = f"List all {noun.text}s.\n\n\b\nExample:\n  flowctl {noun.word} list -o name"

    @group.command("list", help=help_)
    @connection_options
    @output_option
    def list_(*, settings: Settings, output: str) -> None:
        found = look_up(settings, lambda reader: reader.list_definitions(noun.kind))
        show(found, noun.view, output)


def _add_delete(group: click.Group, noun: Noun) -> None:
    help_ = (
        f"Remove a {noun.text} that nothing rests on.\n\n\b\nExample:\n"
        f"  flowctl {noun.word} delete {noun.example}"
    )

    @group.command("delete", help=help_)
    @click.argument("name", shell_complete=complete(noun.kind))
    @force_option("Remove it though others rest on it; flows that do can only be stopped then.")
    @change_options()
    @connection_options
    @output_option
    def delete(*, settings: Settings, how: How, output: str, name: str, force: bool) -> None:
        from flowsvc.model import DeleteDefinition

        request = DeleteDefinition(kind=noun.kind, name=name, force=force, **how.fields())
        carry_out(settings, request, how, name=name, did="deleted", output=output)


def _add_rollback(group: click.Group, noun: Noun) -> None:
    help_ = (
        f"Store a {noun.text} again as an operation of its history has stored it.\n\n"
        "\b\nExample:\n"
        f"  flowctl {noun.word} rollback {noun.example} --to 01936c0e-8d5f-7a10-9f3e-5b6f8f0d2c41"
    )

    @group.command("rollback", help=help_)
    @click.argument("name", shell_complete=complete(noun.kind))
    @click.option("--to", required=True, metavar="OP", help="Operation of its history.")
    @force_option("Replace it though flows were made from it.")
    @change_options(strict=True)
    @connection_options
    @output_option
    def rollback(
        *, settings: Settings, how: How, output: str, name: str, to: str, force: bool
    ) -> None:
        from flowsvc.model import RollBackDefinition

        request = RollBackDefinition(kind=noun.kind, name=name, to=to, force=force, **how.fields())
        did = f"rolled back to {to}"
        carry_out(settings, request, how, name=name, did=did, output=output)


# -- the two nouns -------------------------------------------------------------------------------


def _as_json(found: Definition) -> dict[str, Any]:
    return {"name": found.name, "revision": found.mod_revision, "definition": found.definition}


def _view(columns: dict[str, Callable[[dict[str, Any]], object]]) -> View:
    """Columns made from the definition, between the name and what etcd and its author say."""

    def of_definition(column: Callable[[dict[str, Any]], object]) -> Callable[[Any], object]:
        return lambda found: column(found.definition)

    return View(
        name=lambda found: found.name,
        columns={
            "NAME": lambda found: found.name,
            **{head: of_definition(column) for head, column in columns.items()},
            "REVISION": lambda found: found.mod_revision,
            "DESCRIPTION": lambda found: found.definition.get("description", ""),
        },
        as_json=_as_json,
    )


blueprints = _group(
    Noun(
        word="blueprint",
        kind="flow-blueprint",
        example="document-index",
        view=_view(
            {
                "OWN": lambda definition: len(definition.get("flow", {})),
                "SHARED": lambda definition: len(definition.get("blueprint", {})),
            }
        ),
    )
)
blueprints.add_command(graph.command)

parameter_types = _group(
    Noun(
        word="parameter-type",
        kind="parameter-type",
        example="chunk-size",
        view=_view(
            {
                "TYPE": lambda definition: definition.get("type", ""),
                "DEFAULT": lambda definition: definition.get("default", ""),
            }
        ),
    )
)
