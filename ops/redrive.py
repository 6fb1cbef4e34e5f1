"""`python -m ops.redrive STAGE [--dry-run]`: look at the dead letters, and bring them back.

Each goes to the queue of its own type and state, and is deleted only after SQS has accepted it
there. Whoever ends the command in between leaves it in both places: a message that comes twice
finds its document moved on, and does nothing. What stays is hidden for `HIDDEN_S` at most.
"""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.engine.docstate import Registry
from chalicelib.engine.runner import Message
from chalicelib.handlers.all import registry
from chalicelib.settings import queue_name
from ops.dead_letters import DeadLetter
from ops.look import Look, make_look
from ops.lookups import account
from ops.stage import OpsError, Stage, lambda_name, read_stage
from ops.tools import Tools, end, is_missing, make_parser, plain, real_tools

PAGE = 10
HIDDEN_S = 300
EMPTY_ENDS = 2  # an empty answer need not mean an empty queue
KNOWN_ENDS = 5  # pages in a row of letters that were hidden for too short a time
WAIT_S = 2  # SQS asks all of its servers only if it may wait

# Ids come from strangers: no other is put into a command for an operator's shell.
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,120}")


def main(arguments: list[str], tools: Tools, wait_s: int = WAIT_S) -> int:
    """Look at the dead letters of a stage, and bring them back unless told not to.

    Returns
    -------
    int
        1 if one of the poller's could not be brought back, else 0.

    Raises
    ------
    OpsError
        If the stage has no dead letters' queue.
    """
    parser = make_parser("ops.redrive", __doc__)
    parser.add_argument("--dry-run", action="store_true", help="look, and bring none back")
    given = parser.parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    account(tools.client)  # without credentials, that is all there is to say
    redrive = Redrive(stage, tools.client("sqs"), registry, make_look(stage, tools), tools.tell)
    redrive.run(given.dry_run, wait_s)
    return 1 if redrive.failed else 0


@dataclass
class Redrive:
    """The dead letters of a stage.

    Parameters
    ----------
    control : Registry
        The transitions, each of which has a queue.
    now_s : callable
        The time, in seconds since 1970.
    """

    stage: Stage
    sqs: Any
    registry: Registry
    look: Look
    tell: Callable[[str], None]
    now_s: Callable[[], float] = time.time
    back: int = 0
    failed: int = 0
    foreign: int = 0
    examples: dict[str, str] = field(default_factory=dict)
    _queue_urls: dict[str, str] = field(default_factory=dict)

    def run(self, dry_run: bool, wait_s: int) -> None:
        """Go through all of them, page by page; say what each is, and what becomes of it."""
        queue_url = self._queue_url(self.stage.dead_letters)
        staying: dict[str, DeadLetter] = {}
        empty = known = 0
        try:
            while empty < EMPTY_ENDS and known < KNOWN_ENDS:
                page = self._receive(queue_url, wait_s)
                new = [letter for letter in page if letter.message_id not in staying]
                empty = 0 if page else empty + 1
                known = 0 if new or not page else known + 1
                # Whoever received a letter last has the receipt that is good.
                staying |= {letter.message_id: letter for letter in page}
                for letter in new:
                    if self._bring_back(letter, dry_run):
                        receipt = letter.receipt_handle
                        self.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=receipt)
                        del staying[letter.message_id]
        finally:
            self._show(queue_url, list(staying.values()))
        for function, doc_id in sorted(self.examples.items()):
            self.tell(f"why: `{log_command(self.stage, function, doc_id)}`")
        self.tell(self._summary(len(staying), dry_run))

    def _receive(self, queue_url: str, wait_s: int) -> list[DeadLetter]:
        """A page of letters; those are in it, too, that were hidden for too short a time."""
        messages = self.sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=PAGE,
            VisibilityTimeout=HIDDEN_S,
            WaitTimeSeconds=wait_s,
            MessageSystemAttributeNames=["All"],
        ).get("Messages", [])
        return [DeadLetter.read(message, self.registry) for message in messages]

    def _bring_back(self, letter: DeadLetter, dry_run: bool) -> bool:
        """Say what a letter is and, if it is the poller's, send it; whether SQS accepted it."""
        about = letter.about(self.now_s())
        if letter.message is None:
            self.foreign += 1
            self.tell(f"warning: {about}; it stays")
            return False
        about = f"{about}; {self.look(letter.message)}"
        self._remember(letter.message)
        name = queue_name(self.stage.name, letter.message.doc_type, letter.message.state)
        if dry_run:
            self.tell(about)
            return False
        try:
            self.sqs.send_message(QueueUrl=self._queue_url(name), MessageBody=letter.body)
        except (ClientError, BotoCoreError, OpsError) as exc:
            self.failed += 1
            self.tell(f"wrong: {about}; it stays: {plain(exc)}")
            return False
        self.back += 1
        self.tell(f"{about}; back in {name}")
        return True

    def _remember(self, message: Message) -> None:
        """Keep one document's id for each function, to look for in its log."""
        function = f"{message.doc_type}_{message.state}"
        if self.examples.get(function, "DOCUMENT ID") == "DOCUMENT ID":
            is_plain = _PLAIN.fullmatch(message.doc_id)
            self.examples[function] = message.doc_id if is_plain else "DOCUMENT ID"

    def _show(self, queue_url: str, letters: list[DeadLetter]) -> None:
        """Let others see these letters again, now."""
        for start in range(0, len(letters), PAGE):
            self.sqs.change_message_visibility_batch(
                QueueUrl=queue_url,
                Entries=[
                    {
                        "Id": str(number),
                        "ReceiptHandle": letter.receipt_handle,
                        "VisibilityTimeout": 0,
                    }
                    for number, letter in enumerate(letters[start : start + PAGE])
                ],
            )

    def _queue_url(self, name: str) -> str:
        if name not in self._queue_urls:
            try:
                self._queue_urls[name] = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
            except ClientError as exc:
                if not is_missing(exc):
                    raise
                raise OpsError(f"there is no queue {name}") from exc
        return self._queue_urls[name]

    def _summary(self, staying: int, dry_run: bool) -> str:
        seen = staying + self.back
        if not seen:
            return "there are no dead letters"
        if dry_run:
            return f"{seen} dead letters; {seen - self.foreign} of them would be brought back"
        return f"{seen} dead letters: {self.back} are back in their queues, {staying} stay"


def log_command(stage: Stage, function: str, doc_id: str) -> str:
    """What shows an operator all that a function's log has of a document."""
    group = f"/aws/lambda/{lambda_name(stage.name, function)}"
    return f"aws logs filter-log-events --log-group-name {group} --filter-pattern '\"{doc_id}\"'"


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
