"""How many units of each price something takes: from the counted requests, and what is assumed."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench import cost
from chalicelib.handlers.all import registry
from local.system import ROOT

MONTH_S = 730 * 3600
MINUTE_S = 60
GB = 1e9

# Units by the keys of `prices.PRICES`.
Units = Mapping[str, float]


@dataclass(frozen=True)
class Assumed:
    """What is not counted, and had to be assumed.

    Attributes
    ----------
    window_s : float
        POLL_WINDOW_SECONDS.
    couchdb_ms, dynamodb_ms, ses_ms : float
        One request, there and back; a Lambda is paid while it waits.
    own_ms : float
        What a run computes beside.
    cold_share, cold_s : float
        The share of runs that start a Lambda, and for how long that is paid.
    log_bytes, api_log_bytes, poller_log_bytes : float
        What a run writes into its log, metrics among it, and what Lambda says of it.
    bytes_out_api, bytes_out_couchdb : float
        What a request sends to the internet. CouchDB is taken to be outside of AWS's network.
    waiting : int
        How many of Lambda's readers wait at each empty queue, each for 20 s: five, or fewer
        where it is quiet for long.
    item_bytes : float
        What a device leaves in DynamoDB: its owner's place in the feed, claims of two weeks.
    """

    window_s: float = 50
    couchdb_ms: float = 10
    dynamodb_ms: float = 5
    ses_ms: float = 60
    own_ms: float = 15
    cold_share: float = 0.02
    cold_s: float = 1.2
    log_bytes: float = 2000
    api_log_bytes: float = 500
    poller_log_bytes: float = 1200
    bytes_out_api: float = 3000
    bytes_out_couchdb: float = 700
    waiting: int = 5
    item_bytes: float = 1000


# A registration's requests to the API that ask for nothing behind it: what a replicator asks the
# mailbox beside its documents, and the device about where CouchDB is.
PLAIN_API_REQUESTS = 5

# What a device that is kept changes in a month, beside its channels' own documents: those travel
# between devices and CouchDB, and nothing of AWS ever hears of them.
UNROUTED_CHANGES = 10.0
KEPT: Mapping[str, float] = {
    "channel/new": 0.2,
    "channel/ready, nothing to do": 0.5,
    "channel/ready, another name": 0.1,
    "invitation/new": 0.1,
    "GET /invitation/{code}": 0.1,
    "POST /invitation/{code}": 0.1,
    "invitation/accepting, the guest's first": 0.1,
    "channel/closing, with a guest": 0.05,
    "device/revoking, the owner's document": 0.02,
    "device/revoking": 0.02,
}
ROUTED_WAVE, UNROUTED_WAVE = "poller, a wave: new", "poller, a wave: confirming"
AT_REST = "poller, a window at rest"
# One page of the scan is looked at in each run; each of its databases is an item that is read.
SCANNED_ITEMS = 100
_PAID_AS = {
    "DynamoDB read": "dynamodb reads",
    "DynamoDB write": "dynamodb writes",
    "SQS": "sqs",
    "SES": "ses",
}


def of_registration(assumed: Assumed) -> Units:
    """One registration, from the mailbox to the active device."""
    plain = {
        "api": PLAIN_API_REQUESTS,
        "data out": PLAIN_API_REQUESTS * assumed.bytes_out_api / GB,
        "logs": PLAIN_API_REQUESTS * assumed.api_log_bytes / GB,
        **_lambda(PLAIN_API_REQUESTS, 0, assumed),
    }
    return together([of_steps(cost.REGISTRATION, assumed), plain])


def of_kept_device(assumed: Assumed) -> Units:
    """A device that is kept for a month."""
    routed = sum(times for step, times in KEPT.items() if cost.own_of_lambda(step))
    steps = {**KEPT, ROUTED_WAVE: routed, UNROUTED_WAVE: UNROUTED_CHANGES}
    stored_gb = assumed.item_bytes / GB
    stored = {"dynamodb storage": stored_gb, "dynamodb backup": stored_gb}
    return together([of_steps(steps, assumed), stored])


def at_rest(assumed: Assumed) -> Units:
    """A month in which nothing happens."""
    runs = MONTH_S / MINUTE_S
    window = cost.kinds(cost.kept()[AT_REST])
    # What is counted is a window of 50 s; the lease is taken and given back in any.
    writes = 2 + (window["DynamoDB write"] - 2) * assumed.window_s / 50
    routes = len(list(registry))
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    return {
        "events": runs,
        "lambda requests": runs,
        "lambda time": runs * (assumed.window_s + 1) * poller_memory_gb(),
        "dynamodb writes": runs * writes,
        "dynamodb reads": runs * (window["DynamoDB read"] - 1 + SCANNED_ITEMS),
        "secret reads": runs * window["Secrets Manager"],
        "secrets": 1,
        "sqs": routes * assumed.waiting * MONTH_S / 20,
        "logs": runs * assumed.poller_log_bytes / GB,
        # Of the poller, of mails and what came of them, of transitions: saved, or not.
        "metrics": 5 + 6 + 1 + 2 * routes,
        "alarms": template.count("Type: AWS::CloudWatch::Alarm"),
        "dashboards": template.count("Type: AWS::CloudWatch::Dashboard"),
    }


def of_steps(steps: Mapping[str, float], assumed: Assumed) -> Units:
    """So many of each step."""
    return together(times(count, _of_step(step, assumed)) for step, count in steps.items())


def together(many: Iterable[Units]) -> Units:
    """All of them."""
    held: dict[str, float] = {}
    for units in many:
        for key, count in units.items():
            held[key] = held.get(key, 0.0) + count
    return held


def times(often: float, units: Units) -> Units:
    """So often the same."""
    return {key: often * count for key, count in units.items()}


def mean_wait_s(window_s: float) -> float:
    """How long a change waits on average until a run sees it, if it may come at any moment."""
    return max(0.0, MINUTE_S - window_s) ** 2 / (2 * MINUTE_S)


def handler_memory_gb() -> float:
    """What .chalice/config.json gives each function."""
    config = json.loads((ROOT / ".chalice" / "config.json").read_text(encoding="utf-8"))
    return float(config["lambda_memory_size"]) / 1024


def poller_memory_gb() -> float:
    """What template.yaml gives the poller."""
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    [megabytes] = re.findall(r"MemorySize: (\d+)", template)
    return float(megabytes) / 1024


def _of_step(step: str, assumed: Assumed) -> Units:
    counts = cost.kinds(cost.kept()[step])
    to_couchdb = counts["CouchDB read"] + counts["CouchDB write"]
    units = {
        **{key: float(counts[kind]) for kind, key in _PAID_AS.items()},
        "secret reads": counts["Secrets Manager"] * assumed.cold_share,
        "ssm": counts["SSM"] * assumed.cold_share,
        "data out": to_couchdb * assumed.bytes_out_couchdb / GB,
    }
    units["sqs"] += cost.own_of_lambda(step)
    if step.startswith("poller"):
        return units  # it runs whether there is something to do or not
    waits_ms = (
        to_couchdb * assumed.couchdb_ms
        + (counts["DynamoDB read"] + counts["DynamoDB write"]) * assumed.dynamodb_ms
        + counts["SES"] * assumed.ses_ms
    )
    is_api = step.startswith(("GET ", "POST "))
    log_bytes = assumed.api_log_bytes if is_api else assumed.log_bytes
    units |= {"logs": log_bytes / GB, **_lambda(1, waits_ms, assumed)}
    if is_api:
        units["api"] = 1
        units["data out"] += assumed.bytes_out_api / GB
    return units


def _lambda(runs: float, waits_ms: float, assumed: Assumed) -> Units:
    """So many runs of a handler's or a route's Lambda, each of which waits so long."""
    run_s = (assumed.own_ms + waits_ms) / 1000 + assumed.cold_share * assumed.cold_s
    return {"lambda requests": runs, "lambda time": runs * run_s * handler_memory_gb()}
