"""`python -m bench.feed_reader NAME URL DB DOCUMENTS`: one reader of a feed, in a fresh process.

Prints ``{"s": …, "documents": …, "peak_mb": …}``; the seconds are those of reading alone.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import requests

from bench.item import timed_s
from bench.null_aws import NullAws
from chalicelib.settings import PollerSettings
from poller.app import PollerDependencies, run

ROUTES = {"device/new": "https://sqs.example.com/device-new"}


def settings(db: str) -> PollerSettings:
    """Those of a poller that makes one pass over `db`; the page's size is what ships."""
    return PollerSettings.read(
        {
            "TABLE_NAME": "bench",
            "SECRET_ID": "bench",
            "CONTROL_DB": db,
            "ROUTES": json.dumps(ROUTES),
            "POLL_WINDOW_SECONDS": "0",
            **{name: os.environ[name] for name in ("POLL_PAGE_SIZE",) if name in os.environ},
        }
    )


def poller(url: str, db: str, send_s: float = 0.0) -> int:
    """The poller that ships, into a queue that takes everything; how many messages it took."""
    aws = NullAws(url, send_s)
    run(settings(db), dependencies=PollerDependencies(client=aws.client))
    return aws.accepted


def bare(url: str, db: str) -> int:
    """Nothing but `requests` and `json.loads` over the same pages; how many documents."""
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


def peak_mb() -> float:
    """The most memory that this process had; Linux counts a parent's into `ru_maxrss`."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


READERS: dict[str, Callable[[str, str], int]] = {
    "poller": poller,
    "poller, SQS takes 10 ms": lambda url, db: poller(url, db, 0.01),
    "bare loop": bare,
}


def main(name: str, url: str, db: str, expected: int) -> int:
    """Read the feed to its end; say how long that took."""
    documents = 0

    def read() -> None:
        nonlocal documents
        documents = READERS[name](url, db)

    seconds = timed_s(read)
    if documents != expected:
        sys.exit(f"error: {name} read {documents} of {expected} documents")
    print(json.dumps({"s": seconds, "documents": documents, "peak_mb": peak_mb()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
