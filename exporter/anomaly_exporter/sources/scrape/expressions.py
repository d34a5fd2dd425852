"""The few expressions that we evaluate ourselves; anything else is refused with the list of what is possible.

metric{label="x"}                                     a gauge: its newest sample
rate(counter[5m])                                     per second
increase(counter[5m])                                 per range
rate(x_sum[5m]) / rate(x_count[5m])                   mean of what was observed, also any other ratio of two rates
histogram_quantile(0.99, rate(x_bucket[5m]))          a quantile of what was observed
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from anomaly_exporter.config import Query, Target, parse_duration
from anomaly_exporter.sources.base import SourceRejectedError
from anomaly_exporter.sources.promql import Selector, selector
from anomaly_exporter.sources.selection import check_patterns

Kind = Literal["gauge", "rate", "increase", "ratio", "quantile"]

POSSIBLE = (
    'metric{label="x"}, rate(counter[5m]), increase(counter[5m]), rate(x_sum[5m]) / rate(x_count[5m]), '
    "histogram_quantile(0.99, rate(x_bucket[5m]))"
)
_RANGE = r"\(\s*(?P<{0}>[^()]+?(?:\{{.*?\}}\s*)?)\[\s*(?P<{0}_range>(?:\d+[smhdw])+)\s*\]\s*\)"
_RATE = re.compile(r"\s*(?P<function>rate|increase)\s*" + _RANGE.format("one") + r"\s*", re.DOTALL)
_RATIO = re.compile(r"\s*rate\s*" + _RANGE.format("one") + r"\s*/\s*rate\s*" + _RANGE.format("two") + r"\s*", re.DOTALL)
_QUANTILE = re.compile(
    r"\s*histogram_quantile\s*\(\s*(?P<q>\d+(?:\.\d*)?|\.\d+)\s*,\s*rate\s*" + _RANGE.format("one") + r"\s*\)\s*",
    re.DOTALL,
)


@dataclass(frozen=True)
class Expression:
    """What a query asks: ``selectors`` (two for a ratio), range ``window`` in data seconds (0 for a gauge)."""

    kind: Kind
    selectors: tuple[Selector, ...]
    window: int = 0
    q: float = 0.0


def expression(target: Target, query: Query, interval: int) -> Expression:
    """What ``query`` asks of a page that is scraped every ``interval`` data seconds. Raises SourceRejectedError."""
    where = f"target {target.name!r}, query {query.name!r}"
    if query.fallback is not None:
        raise SourceRejectedError(f"{where}: a fallback is probed on a Prometheus; with scrape there must be none")
    found = _recognised(query.expr)
    if found is None or not all(s.metric for s in found.selectors):
        raise SourceRejectedError(
            f"{where}: there is no PromQL engine here; possible are {POSSIBLE}; received {query.expr[:120]!r}"
        )
    for wanted in found.selectors:
        check_patterns(where, wanted)
    if found.kind != "gauge" and found.window < 2 * interval:
        raise SourceRejectedError(
            f"{where}: a range needs two scrapes at least: expected [{2 * interval}s] or more, received "
            f"[{found.window}s] while scrape.interval is {interval}s"
        )
    if found.kind == "quantile" and not 0 <= found.q <= 1:
        raise SourceRejectedError(f"{where}: expected a quantile from 0 to 1, received {found.q:g}")
    return found


def _recognised(text: str) -> Expression | None:
    if plain := selector(text):
        return Expression("gauge", (plain,))
    for pattern in (_QUANTILE, _RATIO, _RATE):
        if match := pattern.fullmatch(text):
            return _called(match.groupdict())
    return None


def _called(parts: dict[str, str]) -> Expression | None:
    """The expression of the ``parts`` of a call; None where what stands in it is no selector, number or one range."""
    names = [name for name in ("one", "two") if name in parts]
    selectors = tuple(found for name in names if (found := selector(parts[name])))
    ranges = {parse_duration(parts[f"{name}_range"]) for name in names}
    if len(selectors) < len(names) or len(ranges) > 1:
        return None
    window = ranges.pop()
    if "q" in parts:
        return Expression("quantile", selectors, window, float(parts["q"]))
    if "two" in parts:
        return Expression("ratio", selectors, window)
    return Expression("rate" if parts["function"] == "rate" else "increase", selectors, window)
