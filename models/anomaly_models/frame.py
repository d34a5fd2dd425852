"""The types that flow through the system: entities, blocks on a grid, windows, inferences.

Axes are always in this order: ``T`` time, ``N`` entities, ``S`` series (weight rows of a fleet), ``B`` windows per
series, ``W`` samples per window, ``F`` features. Times are integer seconds of *data time* (UTC).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from .exceptions import InvalidShapeError

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, order=True)
class EntityKey:
    """What gets one score: a target and its allow-listed labels, sorted by name."""

    target: str
    labels: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, target: str, labels: Mapping[str, str]) -> EntityKey:
        return cls(target, tuple(sorted(labels.items())))

    def get(self, name: str, default: str = "") -> str:
        return dict(self.labels).get(name, default)

    def __str__(self) -> str:
        inside = ",".join(f"{k}={v!r}" for k, v in self.labels)
        return f"{self.target}{{{inside}}}"


@dataclass(frozen=True)
class Span:
    """Half-open interval ``[start, end)`` of data time in seconds."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InvalidShapeError(f"a span must not end before it starts, received [{self.start}, {self.end})")

    @property
    def seconds(self) -> int:
        return self.end - self.start

    def intersect(self, other: Span) -> Span | None:
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start, end) if start < end else None


def grid(span: Span, step: int) -> I64:
    """Instants of the grid inside ``span``: multiples of ``step`` seconds, shape [T]."""
    first = -(-span.start // step) * step
    return np.arange(first, span.end, step, dtype=np.int64)


def newest_instant(now: float, step: int, delay: int) -> int:
    """The newest grid instant that may be read at ``now``: the last multiple of ``step`` not after ``now - delay``."""
    return int((now - delay) // step) * step


@dataclass(frozen=True)
class Block:
    """Samples on a grid: ``values`` float32 [T, N, F], NaN = missing; row ``i`` is the instant ``start + i * step``.

    Raises:
        InvalidShapeError: the array does not fit the axes, or ``start`` is off the grid.
    """

    start: int
    step: int
    entities: tuple[EntityKey, ...]
    features: tuple[str, ...]
    values: F32

    def __post_init__(self) -> None:
        expected = (len(self.entities), len(self.features))
        if self.values.ndim != 3 or self.values.shape[1:] != expected or self.values.dtype != np.float32:
            raise InvalidShapeError(
                f"a block of {expected[0]} entities and {expected[1]} features needs float32 [T, {expected[0]}, "
                f"{expected[1]}], received {self.values.dtype} {self.values.shape}"
            )
        if self.step <= 0 or self.start % self.step:
            raise InvalidShapeError(f"block start {self.start} must be a multiple of its step {self.step}")

    @classmethod
    def empty(
        cls, span: Span, step: int, entities: Sequence[EntityKey] = (), features: Sequence[str] = ("value",)
    ) -> Block:
        """A block of NaN over the grid of ``span``."""
        times = grid(span, step)
        start = int(times[0]) if times.size else -(-span.start // step) * step
        shape = (times.size, len(entities), len(features))
        return cls(start, step, tuple(entities), tuple(features), np.full(shape, np.nan, np.float32))

    @property
    def times(self) -> I64:
        """Data time of every row, [T]."""
        return self.start + self.step * np.arange(self.values.shape[0], dtype=np.int64)

    @property
    def end(self) -> int:
        """Data time just after the block: start of the row that would follow."""
        return self.start + self.step * int(self.values.shape[0])

    @property
    def span(self) -> Span:
        return Span(self.start, self.end)

    def slice(self, span: Span) -> Block:
        """The rows whose instant lies in ``span``."""
        first = min(max(-(-(span.start - self.start) // self.step), 0), self.values.shape[0])
        last = min(max(-(-(span.end - self.start) // self.step), first), self.values.shape[0])
        return replace(self, start=self.start + first * self.step, values=self.values[first:last])

    def take(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> Block:
        """The entities at ``rows``, in that order."""
        index = np.asarray(rows, np.intp)
        return replace(self, entities=tuple(self.entities[i] for i in index), values=self.values[:, index])

    def align(self, span: Span, entities: Sequence[EntityKey]) -> Block:
        """This block laid on the grid of ``span`` and on ``entities``; what it does not hold is NaN."""
        out = Block.empty(span, self.step, entities, self.features)
        where = {e: i for i, e in enumerate(self.entities)}
        pairs = [(i, where[e]) for i, e in enumerate(entities) if e in where]
        common = out.span.intersect(self.span)
        if pairs and common:
            to, of = (np.array(x, np.intp) for x in zip(*pairs, strict=True))
            rows = np.arange(common.start, common.end, self.step)
            out.values[np.ix_((rows - out.start) // self.step, to)] = self.values[
                np.ix_((rows - self.start) // self.step, of)
            ]
        return out


def merge(blocks: Iterable[Block], span: Span, step: int, features: Sequence[str]) -> Block:
    """Blocks of one target laid over each other on the grid of ``span``; of two samples the later block's wins."""
    parts = [b for b in blocks if b.values.size]
    entities = tuple(sorted({e for b in parts for e in b.entities}))
    out = Block.empty(span, step, entities, features)
    for part in parts:
        laid = part.align(out.span, entities).values
        np.copyto(out.values, laid, where=~np.isnan(laid))
    return out


@dataclass(frozen=True)
class Windows:
    """Windows of a stack of series, in own units.

    ``x`` [S, B, W, F]: short gaps carried forward, NaN where nothing honest can stand (long gap, masked outlier);
    ``valid`` [S, B, W, F]: the sample was really observed; ``end`` [S, B]: data time of the last sample.
    The arrays are usually strided views: never write to them.
    """

    x: F32
    valid: Bool
    end: I64

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.valid.shape != self.x.shape or self.end.shape != self.x.shape[:2]:
            raise InvalidShapeError(
                f"windows need x and valid [S, B, W, F] and end [S, B], received {self.x.shape}, "
                f"{self.valid.shape}, {self.end.shape}"
            )


@dataclass(frozen=True)
class Opinion:
    """What a calibrated ensemble says of windows, in *decades of rarity*: log10 of the weeks between two notifications.

    ``rarity`` [S, B] is the verdict (0 = once a week, 1 = once in ten weeks), ``members`` [S, B, M] what each of the
    members ``names`` says alone, ``feature_rarity`` [S, B, F] what the members say of each feature. NaN where absent.
    """

    rarity: F32
    members: F32
    names: tuple[str, ...]
    feature_rarity: F32


@dataclass(frozen=True)
class Inference:
    """What a scorer says of windows.

    ``error`` [S, B] and ``feature_error`` [S, B, F] in scaler units, NaN where the window is not scorable;
    ``expected`` [S, B, F]: expected value of the last sample, in own units, or None where a model has none.
    ``opinion``: only of a calibrated ensemble, whose error and expectation are its autoencoder's.
    """

    error: F32
    feature_error: F32
    expected: F32 | None
    opinion: Opinion | None = None


@runtime_checkable
class Scorer(Protocol):
    """A fitted stack of S models: immutable, NumPy only, storable as named tensors with a leading S axis.

    ``kind`` and ``spec()`` (JSON) name the architecture; ``tensors()`` hold all that was learned, scalers included;
    ``scale`` [S, F] is the unit of the error, so that the band of a feature is ``expected +- threshold * scale``.
    """

    @property
    def kind(self) -> str: ...
    @property
    def window(self) -> int: ...
    @property
    def scale(self) -> F32: ...
    def infer(self, w: Windows) -> Inference: ...
    def take(self, rows: Sequence[int]) -> Scorer: ...
    def spec(self) -> dict[str, Any]: ...
    def tensors(self) -> dict[str, F32]: ...


class Learner(Protocol):
    """Fits a stack of S models at once; may import Keras. ``y`` (1 = abnormal) and ``warm`` are optional.

    ``train`` and ``val`` may hold windows that are not usable (NaN inside): they are never learned from.
    """

    def fit(
        self, train: Windows, val: Windows, y: npt.NDArray[np.int8] | None, warm: Scorer | None, seed: int
    ) -> Scorer: ...
