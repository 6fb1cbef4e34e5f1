"""A database that is deleted while others use it is gone, as on CouchDB.

Of the embedded server local/couchdb/deletions.js makes it so.
"""

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Event

import pytest

from chalicelib.couch import CouchError, Database, Server
from tests.kit.basics import wait_for
from tests.kit.device.gadget import is_gone

USERS = 4


@pytest.fixture
def database(server: Server) -> Database:
    return server.database(f"syncpoint-test-{uuid.uuid4().hex[:12]}")


def use(database: Database, is_over: Event) -> None:
    """Write and read documents until it is over, as a replicator does that hears of no end."""
    while not is_over.is_set():
        with suppress(CouchError):
            database.put({"_id": uuid.uuid4().hex, "text": "x" * 10_000})
            database.changes("0", limit=10)


@pytest.mark.parametrize("nth", range(5))
def test_requests_do_not_bring_back_a_database_that_is_deleted(
    database: Database, nth: int
) -> None:
    is_over = Event()
    with ThreadPoolExecutor(USERS) as pool:
        try:
            database.create()
            for _ in range(USERS):
                pool.submit(use, database, is_over)
            while database.info()["doc_count"] < 20:
                pass
            database.delete()
            wait_for(partial(is_gone, database), "the end of the database")
        finally:
            is_over.set()
    assert is_gone(database)
    database.create()
    assert database.info()["doc_count"] == 0
    database.delete()
