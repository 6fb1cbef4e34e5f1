"""`make load`: ten thousand registrations, and five hundred at once; fails if a check does.

The first runs the poller and the handlers that ship over AWS in memory and a CouchDB, ten devices
an owner; the second the whole local system. COUCHDB_URL names a CouchDB to use, and to leave as it
was; else an embedded one is started.
"""

import argparse
import logging
import sys

from bench.load_at_once import register_at_once
from bench.load_couch import CheckFailed, opened
from bench.load_many import FLAT_BYTES, Figures, register_many
from chalicelib.couch import CouchError
from local.errors import LocalError
from local.system import prepare_process

_MB = 1024 * 1024


def main() -> int:
    """Put the load on, print what was measured; 0, or 1 with the check that failed on stderr."""
    asked = _arguments()
    prepare_process()
    logging.disable(logging.ERROR)  # of what is tried again; here it is counted
    try:
        if asked.registrations:
            with opened() as couch:
                _print(register_many(couch, asked.registrations, _tell))
        if asked.at_once:
            with opened() as couch:
                seconds = register_at_once(couch, asked.at_once, _tell)
            print(f"{asked.at_once} registrations at once: all active after {seconds:.0f} s,")
            print(f"  {asked.at_once} mails, no dead letters", flush=True)
    except (CheckFailed, CouchError, LocalError) as exc:
        print(f"\nload failed: {exc}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--registrations", type=int, default=10_000, help="0 leaves them out")
    parser.add_argument("--at-once", type=int, default=500, help="0 leaves them out")
    return parser.parse_args()


def _tell(what: str) -> None:
    print(f"  {what}", file=sys.stderr, flush=True)


def _print(figures: Figures) -> None:
    count = figures.registrations
    rows = {
        "all active after": f"{figures.seconds:.0f} s",
        "registrations/s": f"{count / figures.seconds:.1f}",
        "mails, each to its own device": f"{figures.mails}",
        "dead letters, claims left running": "0, 0",
        "batches tried again": f"{figures.again}",
    }
    if figures.memory_bytes:
        first, last = figures.memory_bytes[0] / _MB, figures.memory_bytes[-1] / _MB
        rows["memory at 10 % and at the end"] = (
            f"{first:.0f} MB, {last:.0f} MB (flat: {FLAT_BYTES // _MB} MB more at the most)"
        )
    rows |= {
        f"requests to {service} per registration": f"{number / count:.2f}"
        for service, number in sorted(figures.requests.items())
    }
    print(f"{count} registrations")
    for name, value in rows.items():
        print(f"  {name:<45} {value}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
