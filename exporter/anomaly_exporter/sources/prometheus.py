"""Series by PromQL from the Prometheus HTTP API: live instants and ranges on one grid.

Whether an instant is read live or as a part of a range, the question is the same expression at the same millisecond, so
that both give the same bits. Anything but a complete and sound answer is a SourceError: a block is never partial.

With compressed time (``Clock.speed`` other than 1) the server lives on the wall clock: instants are converted; steps,
ranges and offsets inside expressions are divided by the speed. A ``rate()`` then is per wall second.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import numpy as np
from prometheus_api_client.prometheus_connect import PrometheusConnect
from urllib3.util.retry import Retry

from anomaly_exporter.blobs import Blobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import PrometheusConnection, Query, Target
from anomaly_exporter.deadline import Adapter
from anomaly_models.frame import F32, Block, EntityKey, Span, grid, newest_instant

from . import promql
from .answers import Answer, Instants, PartialAnswerError
from .base import SourceCounters, SourceError, SourceLimitError, SourceRejectedError, SourceUnavailableError
from .choices import Choice, Choices
from .session import CheckedSession

LOG = logging.getLogger(__name__)
IN_FLIGHT = 2
RETRIES = 3
_BACKOFF = 0.5
_PROBE_SPAN = 3600
_PROBE_STEP = 300


class PrometheusSource:
    """One server; safe to be used by several threads, which together have at most two requests in flight."""

    def __init__(
        self,
        connection: PrometheusConnection,
        clock: Clock | None = None,
        counters: SourceCounters | None = None,
        blobs: Blobs | None = None,
    ) -> None:
        self.connection = connection
        self.clock = clock or Clock()
        self.counters = counters or SourceCounters()
        self._session = CheckedSession(connection)
        self._api: Any = PrometheusConnect(url=connection.url, session=self._session, retry=Retry(0))
        # The client mounts an adapter of its own; ours comes after it.
        self._session.mount(connection.url, Adapter(IN_FLIGHT))
        self._slots = threading.BoundedSemaphore(IN_FLIGHT)
        self._choices = Choices(blobs)
        self._widths: dict[str, int] = {}
        self._closed = threading.Event()

    def read(self, target: Target, span: Span) -> Block:
        times = grid(span, target.step)
        if not times.size:
            return Block.empty(span, target.step, (), target.features)
        instants = self._instants(int(times[0]), target.step, times.size)
        columns = [self._feature(target, query, instants) for query in target.queries]
        entities = tuple(sorted({entity for found, _ in columns for entity in found}))
        where = {entity: n for n, entity in enumerate(entities)}
        values = np.full((times.size, len(entities), len(columns)), np.nan, np.float32)
        for f, (found, column) in enumerate(columns):
            values[:, [where[entity] for entity in found], f] = column
        return Block(int(times[0]), target.step, entities, target.features, values)

    def lag(self, target: Target, at: int) -> float | None:
        """Data seconds from the newest raw sample to ``at`` of the query furthest behind; None when unknown."""
        ages = []
        instant = replace(self._instants(at, target.step, 1), step=1)
        for query in target.queries:
            selector = query.freshness or self._expr(target, query)
            if query.freshness or promql.selector(selector):
                answer = self._ask(_called(target, query), promql.age(selector, self.clock.speed), instant)
                ages += answer.values[np.isfinite(answer.values)].tolist()
        return max(ages) * self.clock.speed if ages else None

    def close(self) -> None:
        """End waits between retries and close the connections."""
        self._closed.set()
        self._api.close()

    def _feature(self, target: Target, query: Query, instants: Instants) -> tuple[list[EntityKey], F32]:
        """Entities of one query and their samples [T, n]."""
        origins = {
            label: [old for old, new in target.rename.items() if new == label] or [label] for label in target.labels
        }
        by = [name for label in target.labels for name in origins[label]]
        expr = promql.query(self._expr(target, query), by, target.aggregation, instants.step, self.clock.speed)
        answers = self._range(_called(target, query), expr, instants)
        rows: dict[EntityKey, int] = {}
        picks: list[tuple[list[int], list[int]]] = []
        duplicates = 0
        for _, answer in answers:
            taken: dict[EntityKey, int] = {}
            # In the order of their labels: of two series that become one entity it is always the same that wins.
            for i in sorted(range(len(answer.labels)), key=lambda i: sorted(answer.labels[i].items())):
                labels = answer.labels[i]
                found = {label: next(filter(None, map(labels.get, names)), "") for label, names in origins.items()}
                duplicates += taken.setdefault(EntityKey.of(target.name, found), i) != i
            picks.append(([rows.setdefault(entity, len(rows)) for entity in taken], list(taken.values())))
        if duplicates:
            self.counters.add(duplicates=duplicates)
            LOG.warning(
                "%s: %d series have the same labels as another one after renaming; the first by its own labels counts",
                _called(target, query),
                duplicates,
            )
        values = np.full((instants.count, len(rows)), np.nan, np.float32)
        for (part, answer), (to, of) in zip(answers, picks, strict=True):
            first = (part.start - instants.start) // instants.step
            values[first : first + part.count, to] = answer.values[:, of]
        return list(rows), values

    def _expr(self, target: Target, query: Query) -> str:
        """``expr``, or the fallback if that was chosen; the first time both are probed over the last hour.

        Over an hour and not at an instant: just after a restart of Prometheus a recording rule has no newest sample
        yet, and the choice is for good. Nothing is chosen while neither finds anything.
        """
        if query.fallback is None:
            return query.expr
        texts: dict[Choice, str] = {"expr": query.expr, "fallback": query.fallback}
        choice = self._choices.get(target, query)
        if choice is None:
            step = max(_PROBE_STEP // target.step, 1) * target.step
            count = max(_PROBE_SPAN // step, 1)
            end = newest_instant(self.clock.now(), target.step, target.delay)
            instants = self._instants(end - (count - 1) * step, step, count)
            step_ms = self._instants(end, target.step, 1).step
            for name, text in texts.items():
                expr = promql.query(text, (), target.aggregation, step_ms, self.clock.speed)
                if self._ask(f"{_called(target, query)} ({name} probed)", f"count({expr})", instants).samples:
                    choice = self._choices.keep(target, query, name)
                    break
        return texts[choice or "expr"]

    def _range(self, what: str, expr: str, instants: Instants) -> list[tuple[Instants, Answer]]:
        """Answers over all ``instants``, in order, in as few requests as the limits allow."""
        size = instants.count
        if size > 1:
            if expr not in self._widths:
                counted = self._ask(f"{what} (series counted)", f"count({expr})", instants.part(size - 1, size)).values
                self._widths[expr] = int(np.nanmax(counted, initial=1))
            size = max(min(self.connection.max_points, self.connection.max_samples // self._widths[expr]), 1)
        parts = [instants.part(i, min(i + size, instants.count)) for i in range(0, instants.count, size)]
        if len(parts) == 1:
            answers = self._halved(what, expr, instants)
        else:
            with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="range-read") as pool:
                futures = [pool.submit(self._halved, what, expr, part) for part in parts]
                try:
                    answers = [answer for future in futures for answer in future.result()]
                except BaseException:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
        self._widths[expr] = max(1, *(len(answer.labels) for _, answer in answers))
        return answers

    def _halved(self, what: str, expr: str, instants: Instants) -> list[tuple[Instants, Answer]]:
        """Answers over ``instants``, in halves where the server finds the whole too much."""
        try:
            return [(instants, self._ask(what, expr, instants))]
        except SourceLimitError:
            if instants.count == 1:
                raise
        middle = instants.count // 2
        halves = (instants.part(0, middle), instants.part(middle, instants.count))
        return [answer for half in halves for answer in self._halved(what, expr, half)]

    def _ask(self, what: str, expr: str, instants: Instants) -> Answer:
        """One answer; an unavailable server is asked again a few times. Raises SourceError, with ``what`` in front."""
        spent = 0.0
        budget = 2.0 * self.connection.timeout
        for attempt in range(RETRIES + 1):
            with self._slots:
                began = time.monotonic()
                try:
                    return self._counted(expr, instants, min(float(self.connection.timeout), budget - spent))
                except SourceError as error:
                    failure = error
            spent += time.monotonic() - began
            failure.args = (f"{what}: {failure}",)
            if not isinstance(failure, SourceUnavailableError) or attempt == RETRIES:
                raise failure
            asked = failure.retry_after
            pause = (_BACKOFF * 2**attempt if asked is None else asked) + random.uniform(0, _BACKOFF)  # noqa: S311
            spent += pause
            if spent >= budget or self._closed.is_set():
                raise failure
            LOG.info("asked again in %.1f s: %s", pause, failure)
            self.counters.add(retries=1)
            self._closed.wait(pause)
        raise AssertionError("the last attempt returns or raises")

    def _counted(self, expr: str, instants: Instants, seconds: float) -> Answer:
        """One request, counted by its outcome."""
        try:
            answer = self._once(expr, instants, seconds)
        except SourceError as error:
            self.counters.query(error.outcome)
            self.counters.add(partial=isinstance(error, PartialAnswerError))
            raise
        self.counters.query("ok")
        self.counters.add(samples=answer.samples, annotations=len(answer.annotations))
        return answer

    def _once(self, expr: str, instants: Instants, seconds: float) -> Answer:
        start, end = instants.start / 1000, instants.end / 1000
        limit = {"timeout": f"{max(int(seconds * 1000), 1)}ms"}
        with self._session.expect(instants):
            if instants.count == 1:
                answer: Answer = self._api.custom_query(expr, params={"time": f"{start:.3f}", **limit}, timeout=seconds)
            else:
                answer = self._api.custom_query_range(
                    expr,
                    datetime.fromtimestamp(start, UTC),
                    datetime.fromtimestamp(end, UTC),
                    f"{instants.step / 1000:.3f}",
                    # The client rounds the times to seconds; these, to the millisecond, take their place.
                    params={"start": f"{start:.3f}", "end": f"{end:.3f}", **limit},
                    timeout=seconds,
                )
        return answer

    def _instants(self, start: int, step: int, count: int) -> Instants:
        """Instants of data time on the server's clock; exact, so that two reads never differ by a millisecond."""
        clock = self.clock
        step_ms = Fraction(step * 1000) / Fraction(clock.speed)
        if step_ms.denominator != 1:
            raise SourceRejectedError(
                f"a step of {step} s at speed {clock.speed:g} is {float(step_ms)} ms: expected whole milliseconds, "
                "choose a speed that divides it"
            )
        offset = (Fraction(start) - Fraction(clock.data_origin)) * 1000 / Fraction(clock.speed)
        return Instants(math.floor(Fraction(clock.wall_origin) * 1000 + offset + Fraction(1, 2)), int(step_ms), count)


def _origins(target: Target) -> dict[str, list[str]]:
    """Names that an allow-listed label may have on the way in, per label."""
    return {name: [old for old, new in target.rename.items() if new == name] or [name] for name in target.labels}


def _called(target: Target, query: Query) -> str:
    return f"target {target.name!r}, query {query.name!r}"
