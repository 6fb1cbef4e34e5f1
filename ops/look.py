"""Describe the state of a message's document for an operator."""

from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.couch import CouchError, InvalidName, Server
from chalicelib.engine.runner import Message
from chalicelib.settings import InvalidSettings, read_secrets
from ops.dead_letters import shown
from ops.stage import Stage
from ops.tools import Tools, plain

Look = Callable[[Message], str]

NOT_KNOWN = "the state of its document is not known"


def make_look(stage: Stage, tools: Tools) -> Look:
    """Return a function that reads a message's document and describes its state.

    One request to Secrets Manager now. After CouchDB did not answer once, it is not asked again,
    because each request would wait for its time limit.
    """
    try:
        secrets = read_secrets(tools.client("secretsmanager"), stage.secret_id)
    except (InvalidSettings, ClientError, BotoCoreError) as exc:
        tools.tell(f"warning: the states of documents are not shown: {plain(exc)}")
        return lambda message: NOT_KNOWN
    server = Server(secrets.couchdb_url)
    is_silent = False

    def look(message: Message) -> str:
        nonlocal is_silent
        if is_silent:
            return NOT_KNOWN
        try:
            doc = server.database(message.db).find_one(message.doc_id)
        except (CouchError, InvalidName) as exc:
            is_silent = isinstance(exc, CouchError) and exc.error == "unreachable"
            if is_silent:
                tools.tell("warning: CouchDB does not answer, so no more states are shown")
                return NOT_KNOWN
            return f"its document cannot be read ({type(exc).__name__})"
        if doc is None:
            return "its document no longer exists"
        error = doc.get("error")
        reason = error.get("reason") if isinstance(error, dict) else None
        state = f"now {shown(str(doc.get('type')))}/{shown(str(doc.get('state')))}"
        return f"{state} ({shown(str(reason))})" if reason else state

    return look
