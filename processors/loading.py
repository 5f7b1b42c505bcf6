"""From ``module:Class`` on a command line to a processor, with errors that say what is wrong."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from kvconfig.errors import InvalidName
from kvconfig.keys import check_name
from processors.errors import CannotHost
from processors.processor import FlowProcessor

__all__ = ["load", "load_all"]


def load(text: str) -> FlowProcessor:
    """The processor that ``module:Class`` or ``module:Class=id`` stands for.

    Imports the module and makes an instance, without arguments. Raises :class:`CannotHost`.
    """
    where, has_id, id_ = text.partition("=")
    module_name, colon, class_name = where.partition(":")
    if not (module_name and colon and class_name):
        raise CannotHost(f"{text!r} is not module:Class or module:Class=id")
    try:
        found: object = importlib.import_module(module_name)
    except ImportError as error:
        raise CannotHost(f"cannot import {module_name}: {error}") from error
    for part in class_name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise CannotHost(f"{module_name} has no {class_name}") from error
    if not (isinstance(found, type) and issubclass(found, FlowProcessor)):
        raise CannotHost(f"{where} is no subclass of FlowProcessor")
    try:
        processor = found()
    except Exception as error:
        raise CannotHost(f"{where} cannot be made without arguments: {error!r}") from error
    if has_id:
        processor.id = id_
    try:
        check_name(processor.id, "processor id")
    except InvalidName as error:
        hint = "" if processor.id else f"; give it one: {where}=ID"
        raise CannotHost(f"{where}: {error}{hint}") from error
    return processor


def load_all(texts: Iterable[str]) -> list[FlowProcessor]:
    """Each of ``texts``. Raises :class:`CannotHost`, also where two have one id."""
    by_id: dict[str, str] = {}
    processors: list[FlowProcessor] = []
    for text in texts:
        processor = load(text)
        if processor.id in by_id:
            other = by_id[processor.id]
            raise CannotHost(
                f"{other} and {text} both have the id {processor.id!r}: give one another, "
                f"as in {text.partition('=')[0]}=other-id"
            )
        by_id[processor.id] = text
        processors.append(processor)
    return processors
