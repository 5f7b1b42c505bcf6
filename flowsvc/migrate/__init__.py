"""The way here from older formats, and back.

Where the design of this project has one key for each variant, the systems before it had, in turn,
four shapes of configuration (:mod:`flowsvc.migrate.words`). A migration reads a document in any of
them, or a mix, or finds the same as keys in the etcd that it shall go to. In steps, most of
them pure::

    document ─┐
              ├ read ─→ OldState ─ convert ─→ Migration ─ migrate ─→ etcd
    old keys ─┘                                                        │
    document ←─ put back what was kept ←─ written ←─ NewState ←─ look ─┘

* ``document``, ``reading``, ``standing``: what there is, whatever it is called; every remark on it.
* ``flat``, ``blueprints``: entries and blueprints in today's form, and back.
* ``claims``: which active variant belongs to which flow.
* ``conversion``: what shall be written: each flow as it is active, value for value.
* ``carry``, ``report``: written, each flow in one transaction that takes it out of the old keys;
  and what became of each thing.
* ``inverse``, ``kept``: the document again; exactly, because what the new layout has no place for
  is kept in items of type ``migration``.
* ``look``, ``back``, ``rehearsal``: reading etcd; the way back; a dry run on a copy in memory.

What it is not: a way to keep an old and a new system in step. The old flow service has to rest
while it runs. ``docs/migrating.md`` says what a running system sees at each step.
"""

from __future__ import annotations

from flowsvc.migrate.back import as_document
from flowsvc.migrate.carry import migrate
from flowsvc.migrate.document import parse_document
from flowsvc.migrate.rehearsal import Written, rehearse
from flowsvc.migrate.report import OldKeysStand, OldKeysWritten, Report
from flowsvc.migrate.words import SHAPES, Shape

__all__ = [
    "SHAPES",
    "OldKeysStand",
    "OldKeysWritten",
    "Report",
    "Shape",
    "Written",
    "as_document",
    "migrate",
    "parse_document",
    "rehearse",
]
