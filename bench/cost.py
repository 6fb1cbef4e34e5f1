"""Count the requests of each step and compare them with costs.json; a test does the same.

``python -m bench.cost`` prints what has changed; ``--write`` accepts it.
"""

import argparse
import contextlib
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.report import table

COSTS = Path(__file__).parent / "costs.json"

Costs = Mapping[str, list[str]]

# The kind of a request, by the beginning of its name.
KINDS = {
    "couchdb.GET": "CouchDB read",
    "couchdb.POST": "CouchDB read",  # only _all_docs, _dbs_info and _find are sent
    "couchdb.PUT": "CouchDB write",
    "couchdb.DELETE": "CouchDB write",
    "dynamodb.GetItem": "DynamoDB read",
    "dynamodb.BatchGetItem": "DynamoDB read",
    "dynamodb.PutItem": "DynamoDB write",
    "dynamodb.UpdateItem": "DynamoDB write",
    "dynamodb.DeleteItem": "DynamoDB write",
    "sqs.": "SQS",
    "sesv2.": "SES",
    "secretsmanager.": "Secrets Manager",
    "ssm.": "SSM",
}
COLUMNS = list(dict.fromkeys(KINDS.values()))

# The steps of one registration alone, and how often each runs. The owner answers the mail after two
# minutes, the device asks every ten seconds, and the page reloads twice until it shows "active".
REGISTRATION: Mapping[str, int] = {
    "POST /registrations/_revs_diff": 1,
    "POST /registrations/_bulk_docs": 1,
    "poller, a wave: new": 1,
    "device/new": 1,
    "GET /registrations/{device}": 12,
    "poller, a wave: confirming": 1,
    "GET /confirm/{token}": 1,
    "POST /confirm/{token}": 1,
    "GET /confirm/{token}, answered": 2,
    "poller, a wave: clicked": 1,
    "confirm/clicked": 1,
    "poller, a wave: confirmed": 1,
    "device/confirmed": 1,
    "poller, a wave: active": 1,
}
# Lambda itself receives each batch from SQS and deletes it.
LAMBDAS_OWN_PER_BATCH = 2


def kept() -> Costs:
    """Read the requests of each step from costs.json."""
    costs: Costs = json.loads(COSTS.read_text(encoding="utf-8"))
    return costs


def kinds(requests: Iterable[str]) -> Counter[str]:
    """Count the requests of each kind; raise `KeyError` if one is of no known kind."""
    return Counter(_kind(request) for request in requests)


def of_registration(costs: Costs) -> Counter[str]:
    """Count the requests of a whole registration, including Lambda's own to SQS."""
    whole: Counter[str] = Counter()
    for step, times in REGISTRATION.items():
        for kind, count in kinds(costs[step]).items():
            whole[kind] += times * count
        whole["SQS"] += times * own_of_lambda(step)
    return whole


def own_of_lambda(step: str) -> int:
    """Count the requests that Lambda sends to SQS to run a step: none if no queue feeds it."""
    is_fed = not step.startswith(("GET ", "POST ", "poller"))
    return LAMBDAS_OWN_PER_BATCH if is_fed else 0


def steps_table() -> str:
    """Write the steps with their counts as a table in Markdown."""
    costs = kept()
    return table(["step", *COLUMNS], [_row(step, kinds(asked)) for step, asked in costs.items()])


def registration_table() -> str:
    """Write a whole registration with its counts as a table in Markdown."""
    costs, rows = kept(), []
    for step, times in REGISTRATION.items():
        counts = Counter({kind: times * n for kind, n in kinds(costs[step]).items()})
        counts["SQS"] += times * own_of_lambda(step)
        rows.append(_row(step + (f" × {times}" if times > 1 else ""), counts))
    return table(["step", *COLUMNS], [*rows, _row("**total**", of_registration(costs))])


def main() -> int:
    """Count, and print what differs from costs.json; return 1 if anything does."""
    from bench.cost_story import counted  # only here are the tests' fakes needed

    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__)
    parser.add_argument("--write", action="store_true", help="accept the counts")
    asked = parser.parse_args()
    logging.disable(logging.INFO)
    with contextlib.redirect_stdout(io.StringIO()):  # metrics
        costs = counted()
    before = kept() if COSTS.exists() else {}
    changed = [step for step in {**before, **costs} if before.get(step) != costs.get(step)]
    if asked.write:
        COSTS.write_text(json.dumps(costs, indent=1) + "\n", encoding="utf-8")
    for step in changed:
        print(f"{step}: {before.get(step, 'new')} → {costs.get(step, 'gone')}")
    print(registration_table())
    return 1 if changed and not asked.write else 0


def _kind(request: str) -> str:
    for beginning, kind in KINDS.items():
        if request.startswith(beginning):
            return kind
    raise KeyError(f"{request} is of no known kind")


def _row(step: str, counts: Mapping[str, int]) -> list[str]:
    return [step, *(str(counts[kind]) if counts.get(kind) else "" for kind in COLUMNS)]


if __name__ == "__main__":
    sys.exit(main())
