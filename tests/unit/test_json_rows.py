"""Rows are read one by one, however their bytes arrive; a bad one does not hide the others."""

import json
import math
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.json_rows import MAX_ROW_SIZE, BadRow, Rows, read_rows
from tests.kit.cases.attacks import nested_text

TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from(['"', "\\", '\\"', "]}", "[{"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=12,
)
DOCS = st.dictionaries(TEXTS, VALUES, max_size=5)
# Documents that Python cannot read, as CouchDB has them.
BAD = {
    "it is nested too deeply": nested_text(5_000),
    "a number in it has too many digits": "9" * 5_000,
    "a number in it is not finite": "1e400",
}


def a_row(number: int, doc: str) -> str:
    return f'{{"seq":"{number}-x","id":"d{number}","changes":[{{"rev":"1-a"}}],"doc":{doc}}}'


def answer(rows: list[str], lines: bool = True) -> bytes:
    """CouchDB writes a row a line; the embedded server writes one line."""
    inside = ",\n".join(rows) if lines else ",".join(rows)
    text = f'{{"results":[\n{inside}\n],\n"last_seq":"9-x","pending":0}}\n'
    return (text if lines else text.replace("\n", "")).encode()


def cut(text: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(text), *(where % (len(text) + 1) for where in cuts)})
    for begin, end in pairwise(edges):
        yield text[begin:end]


def in_blocks(text: bytes, cuts: list[int]) -> Rows:
    """Read in blocks that end at these places."""
    return read_rows(cut(text, cuts), block_size=1)


@given(st.lists(DOCS, max_size=4), st.lists(st.integers(0), max_size=8), st.booleans())
def test_rows_are_the_same_wherever_their_bytes_are_split(
    docs: list[dict[str, Any]], cuts: list[int], lines: bool
) -> None:
    for ascii_only in (True, False):
        texts = [json.dumps(doc, ensure_ascii=ascii_only) for doc in docs]
        text = answer([a_row(number, each) for number, each in enumerate(texts)], lines)
        found = in_blocks(text, cuts)
        assert [each["doc"] for each in found.good] == docs
        assert [each["seq"] for each in found.good] == [f"{n}-x" for n in range(len(docs))]
        assert (found.bad, found.is_whole) == ([], True)
        assert found.rest == {"results": [], "last_seq": "9-x", "pending": 0}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
@pytest.mark.parametrize("lines", [True, False])
@given(cuts=st.lists(st.integers(0), max_size=6))
def test_a_bad_row_is_named_and_the_others_are_read(
    value: str, lines: bool, cuts: list[int]
) -> None:
    [reason] = [why for why, bad in BAD.items() if bad == value]
    docs = ['{"a":"]"}', f'{{"_id":"d1","x":{value}}}', '{"b":[1]}']
    text = answer([a_row(number, doc) for number, doc in enumerate(docs)], lines)
    found = in_blocks(text, cuts)
    assert [each["id"] for each in found.good] == ["d0", "d2"]
    assert found.bad == [BadRow("d1", "1-x", reason)]
    assert found.last_seq == "2-x"


DEEP = {
    "lists": nested_text(5_000),
    "objects": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "texts with brackets": '{"a]}":' * 5_000 + '"[{"' + "}" * 5_000,
    "steps up and down": "[" * 5_000 + "],[" * 50 + "]" * 5_000,
    "lists and objects in turn": '[{"a":' * 3_000 + "0" + "}]" * 3_000,
}


@pytest.mark.parametrize("value", DEEP.values(), ids=DEEP)
@given(cuts=st.lists(st.integers(0), max_size=6))
def test_the_end_of_a_deep_row_is_found(value: str, cuts: list[int]) -> None:
    found = in_blocks(answer([a_row(0, value), a_row(1, "{}")]), cuts)
    assert found.bad == [BadRow("d0", "0-x", "it is nested too deeply")]
    assert [each["id"] for each in found.good] == ["d1"]


def test_a_row_above_the_limit_is_bad_and_one_at_the_limit_is_not() -> None:
    rows = [a_row(0, json.dumps("x" * 100)), a_row(1, json.dumps("x" * 101))]
    for cuts in ([], [80], [200]):
        found = read_rows(cut(answer(rows), cuts), max_row_size=len(rows[0]), block_size=1)
        assert [each["id"] for each in found.good] == ["d0"]
        reason = f"it has more than {len(rows[0])} characters"
        assert found.bad == [BadRow("d1", "1-x", reason)]


def test_the_seq_may_come_after_the_document() -> None:
    large = f'{{"id":"d0","doc":{{"x":"{"x" * MAX_ROW_SIZE}"}},"seq":7}}'
    assert read_rows([answer([large])]).bad[0] == BadRow(
        "d0", "7", f"it has more than {MAX_ROW_SIZE:,} characters"
    )


def test_an_id_that_is_too_long_to_keep_is_left_out() -> None:
    large = f'{{"id":"{"x" * MAX_ROW_SIZE}","seq":"7","doc":1}}'
    found = read_rows([answer([large, a_row(1, "{}")])])
    assert [(bad.doc_id, bad.seq) for bad in found.bad] == [("", "")]
    assert str(found.bad[0]).startswith("its id cannot be read: ")
    assert [each["id"] for each in found.good] == ["d1"]


def test_rows_of_find_and_of_all_docs_are_read_alike() -> None:
    docs = b'{"docs":[{"_id":"a"},{"_id":"b","x":[1e400]}],"bookmark":"nil","stats":{"a":[1]}}'
    found = read_rows([docs])
    assert found.good == [{"_id": "a"}]
    assert found.bad == [BadRow("b", "", "a number in it is not finite")]
    assert found.rest == {"docs": [], "bookmark": "nil", "stats": {"a": [1]}}
    all_docs = b'{"total_rows":1,"offset":0,"rows":[{"id":"a","doc":{"_id":"a"}}]}'
    assert read_rows([all_docs]).good == [{"id": "a", "doc": {"_id": "a"}}]


