"""What tests do with the deployed system: put a document, deliver its event, look at the mail."""

import json
from dataclasses import dataclass
from typing import Any

from chalicelib.couch import Database
from chalicelib.domain.documents import JsonDict
from tests.runtime.harness.function import Result
from tests.runtime.harness.world import World
from tests.runtime.samples import Cast


@dataclass
class Acts:
    """One test's doings, with a cast of its own."""

    world: World
    cast: Cast

    @classmethod
    def of(cls, world: World) -> "Acts":
        return cls(world, Cast(world.control.name))

    @property
    def control(self) -> Database:
        return self.world.control

    @property
    def owners(self) -> Database:
        """The owner's control database."""
        return self.world.owner_db(self.cast.owner_id)

    def invoke(self, name: str, sample: str = "") -> Result:
        """Hand a function its sample event, or another one of it."""
        return self.world.invoke(name, self.cast.event(sample or name))

    def message(self, name: str, **fields: Any) -> JsonDict:
        """The message in a sample event, and its document put where it says.

        Parameters
        ----------
        fields
            What is different in the document; None for what is not in it.
        """
        [record] = self.cast.event(name)["Records"]
        message: JsonDict = json.loads(record["body"])
        database = self.world.server.database(message["db"])
        doc = {**message["doc"], **fields}
        doc = {key: value for key, value in doc.items() if value is not None and key != "_rev"}
        before = database.find_one(doc["_id"])
        if before is not None:
            doc["_rev"] = before["_rev"]
        doc["_rev"] = database.put(doc)
        return {**message, "rev": doc["_rev"], "doc": doc}

    def deliver(self, name: str, **fields: Any) -> tuple[Result, JsonDict]:
        """Put the document of a sample event, hand the event to its function.

        Returns
        -------
        (result, after)
            And the document as it is afterwards.
        """
        message = self.message(name, **fields)
        event = self.cast.event(name)
        event["Records"][0]["body"] = json.dumps(message)
        result = self.world.invoke(name, event)
        return result, self.world.server.database(message["db"]).get(message["id"])

    def api(self, view: str, **changes: Any) -> JsonDict:
        """Ask the API as a view's sample event does; the answer that API Gateway gets."""
        event = self.cast.event(f"api/{view}")
        answer: JsonDict = self.world.invoke("api_handler", {**event, **changes}).returned
        return answer

    def make_owner(self) -> None:
        """The owner's control database, as the activation of a first device makes it."""
        self.owners.create()
        self.owners.put_security(
            {
                "admins": {"names": [], "roles": ["_admin"]},
                "members": {"names": [], "roles": [f"owner-{self.cast.owner_id}"]},
                "syncpoint": {"owner": self.cast.owner, "network": "a-pseudonym"},
            }
        )

    def request_confirmation(self) -> str:
        """A device whose owner has the mail; the link in it."""
        assert self.deliver("device_new")[0].returned is None
        return self.read_mail(self.cast.owner)

    def invite(self) -> str:
        """A channel, and an invitation to it whose guest has the mail; the link in it."""
        self.make_owner()
        assert self.deliver("channel_new")[0].returned is None
        assert self.deliver("invitation_new")[0].returned is None
        return self.read_mail(self.cast.guest)

    def read_mail(self, address: str) -> str:
        """The link in somebody's only mail; events that have a link have this one from now on."""
        [mail] = self.world.mails_to(address)
        link: str = mail["links"][0]
        page, code = link.split("/")[-2:]
        self.cast.codes[page] = code
        return link
