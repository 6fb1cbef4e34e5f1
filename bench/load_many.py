"""Register many devices, a tenth at a time, until each is active; then check what must hold."""

import gc
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from bench.backend import TABLE, Backend, MakeServer
from bench.people import Answer, CheckFailed, People, device_states
from bench.setup import memory_bytes
from chalicelib.web import confirm

THREADS = 4
WAVES = 10
DEVICES_OF_AN_OWNER = 10
# How much the process may grow between the first tenth and the last. That is less than 2 KB for
# each of 9,000 registrations, so it shows whatever keeps one document, message or mail of each.
FLAT_BYTES = 16 * 1024 * 1024


@dataclass
class Figures:
    """The measured figures: requests by service, and batches with a message that was tried again.

    `memory_bytes` is this process's memory after each tenth, without the table that stands for
    DynamoDB; it is empty where the system does not tell.
    """

    seconds: float = 0.0
    memory_bytes: list[int] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    retried: int = 0

    @property
    def grown_bytes(self) -> int:
        """How much the memory grew from the first tenth to the last."""
        return self.memory_bytes[-1] - self.memory_bytes[0] if self.memory_bytes else 0


def register_many(
    control_db: str, make_server: MakeServer, count: int, say: Callable[[str], None]
) -> Figures:
    """Register so many devices.

    Raises
    ------
    CheckFailed
        If not all are active, a mail is missing, too many or astray, there is a dead letter, a
        claim is still running, or memory grows.
    """
    people = People(DEVICES_OF_AN_OWNER)
    backend = Backend(control_db, make_server, people.take_mail)
    figures, began = Figures(), time.perf_counter()
    with (
        closing(make_server(lambda name, call: call())) as server,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        control = server.database(control_db)
        for wave in range(WAVES):
            people.register(server, control, count * (wave + 1) // WAVES - people.registered)
            _run_until_quiet(backend, people, pool)
            figures.seconds = time.perf_counter() - began
            gc.collect()
            if held := memory_bytes("VmRSS:"):
                figures.memory_bytes.append(held - backend.aws.table_bytes(TABLE))
            say(f"{people.registered} of {count}, {people.registered / figures.seconds:.1f}/s")
        figures.requests, figures.retried = backend.requests, backend.retried
        _check(backend)
        people.check(device_states(control)[0])
    if figures.grown_bytes > FLAT_BYTES:
        raise CheckFailed(f"memory grew by {figures.grown_bytes / 2**20:.0f} MB after a tenth")
    return figures


def _run_until_quiet(backend: Backend, people: People, pool: ThreadPoolExecutor) -> None:
    """Poll, handle and answer until nothing is left to do, not even later."""

    def confirmed(answer: Answer) -> bool:
        body = f"device_code={answer.device_code}"
        with backend.dependencies.use() as context:
            return confirm.answer(context, answer.token, body).status == 303

    is_busy = True
    while is_busy:
        sent = backend.poll()
        workers = [pool.submit(backend.handle_all) for _ in range(THREADS)]
        handled = sum(worker.result() for worker in workers)
        answers = people.take_unanswered()
        taken = list(pool.map(confirmed, answers))
        people.unanswered += [
            answer for answer, is_taken in zip(answers, taken, strict=True) if not is_taken
        ]
        is_busy = sent + handled + sum(taken) > 0 or backend.skip_the_wait()


def _check(backend: Backend) -> None:
    if letters := backend.dead_letters():
        raise CheckFailed(f"{len(letters)} dead letters, the first: {letters[0][:200]}")
    if running := backend.running_claims():
        raise CheckFailed(f"{len(running)} claims are still running, the first: {running[0]}")
