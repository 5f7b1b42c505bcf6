"""What a process serves over HTTP: asked for, and a page of metrics taken apart."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families


class Reply(NamedTuple):
    status: int
    text: str
    headers: dict[str, str]


def get(url: str, *, method: str = "GET", **headers: str) -> Reply:
    """One request, straight to there: no proxy, no redirect. It blocks."""
    where = urlsplit(url)
    assert where.hostname
    connection = HTTPConnection(where.hostname, where.port, timeout=20)
    try:
        target = where._replace(scheme="", netloc="").geturl()
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        return Reply(answer.status, answer.read().decode(), dict(answer.getheaders()))
    finally:
        connection.close()


def samples(text: str, prefix: str = "") -> dict[str, float]:
    """Each sample by its name and labels, without ``prefix``: ``starts_total{processor=p}``."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.name.startswith(prefix), sample.name
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            name = sample.name.removeprefix(prefix) + (f"{{{labels}}}" if labels else "")
            assert name not in found, f"{name} is there twice"
            found[name] = sample.value
    return found
