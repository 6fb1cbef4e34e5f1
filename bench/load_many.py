"""Many registrations, a tenth at a time, until each device is active; and what must hold then."""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bench.load_cloud import TABLE, LoadedCloud
from bench.load_couch import CheckFailed, Couch, changed_devices, write
from bench.load_people import People

THREADS = 4
WAVES = 10
DEVICES_OF_AN_OWNER = 10
# What the process may grow by between the first tenth and the last. It is less than 2 KB for each
# of 9,000 registrations, and so finds whatever keeps a document, a message or a mail of each.
FLAT_BYTES = 16 * 1024 * 1024

Tell = Callable[[str], None]


@dataclass
class Figures:
    """What was measured.

    Attributes
    ----------
    memory_bytes : list of int
        This process's after each wave, less what the table in memory takes, as that would be
        DynamoDB's; empty if not measured.
    requests : Counter
        By the service that they were sent to.
    again : int
        How many batches had a message that was to be tried again.
    """

    registrations: int
    seconds: float = 0.0
    mails: int = 0
    memory_bytes: list[int] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    again: int = 0

    @property
    def grown_bytes(self) -> int:
        """How much the memory grew from the first wave to the last."""
        return self.memory_bytes[-1] - self.memory_bytes[0] if self.memory_bytes else 0


def register_many(couch: Couch, count: int, tell: Tell, *, measures_memory: bool = True) -> Figures:
    """Register so many devices.

    Raises
    ------
    CheckFailed
        If not all are active, a mail is missing, too many or astray, a message lies among the dead
        letters, a claim is left running, or memory grows.
    """
    people = People(DEVICES_OF_AN_OWNER)
    with (
        closing(couch.server()) as server,
        closing(LoadedCloud(couch, people.take_mail, THREADS)) as context,
    ):
        control = server.database(couch.control_db)
        figures, began = Figures(count), time.perf_counter()
        for size in _waves(count):
            write(server, control, people.new_documents(size))
            _settle(context, people)
            if measures_memory and (memory_bytes := _memory_bytes()):
                figures.memory_bytes.append(memory_bytes - context.aws.table_bytes(TABLE))
            figures.seconds = time.perf_counter() - began
            tell(_progress(figures, people.registered))
        figures.mails = people.mails
        figures.requests, figures.again = context.requests, context.again
        _check_nothing_left(context)
        people.check_states(changed_devices(control, "0")[0])
        people.check_mails()
    if figures.grown_bytes > FLAT_BYTES:
        raise CheckFailed(f"memory grew by {figures.grown_bytes / 2**20:.0f} MB after a tenth")
    return figures


def _waves(count: int) -> Iterator[int]:
    for wave in range(WAVES):
        if size := count * (wave + 1) // WAVES - count * wave // WAVES:
            yield size


def _progress(figures: Figures, done: int) -> str:
    memory = "".join(f", {size / 2**20:.1f} MB" for size in figures.memory_bytes[-1:])
    return f"{done} of {figures.registrations}, {done / figures.seconds:.1f}/s{memory}"


def _settle(context: LoadedCloud, people: People) -> None:
    """Poll, handle and answer until nothing is left to do, not even later."""
    is_busy = True
    while is_busy:
        sent, handled = context.poll(), context.handle_all()
        answers = people.take_unanswered()
        refused = context.confirm_all(answers)
        people.unanswered += refused
        is_busy = sent + handled + len(answers) > len(refused) or context.skip_the_wait()


def _check_nothing_left(context: LoadedCloud) -> None:
    if letters := context.dead_letters():
        raise CheckFailed(f"{len(letters)} dead letters, the first: {letters[0][:200]}")
    if running := context.running_claims():
        raise CheckFailed(f"{len(running)} claims were left running, the first: {running[0]}")


def _memory_bytes() -> int | None:
    """What this process holds in memory, where the system tells."""
    gc.collect()
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