def test_reading_stops_after_the_row_that_makes_it_enough() -> None:
    rows = [a_row(number, "{}") for number in range(9)]
    found = read_rows([answer(rows)], max_size=len(rows[0]) + 1)
    assert [each["id"] for each in found.good] == ["d0", "d1"]
    assert (found.last_seq, found.rest, found.is_whole) == ("1-x", {}, False)


def test_bad_rows_do_not_count_as_enough() -> None:
    rows = [a_row(number, nested_text(5_000)) for number in range(5)] + [
        a_row(5, "{}"),
        a_row(6, "{}"),
    ]
    found = read_rows([answer(rows)], max_size=10)
    assert (len(found.bad), len(found.good), found.last_seq) == (5, 1, "5-x")


def test_reading_stops_when_the_time_is_over_but_not_before_a_row() -> None:
    rows = [a_row(0, nested_text(5_000)), a_row(1, "{}")]
    found = read_rows([answer(rows)], is_over=lambda: True)
    assert (len(found.bad), found.good, found.last_seq) == (1, [], "0-x")


def test_reading_does_not_stop_after_a_row_without_a_seq() -> None:
    """The next page could not begin after it."""
    rows = ['{"id":"a","doc":{}}', a_row(1, "{}"), a_row(2, "{}")]
    found = read_rows([answer(rows)], is_over=lambda: True)
    assert ([each["id"] for each in found.good], found.last_seq) == (["a", "d1"], "1-x")


def test_the_last_seq_is_that_of_the_last_row_that_has_one() -> None:
    rows = [a_row(1, "{}"), '{"id":"a","doc":{}}', '{"id":"b","doc":1e400}']
    assert read_rows([answer(rows)]).last_seq == "1-x"


@pytest.mark.parametrize(
    ("row", "bad"),
    [
        ('{"id":"a","seq":3,"doc":[1e400]}', BadRow("a", "3", "a number in it is not finite")),
        ('{"id":["a"],"seq":{"b":1},"x":[1e400]}', BadRow("", "", "a number in it is not finite")),
        ('{"id":null,"seq":1.5,"x":[1e400]}', BadRow("", "", "a number in it is not finite")),
        ('{"id":"a","seq":NaN}', BadRow("", "", "a number in it is not finite")),
        ('{"id":"a","seq":"3" "doc":1}', BadRow("", "", "it is not JSON")),
        ('[{"id":"a","seq":"3"}]', BadRow("", "", "it is not an object")),
        ("[]", BadRow("", "", "it is not an object")),
        ("[1e400]", BadRow("", "", "a number in it is not finite")),
    ],
)
def test_of_a_bad_row_what_can_be_read_is_told(row: str, bad: BadRow) -> None:
    """The embedded server's seqs are integers."""
    found = read_rows([answer([row, a_row(1, "{}")])])
    assert found.bad == [bad]
    assert [each["id"] for each in found.good] == ["d1"]


def test_a_long_id_is_cut_where_it_is_logged() -> None:
    assert str(BadRow("x" * 1_000, "", "it is not JSON")) == f"{'x' * 80}: it is not JSON"


def test_bytes_that_are_no_text_hide_no_row() -> None:
    text = answer([a_row(0, '"BAD"'), a_row(1, "{}")]).replace(b"BAD", b"\xff\xc3")
    assert [each["doc"] for each in read_rows([text]).good] == ["\ufffd\ufffd", {}]


def test_no_more_is_taken_than_is_needed() -> None:
    taken = []

    def parts() -> Iterator[bytes]:
        for number in range(100):
            taken.append(number)
            yield (
                b'{"results":[' if number == 0 else a_row(number, json.dumps("x" * 70_000)).encode()
            )

    read_rows(parts(), max_size=1, block_size=65_536)
    assert len(taken) == 2


NO_ROWS = {
    "nothing": b"",
    "a page of HTML": b'<html><a href="x">{}</a></html>',
    "a list": b'[{"id":"a"}]',
    "a text": b'"results"',
    "half an answer": answer([a_row(0, "{}")])[:-20],
    "half a row": answer([a_row(0, "{}")])[:40],
    "half a text": b'{"results":[],"last_seq":"',
    "a deep answer": b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    "closing brackets": b"]]]}}}",
    "much that is in no row": b'{"results":[],"text":"' + b"x" * 70_000 + b'"}',
}


@pytest.mark.parametrize("text", NO_ROWS.values(), ids=NO_ROWS)
def test_what_is_no_answer_with_rows_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        read_rows([text])


@given(st.binary())
def test_any_bytes_end_in_rows_or_an_error(text: bytes) -> None:
    try:
        read_rows([text], block_size=1)
    except ValueError:
        return


def peak_bytes(parts: Iterator[bytes], max_size: float = math.inf) -> int:
    tracemalloc.start()
    read_rows(parts, max_size=max_size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_rows_that_cannot_be_read() -> None:
    deep = a_row(1, nested_text(1_500)).encode()

    def parts(count: int) -> Iterator[bytes]:
        yield b'{"results":['
        for _ in range(count):
            yield deep + b","
        yield b"]}"

    def large(size: int) -> Iterator[bytes]:
        yield b'{"results":[{"id":"a","seq":"1","doc":"'
        for _ in range(size):
            yield b'\\"' * 32_768
        yield b'"}]}'

    assert peak_bytes(parts(800)) < peak_bytes(parts(100)) + 400_000
    assert peak_bytes(large(200)) < peak_bytes(large(40)) + 400_000
