"""Registrations all at once, on the local system as `make run` has it: API, outbox and all."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import requests

from bench.load_couch import CheckFailed, Couch, changed_devices, write
from bench.load_people import Answer, People
from chalicelib.couch import Database
from local.aws import STAGE, LocalAws
from local.browser import TIMEOUT_S, visit
from local.system import LocalSystem, Options

# As many as the budget of mails to one address allows in an hour.
DEVICES_OF_AN_OWNER = 5
# People who click at the same time.
CLICKS = 8
PAUSE_S = 0.25
TELL_S = 5.0
# Longer than a claim's lease and a message's time-out: what failed has had its next try.
STANDSTILL_S = 300.0

Tell = Callable[[str], None]


def register_at_once(couch: Couch, count: int, tell: Tell) -> float:
    """Register so many devices, whose documents are all there before the first is handled.

    The documents are written before the system starts; the time runs from when it is up.

    Returns
    -------
    float
        After how many seconds the last one was active.

    Raises
    ------
    CheckFailed
        If not all become active, a mail is missing, too many or astray, or a message lies among the
        dead letters.
    """
    people, aws, server = People(DEVICES_OF_AN_OWNER), LocalAws(), couch.server()
    control = server.database(couch.control_db)
    write(server, control, people.new_documents(count))
    try:
        with LocalSystem(Options(couch.url, control_db=couch.control_db), aws) as system:
            began = time.perf_counter()
            with ThreadPoolExecutor(CLICKS) as pool:
                _Progress(people, control, aws, pool, tell).until_all_are_active()
            seconds = time.perf_counter() - began
            shown = requests.get(f"{system.outbox}/outbox.json", timeout=120).json()
            people.check_mails()
            if len(shown) != count:
                raise CheckFailed(f"the outbox shows {len(shown)} mails, not {count}")
            _check_dead_letters(aws)
    finally:
        server.close()
        aws.stop()
    return seconds


@dataclass
class _Progress:
    people: People
    control: Database
    aws: LocalAws
    pool: ThreadPoolExecutor
    tell: Tell
    states: dict[str, str] = field(default_factory=dict)
    mails: int = 0
    since: str = "0"

    def until_all_are_active(self) -> None:
        moved_at_s = told_at_s = time.monotonic()
        counts: Counter[str] = Counter()
        while counts["active"] < self.people.registered and not counts["error"]:
            if self._has_moved():
                moved_at_s = time.monotonic()
                counts = Counter(self.states.values())
            if moved_at_s - told_at_s > TELL_S:
                told_at_s = moved_at_s
                self.tell(", ".join(f"{count} {state}" for state, count in counts.items()))
            if time.monotonic() - moved_at_s > STANDSTILL_S:
                break
            time.sleep(PAUSE_S)
        self.people.check_states(self.states)

    def _has_moved(self) -> bool:
        new = self.aws.sent_mails()[self.mails :]
        self.mails += len(new)
        for mime in new:
            self.people.take_mail(mime)
        for answer in self.people.take_unanswered():
            self.pool.submit(self._answer, answer)
        changed, self.since = changed_devices(self.control, self.since)
        self.states |= changed
        return bool(new or changed)

    def _answer(self, answer: Answer) -> None:
        """Look at the page, and answer it; later, if it cannot be answered yet."""
        visit(answer.link)
        form = {"device_code": answer.device_code}
        said = requests.post(answer.link, data=form, timeout=TIMEOUT_S, allow_redirects=False)
        if said.status_code != 303:
            self.people.unanswered.append(answer)


def _check_dead_letters(aws: LocalAws) -> None:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=f"syncpoint-{STAGE}-dead-letters")["QueueUrl"]
    names = ["ApproximateNumberOfMessages"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    if (letters := int(answer["Attributes"][names[0]])) > 0:
        raise CheckFailed(f"{letters} dead letters")
