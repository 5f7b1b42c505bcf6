"""``flowctl config …``: the group. What its commands do is beside it."""

from __future__ import annotations

import click

from flowsvc.cli import config_change, config_look, config_schema

__all__ = ["group"]


@click.group("config")
def group() -> None:
    """Configuration: a JSON value for each type and key, at /<type>/<key> in etcd.

    Any type may be read. Those of the flow service are written by `flowctl flow`, `blueprint` and
    `parameter-type` only.

    \b
    Example:
      flowctl config put prompt greeting '{"text": "hello"}'
      flowctl config get prompt
      flowctl config watch prompt -o jsonl
    """


for _command in (
    config_look.get,
    config_look.list_,
    config_look.watch,
    config_look.dump,
    config_change.put,
    config_change.delete,
    config_schema.group,
):
    group.add_command(_command)
