"""Mails that are counted at once: the real `Ledger`, and what it must keep to."""

import json
import pickle
from collections.abc import Callable, Collection, Mapping
from typing import Any

from botocore.exceptions import ReadTimeoutError

from chalicelib.aws.rate_limiter import Ledger, Limit
from tests.fakes.aws import FakeClient
from tests.fakes.dynamodb import DynamoDb
from tests.model.scheduler import Program, Scheduler

TABLE = "ledgers"
NOW_S = 1_800_000_000


class LedgerWorld:
    """Members who ask for one of `most` places; a write may be sent twice, its answer be lost."""

    def __init__(
        self,
        scheduler: Scheduler,
        members: int,
        most: int = 1,
        *,
        is_likely_first: bool = False,
        ledger: type[Ledger] = Ledger,
    ) -> None:
        self._scheduler = scheduler
        self._most = most
        self._is_likely_first = is_likely_first
        self._dynamodb = DynamoDb()
        self._dynamodb.tables[TABLE] = {}
        client: Any = FakeClient("dynamodb", self._dynamodb, self._around)
        self._ledger = ledger(client, TABLE)
        self.answers: dict[str, bool] = {}
        self.programs: Mapping[str, Program] = {
            name: self._program(name) for name in [f"{number:032x}" for number in range(members)]
        }

    def save(self) -> bytes:
        return pickle.dumps((self._dynamodb.tables, self.answers))

    def load(self, saved: bytes) -> None:
        self._dynamodb.tables, self.answers = pickle.loads(saved)

    def describe(self, name: str = "") -> str:
        return repr(self.answers.get(name)) if name else repr(self._dynamodb.scan(TableName=TABLE))

    def events(self) -> dict[str, Callable[[], Collection[str]]]:
        return {}

    def crash(self, name: str) -> None:
        """Nothing is known of it but what the ledger says."""

    def check(self) -> None:
        members = self._members()
        assert len(members) == len(set(members)), "a member counts twice"
        assert len(members) <= self._most, "more were admitted than the limit"
        admitted = {name for name, is_admitted in self.answers.items() if is_admitted}
        assert admitted <= set(members), "an admission was lost"
        assert not self.answers or len(members) == self._most or admitted == set(self.answers), (
            "a member was refused although there was room"
        )

    def check_end(self) -> None:
        assert len(self.answers) < len(self.programs) or len(self._members()) == self._most

    def _program(self, name: str) -> Program:
        def ask() -> bool:
            try:
                admission = self._ledger.admit(
                    "to",
                    name,
                    [Limit(self._most, 3600)],
                    NOW_S,
                    is_likely_first=self._is_likely_first,
                )
            except ReadTimeoutError:
                return False
            is_admitted = admission.admitted
            self._scheduler.request("tell", lambda: self.answers.update({name: is_admitted}))
            return True

        return ask

    def _around(self, request: str, call: Callable[[], Any]) -> Any:
        def lost() -> None:
            call()
            raise ReadTimeoutError(endpoint_url="dynamodb")

        def resent() -> Any:
            call()
            return call()

        if request == "dynamodb.GetItem":
            return self._scheduler.request(request, call)
        return self._scheduler.request(request, call, lost=lost, resent=resent)

    def _members(self) -> list[str]:
        return [
            who
            for item in self._dynamodb.scan(TableName=TABLE)["Items"]
            for _, who in json.loads(item["entries"]["S"])
        ]
