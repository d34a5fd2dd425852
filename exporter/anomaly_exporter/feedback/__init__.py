"""What people say about alerts, kept for ever, and what follows from it."""

from .matchers import Matcher, MatcherError, parse_matcher
from .record import ORIGINS, VERDICTS, Origin, Record, RecordError, Verdict, from_json, to_json
from .shelf import Kept, Shelf, ShelfError, Shelved
from .store import Feedback, View, masks, timelines
from .subjects import subject
from .timeline import Conflict, Stretch, in_force

__all__ = [
    "ORIGINS",
    "VERDICTS",
    "Conflict",
    "Feedback",
    "Kept",
    "Matcher",
    "MatcherError",
    "Origin",
    "Record",
    "RecordError",
    "Shelf",
    "ShelfError",
    "Shelved",
    "Stretch",
    "Verdict",
    "View",
    "from_json",
    "in_force",
    "masks",
    "parse_matcher",
    "subject",
    "timelines",
    "to_json",
]
