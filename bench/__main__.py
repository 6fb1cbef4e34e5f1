"""`make bench`: Syncpoint beside the floor under it, as ratios; writes docs/performance.md."""

import argparse
import sys
import time
from collections.abc import Callable

from bench import channels, confirmations, feed, latency, many_feeds, starts
from bench.environment import environment
from bench.item import Bench, opened
from bench.report import Finding, goals_table, table, write
from chalicelib.couch import Server
from local.system import prepare_process

ITEMS: dict[str, Callable[[Bench], Finding]] = {
    "feed": feed.measure,
    "latency": latency.measure,
    "confirmations": confirmations.measure,
    "channels": channels.measure,
    "starts": starts.measure,
    "many-feeds": many_feeds.measure,
}


def main() -> int:
    """Measure what was asked for, print it, and unless it was quick write it down."""
    asked = _arguments()
    prepare_process()
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    findings: dict[str, Finding] = {}
    with opened(is_quick=asked.quick, say=say) as bench:
        about = environment(_version(bench.couch_url))
        print("\n".join(f"{key}: {value}" for key, value in about.items()), flush=True)
        for name in asked.only:
            say(name)
            findings[name] = ITEMS[name](bench)
            _print(name, findings[name])
    if not asked.quick:
        write(findings, about)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds for each item, and nothing is written"
    )
    parser.add_argument(
        "--only", type=_names, default=list(ITEMS), metavar="ITEM,…", help=", ".join(ITEMS)
    )
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(ITEMS):
        raise argparse.ArgumentTypeError(f"no item {', '.join(sorted(unknown))}")
    return names


def _version(couch_url: str) -> str:
    server = Server(couch_url)
    said = server.info()
    server.close()
    embedded = said.get("express-pouchdb")
    return f"embedded: express-pouchdb {said.get('version', '')}" if embedded else said["version"]


def _print(name: str, finding: Finding) -> None:
    print(f"\n{name}\n\n{table(finding.head, finding.rows)}\n\n{goals_table(finding.goals)}")
    print("\n".join(finding.notes), flush=True)


if __name__ == "__main__":
    sys.exit(main())
