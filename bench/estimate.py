"""`make estimate`: what Syncpoint costs in US dollars, and which limit it reaches first.

Arithmetic over the counted requests (bench/costs.json), prices and assumptions; nothing was
measured on AWS. docs/scale.md shows the result of one day, and no test compares the two.
docs/cost.md has `bounds_table`, which is generated.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping

from bench import cost
from bench.report import table
from chalicelib.engine.batch import MAX_TRIES
from chalicelib.handlers.all import registry
from chalicelib.settings import PollerSettings, Settings

MILLION = 1_000_000
GB = 1e9
DAY_S, MONTH_S = 24 * 3600, 730 * 3600
RUNS_A_MONTH = MONTH_S / 60  # of the poller

# The service, and US dollars for one unit: list prices of us-east-1, read on 2026-11-25 from the
# pages that docs/scale.md names. What is not here (SSM, EventBridge, SNS) costs nothing.
PRICES = {
    "lambda requests": ("Lambda", 0.20 / MILLION),
    "lambda GB-seconds": ("Lambda", 0.0000166667),
    "api requests": ("API Gateway", 3.50 / MILLION),
    "sqs requests": ("SQS", 0.40 / MILLION),
    "mails": ("SES", 0.10 / 1000),
    "write units": ("DynamoDB", 0.625 / MILLION),
    "read units": ("DynamoDB", 0.125 / MILLION),
    "stored GB-months": ("DynamoDB", 0.25 + 0.20),  # with point-in-time recovery
    "GB of logs": ("CloudWatch", 0.50),
    "metrics": ("CloudWatch", 0.30),
    "alarms": ("CloudWatch", 0.10),
    "dashboards": ("CloudWatch", 3.00),
    "secrets": ("Secrets Manager", 0.40),
    "secret reads": ("Secrets Manager", 0.05 / 10_000),
    "GB sent": ("Data transfer", 0.09),
}
Units = Mapping[str, float]

# Assumed of a run: how long it waits for each request (a Lambda is paid meanwhile) and computes.
COUCHDB_S, DYNAMODB_S, SES_S, OWN_S = 0.010, 0.005, 0.060, 0.015
COLD_SHARE, COLD_S = 0.02, 1.2
MEMORY_GB = 0.25  # of every function: .chalice/config.json, template.yaml
LOG_BYTES, API_LOG_BYTES, POLLER_LOG_BYTES = 2000, 500, 1200
API_BYTES, COUCHDB_BYTES = 3000, 700  # sent per request; CouchDB is dependencies of AWS's network
DEVICE_BYTES = 1000  # what a device leaves in the table
WAITING_READERS, WAIT_S = 5, 20  # Lambda's own, at each empty queue
SCANNED_DATABASES = 100  # by each run of the poller
WINDOW_S = 50  # POLL_WINDOW_SECONDS

RUNS_AN_HOUR = 60  # of the poller
FAILED_TRY_REQUESTS = 3  # receive, ask for the queue's URL, hide; one that succeeds sends two

# Assumed of people and devices.
PLAIN_REQUESTS = 5  # of a registration to the API alone: checkpoints, CouchDB's address
KEPT = {  # what a kept device does in a month
    "channel/new": 0.2,
    "channel/ready, nothing to do": 0.5,
    "channel/ready, another name": 0.1,
    "invitation/new": 0.1,
    "GET /invitation/{token}": 0.1,
    "POST /invitation/{token}": 0.1,
    "invitation/accepting, the guest's first": 0.1,
    "channel/closing, with a guest": 0.05,
    "device/revoking, the owner's document": 0.02,
    "device/revoking": 0.02,
}
UNROUTED_CHANGES = 10.0  # documents a month that the poller reads and no transition handles
DEVICES_OF_AN_OWNER, DATABASES_OF_AN_OWNER = 3, 3
ONLINE = 0.3  # of all devices, at the peak
WRITES_A_DAY = 50  # of a device, into its channels
REGISTERED_A_MONTH = 0.05  # of all devices
PEAK = 5  # the busiest second, compared with the mean


def registration() -> Units:
    """Count the units of one registration, from the first request to the active device."""
    return _sum([_steps(cost.REGISTRATION), _times(PLAIN_REQUESTS, _run(0, is_api=True))])


def kept_device() -> Units:
    """Count the units of a device that is kept for a month."""
    routed = sum(times for step, times in KEPT.items() if cost.own_of_lambda(step))
    waves = {"poller, a wave: new": routed, "poller, a wave: confirming": UNROUTED_CHANGES}
    return _sum([_steps({**KEPT, **waves}), {"stored GB-months": DEVICE_BYTES / GB}])


def at_rest(window_s: float = WINDOW_S) -> Units:
    """Count the units of a month without any change."""
    routes = len(list(registry))
    window = cost.kinds(cost.kept()["poller, a window at rest"])
    # The counted window has 50 s. A window of any length takes its lease and gives it back.
    writes = 2 + (window["DynamoDB write"] - 2) * window_s / 50
    return {
        "lambda requests": RUNS_A_MONTH,
        "lambda GB-seconds": RUNS_A_MONTH * (window_s + 1) * MEMORY_GB,
        "write units": RUNS_A_MONTH * writes,
        "read units": RUNS_A_MONTH * (window["DynamoDB read"] - 1 + SCANNED_DATABASES),
        "secret reads": RUNS_A_MONTH * window["Secrets Manager"],
        "secrets": 1,
        "sqs requests": routes * WAITING_READERS * MONTH_S / WAIT_S,
        "GB of logs": RUNS_A_MONTH * POLLER_LOG_BYTES / GB,
        "metrics": 12 + 2 * routes,
        "alarms": 10,
        "dashboards": 1,
    }


def usd(units: Units, service: str | None = None) -> float:
    """Price units in US dollars, all of them or those of one service."""
    priced = [(PRICES[unit], count) for unit, count in units.items()]
    return sum(count * usd for (name, usd), count in priced if service in (None, name))


def money_table() -> str:
    """Write a table of the dollars by service."""
    columns = {
        "a month at rest": at_rest(),
        "a million registrations": _times(MILLION, registration()),
        "a million devices, a month": _times(MILLION, kept_device()),
    }
    services = dict.fromkeys(service for service, _ in PRICES.values())
    rows = [
        [service or "**total**", *(f"{usd(units, service):,.2f}" for units in columns.values())]
        for service in (*services, None)
    ]
    return table(["USD", *columns], rows)


def window_table() -> str:
    """Write a table of the price of the poller's window and of how long a change waits."""
    rows = [
        [f"{window_s}", f"{usd(at_rest(window_s)):.2f}", f"{(60 - window_s) ** 2 / 120:.1f}"]
        for window_s in (0, 10, 20, 30, 40, 50)
    ]
    return table(["window, s", "a month at rest, USD", "a change waits on average, s"], rows)


