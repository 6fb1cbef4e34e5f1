"""`python -m bench.feed_reader READER URL DB DOCUMENTS`: read a feed to its end in a fresh process.

Prints ``{"s": …, "peak_mb": …}``; the seconds are those of the reading alone.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import requests

from bench.setup import memory_bytes, timed_s
from chalicelib.couch import JsonDict
from chalicelib.settings import PollerSettings
from poller.app import Outside, run

POLLER, SLOW_SQS, BARE = "poller", "poller, SQS takes 10 ms", "bare loop"
ROUTES = {"device/new": "https://sqs.example.com/device-new"}


class NullAws:
    """An AWS that takes no time: it counts and forgets messages, and keeps cursors in a dict."""

    def __init__(self, couch_url: str, send_s: float) -> None:
        self._secret = json.dumps({"couchdb_url": couch_url, "link_keys": ["00" * 32]})
        self._send_s = send_s
        self._items: dict[str, JsonDict] = {}
        self.accepted = 0

    class exceptions:  # noqa: N801 - as boto3 calls it
        """The exceptions of a client."""

        class ConditionalCheckFailedException(Exception):
            """Never raised."""

    def get_secret_value(self, **asked: Any) -> JsonDict:
        """Return the secret."""
        return {"SecretString": self._secret}

    def update_item(self, **asked: Any) -> JsonDict:
        """Grant the lease."""
        return {"Attributes": {"fence": {"N": "1"}}}

    def put_item(self, *, Item: JsonDict, **asked: Any) -> JsonDict:  # noqa: N803
        """Keep a cursor."""
        self._items[Item["pk"]["S"]] = Item
        return {}

    def batch_get_item(self, *, RequestItems: JsonDict) -> JsonDict:  # noqa: N803
        """Return the cursors that were kept."""
        [(table, asked)] = RequestItems.items()
        keys = [key["pk"]["S"] for key in asked["Keys"]]
        found = [self._items[key] for key in keys if key in self._items]
        return {"Responses": {table: found}, "UnprocessedKeys": {}}

    def send_message_batch(self, *, QueueUrl: str, Entries: list[JsonDict]) -> JsonDict:  # noqa: N803
        """Accept all messages."""
        if self._send_s:
            time.sleep(self._send_s)
        self.accepted += len(Entries)
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries], "Failed": []}


def settings(db: str) -> PollerSettings:
    """Return the settings of a poller that makes one pass over `db`, in pages as they ship."""
    return PollerSettings.read(
        {
            "TABLE_NAME": "bench",
            "SECRET_ID": "bench",
            "CONTROL_DB": db,
            "ROUTES": json.dumps(ROUTES),
            "POLL_WINDOW_SECONDS": "0",
        }
    )


def poll(url: str, db: str, send_s: float = 0.0) -> int:
    """Run the poller that ships, with a queue that forgets; return how many messages it sent."""
    aws = NullAws(url, send_s)
    run(settings(db), outside=Outside(client=lambda service: aws))
    return aws.accepted


def read_bare(url: str, db: str) -> int:
    """Read the same pages with `requests` and `json.loads` alone; return how many documents."""
    limit = settings(db).page_size
    session, since, documents = requests.Session(), "0", 0
    while True:
        params = {"since": since, "limit": str(limit), "include_docs": "true"}
        response = session.get(f"{url}/{db}/_changes", params=params, timeout=60)
        page = json.loads(response.content)
        documents += len(page["results"])
        since = str(page["last_seq"])
        if len(page["results"]) < limit:
            return documents


READERS: dict[str, Callable[[str, str], int]] = {
    POLLER: poll,
    BARE: read_bare,
    SLOW_SQS: lambda url, db: poll(url, db, 0.01),
}


def main(reader: str, url: str, db: str, expected: int) -> int:
    """Read the feed and print how long that took."""
    found: list[int] = []
    seconds = timed_s(lambda: found.append(READERS[reader](url, db)))
    if found != [expected]:
        sys.exit(f"error: {reader} read {found[0]} of {expected} documents")
    # Linux counts the parent's memory into `ru_maxrss`, so that is the second choice.
    peak = memory_bytes("VmHWM:") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"s": seconds, "peak_mb": peak / 2**20}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
