"""Register devices all at once on the local system, as `make run` has it: API, outbox and all."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import requests

from bench.people import Answer, CheckFailed, People, device_states
from chalicelib.couch import Database, Server
from local.aws import STAGE, LocalAws
from local.browser import TIMEOUT_S, visit
from local.system import LocalSystem, Options

# As many as the quota of mails to one address allows in an hour.
DEVICES_OF_AN_OWNER = 5
# How many people click at the same time.
CLICKS = 8
PAUSE_S = 0.25
SAY_S = 5.0
# Longer than a claim's lease and a message's visibility time-out: a failure has had its next try.
STALLED_S = 300.0


def register_at_once(
    couch_url: str, control_db: str, count: int, say: Callable[[str], None]
) -> float:
    """Register so many devices, whose documents all exist before the first is handled.

    Return how many seconds after the start of the system the last one was active. Raise
    `CheckFailed` if not all become active, a mail is missing or astray, or there is a dead letter.
    """
    people, aws = People(DEVICES_OF_AN_OWNER), LocalAws()
    try:
        with closing(Server(couch_url)) as server:
            control = server.database(control_db)
            people.register(server, control, count)
            with LocalSystem(Options(couch_url, control_db=control_db), aws) as system:
                began = time.perf_counter()
                states = _until_all_are_active(people, control, aws, say)
                seconds = time.perf_counter() - began
                people.check(states)
                shown = requests.get(f"{system.outbox}/outbox.json", timeout=120).json()
                if len(shown) != count:
                    raise CheckFailed(f"the outbox shows {len(shown)} mails, not {count}")
                if letters := _dead_letters(aws):
                    raise CheckFailed(f"{letters} dead letters")
    finally:
        aws.stop()
    return seconds


def _until_all_are_active(
    people: People, control: Database, aws: LocalAws, say: Callable[[str], None]
) -> dict[str, str]:
    """Answer the mails until all devices are active, one failed, or nothing moves any more."""

    def answer_mail(answer: Answer) -> None:
        visit(answer.link)
        form = {"device_code": answer.device_code}
        said = requests.post(answer.link, data=form, timeout=TIMEOUT_S, allow_redirects=False)
        if said.status_code != 303:  # it cannot be answered yet
            people.unanswered.append(answer)

    states: dict[str, str] = {}
    since, mails = "0", 0
    moved_s = said_s = time.monotonic()
    with ThreadPoolExecutor(CLICKS) as pool:
        while time.monotonic() - moved_s < STALLED_S:
            new = aws.sent_mails()[mails:]
            mails += len(new)
            for mime in new:
                people.take_mail(mime)
            for answer in people.take_unanswered():
                pool.submit(answer_mail, answer)
            changed, since = device_states(control, since)
            states |= changed
            counts = Counter(states.values())
            if counts["active"] == people.registered or counts["error"]:
                break
            if new or changed:
                moved_s = time.monotonic()
            if moved_s - said_s > SAY_S:
                said_s = moved_s
                say(", ".join(f"{count} {state}" for state, count in counts.items()))
            time.sleep(PAUSE_S)
    return states


def _dead_letters(aws: LocalAws) -> int:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=f"syncpoint-{STAGE}-dead-letters")["QueueUrl"]
    name = "ApproximateNumberOfMessages"
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"]
    return int(attributes[name])
