"""What processors do and how well, for Prometheus. It reads only: nothing is kept here.

Labels are ids of processors, states and types of configuration, never variants or values. Needs
prometheus-client, which the base install does not bring: ``pip install 'kvconfig[service]'``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import attrgetter
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.utils import floatToGoString

from processors.health import config_views
from processors.instance import Instance
from processors.reconciler import Reconciler
from processors.stats import BOUNDS_S

__all__ = ["families"]

F = TypeVar("F", CounterMetricFamily, GaugeMetricFamily)

_COUNTERS = {
    "reconciler.stats": {
        "starts": "Variants that were entered.",
        "restarts": "Of these: again, after a change, a crash or a failure.",
        "updates": "Changes that a running variant took in place.",
        "stops": "Variants that were left, for whatever reason.",
        "crashes": "Variants that failed after having started.",
        "failures": "Attempts that failed, crashes included.",
        "set_aside": "Starts and stops that took so long that others were let past.",
    },
    "informer.stats": {
        "watches": "Watches that were opened: one, and one for each that ended.",
        "watch_ends": "Watches that ended, and attempts that failed.",
        "lists": "Lists of all variants: after each end of a watch.",
        "batches": "Revisions that the watch told of.",
        "events": "Changes that the watch told of.",
        "verified": "Comparisons of the cache with a list of keys.",
        "differences": "Keys that differed in one: each is a defect, and mended.",
        "handler_errors": "Batches whose taking raised: each is a defect.",
    },
}
"""Where they are counted, and what they mean. All there is to count, in the order it is shown."""

_BUCKETS = (*map(floatToGoString, BOUNDS_S), "+Inf")


def families(instances: Sequence[Instance]) -> list[Metric]:
    """All metrics of ``instances``, as of now. To be called in their event loop."""
    counters = [
        _each(_counter(name, meaning), instances, f"{where}.{name}")
        for where, meanings in _COUNTERS.items()
        for name, meaning in meanings.items()
    ]
    age = _gauge("watch_age_seconds", "Since etcd last gave a sign of life for its variants.")
    revision = _gauge("observed_revision", "Up to which it has heard of its variants; 0: nothing.")
    stale = _gauge("stale", "1 while it runs on what a state file held; 0: on what etcd has.")
    return [
        _variants(instances),
        *counters,
        _latency(instances),
        _each(age, instances, "informer.last_progress_age_s"),
        _each(revision, instances, "informer.revision"),
        _each(stale, instances, "informer.stale"),
        *_configuration(instances),
    ]


def _each(family: F, instances: Sequence[Instance], attribute: str) -> F:
    """``family``, with that attribute of each instance."""
    read = attrgetter(attribute)
    for instance in instances:
        family.add_metric([instance.processor.id], read(instance))
    return family


def _variants(instances: Sequence[Instance]) -> Metric:
    family = _gauge(
        "variants",
        "As desired and running; on the way to that; failed, where the last good value may run on.",
        "processor",
        "state",
    )
    for instance in instances:
        for state, count in _states(instance.reconciler).items():
            family.add_metric([instance.processor.id, state], count)
    return family


def _states(reconciler: Reconciler) -> dict[str, int]:
    """How many variants there are in each state; each is in one of them."""
    rows = reconciler.rows()
    failed = sum(row.failure is not None for row in rows)
    as_desired = reconciler.running.keys() - {row.variant for row in rows}
    return {"running": len(as_desired), "pending": len(rows) - failed, "failed": failed}


def _latency(instances: Sequence[Instance]) -> Metric:
    family = HistogramMetricFamily(
        "kvconfig_processor_reconcile_seconds",
        "From hearing of a change until its variant is as desired.",
        labels=["processor"],
    )
    for instance in instances:
        latency = instance.reconciler.stats.latency
        buckets = list(zip(_BUCKETS, accumulate(latency.counts), strict=True))
        family.add_metric([instance.processor.id], buckets, latency.sum_s)
    return family


def _configuration(instances: Sequence[Instance]) -> list[Metric]:
    """By type; where processors read one in several shapes, of the oldest, and of all."""
    age = _gauge("config_age_seconds", "Since etcd last gave a sign of life for it.", "type")
    errors = _gauge("config_errors", "Items that are not of the shape that is read.", "type")
    for type_, views in config_views(instances).items():
        age.add_metric([type_], max(view.informer.last_progress_age_s for view in views))
        errors.add_metric([type_], len({key for view in views for key in view.errors}))
    return [age, errors]


def _gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"kvconfig_processor_{name}", meaning, labels=labels or ["processor"])


def _counter(name: str, meaning: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"kvconfig_processor_{name}", meaning, labels=["processor"])
