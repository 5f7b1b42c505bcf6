"""``flowctl blueprint …`` and ``flowctl parameter-type …``: the same three verbs on two nouns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from flowsvc.cli.output import View, output_option, show, show_done
from flowsvc.cli.settings import (
    Settings,
    actor,
    change_options,
    connection_options,
    open_flows,
    run,
)

if TYPE_CHECKING:
    from flowsvc.model import Definition, Done, Flows

__all__ = ["blueprints", "parameter_types"]


@dataclass(frozen=True, kw_only=True)
class Noun:
    """One kind of definition: how it is called, what it is asked for, how it is shown."""

    word: str  # "parameter-type", as typed
    example: str  # a name
    put: Callable[[Flows], Callable[..., Awaitable[Done]]]
    get: Callable[[Flows], Callable[[str], Awaitable[Definition]]]
    list: Callable[[Flows], Callable[[], Awaitable[list[Definition]]]]
    view: View

    @property
    def text(self) -> str:
        """As people say it."""
        return self.word.replace("-", " ")


def _group(noun: Noun) -> click.Group:
    """The group of commands for one noun."""
    group = click.Group(
        noun.word,
        help=f"{noun.text.capitalize()}s: put, get, list.\n\n\b\nExample:\n"
        f"  flowctl {noun.word} put {noun.example} {noun.example}.json\n"
        f"  flowctl {noun.word} list",
    )
    for add in (_add_put, _add_get, _add_list):
        add(group, noun)
    return group


def _add_put(group: click.Group, noun: Noun) -> None:
    help_ = (
        f"Store the {noun.text} in FILE (a JSON object; - is standard input) under NAME.\n\n"
        f"Flows that run are not touched.\n\n\b\nExample:\n"
        f"  flowctl {noun.word} put {noun.example} {noun.example}.json --why 'first version'"
    )

    @group.command("put", help=help_)
    @click.argument("name")
    @click.argument("file", type=click.File("rb"))
    @change_options
    @connection_options
    @output_option
    def put(
        *,
        settings: Settings,
        output: str,
        name: str,
        file: BinaryIO,
        op: str,
        by: str | None,
        why: str,
    ) -> None:
        definition = file.read()

        async def main() -> None:
            async with open_flows(settings) as flows:
                done = await noun.put(flows)(name, definition, op=op, actor=actor(by, why))
            show_done(done, name=name, did="stands", output=output)

        run(main())


def _add_get(group: click.Group, noun: Noun) -> None:
    help_ = (
        f"Show one {noun.text}; the definition itself with -o json.\n\n\b\nExample:\n"
        f"  flowctl {noun.word} get {noun.example} -o json"
    )

    @group.command("get", help=help_)
    @click.argument("name")
    @connection_options
    @output_option
    def get(*, settings: Settings, output: str, name: str) -> None:
        async def main() -> None:
            async with open_flows(settings) as flows:
                show(await noun.get(flows)(name), noun.view, output)

        run(main())


def _add_list(group: click.Group, noun: Noun) -> None:
    help_ = f"List all {noun.text}s.\n\n\b\nExample:\n  flowctl {noun.word} list -o name"

    @group.command("list", help=help_)
    @connection_options
    @output_option
    def list_(*, settings: Settings, output: str) -> None:
        async def main() -> None:
            async with open_flows(settings) as flows:
                show(await noun.list(flows)(), noun.view, output)

        run(main())


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
        example="document-index",
        put=lambda flows: flows.put_blueprint,
        get=lambda flows: flows.get_blueprint,
        list=lambda flows: flows.list_blueprints,
        view=_view(
            {
                "OWN": lambda definition: len(definition.get("flow", {})),
                "SHARED": lambda definition: len(definition.get("blueprint", {})),
            }
        ),
    )
)

parameter_types = _group(
    Noun(
        word="parameter-type",
        example="chunk-size",
        put=lambda flows: flows.put_parameter_type,
        get=lambda flows: flows.get_parameter_type,
        list=lambda flows: flows.list_parameter_types,
        view=_view(
            {
                "TYPE": lambda definition: definition.get("type", ""),
                "DEFAULT": lambda definition: definition.get("default", ""),
            }
        ),
    )
)
