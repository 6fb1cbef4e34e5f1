"""`make bench`: how long a registration takes on this machine, beside a bare client of the feed."""

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable

import requests

from chalicelib.couch import Database, JsonDict, Server
from device.registration import NewDevice, new_device
from local.browser import submit, visit
from local.system import LocalSystem, Options, prepare_process
from local.watch import Watch

ROUNDS = 30


def main() -> int:
    """Register some devices one after another; print medians and 90th percentiles in ms."""
    prepare_process()
    options = Options(couchdb_url=os.environ.get("COUCHDB_URL") or None)
    figures: dict[str, list[float]] = {"floor": [], "mail": [], "active": []}
    with LocalSystem(options) as system:
        for number in range(ROUNDS):
            _register(system, number, figures)
            print(f"\r{number + 1} of {ROUNDS}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    _print(figures)
    return 0


def _register(system: LocalSystem, number: int, figures: dict[str, list[float]]) -> None:
    server = Server(system.couch_url)
    control = server.database(system.control_db)
    device = new_device(
        f"bench-{number}@example.com", "Bench", "2026-11-23T06:00:00Z", sha256=False
    )
    seen = _floor(server, control)
    watch = Watch(control, lambda doc, before: None)
    began = time.perf_counter()
    control.put(device.doc)
    figures["floor"].append(seen() - began)
    watch.wait_for(device.device_id, "confirming")
    figures["mail"].append(time.perf_counter() - began)
    page = visit(_link(system, device))
    began = time.perf_counter()
    submit(page, {"device_code": device.device_code})
    watch.wait_for(device.device_id, "active")
    figures["active"].append(time.perf_counter() - began)
    server.close()


def _floor(server: Server, control: Database) -> Callable[[], float]:
    """When a bare long poll sees the next change; call what is returned to learn it."""
    moments: list[float] = []
    since = str(control.info()["update_seq"])

    def wait() -> None:
        control.changes(since, limit=1, wait_s=30)
        moments.append(time.perf_counter())

    thread = threading.Thread(target=wait)
    thread.start()

    def seen() -> float:
        thread.join()
        return moments[0]

    return seen


def _link(system: LocalSystem, device: NewDevice) -> str:
    mails: list[JsonDict] = requests.get(f"{system.outbox}/outbox.json", timeout=10).json()
    link: str = next(m["links"][0] for m in mails if device.device_id in m["text"])
    return link


def _print(figures: dict[str, list[float]]) -> None:
    names = {
        "floor": "a write seen by a bare long poll",
        "mail": "a new device to its mail sent and saved",
        "active": "a click to the device active",
    }
    floor_ms = statistics.median(figures["floor"]) * 1000
    print(f"{ROUNDS} registrations, one after another; ms")
    for name, what in names.items():
        median_ms = statistics.median(figures[name]) * 1000
        p90_ms = statistics.quantiles(figures[name], n=10)[-1] * 1000
        print(
            f"  {what:<42} p50 {median_ms:7.1f}   p90 {p90_ms:7.1f}   x{median_ms / floor_ms:.1f}"
        )


if __name__ == "__main__":
    sys.exit(main())
