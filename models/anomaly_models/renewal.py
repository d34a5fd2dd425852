"""Contexts of every period of a walk: what trainers would have stored then, for the price of one look at the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from . import ensemble
from .autoencoder import Autoencoder
from .context import Context, draw
from .ensemble import Ensemble
from .ensemble_spec import EnsembleSpec
from .frame import F32, Bool
from .lessons import Lessons

CHUNK_FLOATS = 1 << 24
"""Samples of entities whose histories are looked at together."""


def contexts(  # noqa: PLR0917
    autoencoder: Autoencoder, x: F32, valid: Bool, start: int, step: int, spec: EnsembleSpec
) -> Context:
    """The context at the end of bridged samples ``x`` and ``valid`` [T, S, F], a few entities at a time."""
    T, S, F = x.shape
    size = max(CHUNK_FLOATS // max(T * F, 1), 1)
    parts = []
    for first in range(0, S, size):
        rows = range(first, min(first + size, S))
        at = slice(first, first + size)
        lessons = ensemble.lessons_of(x[:, at], valid[:, at], start, step, spec)
        parts.append(draw(lessons, ensemble.errors(autoencoder.take(rows), x[:, at], valid[:, at]), T))
    return parts[0] if len(parts) == 1 else Context.joined(parts)


def renewed(  # noqa: PLR0917
    scorer: Ensemble, x: F32, valid: Bool, start: int, step: int, first: int
) -> Iterator[tuple[int, int, Ensemble]]:
    """Rows from ``first`` on of bridged samples ``x`` and ``valid`` [T, S, F] in periods, each with its ensemble.

    Yields the rows [begin, end) of every period and ``scorer`` with a context of all rows before ``begin``. A period is
    never shorter than a step. Histories of more than ``CHUNK_FLOATS`` samples should be walked in parts.
    """
    spec, T = scorer.settings, x.shape[0]
    per = max(spec.period // step, 1)
    begins = range(first, T, per)
    if not begins:
        return
    last = begins[-1]
    error = ensemble.errors(scorer.autoencoder, x[:last], valid[:last])
    lessons = ensemble.lessons_of(x[:last], valid[:last], start, step, spec)
    settled = lessons.history.settled.reshape(x.shape[1], -1).max(axis=1)
    for begin in begins:
        young = np.flatnonzero(settled > begin)
        context = draw(lessons, error, begin)
        if young.size and begin < last:
            context = _mended(context, young, _drawn_anew(x, valid, error, young, begin, lessons))
        yield begin, min(begin + per, T), replace(scorer, context=context)


def _drawn_anew(  # noqa: PLR0917
    x: F32, valid: Bool, error: F32, rows: npt.NDArray[np.intp], end: int, like: Lessons
) -> Context:
    """Contexts at the row ``end`` of the entities ``rows`` from the samples before it alone."""
    h = like.history
    lessons = ensemble.lessons_of(x[:end, rows], valid[:end, rows], h.start, h.step, like.spec)
    return draw(lessons, error[rows, :end], end)


def _mended(context: Context, rows: npt.NDArray[np.intp], newer: Context) -> Context:
    """``context`` with the entities ``rows`` as in ``newer``."""
    tensors = {name: tensor.copy() for name, tensor in context.tensors().items()}
    for name, tensor in newer.tensors().items():
        tensors[name][rows] = tensor
    return Context(**tensors)
