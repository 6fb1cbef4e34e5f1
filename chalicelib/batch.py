"""A batch of SQS messages, of which each stands or falls alone.

Chalice's event source mapping knows no partial failures: returning deletes all messages, raising
brings all of them back. What is right with and without ReportBatchItemFailures: delete what
succeeded, hide what failed for a while that grows with its tries, then raise.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from chalicelib.claims import RunningElsewhere
from chalicelib.docstate import Transition
from chalicelib.runner import Message, Outcome
from chalicelib.telemetry import count_outcome, logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BACK_OFF_S = 2
LONGEST_BACK_OFF_S = 900

# One record of a Lambda's SQS event: {messageId, receiptHandle, body, attributes, …}
Record = dict[str, Any]


class BatchFailed(Exception):
    """Some messages of the batch are to be tried again; the others are deleted already."""


def handle_batch(
    records: Iterable[Record],
    transition: Transition,
    handle: Callable[[Message], Outcome],
    sqs: Callable[[], "SQSClient"],
    queue_url: Callable[[], str],
) -> None:
    """Handle each record by itself.

    Sends nothing of its own if all succeed (Lambda deletes them then), else two requests.

    Parameters
    ----------
    handle : callable
        What to do with one message; whatever it raises concerns that message alone.
    sqs, queue_url : callable
        Called only if some message failed.

    Raises
    ------
    BatchFailed
        If some failed.
    """
    done: list[Record] = []
    failed: list[tuple[Record, int]] = []
    for record in records:
        try:
            outcome = handle(Message.parse(record["body"]))
        except Exception as exc:  # noqa: BLE001 - the loop that isolates one message from the next
            _log_failure(record, transition, exc)
            failed.append((record, back_off_s(record, exc)))
        else:
            _log_success(record, transition, outcome)
            done.append(record)
    if failed:
        _settle(sqs(), queue_url(), done, failed)
        raise BatchFailed(f"{len(failed)} of {len(done) + len(failed)} messages are tried again")


def back_off_s(record: Record, exc: Exception) -> int:
    """For how many seconds to hide a message that failed."""
    if isinstance(exc, RunningElsewhere):
        return min(exc.retry_after_s, LONGEST_BACK_OFF_S)
    tries = int(record["attributes"]["ApproximateReceiveCount"])
    return int(min(BACK_OFF_S * 2 ** min(tries - 1, 20), LONGEST_BACK_OFF_S))


def _settle(
    sqs: "SQSClient", queue_url: str, done: list[Record], failed: list[tuple[Record, int]]
) -> None:
    if done:
        sqs.delete_message_batch(
            QueueUrl=queue_url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": record["receiptHandle"]}
                for number, record in enumerate(done)
            ],
        )
    sqs.change_message_visibility_batch(
        QueueUrl=queue_url,
        Entries=[
            {
                "Id": str(number),
                "ReceiptHandle": record["receiptHandle"],
                "VisibilityTimeout": wait_s,
            }
            for number, (record, wait_s) in enumerate(failed)
        ],
    )


def _log_success(record: Record, transition: Transition, outcome: Outcome) -> None:
    count_outcome(transition, outcome)
    logger.info("transition", extra=_about(record, transition) | {"outcome": outcome})


def _log_failure(record: Record, transition: Transition, exc: Exception) -> None:
    count_outcome(transition, None)
    # The type says what to look for; the text might hold what a log must not.
    extra = _about(record, transition) | {"outcome": "failed", "exception": type(exc).__name__}
    logger.warning("the message is tried again", extra=extra)


def _about(record: Record, transition: Transition) -> dict[str, Any]:
    return {
        "doc_type": transition.doc_type,
        "doc_state": transition.state,
        "sqs_message_id": record.get("messageId"),
        "receive_count": record.get("attributes", {}).get("ApproximateReceiveCount"),
    }
