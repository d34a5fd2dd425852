"""An answer is taken whole and sound, or not at all."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_exporter.sources import SourceAnswerError
from anomaly_exporter.sources.answers import Instants, PartialAnswerError, decode, error_text

T0 = 1_700_000_040_000
INSTANTS = Instants(T0, 60_000, 5)


def matrix(*series: Any, **more: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(series)}, **more}


def samples(*values: str | None, start: int = 0) -> list[list[Any]]:
    return [[T0 // 1000 + 60 * (start + i), v] for i, v in enumerate(values) if v is not None]


def compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def test_values_lie_on_the_instants_and_missing_ones_are_nan() -> None:
    body = compact(matrix({"metric": {"a": "1"}, "values": samples("1", None, "0.1", "-2e-3")}))
    answer = decode(body, INSTANTS)
    assert answer.labels == ({"a": "1"},)
    np.testing.assert_array_equal(answer.values[:, 0], np.array([1, np.nan, 0.1, -2e-3, np.nan], np.float32))
    assert answer.samples == 3
    assert answer.annotations == ()


def test_an_instant_vector_is_one_row() -> None:
    document = {
        "status": "success",
        "data": {"resultType": "vector", "result": [{"metric": {}, "value": [T0 / 1000, "3"]}]},
    }
    assert decode(compact(document), Instants(T0, 60_000, 1)).values.tolist() == [[3.0]]


def test_an_empty_result_is_an_answer() -> None:
    assert decode(compact(matrix()), INSTANTS).values.shape == (5, 0)


def test_what_is_not_finite_is_missing() -> None:
    body = compact(matrix({"metric": {}, "values": samples("NaN", "+Inf", "-Inf", "1e300", "7")}))
    np.testing.assert_array_equal(decode(body, INSTANTS).values[:, 0], np.array([np.nan] * 4 + [7], np.float32))


TEXT = st.text(max_size=12) | st.sampled_from(['"values":[[1,"2"]]', "]]", '\\"values":[[', "values"])
NUMBER = st.floats(width=64).map(lambda v: str(v).replace("inf", "Inf").replace("nan", "NaN"))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.dictionaries(TEXT, TEXT, max_size=3), st.lists(st.none() | NUMBER, min_size=5, max_size=5)),
        max_size=4,
    )
)
def test_cut_out_values_are_those_that_json_reads(series: list[tuple[dict[str, str], list[str | None]]]) -> None:
    """The fast path against plain JSON: any labels, even such as look like values, any floats."""
    document = matrix(*({"metric": labels, "values": samples(*values)} for labels, values in series))
    fast, slow = decode(compact(document), INSTANTS), decode(json.dumps(document, indent=1).encode(), INSTANTS)
    assert fast.labels == slow.labels == tuple(labels for labels, _ in series)
    np.testing.assert_array_equal(fast.values, slow.values)
    for n, (_, values) in enumerate(series):
        with np.errstate(over="ignore"):
            expected = np.array([np.nan if v is None else float(v) for v in values]).astype(np.float32)
        expected[~np.isfinite(expected)] = np.nan
        np.testing.assert_array_equal(fast.values[:, n], expected)


GOOD = compact(
    matrix({"metric": {"a": "1"}, "values": samples("1", "2", "3")}, {"metric": {"a": "2"}, "values": samples("4")})
)


def test_a_truncated_answer_is_refused_wherever_it_ends() -> None:
    for kept in range(len(GOOD)):
        with pytest.raises(SourceAnswerError):
            decode(GOOD[:kept], INSTANTS)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=3))
def test_a_mutated_answer_is_refused_or_read_never_a_crash(at: int, new: bytes) -> None:
    try:
        answer = decode(GOOD[:at] + new + GOOD[at + 1 :], INSTANTS)
    except SourceAnswerError:
        return
    assert answer.values.shape == (5, len(answer.labels))
    assert not np.isinf(answer.values).any()


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda c: st.lists(c) | st.dictionaries(TEXT, c)))
def test_any_other_json_is_refused(document: Any) -> None:
    for wrapped in (document, {"status": "success", "data": document}, matrix(document)):
        with pytest.raises(SourceAnswerError):
            decode(compact(wrapped), INSTANTS)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"status": "error", "error": "no"}, 'expected status "success", received .*no'),
        ({"status": "success"}, "expected .*result"),
        ({"status": "success", "data": {"resultType": "scalar", "result": []}}, "matrix or vector, received 'scalar'"),
        (matrix({"metric": {"a": 1}, "values": samples("1")}), "series 0: expected labels with text values"),
        (matrix({"values": samples("1")}), "series 0: expected labels"),
        (matrix({"metric": {"a": "1"}}), "{'a': '1'}: expected values, received None"),
        (matrix({"metric": {"a": "1"}, "histograms": []}), "native histograms"),
        (matrix({"metric": {"a": "1"}, "values": 7}), "expected values, received 7"),
        (matrix({"metric": {"a": "1"}, "values": [[T0 / 1000, 1]]}), r'expected \[\[time,"number"\],...\]'),
        (matrix({"metric": {"a": "1"}, "values": [[T0 / 1000, "one"]]}), 'expected .*"number"'),
        (matrix({"metric": {"a": "1"}, "values": [["1", T0 / 1000]]}), 'expected .*"number"'),
        (matrix({"metric": {"a": "1"}, "values": [[T0 / 1000]]}), 'expected .*"number"'),
        (matrix({"metric": {"a": "1"}, "values": [[1e400, "1"]]}), 'expected .*"number"'),
        (matrix({"metric": {"a": "1"}, "values": samples("1", start=5)}), "expected times from 1700000040000 to"),
        (matrix({"metric": {"a": "1"}, "values": samples("1", start=-1)}), "expected times from"),
        (matrix({"metric": {"a": "1"}, "values": [[T0 / 1000 + 1, "1"]]}), "every 60000 ms, received"),
        (matrix({"metric": {"a": "1"}, "values": samples("1") * 2}), "ms twice or out of order"),
        (matrix({"metric": {"a": "1"}, "values": samples("1", "2")[::-1]}), "ms twice or out of order"),
    ],
)
@pytest.mark.parametrize("layout", ["compact", "indented"])
def test_what_is_wrong_is_said(document: Any, message: str, layout: str) -> None:
    body = compact(document) if layout == "compact" else json.dumps(document, indent=1).encode()
    with pytest.raises(SourceAnswerError, match=message.replace(r'\[\[time,"number"\],...\]', '.*"number"')):
        decode(body, INSTANTS)


@pytest.mark.parametrize(
    "mark",
    [
        {"warnings": ["store gateway 3: deadline exceeded"]},
        {"isPartial": True},
        {"warnings": ["PromQL info: x", "lost"]},
    ],
)
def test_a_partial_answer_is_refused(mark: dict[str, Any]) -> None:
    with pytest.raises(PartialAnswerError, match="the answer is partial"):
        decode(compact(matrix({"metric": {}, "values": samples("1")}, **mark)), INSTANTS)


def test_remarks_of_the_engine_are_kept_and_do_no_harm() -> None:
    remarks = {"warnings": ["PromQL warning: quantile"], "infos": ["PromQL info: metric might not be a counter"]}
    answer = decode(compact(matrix({"metric": {}, "values": samples("1")}, **remarks)), INSTANTS)
    assert answer.annotations == (*remarks["warnings"], *remarks["infos"])


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"status":"error","error":"bad\\n expr"}', "bad expr"),
        (b"<html>\n 502 </html>", "<html> 502 </html>"),
        (b"[1]", "[1]"),
        (b"\xff", "�"),
        (b"x" * 1000, "x" * 300),
    ],
)
def test_the_reason_of_a_refusal_is_one_short_line(body: bytes, text: str) -> None:
    assert error_text(body) == text
