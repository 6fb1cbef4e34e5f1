"""`python -m bench.feed_reader READER URL DB DOCUMENTS`: read a feed to its end in a fresh process.

Prints ``{"s": …, "peak_mb": …}``; the seconds are those of the reading alone.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import requests

from bench.setup import memory_bytes, timed_s
from chalicelib.settings import PollerSettings
from poller.app import PollerDependencies, run
from tests.kit.fakes.aws import FakeAws

POLLER, SLOW_SQS, BARE = "poller", "poller, SQS takes 10 ms", "bare loop"
ROUTES = {"device/new": "https://sqs.example.com/device-new"}


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
    sent: list[int] = []

    def around(name: str, call: "partial[Any]") -> Any:
        if name != "sqs.SendMessageBatch":
            return call()
        if send_s:
            time.sleep(send_s)
        ids = [{"Id": entry["Id"]} for entry in call.keywords["Entries"]]
        sent.append(len(ids))
        return {"Successful": ids, "Failed": []}

    aws = FakeAws(time.time)
    aws.create_table("bench")
    aws.put_secret("bench", json.dumps({"couchdb_url": url, "link_keys": ["00" * 32]}))
    run(
        settings(db),
        dependencies=PollerDependencies(client=lambda service: aws.client(service, around)),
    )
    return sum(sent)


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
