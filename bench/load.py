"""`make load`: register ten thousand devices, and five hundred at once; fail if a check does.

The first runs the poller and the handlers that ship over AWS in memory and a CouchDB, ten devices
an owner; the second runs the whole local system. COUCHDB_URL names a CouchDB to use, and to leave
as it was; without it an embedded one is started.
"""

import argparse
import logging
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from bench.backend import connect
from bench.load_at_once import register_at_once
from bench.load_many import FLAT_BYTES, Figures, register_many
from bench.people import CheckFailed
from bench.setup import couchdb, is_lent
from chalicelib.couch import CouchError, Server
from local.cleanup import remove_all_of
from local.errors import LocalError
from local.system import prepare_process


def main() -> int:
    """Put the load on and print the figures; return 1 if a check fails, with it on stderr."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--registrations", type=int, default=10_000, help="0 leaves them out")
    parser.add_argument("--at-once", type=int, default=500, help="0 leaves them out")
    asked = parser.parse_args()
    prepare_process()
    logging.disable(logging.ERROR)  # retries are counted here, not logged
    try:
        if asked.registrations:
            with _installation() as (url, control_db):
                make_server = partial(connect, url)
                figures = register_many(control_db, make_server, asked.registrations, _say)
            _print(figures, asked.registrations)
        if asked.at_once:
            with _installation() as (url, control_db):
                seconds = register_at_once(url, control_db, asked.at_once, _say)
            print(f"{asked.at_once} registrations at once: all active after {seconds:.0f} s,")
            print(f"  {asked.at_once} mails, no dead letters", flush=True)
    except (CheckFailed, CouchError, LocalError) as exc:
        print(f"\nload failed: {exc}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _installation() -> Iterator[tuple[str, str]]:
    """Yield a CouchDB's URL and the name of an empty control database on it."""
    name = f"syncpoint-load-{uuid.uuid4().hex[:8]}"
    with couchdb() as (url, _), closing(Server(url)) as server:
        try:
            server.database("_users").create()
            server.database(name).create()
            yield url, name
        finally:
            if is_lent():
                remove_all_of(server, name)


def _say(what: str) -> None:
    print(f"  {what}", file=sys.stderr, flush=True)


def _print(figures: Figures, count: int) -> None:
    rows = {
        "all active after": f"{figures.seconds:.0f} s",
        "registrations/s": f"{count / figures.seconds:.1f}",
        "mails, each to its own device": f"{count}",
        "dead letters, running claims": "0, 0",
        "batches tried again": f"{figures.retried}",
    }
    if figures.memory_bytes:
        first, last = (f"{figures.memory_bytes[wave] / 2**20:.0f} MB" for wave in (0, -1))
        most = FLAT_BYTES // 2**20
        rows["memory at 10 % and at the end"] = f"{first}, {last} (allowed: {most} MB more)"
    for service, number in sorted(figures.requests.items()):
        rows[f"requests to {service} per registration"] = f"{number / count:.2f}"
    print(f"{count} registrations")
    for name, value in rows.items():
        print(f"  {name:<45} {value}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
