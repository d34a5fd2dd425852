"""The page at / tells a person what is watched, what is not, and why, and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.landing import HEADERS, REASONS, render
from anomaly_exporter.metrics import UNSCORED_REASONS
from anomaly_exporter.snapshot import Snapshot, TargetView, TrainingStatus, Unscored
from anomaly_models.frame import EntityKey
from support.snapshots import NOW, config_of, entry_of, scores_of


class Reader(HTMLParser):
    """Tags and visible text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.style = ""
        self.links: list[str] = []
        self._in_style = False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data
            self._in_style = False
        else:
            self.text += data


def _page(*, names: tuple[str, ...] = ("web",), error: str | None = None, reason: str = "no_data") -> Reader:
    entities = tuple(EntityKey.of("cpu", {"namespace": "ns", "container": n}) for n in names)
    scores = scores_of([entry_of("cpu", {"namespace": "ns", "container": "scored"})])
    view = TargetView(
        "cpu",
        NOW,
        NOW,
        expected=7,
        scores=() if error else (scores,),
        unscored=(Unscored("zscore", reason, entities),),
        generation=3,
        models={"loaded": 1},
        trained_at=NOW - 60.0,
        error=error,
    )
    training = {"cpu": TrainingStatus("running", progress=0.25, next_at=NOW + 60.0, message="of a kind")}
    return Reader(render(config_of(), Snapshot(NOW, (view,)), training, ["/metrics", "/-/healthy"]))


def test_the_page_says_what_is_scored_and_why_the_rest_is_not() -> None:
    text = _page().text
    for said in (
        "cpu",
        "of 7 entities",
        REASONS["no_data"],
        "generation 3",
        "running",
        "25%",
        "2027-01-15 08:00:00 UTC",
    ):
        assert said in text


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(UNSCORED_REASONS)
    for reason, words in REASONS.items():
        assert words in _page(reason=reason).text


def test_links_are_those_that_exist() -> None:
    assert _page().links == ["/metrics", "/-/healthy"]


def test_an_error_of_a_target_is_on_the_page() -> None:
    assert "connection refused" in _page(error="connection refused").text


def test_only_a_few_series_are_named_per_reason() -> None:
    text = _page(names=tuple(f"service-{i}" for i in range(50))).text
    assert "50 no sample" in text
    assert text.count("service-") == 5


def test_without_a_current_cycle_the_page_says_so() -> None:
    text = Reader(render(config_of(), None, {}, [])).text
    assert "No current cycle" in text
    assert "not read yet" in text


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_label_and_no_error_can_break_out_of_its_place(label: str, error: str) -> None:
    calm = _page(names=("x",), error="x")
    hostile = _page(names=(f"<script>{label}",), error=f"</p><img src=x onerror=1>{error}")
    assert hostile.tags == calm.tags


def test_the_policy_allows_exactly_the_style_of_the_page() -> None:
    page = _page()
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]
    assert "script" not in page.tags
