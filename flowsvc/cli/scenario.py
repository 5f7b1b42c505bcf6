"""What the demo can show: the sample's document index, or any other blueprint.

Everything is loaded inside the functions: ``flowctl`` imports this module at its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from flowsvc.bootstrap import Seed
    from flowsvc.model import ParameterValue

__all__ = [
    "SAMPLE",
    "PlannedFlow",
    "Scenario",
    "document_index",
    "other_blueprint",
    "sample_seed",
]

GENERIC = "processors.samples.generic:Generic"
SAMPLE = (
    "processors.samples.loader:Loader",
    "processors.samples.chunker:Chunker",
    "processors.samples.indexer:Indexer",
    "processors.samples.query:QueryProcessor",
    "processors.samples.gateway:Gateway",
)
SAMPLE_SEED = ("samples", "document-index.json")  # in the package `processors`


@dataclass(frozen=True, kw_only=True)
class PlannedFlow:
    """A flow that the demo starts."""

    id: str
    description: str
    parameters: dict[str, ParameterValue]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What the demo shows: a seed with one blueprint, the processors for it, two flows.

    ``query`` is what to search for, where the flows index something (else empty). ``bystander`` is
    a processor that no flow names; its id is the beginning of another's where that can be.
    """

    seed: Seed
    seed_name: str
    processors: tuple[str, ...]
    bystander: str
    flows: tuple[PlannedFlow, PlannedFlow]
    query: str = ""
    socket: str = ""

    @property
    def blueprint_name(self) -> str:
        """The one blueprint of the seed."""
        return next(iter(self.seed.blueprints))


def document_index(
    folder: Path, query: str | None, parameters: dict[str, ParameterValue], scratch: Path
) -> Scenario:
    """The sample of :mod:`processors`: two indexes of one folder, side by side in one file."""
    from flowsvc.bootstrap import parse_seed

    query = query or _frequent_word(folder)
    if not query:
        raise click.UsageError(f"no *.md and no *.txt with words in {folder}: give --input")
    file = sample_seed()
    common: dict[str, ParameterValue] = {
        "input-path": str(folder),
        "index-path": str(scratch / "index.sqlite"),
        "gateway-socket": str(scratch / "gateway.sock"),
    }
    small: dict[str, ParameterValue] = {"chunk-size": 400, "chunk-overlap": 40}
    large: dict[str, ParameterValue] = {"chunk-size": 4000, "chunk-overlap": 200}
    return Scenario(
        seed=parse_seed(file.read_bytes(), file.name),
        seed_name=file.name,
        processors=(*SAMPLE, f"{GENERIC}=chunk"),
        bystander="chunk",
        flows=(
            PlannedFlow(
                id="small",
                description="Small chunks",
                parameters={**common, **small, **parameters},
            ),
            PlannedFlow(
                id="large",
                description="Large chunks",
                parameters={**common, **large, **parameters},
            ),
        ),
        query=query,
        socket=str(scratch / "gateway.sock"),
    )


def other_blueprint(data: bytes, name: str, parameters: dict[str, ParameterValue]) -> Scenario:
    """Any blueprint, with a processor that does nothing for each id that it names."""
    from pathlib import Path

    from flowsvc.bootstrap import parse_seed

    seed = parse_seed(data, name)
    if len(seed.blueprints) != 1:
        raise click.UsageError(f"{name} holds {len(seed.blueprints)} blueprints: give one of one")
    (definition,) = seed.blueprints.values()
    ids = sorted(
        {
            key.partition(":")[0]
            for section in ("flow", "blueprint", "class")
            for key in definition.get(section) or {}
        }
    )
    known_first = sorted(ids, key=lambda id_: id_ != "chunker")
    bystander = next(
        (id_[:-2] for id_ in known_first if len(id_) > 4 and id_[:-2] not in ids), "bystander"
    )
    return Scenario(
        seed=seed,
        seed_name=Path(name).name,
        processors=tuple(f"{GENERIC}={id_}" for id_ in [*ids, bystander]),
        bystander=bystander,
        flows=(
            PlannedFlow(id="f1", description="The first", parameters=parameters),
            PlannedFlow(id="f2", description="The second", parameters=parameters),
        ),
    )


def sample_seed() -> Path:
    """The sample's blueprint. Found, not imported: the flow service knows no processor."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("processors")
    for place in (spec and spec.submodule_search_locations) or ():
        file = Path(place, *SAMPLE_SEED)
        if file.is_file():
            return file
    raise click.UsageError("the package `processors` with its samples is not installed")


def _frequent_word(folder: Path) -> str:
    """A word to search for: the most frequent one of the first document, a long one if possible."""
    import re
    from collections import Counter

    for file in _documents(folder):
        text = file.read_text("utf-8", "replace").lower()
        for letters in (9, 4):
            words: Counter[str] = Counter(re.findall(rf"[a-z]{{{letters},}}", text))
            if words:
                return min(words, key=lambda word: (-words[word], word))
    return ""


def _documents(folder: Path) -> Iterator[Path]:
    """As the loader finds them: nothing below a folder whose name starts with a dot."""
    if folder.is_file():
        yield folder
        return
    for file in sorted([*folder.glob("**/*.md"), *folder.glob("**/*.txt")]):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and file.is_file():
            yield file
