"""The flow that is started again and again: TrustGraph's `2.8-everything`, of 36 variants."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowsvc.model import StartFlow
from flowsvc.service import FlowService
from tests.bench.goals import Skipped
from tests.bench.places import REPOSITORY
from tests.flows import as_json

__all__ = ["NAME", "Everything", "everything", "small"]

NAME = "everything"
"""Of the blueprint, in etcd."""


@dataclass(frozen=True)
class Everything:
    """A blueprint, its parameter types, and the parameters to start it with."""

    blueprint: Mapping[str, Any]
    types: Mapping[str, Any]
    parameters: Mapping[str, str]

    async def put(self, service: FlowService) -> None:
        """Put the definitions."""
        for name, definition in self.types.items():
            await service.put_parameter_type(name, as_json(definition))
        await service.put_blueprint(NAME, as_json(self.blueprint))
        await service.blueprints.until(lambda items: len(items) == 1)
        await service.parameter_types.until(lambda items: len(items) == len(self.types))

    def start(self, flow: str) -> StartFlow:
        """A request to start it."""
        return StartFlow(flow=flow, blueprint_name=NAME, parameters=self.parameters)


def everything() -> Everything:
    """From the shared data; :class:`Skipped` where they are absent."""
    named = os.environ.get("SHARED_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        raise Skipped(f"no shared data at {folder} (SHARED_DATA names another place)")
    bundle = json.loads((folder / "blueprints" / "2.8-everything.json").read_text("utf-8"))
    golden = json.loads((folder / "goldens" / "1-2.8-everything-default.json").read_text("utf-8"))
    # Its type does not allow the value that TrustGraph's own flow has.
    parameters = {k: v for k, v in golden["parameters"].items() if k != "reranker-model"}
    return Everything(bundle["blueprint"], bundle["parameter-type"], parameters)


def small(variants: int, *, shared: int = 0) -> Everything:
    """A made-up one: ``p0``, ``p1``, … with a variant of their own each, and what all share."""
    own = {
        f"p{number}:{{id}}": {"topics": {"input": "in-{id}", "output": "out-{id}"}}
        for number in range(variants)
    }
    common = {f"s{number}:common": {"topics": {"input": "in"}} for number in range(shared)}
    return Everything({"blueprint": common, "flow": own}, {}, {})
