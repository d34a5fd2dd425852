"""Everything that can be set about the calibrated ensemble, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from .calibration import LineSpec
from .time_of_day import DAY, Calendar, Past, Slots

FEATURE_MEMBERS = ("difference", "residual_difference", "level", "band", "shift", "variation")
"""Members that look at every feature by itself."""
ENTITY_MEMBERS = ("autoencoder", "neighbours", "residual_neighbours", "components")
"""Members that look at all features at once."""
MEMBERS = (*FEATURE_MEMBERS, *ENTITY_MEMBERS)
"""All, in the order of ``Opinion.names``."""


@dataclass(frozen=True)
class UsualSpec:
    """What is usual at a time of the day, and the unit that deviations from it are counted in.

    Slots of ``slot`` seconds with ``near_value`` (``near_scale`` for units) neighbours on the days of ``past``; the
    band reaches from the quantile ``lower`` to ``upper``. The unit of a deviation adds up ``same_time``, ``recent`` and
    ``ever`` shares of its mean size at this time of the day, over the last day, and over ``memory`` seconds, and
    ``spread`` standard deviations of the series. Sizes beyond ``cap`` times the mean, and in the first ``young``
    seconds beyond the quantile ``cap_share``, count as that. ``level_window`` seconds of residuals make a level, at
    least ``level_samples`` of them seen. ``shift_samples`` make a mean, ``variation_samples`` an energy; both look at
    numbers within +- ``bound``. No height is above ``largest``.
    """

    slot: int = 600
    near_value: int = 1
    near_scale: int = 2
    past: Past = field(default_factory=Past)
    calendar: Calendar = field(default_factory=Calendar)
    lower: float = 0.1
    upper: float = 0.9
    same_time: float = 0.4
    recent: float = 0.4
    ever: float = 0.2
    spread: float = 0.03
    memory: int = 30 * DAY
    young: int = 5 * DAY
    settled: int = 3 * DAY
    cap: float = 20.0
    cap_share: float = 0.995
    level_window: int = 2 * 3600
    level_samples: int = 3
    shift_samples: int = 15
    variation_samples: int = 30
    bound: float = 20.0
    largest: float = 50.0

    def slots(self, step: int) -> Slots:
        """The slots of a grid of ``step`` seconds."""
        return Slots(self.calendar, max(self.slot, step))

    def level_length(self, step: int) -> int:
        """Samples of ``level_window``, at least twelve."""
        return max(12, round(self.level_window / step))

    def reach(self, step: int) -> int:
        """Samples of a window that all heights of its newest one can be taken from."""
        return max(self.level_length(step) + 2 * self.shift_samples, self.variation_samples + 1)


@dataclass(frozen=True)
class ShapeSpec:
    """Members that compare short windows with those of the last ``memory`` seconds: ``single`` samples of one feature,
    ``several`` samples of more. ``references`` windows drawn at random with ``seed`` are the neighbours; the
    components explain the share ``explained`` of the variance of at most ``learned`` windows. Samples are scaled and
    bounded to +- ``bound``. What was learned holds for a day; a history shorter than ``young`` seconds learns every
    period. Windows of more than ``widest`` numbers are too wide.
    """

    single: int = 8
    several: int = 4
    references: int = 64
    memory: int = 14 * DAY
    explained: float = 0.9
    learned: int = 8192
    bound: float = 10.0
    young: int = 3 * DAY
    widest: int = 512
    seed: int = 1

    def length(self, features: int) -> int:
        """Samples of a window of so many features."""
        return self.single if features == 1 else self.several

    def size(self, features: int) -> int:
        """Numbers of such a window, 0 where it is too wide."""
        numbers = self.length(features) * features
        return numbers if numbers <= self.widest else 0


@dataclass(frozen=True)
class GuardSpec:
    """Drift guard: what the quantile ``share`` of hourly maxima of the last ``days`` exceeds that of the whole history
    by, beyond ``dead`` decades and at most ``most``, is taken off a member."""

    days: float = 3.0
    share: float = 0.9
    dead: float = 0.5
    most: float = 4.0
    block: int = 3600
    lowest: float = -2.0


@dataclass(frozen=True)
class RecurrenceSpec:
    """What also happened within ``reach`` seconds of this time of the day on ``times`` of the last ``keep`` days is no
    news: ``share`` of its decades above ``least``, at most ``most``, is taken off."""

    slot: int = 900
    reach: int = 3600
    keep: int = 7
    times: int = 3
    share: float = 0.7
    least: float = -1.0
    most: float = 4.0


@dataclass(frozen=True)
class EnsembleSpec:
    """How members become an opinion; the defaults are those of the recipe ``auto``.

    ``period``: seconds for which a context holds; ``memory``: seconds of history that calibration looks at. A feature's
    decades above -``feature_offset`` count in its entity, a member's above -``offset`` in the power mean ``power``.
    ``smoothing``: samples whose energy makes the height of a difference. ``shift`` decades are added to every opinion;
    ``widen`` decades are taken off per decade that the history is shorter than ``enough`` seconds; with less than
    ``least`` seconds there is no opinion. The members in
    ``change``, ``level`` and ``shape`` are combined in their group first, then the groups, alike. Fewer than ``quorum``
    members with something to say (just after a gap, say) make no opinion.
    """

    change: tuple[str, ...] = ("difference", "residual_difference")
    level: tuple[str, ...] = ("level", "band", "shift")
    shape: tuple[str, ...] = ("autoencoder", "neighbours", "residual_neighbours", "components", "variation")
    usual: UsualSpec = field(default_factory=UsualSpec)
    shapes: ShapeSpec = field(default_factory=ShapeSpec)
    member: LineSpec = field(default_factory=LineSpec)
    final: LineSpec = field(
        default_factory=lambda: LineSpec(least=30, most=300, block=900, floor=0.05, lowest=-4, highest=8)
    )
    guard: GuardSpec = field(default_factory=GuardSpec)
    recurrence: RecurrenceSpec = field(default_factory=RecurrenceSpec)
    period: int = 7200
    memory: int = 30 * DAY
    smoothing: int = 3
    feature_offset: float = 2.5
    offset: float = 2.0
    group_power: float = 2.0
    power: float = 2.0
    shift: float = 0.6
    quorum: int = 6
    widen: float = 3.0
    enough: float = 2.0 * DAY
    least: float = 3 * 3600.0

    def __post_init__(self) -> None:
        unknown = sorted({*self.change, *self.level, *self.shape} - set(MEMBERS))
        if unknown or not (self.change or self.level or self.shape):
            raise ValueError(
                f"groups need members out of {', '.join(MEMBERS)}; received {', '.join(unknown) or 'none'}"
            )

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Places of the members of every group in ``MEMBERS``."""
        groups = (self.change, self.level, self.shape)
        return tuple(tuple(MEMBERS.index(name) for name in group) for group in groups if group)
