"""One database's feed: its end, a seq that is refused, a database made again, a poison document."""

import json
from dataclasses import dataclass, field
from typing import cast

import pytest

from chalicelib.couch import BadRequest, CouchError, Database, Unreadable
from chalicelib.domain.documents import JsonDict
from poller.feed import BEGINNING, PAGE_BYTES, Feed, Page
from tests.kit.fakes.couch_edits import Edit
from tests.kit.fakes.couch_http import Answer, Asked
from tests.kit.fakes.couch_watched import WatchedCouch
from tests.kit.poller.sender import row

REFUSED = BadRequest(400, "bad_request", "Malformed sequence supplied in 'since' parameter.")


@dataclass
class FakePages:
    """A database whose feed is these pages; each may be an error to raise instead."""

    pages: list[list[JsonDict] | CouchError]
    update_seq: object = "opaque"
    name: str = "control"
    asked: list[str] = field(default_factory=list)

    def changes(self, since: str, *, limit: int, max_bytes: int) -> JsonDict:
        self.asked.append(since)
        page = self.pages.pop(0) if self.pages else []
        if isinstance(page, CouchError):
            raise page
        return {"results": page, "last_seq": f"seq-{len(self.asked)}" if page else since}

    def info(self) -> JsonDict:
        self.asked.append("info")
        return {"update_seq": self.update_seq}


def a_feed(
    database: object, since: str = BEGINNING, page_size: int = 2, told: list[str] | None = None
) -> Feed:
    warn = (told if told is not None else []).append
    return Feed(
        cast(Database, database), since, page_size, lambda what, why: warn(f"{what}: {why}")
    )


def read_all(feed: Feed) -> list[Page]:
    pages = [feed.read()]
    while not pages[-1].is_last:
        pages.append(feed.read())
    return pages


def ids(pages: list[Page]) -> list[str]:
    return [one["id"] for page in pages for one in page.rows]


def test_a_page_that_is_not_full_is_the_last() -> None:
    database = FakePages([[row("a"), row("b")], [row("c")]])
    assert ids(read_all(a_feed(database))) == ["a", "b", "c"]
    assert database.asked == ["0", "seq-1"]


def test_after_a_full_page_there_may_be_another() -> None:
    database = FakePages([[row("a"), row("b")]])
    pages = read_all(a_feed(database))
    assert [(page.moved, page.is_last) for page in pages] == [(True, False), (False, True)]


def test_more_rows_than_were_asked_for_are_taken_and_are_not_the_last() -> None:
    database = FakePages([[row("a"), row("b"), row("c")], [row("d")]])
    assert ids(read_all(a_feed(database))) == ["a", "b", "c", "d"]


# A seq that CouchDB refuses.


def test_a_malformed_seq_restarts_the_feed_and_says_so() -> None:
    database, told = FakePages([REFUSED, [row("a")]]), list[str]()
    assert ids(read_all(a_feed(database, "12-nonsense", told=told))) == ["a"]
    assert database.asked == ["12-nonsense", "0"]
    assert told == [f"the feed begins anew: {REFUSED.reason}"]


def test_a_bad_request_from_the_beginning_is_no_matter_of_the_seq() -> None:
    with pytest.raises(BadRequest):
        a_feed(FakePages([REFUSED])).read()


# A database that was deleted and made again.


@pytest.mark.parametrize(
    ("update_seq", "since", "restarts"),
    [
        (5, "7", True),
        (7, "7", False),
        (9, "7", False),
        ("5-g1AAAA", "7-g1AAAA", False),
        ("5-g1AAAA", "7", False),
        (5, "3-g1AAAA", True),
    ],
)
def test_where_seqs_are_plain_numbers_one_past_the_end_restarts_the_feed(
    update_seq: object, since: str, restarts: bool
) -> None:
    database = FakePages([[], [row("a")]], update_seq)
    page = a_feed(database, since).read()
    assert database.asked == [since, "info", *(["0"] if restarts else [])]
    assert ids([page]) == (["a"] if restarts else [])


@pytest.mark.parametrize(("end", "restarts"), [("5", True), ("7", False), ("5-g1AAAA", False)])
def test_an_end_that_is_known_is_not_asked_for(end: str, restarts: bool) -> None:
    database = FakePages([[], [row("a")]], "not asked for")
    feed = Feed(cast(Database, database), "7", 2, lambda what, why: None, end)
    assert ids([feed.read()]) == (["a"] if restarts else [])
    assert "info" not in database.asked


