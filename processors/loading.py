"""From a command line and a group file to processors, with errors that say what is wrong where."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from kvconfig.errors import InvalidName
from kvconfig.keys import check_name
from processors.errors import CannotHost
from processors.processor import FlowProcessor

__all__ = ["Candidate", "from_argument", "from_group", "load", "load_all"]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A processor that is to be hosted: a class by its path, and how to make one of it.

    ``id`` is ``None`` where the class has its own. ``origin`` says where all this was found,
    ``naming`` how an id is given there.
    """

    path: str
    id: str | None = None
    arguments: Mapping[str, Any] = {}
    origin: str
    naming: str

    def refused(self, reason: str) -> CannotHost:
        """Why it cannot be hosted, with where it was found."""
        return CannotHost(f"{self.origin}: {reason}")


def from_argument(text: str, *, id_: str = "") -> Candidate:
    """What ``module:Class`` or ``module:Class=ID`` on a command line stands for.

    ``id_`` was given beside it. Raises :class:`CannotHost` where both give one.
    """
    path, has_id, own = text.partition("=")
    if has_id and id_:
        raise CannotHost(f"{text} has an id of its own already: leave out one of the two")
    given = own if has_id else id_ or None
    return Candidate(path=path, id=given, origin=text, naming=f"{path}=ID")


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str = msgspec.field(name="class")
    id: Annotated[str, msgspec.Meta(min_length=1)] = ""
    arguments: dict[str, Any] = {}


class _Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    processor: Annotated[tuple[_Entry, ...], msgspec.Meta(min_length=1)]


def from_group(file: Path) -> list[Candidate]:
    """What a group file asks for: TOML, with a ``[[processor]]`` for each.

    Raises :class:`CannotHost` with the place in the file.
    """
    try:
        group = msgspec.convert(tomllib.loads(file.read_text("utf-8")), _Group)
    except OSError as error:
        raise CannotHost(f"{file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CannotHost(f"{file}: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at ")
        raise CannotHost(
            f"{file} at {place.strip('`') or '$'}: {reason}; "
            "there are [[processor]] entries, each of class, id and arguments"
        ) from error
    return [
        Candidate(
            path=entry.path,
            id=entry.id or None,
            arguments=entry.arguments,
            origin=f"{file}, processor {number}",
            naming='id = "ID"',
        )
        for number, entry in enumerate(group.processor, 1)
    ]


def load(candidate: Candidate) -> FlowProcessor:
    """Import the module, make the processor. Raises :class:`CannotHost`."""
    found = _find(candidate)
    given = candidate.arguments
    try:
        processor = found(**given)
    except Exception as error:
        how = f"with {', '.join(given)}" if given else "without arguments"
        hint = "" if given else "; a group file can give it some"
        reason = f"cannot be made {how}: {type(error).__name__}: {error}{hint}"
        raise candidate.refused(f"{candidate.path} {reason}") from error
    if candidate.id is not None:
        processor.id = candidate.id
    try:
        check_name(processor.id, "processor id")
    except InvalidName as error:
        hint = "" if processor.id else f"; give it one: {candidate.naming}"
        raise candidate.refused(f"{error}{hint}") from error
    return processor


def _find(candidate: Candidate) -> type[FlowProcessor]:
    module_name, colon, class_name = candidate.path.partition(":")
    if not (module_name and colon and class_name):
        raise candidate.refused(f"{candidate.path!r} is not module:Class")
    try:
        found: object = importlib.import_module(module_name)
    except ImportError as error:
        raise candidate.refused(f"cannot import {module_name}: {error}") from error
    for part in class_name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise candidate.refused(f"{module_name} has no {class_name}") from error
    if not (isinstance(found, type) and issubclass(found, FlowProcessor)):
        raise candidate.refused(f"{candidate.path} is no subclass of FlowProcessor")
    return found


def load_all(candidates: Iterable[Candidate]) -> list[FlowProcessor]:
    """Each of them. Raises :class:`CannotHost`, also where two have one id."""
    by_id: dict[str, Candidate] = {}
    processors: list[FlowProcessor] = []
    for candidate in candidates:
        processor = load(candidate)
        if processor.id in by_id:
            other = by_id[processor.id].origin
            raise CannotHost(
                f"{other} and {candidate.origin} both have the id {processor.id!r}: "
                f"give one another, as in {candidate.naming}"
            )
        by_id[processor.id] = candidate
        processors.append(processor)
    return processors
