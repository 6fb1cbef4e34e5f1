"""What each step costs in requests: kept in costs.json, and held there by a test.

``python -m bench.cost`` counts them anew and says what has changed; ``--write`` keeps that.
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

# What a request is paid as, by the beginning of its name.
KINDS = {
    "couchdb.GET": "CouchDB read",
    "couchdb.POST": "CouchDB read",  # of what the cloud asks: _dbs_info, _find
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
# Asked when a Lambda starts, and every five minutes while it lives.
COLD = ("Secrets Manager", "SSM")

# A registration, one alone: its steps, and how often each. The owner answers the mail after two
# minutes, and the device looks every ten seconds; the page waits twice until it says "active".
REGISTRATION: Mapping[str, int] = {
    "POST /mailbox/_revs_diff": 1,
    "POST /mailbox/_bulk_docs": 1,
    "poller, a wave: new": 1,
    "device/new": 1,
    "GET /mailbox/{device}": 12,
    "poller, a wave: confirming": 1,
    "GET /confirm/{code}": 1,
    "POST /confirm/{code}": 1,
    "GET /confirm/{code}, answered": 2,
    "poller, a wave: clicked": 1,
    "confirm/clicked": 1,
    "poller, a wave: confirmed": 1,
    "device/confirmed": 1,
    "poller, a wave: active": 1,
}
# Lambda itself asks SQS for each batch, and deletes it.
LAMBDAS_OWN_PER_BATCH = 2


def kept() -> Costs:
    """The requests of each step, as they are written down."""
    costs: Costs = json.loads(COSTS.read_text(encoding="utf-8"))
    return costs


def kinds(requests: Iterable[str]) -> Counter[str]:
    """How many requests there are of each kind.

    Raises
    ------
    KeyError
        If one is of no kind that is known: then it has no price either.
    """
    return Counter(_kind(request) for request in requests)


def of_registration(costs: Costs) -> Counter[str]:
    """All requests of a registration, Lambda's own to SQS among them."""
    whole: Counter[str] = Counter()
    for step, times in REGISTRATION.items():
        for kind, count in kinds(costs[step]).items():
            whole[kind] += times * count
        whole["SQS"] += times * own_of_lambda(step)
    return whole


def own_of_lambda(step: str) -> int:
    """The requests that Lambda sends to SQS to have a step run; none where no queue feeds it."""
    is_fed = not step.startswith(("GET ", "POST ", "poller"))
    return LAMBDAS_OWN_PER_BATCH if is_fed else 0


def steps_table() -> str:
    """The steps with their counts, in Markdown."""
    costs = kept()
    return table(["step", *COLUMNS], [_row(step, kinds(asked)) for step, asked in costs.items()])


def registration_table() -> str:
    """A whole registration with its counts, in Markdown."""
    costs, rows = kept(), []
    for step, times in REGISTRATION.items():
        counts = Counter({kind: times * n for kind, n in kinds(costs[step]).items()})
        counts["SQS"] += times * own_of_lambda(step)
        rows.append(_row(step + (f" × {times}" if times > 1 else ""), counts))
    return table(["step", *COLUMNS], [*rows, _row("**together**", of_registration(costs))])


def lists() -> str:
    """Every step's requests in their order, in Markdown; without those of a cold start."""
    rows = [[step, ", ".join(_warm(asked)) or "-"] for step, asked in kept().items()]
    return table(["step", "requests, in their order"], rows)


def main() -> int:
    """Count, and say what differs from what is written down; 1 if anything does."""
    from bench.cost_story import counted  # with the tests' fakes: nobody else needs them

    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the counts down")
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
    raise KeyError(f"{request} is of no kind that is known")


def _row(step: str, counts: Mapping[str, int]) -> list[str]:
    return [step, *(str(counts[kind]) if counts.get(kind) else "" for kind in COLUMNS)]


def _warm(requests: Iterable[str]) -> list[str]:
    warm = [request for request in requests if _kind(request) not in COLD]
    return [f"`{request.removeprefix('couchdb.')}`" for request in warm]


if __name__ == "__main__":
    sys.exit(main())
