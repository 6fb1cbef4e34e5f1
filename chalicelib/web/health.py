"""Whether the parts can be reached, and when the poller was last seen."""

from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.cloud import Wiring
from chalicelib.couch import CouchError, JsonDict
from chalicelib.settings import poller_key

# A poller that runs each minute and was not seen for so long is not running.
POLLER_SILENT_S = 300


def check_health(wiring: Wiring, doc_type: str, state: str) -> tuple[int, JsonDict]:
    """Ask CouchDB, DynamoDB and SQS, a request or two each.

    Parameters
    ----------
    doc_type, state : str
        The route whose queue is asked for.

    Returns
    -------
    (status, body)
        200 or 503; ``{"ok", "couchdb", "dynamodb", "sqs", "poller": "ok" or what is wrong,
        "poller_age_s": seconds or None}``. No address, no name of a host, no secret.
    """
    age_s: float | None = None

    def poller() -> None:
        nonlocal age_s
        age_s = _poller_age_s(wiring)

    body: JsonDict = {
        "couchdb": _ask(lambda: wiring.use(lambda cloud: cloud.database.info())),
        "dynamodb": _ask(poller),
        "sqs": _ask(lambda: wiring.queue_url(doc_type, state)),
    }
    seen = age_s is not None and age_s < POLLER_SILENT_S
    body["poller"] = "ok" if seen else "not seen lately"
    ok = all(answer == "ok" for answer in body.values())
    return (200 if ok else 503), {"ok": ok, **body, "poller_age_s": age_s}


def _ask(question: Callable[[], object]) -> str:
    try:
        question()
    except CouchError as exc:
        return f"failed: {exc.status} {exc.error}"
    except ClientError as exc:
        return f"failed: {exc.response['Error']['Code']}"
    except BotoCoreError as exc:
        return f"failed: {type(exc).__name__}"
    return "ok"


def _poller_age_s(wiring: Wiring) -> float | None:
    item = wiring.dynamodb.get_item(
        TableName=wiring.settings.table_name,
        Key={"pk": {"S": poller_key(wiring.settings.control_db)}},
    ).get("Item")
    if item is None:
        return None
    seen_at_ms = int(item["seen_at_ms"]["N"])
    return round(wiring.now().timestamp() - seen_at_ms / 1000, 1)