def test_a_first_page_with_changes_asks_for_nothing_else() -> None:
    database = FakePages([[row("a")]], 0)
    a_feed(database, "7").read()
    assert database.asked == ["7"]


def test_only_the_first_page_can_show_that_a_database_was_replaced() -> None:
    database = FakePages([[row("a"), row("b")], []], 0)
    read_all(a_feed(database, "7"))
    assert "info" not in database.asked


def test_an_empty_database_that_was_never_read_was_not_replaced() -> None:
    database = FakePages([[]], 0)
    a_feed(database).read()
    assert database.asked == ["0"]


# A document that cannot be read.


@dataclass
class FeedWithPoison:
    """Six documents, of which one cannot be decoded in whatever page it comes."""

    poison: int
    name: str = "control"

    def changes(
        self, since: str, *, limit: int, include_docs: bool = True, max_bytes: int | None = None
    ) -> JsonDict:
        begin = int(since)
        numbers = range(begin + 1, min(begin + limit, 6) + 1)
        if include_docs and self.poison in numbers:
            raise Unreadable(200, "unreadable", "RecursionError")
        rows = [row(f"d{number}") for number in numbers]
        if not include_docs:
            rows = [{key: value for key, value in one.items() if key != "doc"} for one in rows]
        return {"results": rows, "last_seq": str(begin + len(rows))}


@pytest.mark.parametrize("poison", [1, 2, 3, 6])
@pytest.mark.parametrize("page_size", [2, 3, 100])
def test_a_document_that_cannot_be_read_does_not_hold_up_the_others(
    poison: int, page_size: int
) -> None:
    told: list[str] = []
    pages = read_all(a_feed(FeedWithPoison(poison), page_size=page_size, told=told))
    read = [one["id"] for page in pages for one in page.rows if "doc" in one]
    assert read == [f"d{number}" for number in range(1, 7) if number != poison]
    assert told == ["a document cannot be read and is passed over: RecursionError"]
    assert pages[-1].last_seq == "6"


def test_behind_a_document_that_is_passed_over_pages_are_whole_again() -> None:
    pages = read_all(a_feed(FeedWithPoison(1), page_size=4))
    assert [ids([page]) for page in pages] == [["d1"], ["d2", "d3", "d4", "d5"], ["d6"]]


# Pages that are too large: as Python objects they may take thirty times their bytes.


@dataclass
class LargeFeed:
    """The feed of a database whose documents are each so large."""

    docs: int
    doc_bytes: int
    limits: list[str] = field(default_factory=list)

    def pages(self, page_size: int) -> list[Page]:
        """All pages, and in `limits` what was asked for."""
        couch = WatchedCouch()
        couch.create("control")
        for number in range(self.docs):
            body = {"type": "device", "state": "new", "text": "x" * self.doc_bytes}
            couch.databases["control"].write(Edit(f"d{number:03}", body))

        def note(asked: Asked) -> Answer:
            self.limits.append(asked.params["limit"])
            return super(WatchedCouch, couch).answer(asked)

        couch.instead["GET /control/_changes"] = note
        return read_all(a_feed(couch.server().database("control"), page_size=page_size))


def test_no_page_is_larger_than_fits_into_memory_and_all_documents_come() -> None:
    feed = LargeFeed(docs=200, doc_bytes=65_000)
    pages = feed.pages(page_size=200)
    assert ids(pages) == [f"d{number:03}" for number in range(200)]
    assert max(len(json.dumps(page.rows)) for page in pages) <= PAGE_BYTES


def test_a_page_that_is_too_large_halves_it_and_those_behind_it() -> None:
    feed = LargeFeed(docs=10, doc_bytes=PAGE_BYTES // 3)
    feed.pages(page_size=8)
    assert feed.limits == ["8", "4", *6 * ["2"]]


def test_pages_that_are_not_too_large_are_asked_for_whole() -> None:
    feed = LargeFeed(docs=10, doc_bytes=PAGE_BYTES // 9)
    feed.pages(page_size=8)
    assert feed.limits == ["8", "8"]


def test_a_document_is_read_however_large_it_is() -> None:
    pages = LargeFeed(docs=3, doc_bytes=2 * PAGE_BYTES).pages(page_size=2)
    read = [one["doc"]["_id"] for page in pages for one in page.rows]
    assert read == ["d000", "d001", "d002"]
