"""`make bench`: Syncpoint beside the floor under it, as ratios; writes docs/performance.md."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping

from bench.environment import environment
from bench.item import Bench, opened
from bench.report import Finding, goals_table, table, write
from chalicelib.couch import CouchError, Server
from local.errors import LocalError, refusal
from local.system import prepare_process

Items = Mapping[str, Callable[[Bench], Finding]]


def main() -> int:
    """Measure what was asked for, print it, and unless it was quick write it down.

    Returns
    -------
    int
        1 if there is no CouchDB, with a line on stderr that says why; else 0.
    """
    prepare_process()
    items = load_items()
    asked = _arguments(items)
    try:
        _run(items, asked)
    except LocalError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


def load_items() -> Items:
    """What is measured, by name.

    Imported when the process is prepared: the Lambdas' code asks at once how much it is to log.
    """
    from bench import channels, confirmations, feed, latency, many_feeds, starts

    return {
        "feed": feed.measure,
        "latency": latency.measure,
        "confirmations": confirmations.measure,
        "channels": channels.measure,
        "starts": starts.measure,
        "many-feeds": many_feeds.measure,
    }


def _run(items: Items, asked: argparse.Namespace) -> None:
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    findings: dict[str, Finding] = {}
    with opened(is_quick=asked.quick, say=say) as bench:
        about = environment(_version(bench.couch_url))
        print("\n".join(f"{key}: {value}" for key, value in about.items()), flush=True)
        for name in asked.only:
            say(name)
            findings[name] = items[name](bench)
            _print(name, findings[name])
    if not asked.quick:
        write(findings, about)


def _arguments(items: Items) -> argparse.Namespace:
    def names(text: str) -> list[str]:
        asked = text.split(",")
        if unknown := set(asked) - set(items):
            raise argparse.ArgumentTypeError(f"no item {', '.join(sorted(unknown))}")
        return asked

    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds for each item, and nothing is written"
    )
    parser.add_argument(
        "--only", type=names, default=list(items), metavar="ITEM,…", help=", ".join(items)
    )
    return parser.parse_args()


def _version(couch_url: str) -> str:
    server = Server(couch_url)
    try:
        said = server.info()
    except CouchError as exc:
        raise LocalError(refusal(server.url, exc)) from exc
    finally:
        server.close()
    embedded = said.get("express-pouchdb")
    return f"embedded: express-pouchdb {said.get('version', '')}" if embedded else said["version"]


def _print(name: str, finding: Finding) -> None:
    print(f"\n{name}\n\n{table(finding.head, finding.rows)}\n\n{goals_table(finding.goals)}")
    print("\n".join(finding.notes), flush=True)


if __name__ == "__main__":
    sys.exit(main())
