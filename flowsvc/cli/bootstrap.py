"""``flowctl bootstrap``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flowsvc.cli.seeds import carry_out, seed_options, summarise
from flowsvc.cli.settings import Settings, connection_options

if TYPE_CHECKING:
    from flowsvc.bootstrap import WhenDifferent

__all__ = ["command", "summarise"]


@click.command("bootstrap")
@seed_options
@click.option(
    "--replace",
    "when_different",
    flag_value="replace",
    help="Overwrite schemas, types, blueprints and configuration that differ.",
)
@click.option(
    "--refuse",
    "when_different",
    flag_value="refuse",
    help="Write nothing at all if any of them differs.",
)
@connection_options
def command(*, settings: Settings, when_different: WhenDifferent | None, **options: Any) -> None:
    """Seed parameter types, blueprints, configuration, schemas and default flows from SEED.

    What is there already stays as it is, so it is safe to run at every deployment, and again after
    it broke off; a flow that runs is always left alone. Nothing is written before all of SEED was
    checked.

    SEED is a file, - for standard input, or a folder: its JSON and YAML files together. They hold
    an object for each type; a file of one blueprint ({"name", "blueprint", "parameter-type"}) will
    do too. Configuration (any type of your own) and schemas need --endpoints.

    \b
    Example:
      flowctl bootstrap seed.json --endpoints 127.0.0.1:2379
    \b
      {"parameter-type": {"chunk-size": {"type": "integer", "default": 500}},
       "flow-blueprint": {"document-index": {"flow": {}, "blueprint": {}}},
       "flow": {"default": {"blueprint-name": "document-index", "parameters": {}}},
       "prompt": {"system": "Be brief."},
       "schema": {"prompt": {"type": "string"}}}
    """
    from flowsvc.bootstrap import Policy

    policy = Policy(when_different=when_different or "keep")
    carry_out(settings, policy, verb="bootstrap", **options)
