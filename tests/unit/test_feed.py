"""One database's feed: its end, a seq that is refused, a database that was replaced, bad rows."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from chalicelib.couch import MAX_PAGE_SIZE, BadRequest, ChangesPage, CouchError, Database
from chalicelib.domain.documents import JsonDict
from chalicelib.json_rows import BadRow
from poller.feed import BEGINNING, MAX_PAGE_S, Feed, Page, gap_between
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
    bad: list[BadRow] = field(default_factory=list)
    name: str = "control"
    asked: list[str] = field(default_factory=list)

    def changes(self, since: str, *, limit: int, is_over: Callable[[], bool]) -> ChangesPage:
        self.asked.append(since)
        page = self.pages.pop(0) if self.pages else []
        if isinstance(page, CouchError):
            raise page
        last_seq = f"seq-{len(self.asked)}" if page else since
        is_last = len(page) < limit
        return {"results": page, "bad": self.bad, "last_seq": last_seq, "is_last": is_last}

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
    assert [(page.has_new_seq, page.is_last) for page in pages] == [(True, False), (False, True)]


def test_more_rows_than_were_asked_for_are_taken_and_are_not_the_last() -> None:
    database = FakePages([[row("a"), row("b"), row("c")], [row("d")]])
    assert ids(read_all(a_feed(database))) == ["a", "b", "c", "d"]


# A seq that CouchDB refuses.


def test_a_malformed_seq_restarts_the_feed_and_says_so() -> None:
    database, told = FakePages([REFUSED, [row("a")]]), list[str]()
    assert ids(read_all(a_feed(database, "12-nonsense", told=told))) == ["a"]
    assert database.asked == ["12-nonsense", "0"]
    assert told == [f"a feed restarted from its beginning: control: {REFUSED.reason}"]


def test_a_bad_request_from_the_beginning_is_no_matter_of_the_seq() -> None:
    with pytest.raises(BadRequest):
        a_feed(FakePages([REFUSED])).read()


# A database that was restored from a backup, or deleted and made again.


@pytest.mark.parametrize(
    ("update_seq", "since", "restarts"),
    [
        (5, "7", True),
        (7, "7", False),
        (9, "7", False),
        ("5-g1AAAA", "7-g1AAAA", True),
        ("7-g1AAAA", "7-g1AAAA", False),
        ("7-g1AAAA", "7-g1BBBB", False),
        ("10-g1AAAA", "9-g1AAAA", False),
        ("5-g1AAAA", "7", True),
        ("opaque", "7-g1AAAA", False),
        ("5-g1AAAA", "opaque", False),
        (None, "7-g1AAAA", False),
        (5, "3-g1AAAA", True),
    ],
)
def test_a_kept_seq_past_the_end_restarts_the_feed(
    update_seq: object, since: str, restarts: bool
) -> None:
    database = FakePages([[], [row("a")]], update_seq)
    page = a_feed(database, since).read()
    assert database.asked == [since, "info", *(["0"] if restarts else [])]
    assert ids([page]) == (["a"] if restarts else [])


@pytest.mark.parametrize("end", ["7", "9", "7-g1AAAA", "opaque"])
def test_an_update_seq_that_is_known_is_not_requested(end: str) -> None:
    database = FakePages([[]], 0)
    feed = Feed(cast(Database, database), "7", 2, lambda what, why: None, end)
    assert ids([feed.read()]) == []
    assert database.asked == ["7"]


@pytest.mark.parametrize(("now", "restarts"), [("6-g1AAAA", True), ("7-g1AAAA", False)])
def test_an_old_update_seq_does_not_restart_the_feed(now: str, restarts: bool) -> None:
    """Another poller may have read further since it was requested."""
    database = FakePages([[], [row("a")]], now)
    feed = Feed(cast(Database, database), "7-g1AAAA", 2, lambda what, why: None, "6-g1AAAA")
    assert ids([feed.read()]) == (["a"] if restarts else [])
    assert database.asked == ["7-g1AAAA", "info", *(["0"] if restarts else [])]


@pytest.mark.parametrize(
    ("end", "since", "gap", "restarts"),
    [
        ("5-g1AAAA", "7-g1AAAA", 1, True),
        ("5-g1AAAA", "7-g1AAAA", 2, False),
        ("5-g1AAAA", "9-g1AAAA", 2, True),
        ("5", "7", 2, True),
    ],
)
def test_an_opaque_seq_restarts_the_feed_only_for_a_larger_gap(
    end: str, since: str, gap: int, restarts: bool
) -> None:
    """The copies of a database in a cluster count differently; plain numbers are of one server."""
    database = FakePages([[], [row("a")]], end)
    feed = Feed(cast(Database, database), since, 2, lambda what, why: None, gap=gap)
    assert ids([feed.read()]) == (["a"] if restarts else [])
    assert feed.gap == (gap_between(end, since) if restarts else gap)


def test_a_first_page_with_changes_asks_for_nothing_else() -> None:
    database = FakePages([[row("a")]], 0)
    a_feed(database, "7").read()
    assert database.asked == ["7"]


def test_a_first_page_of_bad_rows_asks_for_nothing_else() -> None:
    database = FakePages([[]], 0, [BadRow("a", "8", "it is nested too deeply")])
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


# Documents that cannot be read, and pages that are too large.

# Deeper than Python parses, and nearly as small as that can be.
DEEP = "[" * 2_000 + "]" * 2_000


@dataclass
class OddFeed:
    """The feed of a database with documents of each kind, as CouchDB sends it.

    Attributes
    ----------
    limits : list of str
        The limits that were asked for: one for each request.
    """

    docs: list[str]
    limits: list[str] = field(default_factory=list)

    def pages(self, page_size: int, row_takes_s: float = 0.0) -> list[Page]:
        """All pages; the clock goes on by so much with each row."""
        couch = WatchedCouch()
        couch.create("control")
        for number in range(len(self.docs)):
            couch.databases["control"].write(Edit(f"d{number:04}", {"number": number}))

        def rows(asked: Asked) -> Answer:
            self.limits.append(asked.params["limit"])
            answer = super(WatchedCouch, couch).answer(asked)
            text = json.dumps(answer.body)
            for number, doc in enumerate(self.docs):
                text = text.replace(f'"number": {number}}}', f'"number": {doc}}}')
            return Answer(text.encode())

        couch.instead["GET /control/_changes"] = rows
        database = couch.server().database("control")
        clock = itertools.count(0.0, row_takes_s)
        feed = Feed(
            database,
            BEGINNING,
            page_size,
            lambda what, why: None,
            monotonic_s=clock.__next__,
        )
        return read_all(feed)


def bad_ids(pages: list[Page]) -> list[str]:
    return [one.doc_id for page in pages for one in page.bad]


@pytest.mark.parametrize("page_size", [1, 2, 3, 100])
@pytest.mark.parametrize("bad", [{0}, {1, 2}, {5}, {0, 2, 4}, set(range(6))])
def test_a_document_that_cannot_be_read_does_not_hold_up_the_others(
    bad: set[int], page_size: int
) -> None:
    feed = OddFeed([DEEP if number in bad else "0" for number in range(6)])
    pages = feed.pages(page_size)
    assert ids(pages) == [f"d{number:04}" for number in range(6) if number not in bad]
    assert bad_ids(pages) == [f"d{number:04}" for number in sorted(bad)]
    assert len(feed.limits) == 6 // page_size + 1


def test_two_thousand_deep_documents_cost_three_requests() -> None:
    feed = OddFeed([DEEP] * 2_000)
    assert len(bad_ids(feed.pages(1_000))) == 2_000
    assert feed.limits == ["1000"] * 3


@pytest.mark.slow
def test_no_page_is_larger_than_fits_into_memory_and_all_documents_come() -> None:
    feed = OddFeed(['"' + "x" * 65_000 + '"'] * 200)
    pages = feed.pages(page_size=200)
    assert ids(pages) == [f"d{number:04}" for number in range(200)]
    sizes = [len(json.dumps(page.rows)) for page in pages]
    assert max(sizes) <= MAX_PAGE_SIZE + 66_000
    assert min(sizes[:-1]) >= MAX_PAGE_SIZE


def test_a_page_ends_when_the_time_is_over_and_the_next_goes_on() -> None:
    feed = OddFeed(["0", DEEP, "2", "3", "4"])
    pages = feed.pages(100, row_takes_s=MAX_PAGE_S / 2)
    assert [ids([page]) for page in pages] == [["d0000", "d0002"], ["d0003", "d0004"]]
    assert [bad_ids([page]) for page in pages] == [["d0001"], []]


def test_a_document_that_is_too_large_is_passed_over() -> None:
    pages = OddFeed(["0", '"' + "x" * 1_100_000 + '"', "2"]).pages(page_size=3)
    assert (ids(pages), bad_ids(pages)) == (["d0000", "d0002"], ["d0001"])
