"""The entries of a blueprint: one for each variant that a flow of it needs.

``"<processor>:<variant>": {"topics": {…}, "parameters": {…}}``. The processor is plain; the
variant, and both the names and the values in ``topics`` and ``parameters``, are templates.
Each distinct text is compiled once, however many places use it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from flowsvc.definition import Findings, child, kind_of
from flowsvc.errors import Finding
from flowsvc.template import Template, loose_placeholders, stringify
from kvconfig.errors import InvalidName
from kvconfig.keys import check_name

__all__ = ["MAX_ENTRIES", "Entry", "EntryReader"]

MAX_ENTRIES = 4096
"""As many keys as one transaction of etcd can put at all (64 nested ones of 64)."""

_FIELDS = ("topics", "parameters")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One variant that a flow needs, at ``path`` in the blueprint; its texts are as written."""

    path: str
    processor: str
    variant: str
    topics: dict[str, str]
    parameters: dict[str, str]


class EntryReader:
    """Reads entries, and single templates, into ``compiled``; tells ``findings`` what is wrong.

    ``constants`` are the placeholders whose value is known already. ``uses`` counts the places of
    each text.
    """

    def __init__(self, findings: Findings, constants: dict[str, str]) -> None:
        self.compiled: dict[str, Template] = {}
        self.uses: Counter[str] = Counter()
        self._findings = findings
        self._constants = constants

    def entries(self, section: dict[str, object], path: str) -> tuple[Entry, ...]:
        """All entries of a section."""
        if len(section) > MAX_ENTRIES:
            message = f"has {len(section)} entries, at most {MAX_ENTRIES} are taken"
            self._findings.error(path, message)
            return ()
        return tuple(self._entry(child(path, key), key, value) for key, value in section.items())

    def text(self, value: object, path: str) -> str:
        """A template that has to be a string: a topic."""
        if not isinstance(value, str):
            self._findings.error(path, f"must be a string, is {kind_of(value)}")
            value = ""
        self._compile(value, path)
        return value

    def check_unique(self, entries: Iterable[Entry]) -> None:
        """No two entries may be bound to end at one key, whatever the flow and its parameters."""
        seen: dict[tuple[str, Template], str] = {}
        for entry in entries:
            first = seen.setdefault((entry.processor, self.compiled[entry.variant]), entry.path)
            if first != entry.path:
                self._findings.error(entry.path, f"always has the same key as {first}")

    def check_sharing(self, *, shared: Iterable[Entry], own: Iterable[Entry]) -> None:
        """Warn of entries with which one flow of the blueprint starts, and the second never."""
        for entry in own:
            if entry.variant and set(self.compiled[entry.variant].names) <= {"workspace"}:
                message = "only one flow at a time can own it: its variant is the same for all"
                self._findings.warning(entry.path, message)
        for entry in shared:
            texts = {*entry.topics.items(), *entry.parameters.items()}
            used = {name for pair in texts for text in pair for name in self.compiled[text].names}
            if "id" in used and "id" not in self.compiled[entry.variant].names:
                message = "no two flows can share it: its value holds {id}, its variant does not"
                self._findings.warning(entry.path, message)

    def _entry(self, path: str, key: str, value: object) -> Entry:
        processor, colon, variant = key.partition(":")
        template = self._compile(variant, path)
        if colon:
            self._check_name(processor, "processor", path)
            self._check_name("x".join(template.literals), "variant", path)
        else:
            self._findings.error(path, 'has no ":": an entry is named "<processor>:<variant>"')
        if not isinstance(value, dict):
            self._findings.error(path, f"must be an object, is {kind_of(value)}")
            value = {}
        self._check_fields(value, path)
        return Entry(
            path=path,
            processor=processor,
            variant=variant,
            topics=self._texts(value, "topics", path),
            parameters=self._texts(value, "parameters", path),
        )

    def _check_name(self, name: str, what: str, path: str) -> None:
        """For a variant: with ``x`` for each placeholder, so what is literal is all checked."""
        try:
            check_name(name, what)
        except InvalidName as error:
            hint = ""
            if what == "processor" and "{" in name:
                hint = " (placeholders come after the first colon)"
            self._findings.error(path, f"its {what} is no name: {error.rule}{hint}")

    def _check_fields(self, fields: dict[str, object], path: str) -> None:
        unknown = [name for name in fields if name not in _FIELDS]
        if "topics" not in fields and any(isinstance(fields[name], str) for name in unknown):
            message = (
                "is a flat entry of an old format: move its topics into "
                '"topics": {…} and its parameters into "parameters": {…}'
            )
            self._findings.error(path, message)
            return
        for name in unknown:
            self._findings.warning(child(path, name), "unknown field, ignored")

    def _texts(self, fields: dict[str, object], field: str, path: str) -> dict[str, str]:
        """The templates of ``topics`` or ``parameters``."""
        path = f"{path}.{field}"
        value = fields.get(field, {})
        if not isinstance(value, dict):
            self._findings.error(path, f"must be an object, is {kind_of(value)}")
            return {}
        texts: dict[str, str] = {}
        seen: dict[Template, str] = {}
        for name, inner in value.items():
            here = child(path, name)
            template = self._compile(name, here)
            first = seen.setdefault(template, here)
            if first != here:
                self._findings.error(here, f"always has the same name as {first}")
            texts[name] = self.text(self._scalar(inner, here) if field != "topics" else inner, here)
        return texts

    def _scalar(self, value: object, path: str) -> str:
        """The value of a parameter: a flow holds strings, a blueprint may hold numbers too."""
        text = stringify(value, path)
        if isinstance(text, Finding):
            self._findings.add(text)
            return ""
        return text

    def _compile(self, text: str, path: str) -> Template:
        self.uses[text] += 1
        template = self.compiled.get(text)
        if template is None:
            template = self.compiled[text] = Template.compile(text, self._constants)
            for loose in loose_placeholders(text):
                message = f"{loose} is no placeholder because of the space, and stays as it is"
                self._findings.warning(path, message)
        return template