def limits_table() -> str:
    """Write a table of how many devices each limit has room for, the lowest first."""
    rows = sorted((limit / per_device, name, limit) for name, limit, per_device in _limits())
    return table(
        ["at the busiest second", "limit", "reached with so many devices"],
        [[name, f"{limit:,}", f"{float(f'{room:.2g}'):,.0f}"] for room, name, limit in rows],
    )


def bounds_table() -> str:
    """Write a table of the most that one owner can cause in an hour, by the defaults of settings.

    The dollars are those of the most expensive step, run for each try of each message.
    """
    default = {
        one.name: int(one.default or 0)
        for one in (*Settings.variables(), *PollerSettings.variables())
        if one.name.endswith(("_PER_OWNER", "_PER_OWNER_HOUR"))
    }
    messages = RUNS_AN_HOUR * default["POLL_MESSAGES_PER_OWNER"]
    tries, mails = MAX_TRIES * messages, default["MAILS_PER_OWNER_HOUR"]
    steps = [{**_step(step), "mails": 0.0} for step in cost.kept() if cost.own_of_lambda(step)]
    sqs = messages + FAILED_TRY_REQUESTS * tries
    units = _sum([_times(tries, max(steps, key=usd)), {"mails": mails}])
    rows = [
        ["messages", messages, f"{RUNS_AN_HOUR} runs of the poller × `POLL_MESSAGES_PER_OWNER`"],
        ["runs of a Lambda", tries, f"each message is tried {MAX_TRIES} times at most"],
        ["requests to SQS", sqs, "each message is sent; a failed try receives, asks and hides"],
        ["mails", mails, "`MAILS_PER_OWNER_HOUR`"],
        ["new databases", default["CHANNELS_PER_OWNER_HOUR"], "`CHANNELS_PER_OWNER_HOUR`"],
    ]
    shown = [[f"{what}", f"{bound:,}", f"{why}"] for what, bound, why in rows]
    dollars = usd({**units, "sqs requests": sqs})
    shown.append(["US dollars", f"{dollars:.2f}", "if each run were the most expensive step"])
    return table(["an owner in an hour", "at most", "why"], shown)


