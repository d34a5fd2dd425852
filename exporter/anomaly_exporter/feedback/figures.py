"""What verdicts say of the alerts of a tag and of the models: counts, precision, a confusion matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from anomaly_exporter.config import Config, Remedy, Target
from anomaly_models.frame import EntityKey

from .record import Record, Verdict
from .subjects import subject

TagsOf = Callable[[Record], tuple[str, ...]]
OUTCOMES = ("tp", "fp", "fn", "tn")


class Tags:
    """The tags that a statement is about, from its matchers where they say it, or else from the entities they mean.

    Found once per version; :meth:`meet` tells of the entities that there are.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._entities: Sequence[tuple[Target, EntityKey]] = ()
        self._found: dict[tuple[str, float], tuple[str, ...]] = {}

    def meet(self, entities: Sequence[tuple[Target, EntityKey]]) -> None:
        """The entities in force from now on; statements that meant none are looked at again."""
        if not self._entities and entities:
            self._found = {}
        self._entities = entities

    def __call__(self, record: Record) -> tuple[str, ...]:
        key = (record.id, record.recorded_at)
        if key not in self._found:
            self._found[key] = self._stated(record) or self._met(record) or ("",)
        return self._found[key]

    def _stated(self, record: Record) -> tuple[str, ...]:
        """Tags that the matchers fix by themselves."""
        fixed = {m.name: m.value for m in record.matchers if m.operator == "="}
        if "tag" in fixed:
            return (fixed["tag"],)
        targets = [t for t in self._config.watched if record.target in (None, t.name)]
        tags = {
            t.tag
            if t.tag is not None
            else fixed.get(t.tag_from, fixed.get(self._config.exposition.emitted(t.tag_from), ""))
            for t in targets
            if fixed.get("metric", t.metric) == t.metric
        }
        return tuple(sorted(tags)) if tags and "" not in tags else ()

    def _met(self, record: Record) -> tuple[str, ...]:
        """Tags of the entities that the statement means."""
        out = set()
        for target, entity in self._entities:
            described = subject(self._config, target, entity)
            if described["tag"] not in out and record.concerns(target.name, described):
                out.add(described["tag"])
        return tuple(sorted(out))


def counted(records: Iterable[Record], tags_of: TagsOf) -> Counter[tuple[str, Verdict]]:
    """How often a verdict was given, per tag and verdict: edits that keep the verdict and withdrawals do not count.

    Records only ever come to the end of the store, so these numbers never fall.
    """
    out: Counter[tuple[str, Verdict]] = Counter()
    last: dict[str, Verdict] = {}
    for record in records:
        if not record.withdrawn and last.get(record.id) != record.verdict:
            last[record.id] = record.verdict
            out.update((tag, record.verdict) for tag in tags_of(record))
    return out


def precision(statements: Iterable[Record], tags_of: TagsOf, since: float, until: float) -> dict[str, float]:
    """Share of incidents in the statements in force that touch [since, until) and say whether an alert was right, per
    tag; a tag without such a statement is absent. What is to be ignored says neither."""
    right: Counter[str] = Counter()
    spoken: Counter[str] = Counter()
    for record in statements:
        if record.verdict != "ignore" and record.end > since and record.start < until:
            for tag in tags_of(record):
                spoken[tag] += 1
                right[tag] += record.verdict == "incident"
    return {tag: right[tag] / number for tag, number in spoken.items()}


@dataclass(frozen=True)
class Confusion:
    """Events by outcome: an alert was (p) or was not (n) on, rightly (t) or wrongly (f)."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    @classmethod
    def of(cls, figures: Mapping[str, object]) -> Confusion | None:
        """What a generation's figures say; None where they hold no whole numbers for every outcome."""
        values = [figures.get(name) for name in OUTCOMES]
        if not all(type(v) is int and v >= 0 for v in values):
            return None
        return cls(*(v for v in values if isinstance(v, int)))

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def precision(self) -> float | None:
        """Share of the alerts that were right; None without alerts."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else None

    @property
    def recall(self) -> float | None:
        """Share of the incidents that were alerted; None without incidents."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both, 2 tp / (2 tp + fp + fn); None where all three are 0."""
        all_three = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / all_three if all_three else None


def ranked(remedies: Sequence[Remedy], statements: Iterable[Record]) -> tuple[Remedy, ...]:
    """``remedies`` with those first that fixed most, as people said; equal ones keep their order."""
    fixed = Counter(record.fixed_by.strip() for record in statements if record.fixed_by.strip())
    return tuple(sorted(remedies, key=lambda remedy: -fixed[remedy.text.strip()]))
