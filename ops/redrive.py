"""`python -m ops.redrive STAGE [--dry-run]`: list dead letters, and send them back to their queues.

Each is sent to the queue of its type and state, with its message group, and is deleted only after
SQS has accepted it there. If the command is stopped in between, the message is in both queues. That
does no harm: when it is handled again, its document is in another state. Messages that remain are
hidden from other readers for at most `HIDDEN_S`.
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
EMPTY_ENDS = 2  # empty answers in a row: one does not prove that the queue is empty
KNOWN_ENDS = 5  # pages in a row without new letters: they became visible again too early
WAIT_S = 2  # long polling: without it SQS asks only some of its servers

# Ids come from strangers. Only ids of this form are put into a command for the operator's shell.
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,120}")


def main(arguments: list[str], tools: Tools, wait_s: int = WAIT_S) -> int:
    """List the dead letters of a stage, and send them back unless it is a dry run.

    Returns
    -------
    int
        1 if a message could not be sent back, else 0.

    Raises
    ------
    OpsError
        If the stage has no dead-letter queue.
    """
    parser = make_parser("ops.redrive", __doc__)
    parser.add_argument("--dry-run", action="store_true", help="only list them")
    given = parser.parse_args(arguments)
    stage = read_stage(given.stage, tools.root)
    account(tools.client)  # raises an error without credentials
    redrive = Redrive(stage, tools.client("sqs"), registry, make_look(stage, tools), tools.tell)
    redrive.run(given.dry_run, wait_s)
    return 1 if redrive.failed else 0


@dataclass
class Redrive:
    """The dead letters of a stage.

    Parameters
    ----------
    registry : Registry
        The transitions, each of which has a queue.
    look : callable
        Describes the state of a message's document.
    tell : callable
        Prints a line.
    now_s : callable
        Returns the time, in seconds since 1970.
    """

    stage: Stage
    sqs: Any
    registry: Registry
    look: Look
    tell: Callable[[str], None]
    now_s: Callable[[], float] = time.time
    sent_back: int = 0
    failed: int = 0
    foreign: int = 0
    examples: dict[str, str] = field(default_factory=dict)
    _queue_urls: dict[str, str] = field(default_factory=dict)

    def run(self, dry_run: bool, wait_s: int) -> None:
        """Receive all of them, page by page; print what each is and what is done with it."""
        queue_url = self._queue_url(self.stage.dead_letters)
        remaining: dict[str, DeadLetter] = {}
        empty = known = 0
        try:
            while empty < EMPTY_ENDS and known < KNOWN_ENDS:
                page = self._receive(queue_url, wait_s)
                new = [letter for letter in page if letter.message_id not in remaining]
                empty = 0 if page else empty + 1
                known = 0 if new or not page else known + 1
                # Only the receipt handle of the last receive is valid.
                remaining |= {letter.message_id: letter for letter in page}
                for letter in new:
                    if self._send_back(letter, dry_run):
                        receipt = letter.receipt_handle
                        self.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=receipt)
                        del remaining[letter.message_id]
        finally:
            self._show(queue_url, list(remaining.values()))
        for function, doc_id in sorted(self.examples.items()):
            self.tell(f"to find the reason: `{log_command(self.stage, function, doc_id)}`")
        self.tell(self._summary(len(remaining), dry_run))

    def _receive(self, queue_url: str, wait_s: int) -> list[DeadLetter]:
        """Receive a page of letters; it may have some that were received before."""
        messages = self.sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=PAGE,
            VisibilityTimeout=HIDDEN_S,
            WaitTimeSeconds=wait_s,
            MessageSystemAttributeNames=["All"],
        ).get("Messages", [])
        return [DeadLetter.read(message, self.registry) for message in messages]

    def _send_back(self, letter: DeadLetter, dry_run: bool) -> bool:
        """Print what a letter is, and send it back; return whether SQS accepted it."""
        summary = letter.summary(self.now_s())
        if letter.message is None:
            self.foreign += 1
            self.tell(f"warning: {summary}; it stays in the dead-letter queue")
            return False
        summary = f"{summary}; {self.look(letter.message)}"
        self._remember(letter.message)
        name = queue_name(self.stage.name, letter.message.doc_type, letter.message.state)
        if dry_run:
            self.tell(summary)
            return False
        group = {"MessageGroupId": letter.group} if letter.group else {}
        try:
            self.sqs.send_message(QueueUrl=self._queue_url(name), MessageBody=letter.body, **group)
        except (ClientError, BotoCoreError, OpsError) as exc:
            self.failed += 1
            self.tell(f"wrong: {summary}; it could not be sent back: {plain(exc)}")
            return False
        self.sent_back += 1
        self.tell(f"{summary}; sent back to {name}")
        return True

    def _remember(self, message: Message) -> None:
        """Keep one document's id for each function, for a search in its log."""
        function = f"{message.doc_type}_{message.state}"
        if self.examples.get(function, "DOCUMENT ID") == "DOCUMENT ID":
            is_plain = _PLAIN.fullmatch(message.doc_id)
            self.examples[function] = message.doc_id if is_plain else "DOCUMENT ID"

    def _show(self, queue_url: str, letters: list[DeadLetter]) -> None:
        """Make these letters visible again."""
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
                raise OpsError(f"there is no queue {name}; run `make deploy`") from exc
        return self._queue_urls[name]

    def _summary(self, remaining: int, dry_run: bool) -> str:
        seen = remaining + self.sent_back
        if not seen:
            return "there are no dead letters"
        if dry_run:
            return f"{seen} dead letters; {seen - self.foreign} of them would be sent back"
        back = f"{self.sent_back} sent back to their queues"
        return f"{seen} dead letters: {back}, {remaining} remain in the dead-letter queue"


def log_command(stage: Stage, function: str, doc_id: str) -> str:
    """Return the command that shows what a function's log has about a document."""
    group = f"/aws/lambda/{lambda_name(stage.name, function)}"
    return f"aws logs filter-log-events --log-group-name {group} --filter-pattern '\"{doc_id}\"'"


if __name__ == "__main__":
    sys.exit(end(lambda: main(sys.argv[1:], real_tools())))
