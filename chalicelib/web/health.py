"""The health check: whether CouchDB and AWS answer, and when the poller was last seen."""

from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.couch import AccountLocked, CouchError, Forbidden, Unauthorized
from chalicelib.domain.documents import JsonDict
from chalicelib.engine.dependencies import Dependencies
from chalicelib.settings import POLLER_SILENT_S, InvalidSettings, poller_key
from chalicelib.telemetry import logger

# For so long an answer is kept, in each instance of the Lambda: a flood costs no requests.
HEALTH_AGE_S = 5


def check_health(dependencies: Dependencies, doc_type: str, state: str) -> tuple[int, JsonDict]:
    """Check CouchDB, DynamoDB, SQS and the pollers, unless that was done in the last seconds.

    One or two requests to each service, and one for each poller.

    Parameters
    ----------
    doc_type, state : str
        The route whose queue is checked.

    Returns
    -------
    (status, body)
        200 or 503; ``{"ok", "couchdb", "dynamodb", "sqs", "poller": "ok" or what is wrong,
        "poller_age_s": seconds or None}``. The age is that of the poller that was not seen for
        longest. The body has no address, no host name and no secret. Nor does it tell why CouchDB
        refuses the login: who sends wrong passwords should not learn that they lock it.
    """
    now_s = dependencies.now().timestamp()
    at_s, kept = dependencies.health
    if kept is None or not at_s <= now_s < at_s + HEALTH_AGE_S:
        kept = _check(dependencies, doc_type, state)
        dependencies.health = (now_s, kept)
    return kept


def _check(dependencies: Dependencies, doc_type: str, state: str) -> tuple[int, JsonDict]:
    age_s: float | None = None

    def couchdb() -> None:
        with dependencies.use() as context:
            context.database.info()

    def poller() -> None:
        nonlocal age_s
        age_s = _poller_age_s(dependencies)

    body: JsonDict = {
        "couchdb": _ask(couchdb),
        "dynamodb": _ask(poller),
        "sqs": _ask(lambda: dependencies.queue_url(doc_type, state)),
    }
    seen = age_s is not None and age_s < POLLER_SILENT_S
    body["poller"] = "ok" if seen else "not seen lately"
    ok = all(answer == "ok" for answer in body.values())
    return (200 if ok else 503), {"ok": ok, **body, "poller_age_s": age_s}


def _ask(question: Callable[[], object]) -> str:
    try:
        question()
    except (Unauthorized, Forbidden) as exc:
        # The words are for the operator.
        logger.warning("CouchDB refuses the cloud's login: %s", _why(exc))
        return f"failed: {exc.status}"
    except CouchError as exc:
        return f"failed: {exc.status} {exc.error}"
    except ClientError as exc:
        return f"failed: {exc.response['Error']['Code']}"
    except BotoCoreError as exc:
        return f"failed: {type(exc).__name__}"
    except InvalidSettings:
        return "failed: settings"  # the logs of other functions name the variable or the secret
    return "ok"


def _why(exc: CouchError) -> str:
    if isinstance(exc, AccountLocked):
        return "it is locked for some minutes, because somebody sent wrong passwords"
    if isinstance(exc, Unauthorized):
        return "the name or the password in the secret's couchdb_url is wrong"
    return exc.reason


def _poller_age_s(dependencies: Dependencies) -> float | None:
    """Return the age, in seconds, of the poller that was not seen for longest.

    None if one of the pollers was never seen.
    """
    shards = dependencies.settings.poller_shards
    seen_at_ms = [
        int(item["seen_at_ms"]["N"])
        for shard in range(shards)
        if (item := _poller_item(dependencies, shard, shards))
    ]
    if len(seen_at_ms) < shards:
        return None
    return round(dependencies.now().timestamp() - min(seen_at_ms) / 1000, 1)


def _poller_item(dependencies: Dependencies, shard: int, shards: int) -> JsonDict | None:
    key = poller_key(dependencies.settings.control_db, shard, shards)
    item: JsonDict | None = dependencies.dynamodb.get_item(
        TableName=dependencies.settings.table_name, Key={"pk": {"S": key}}
    ).get("Item")
    return item
