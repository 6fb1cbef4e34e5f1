"""What saturates first as devices grow: what is asked of each part at the peak, over its limit.

``python -m bench.scale`` prints it.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from bench.money_units import (
    MONTH_S,
    UNROUTED_CHANGES,
    Assumed,
    handler_memory_gb,
    of_kept_device,
    of_registration,
)
from bench.report import table

DEVICES = (1_000_000, 10_000_000, 100_000_000)

# What is assumed of people and their devices.
DEVICES_OF_AN_OWNER = 3
CHANNELS_OF_AN_OWNER = 2
ONLINE = 0.3  # of all devices, at the peak
CHANNEL_CHANGES_A_DAY = 50  # of a device, into its channels
REGISTERED_A_MONTH = 0.05  # of the devices that there are
PEAK = 5  # the busiest second, over the mean

DATABASES_OF_AN_OWNER = 1 + CHANNELS_OF_AN_OWNER
NODES = 3
DAY_S = 24 * 3600
# What a poller takes for a database that changed: a page of its feed, its messages, its seq.
FOLLOW_S = 0.025


class Of(StrEnum):
    """What a limit is a limit of, and so what more of helps."""

    CLUSTER = "a CouchDB cluster"
    POLLER = "a poller"
    ACCOUNT = "an AWS account"


@dataclass(frozen=True)
class Part:
    """Something that has a limit.

    Attributes
    ----------
    demand : callable
        What so many devices ask of it at the peak.
    source : str
        Where the limit is from.
    """

    name: str
    of: Of
    demand: Callable[[float], float]
    limit: float
    source: str

    def fills(self, devices: float) -> float:
        """How many times over its limit is used up."""
        return self.demand(devices) / self.limit


def _a_second(a_month: float) -> Callable[[float], float]:
    """At the peak, of what a device does in a month."""
    return lambda devices: devices * a_month / MONTH_S * PEAK


_REGISTRATION, _KEPT = of_registration(Assumed()), of_kept_device(Assumed())


def _units(key: str) -> float:
    """Units of a price that a device takes in a month, its registration among it."""
    return REGISTERED_A_MONTH * _REGISTRATION.get(key, 0.0) + _KEPT.get(key, 0.0)


_OWNERS_ONLINE = 1 - (1 - ONLINE) ** DEVICES_OF_AN_OWNER
_LAMBDA_QUOTAS = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"

PARTS = (
    Part(
        "connections held by continuous replications",
        Of.CLUSTER,
        lambda devices: devices * ONLINE * DATABASES_OF_AN_OWNER,
        NODES * 65_536 / 2,
        "Erlang's ports, half of them for files: https://github.com/apache/couchdb/pull/470",
    ),
    Part(
        "databases open at once",
        Of.CLUSTER,
        lambda devices: devices / DEVICES_OF_AN_OWNER * _OWNERS_ONLINE * DATABASES_OF_AN_OWNER,
        NODES * 30_000,
        "max_dbs_open, 500 unless it is set; set to 30,000 here:"
        " https://docs.couchdb.org/en/stable/config/couchdb.html",
    ),
    Part(
        "databases",
        Of.CLUSTER,
        lambda devices: devices / DEVICES_OF_AN_OWNER * DATABASES_OF_AN_OWNER,
        100_000 * DATABASES_OF_AN_OWNER,
        "some 100,000 users each: https://github.com/apache/couchdb/issues/851",
    ),
    Part(
        "documents written a second",
        Of.CLUSTER,
        lambda devices: devices * CHANNEL_CHANGES_A_DAY / DAY_S * PEAK,
        2_000,
        "assumed; measure yours",
    ),
    Part(
        "rows of _db_updates a second",
        Of.POLLER,
        lambda devices: devices * CHANNEL_CHANGES_A_DAY / DAY_S * PEAK,
        10_000,
        "a thousand rows a request, each 0.1 s: poller/updates.py",
    ),
    Part(
        "control databases that changed, a second",
        Of.POLLER,
        _a_second(UNROUTED_CHANGES + 2 * REGISTERED_A_MONTH),
        1 / FOLLOW_S,
        "25 ms each, one after another: poller/follow.py",
    ),
    Part(
        "mails a second",
        Of.ACCOUNT,
        _a_second(_units("ses")),
        14,
        "varies; this is what new accounts are said to begin with:"
        " https://docs.aws.amazon.com/ses/latest/dg/quotas.html",
    ),
    Part(
        "Lambdas at once",
        Of.ACCOUNT,
        _a_second(_units("lambda time") / handler_memory_gb()),
        1_000,
        _LAMBDA_QUOTAS,
    ),
    Part(
        "requests to the API a second",
        Of.ACCOUNT,
        _a_second(_units("api")),
        10_000,
        "https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html",
    ),
    Part(
        "messages in flight, of any queue, ten a batch",
        Of.ACCOUNT,
        _a_second(10 * _units("lambda time") / handler_memory_gb()),
        120_000,
        "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/"
        "quotas-messages.html",
    ),
    Part(
        "units written into the table a second",
        Of.ACCOUNT,
        _a_second(_units("dynamodb writes")),
        4_000,
        "at first, and it grows: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
        "warm-throughput-scenarios.html",
    ),
    Part(
        "units written to one key a second (a poller's lease)",
        Of.POLLER,
        lambda _: 1 / (3 * FOLLOW_S),
        1_000,
        "a wave is saved once; as above",
    ),
)


def by_need(devices: float) -> list[Part]:
    """The parts, what is used up most first."""
    return sorted(PARTS, key=lambda part: part.fills(devices), reverse=True)


def needed(of: Of, devices: float) -> int:
    """How many of these there must be."""
    return max(1, math.ceil(max(part.fills(devices) for part in PARTS if part.of is of)))


def devices_of_a_cluster() -> int:
    """How many devices one cluster of `NODES` nodes has room for."""
    first = next(part for part in by_need(DEVICES[0]) if part.of is Of.CLUSTER)
    return int(DEVICES[0] / first.fills(DEVICES[0]))


def parts_table() -> str:
    """What is asked of each part, and how often its limit would be needed, in Markdown."""
    rows = [
        [
            part.name,
            part.of,
            f"{part.limit:,.0f}",
            *(
                f"{_count(part.demand(devices))} ({_times(part.fills(devices))})"
                for devices in DEVICES
            ),
        ]
        for part in by_need(DEVICES[0])
    ]
    return table(["at the peak", "limit of", "limit", *_heads()], rows)


def needs_table() -> str:
    """How many of each there must be, in Markdown."""
    rows = [[of, *(f"{needed(of, devices):,}" for devices in DEVICES)] for of in Of]
    return table(["of these", *_heads()], rows)


def sources_table() -> str:
    """Where each limit is from, in Markdown."""
    return table(["limit", "from"], [[part.name, part.source] for part in PARTS])


def main() -> int:
    """Print the tables."""
    print(parts_table(), needs_table(), sep="\n\n")
    return 0


def _heads() -> list[str]:
    return [f"{devices / 1_000_000:.0f} million devices" for devices in DEVICES]


def _count(demand: float) -> str:
    return f"{demand:,.0f}" if demand >= 10 else f"{demand:.2g}"


def _times(fills: float) -> str:
    return f"{fills:,.0f}×" if fills >= 10 else f"{fills:.1f}×" if fills >= 1 else f"{fills:.1%}"


if __name__ == "__main__":
    sys.exit(main())
