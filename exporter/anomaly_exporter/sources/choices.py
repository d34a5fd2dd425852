"""Which of ``expr`` and ``fallback`` a query reads: probed once, then kept; never switched behind a model's back.

The choice is stored as ``sources/<target>/<hash of both texts>.json``. It is a function of the texts for the life of a
store, so ``data_digest`` need not hold it; whoever edits a text gets a new digest, a new probe and new models.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Literal

from anomaly_exporter.blobs import BlobError, BlobExistsError, BlobMissingError, Blobs
from anomaly_exporter.config import Query, Target

LOG = logging.getLogger(__name__)
Choice = Literal["expr", "fallback"]
_CHOICES: tuple[Choice, ...] = ("expr", "fallback")


class Choices:
    """Choices of all queries, in a store (or in memory only, when there is none)."""

    def __init__(self, blobs: Blobs | None) -> None:
        self._blobs = blobs
        self._known: dict[str, Choice] = {}

    def get(self, target: Target, query: Query) -> Choice | None:
        """What was chosen, or None when nothing was yet."""
        name = _name(target, query)
        if name not in self._known and self._blobs is not None:
            try:
                document = json.loads(self._blobs.fetch(name).read_bytes())
                self._known[name] = _CHOICES[_CHOICES.index(document["choice"])]
            except BlobMissingError:
                return None
            except (BlobError, OSError, ValueError, KeyError, TypeError) as error:
                LOG.error("%s: the stored choice of a query cannot be read and is probed again: %s", name, error)
                return None
        return self._known.get(name)

    def keep(self, target: Target, query: Query, choice: Choice) -> Choice:
        """Keep ``choice`` unless another process was first; what holds from now on."""
        name = _name(target, query)
        text = json.dumps({"choice": choice, "query": query.name, "expr": query.expr, "fallback": query.fallback})
        if self._blobs is not None:
            try:
                self._blobs.put(name, text.encode())
            except BlobExistsError:
                choice = self.get(target, query) or choice
            except BlobError as error:
                LOG.error("%s: the choice of a query could not be stored, it holds until the end: %s", name, error)
        self._known[name] = choice
        LOG.info("target %s, query %s reads its %s from now on", target.name, query.name, choice)
        return choice


def _name(target: Target, query: Query) -> str:
    texts = json.dumps([query.expr, query.fallback]).encode()
    return f"sources/{target.name}/{hashlib.sha256(texts).hexdigest()[:16]}.json"
