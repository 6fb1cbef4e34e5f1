"""AWS that costs nothing: it takes every message and forgets it, and keeps the seqs in a dict."""

import json
import time
from typing import Any

from chalicelib.domain.documents import JsonDict


class NullAws:
    """Makes clients for a poller that begins at the beginning.

    Parameters
    ----------
    send_s : float
        How long each request to SQS takes.

    Attributes
    ----------
    accepted : int
        How many messages were taken.
    """

    def __init__(self, couch_url: str, send_s: float = 0.0) -> None:
        self._secret = json.dumps({"couchdb_url": couch_url, "link_keys": ["00" * 32]})
        self._send_s = send_s
        self._feeds: dict[str, JsonDict] = {}
        self.accepted = 0

    def client(self, service: str) -> Any:
        """This, whatever the service: all that a poller calls is here."""
        return self

    class exceptions:  # noqa: N801 - as boto3 calls it
        """What a client may raise; this one never does."""

        class ConditionalCheckFailedException(Exception):
            """Never raised."""

    def get_secret_value(self, **asked: Any) -> JsonDict:
        """Where CouchDB is."""
        return {"SecretString": self._secret}

    def update_item(self, **asked: Any) -> JsonDict:
        """The lease, always ours."""
        return {"Attributes": {"fence": {"N": "1"}}}

    def put_item(self, *, Item: JsonDict, **asked: Any) -> JsonDict:  # noqa: N803
        """A seq, kept."""
        self._feeds[Item["pk"]["S"]] = Item
        return {}

    def batch_get_item(self, *, RequestItems: JsonDict) -> JsonDict:  # noqa: N803
        """The seqs that are known."""
        [(table, asked)] = RequestItems.items()
        found = [
            self._feeds[key["pk"]["S"]] for key in asked["Keys"] if key["pk"]["S"] in self._feeds
        ]
        return {"Responses": {table: found}, "UnprocessedKeys": {}}

    def send_message_batch(self, *, QueueUrl: str, Entries: list[JsonDict]) -> JsonDict:  # noqa: N803
        """All are accepted."""
        if self._send_s:
            time.sleep(self._send_s)
        self.accepted += len(Entries)
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries], "Failed": []}
