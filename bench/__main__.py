"""`make bench`: compare Syncpoint with the floor under it, as ratios; write docs/performance.md."""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module

from bench.report import Finding, write
from bench.setup import Bench, couchdb, environment
from local.errors import LocalError
from local.system import prepare_process

NAMES = ("feed", "latency", "confirmations", "channels", "starts", "many_feeds", "fair")


def main() -> int:
    """Measure what was asked for and print it; write the page unless the run is quick.

    Returns
    -------
    int
        1 if there is no CouchDB, with a line on stderr that says why; else 0.
    """
    prepare_process()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="take seconds, and write nothing")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    asked = parser.parse_args()
    try:
        _run(asked.only, is_quick=asked.quick)
    except LocalError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


def _run(names: Sequence[str], *, is_quick: bool) -> None:
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    findings: dict[str, Finding] = {}
    with couchdb() as (couch_url, folder):
        about = environment(couch_url)
        print("\n".join(f"{key}: {value}" for key, value in about.items()), flush=True)
        for name in names:
            say(name)
            # Not imported before `prepare_process`: the Lambdas' code reads its log level then.
            measure = import_module(f"bench.{name}").measure
            findings[name] = measure(Bench(is_quick, couch_url, folder, say))
            print(f"\n{name}\n\n{findings[name].tables()}", flush=True)
    if not is_quick:
        write(findings, about)


if __name__ == "__main__":
    sys.exit(main())
