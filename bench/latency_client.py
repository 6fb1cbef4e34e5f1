"""`python -m bench.latency_client URL DB COUNT`: write registrations and watch their states.

A bare client in its own process: it reads CouchDB's ``feed=continuous`` and nothing else. Prints
``{id: {"written": …, "seen": …, "saved": …}}`` by this machine's monotonic clock: when a document
was written, when it was seen, and when it was seen in its next state.
"""

import json
import random
import sys
import threading
import time
from collections import defaultdict

import requests

from bench.setup import CREATED_AT
from syncpoint_device.registration import new_device

LIMIT_S = 60.0
MAX_PAUSE_S = 0.05  # between two writes, at random: the poller's rhythm shall not match


class Feed:
    """Reads a database's changes in a thread, and notes when it saw which state of a document."""

    def __init__(self, url: str, db: str) -> None:
        self.seen: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._changed = threading.Condition()
        since = requests.get(f"{url}/{db}", timeout=10).json()["update_seq"]
        self._answer = requests.get(
            f"{url}/{db}/_changes",
            params={"feed": "continuous", "include_docs": "true", "since": str(since)},
            headers={"Accept-Encoding": "identity"},  # a compressed feed comes in blocks
            stream=True,
            timeout=LIMIT_S,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, doc_id: str, state: str) -> dict[str, float]:
        """Wait until the document was seen in this state; return when it was in each."""
        with self._changed:
            if not self._changed.wait_for(lambda: state in self.seen[doc_id], LIMIT_S):
                sys.exit(f"error: {doc_id} is not {state} within {LIMIT_S:.0f} s")
            return self.seen[doc_id]

    def _read(self) -> None:
        for line in self._answer.iter_lines(chunk_size=None):
            now_s = time.monotonic()
            if line:
                doc = json.loads(line).get("doc", {})
                with self._changed:
                    self.seen[doc["_id"]].setdefault(doc.get("state", ""), now_s)
                    self._changed.notify_all()


def main(url: str, db: str, count: int) -> int:
    """Write one registration after another; print what was seen when."""
    feed, session, moments = Feed(url, db), requests.Session(), {}
    for number in range(count):
        doc = new_device(f"bench-{number}@example.com", "Bench", CREATED_AT, sha256=False).doc
        written_s = time.monotonic()
        session.put(f"{url}/{db}/{doc['_id']}", json=doc, timeout=LIMIT_S).raise_for_status()
        seen = feed.wait_for(doc["_id"], "confirming")
        moments[doc["_id"]] = {
            "written": written_s,
            "seen": seen["new"],
            "saved": seen["confirming"],
        }
        time.sleep(random.uniform(0, MAX_PAUSE_S))  # noqa: S311 - nothing is kept secret by it
    print(json.dumps(moments))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