def _limits() -> list[tuple[str, int, float]]:
    """List each limit: its name, its value, and how much of it one device takes at the peak."""
    owner = 1 / DEVICES_OF_AN_OWNER
    is_open = 1 - (1 - ONLINE) ** DEVICES_OF_AN_OWNER  # the share of owners with a device online
    a_second = PEAK / MONTH_S
    writes = WRITES_A_DAY / DAY_S * PEAK
    month = _sum([_times(REGISTERED_A_MONTH, registration()), kept_device()])
    changed = UNROUTED_CHANGES + 2 * REGISTERED_A_MONTH
    return [
        ("CouchDB cluster: connections of replications", 98_304, ONLINE * DATABASES_OF_AN_OWNER),
        ("CouchDB cluster: open databases", 90_000, owner * is_open * DATABASES_OF_AN_OWNER),
        ("CouchDB cluster: databases", 300_000, owner * DATABASES_OF_AN_OWNER),
        ("CouchDB cluster: documents written a second", 2_000, writes),
        ("poller: changed control databases a second", 40, changed * a_second),
        ("poller: rows of _db_updates a second", 10_000, writes),
        ("AWS account: mails a second", 14, month["mails"] * a_second),
        ("AWS account: write units of the table a second", 4_000, month["write units"] * a_second),
    ]


def _steps(steps: Mapping[str, float]) -> Units:
    return _sum(_times(times, _step(step)) for step, times in steps.items())


def _step(step: str) -> Units:
    counts = cost.kinds(cost.kept()[step])
    couchdb = counts["CouchDB read"] + counts["CouchDB write"]
    dynamodb = counts["DynamoDB read"] + counts["DynamoDB write"]
    units = {
        "read units": counts["DynamoDB read"],
        "write units": counts["DynamoDB write"],
        "sqs requests": counts["SQS"] + cost.own_of_lambda(step),
        "mails": counts["SES"],
        "secret reads": counts["Secrets Manager"] * COLD_SHARE,
        "GB sent": couchdb * COUCHDB_BYTES / GB,
    }
    if step.startswith("poller"):
        return units  # the poller runs whether there is a change or not
    wait_s = couchdb * COUCHDB_S + dynamodb * DYNAMODB_S + counts["SES"] * SES_S
    return _sum([units, _run(wait_s, is_api=step.startswith(("GET ", "POST ")))])


def _run(wait_s: float, *, is_api: bool) -> Units:
    run_s = OWN_S + wait_s + COLD_SHARE * COLD_S
    return {
        "lambda requests": 1,
        "lambda GB-seconds": run_s * MEMORY_GB,
        "api requests": int(is_api),
        "GB sent": is_api * API_BYTES / GB,
        "GB of logs": (API_LOG_BYTES if is_api else LOG_BYTES) / GB,
    }


def _times(factor: float, units: Units) -> Units:
    return {unit: factor * count for unit, count in units.items()}


def _sum(many: Iterable[Units]) -> Units:
    total: defaultdict[str, float] = defaultdict(float)
    for units in many:
        for unit, count in units.items():
            total[unit] += count
    return total


def main() -> int:
    """Print the tables."""
    print(money_table(), window_table(), limits_table(), bounds_table(), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
