"""What an exporter's page says, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import requests
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Page:
    """Samples of one page by metric name: labels and value."""

    samples: Mapping[str, tuple[tuple[Mapping[str, str], float], ...]]

    def all(self, name: str, **labels: str) -> tuple[tuple[Mapping[str, str], float], ...]:
        """Samples of ``name`` that carry ``labels``."""
        found = self.samples.get(name, ())
        return tuple((have, value) for have, value in found if all(have.get(k) == v for k, v in labels.items()))

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the one sample of ``name`` with ``labels``; None when there is none."""
        found = self.all(name, **labels)
        return found[0][1] if found else None

    def total(self, name: str, **labels: str) -> float:
        """Sum over the samples of ``name`` with ``labels``."""
        return sum(value for _, value in self.all(name, **labels))


def parse(text: str) -> Page:
    """A page in Prometheus' text format. Raises ValueError for anything else."""
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return Page({name: tuple(found) for name, found in samples.items()})


def fetch(url: str, timeout: float = 5.0) -> Page | None:
    """The page at ``url``; None while nobody answers there."""
    try:
        answer = requests.get(url, timeout=timeout)
    except requests.RequestException:
        return None
    return parse(answer.text) if answer.ok else None
