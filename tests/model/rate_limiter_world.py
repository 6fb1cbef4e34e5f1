"""Mails that are counted at once: the real `RateLimiter`, and what it must keep to."""

import json
import pickle
from collections.abc import Callable, Collection, Mapping
from typing import Any

from botocore.exceptions import ReadTimeoutError

from chalicelib.aws.rate_limiter import Quota, RateLimiter, key_hash
from tests.kit.fakes.aws import FakeClient
from tests.kit.fakes.dynamodb import DynamoDb
from tests.model.scheduler import Program, Scheduler

TABLE = "quotas"
NOW_S = 1_800_000_000


class RateLimiterWorld:
    """Members who ask for one of `limit` places; a write may be sent twice, its answer be lost."""

    def __init__(
        self,
        scheduler: Scheduler,
        keys: int,
        limit: int = 1,
        *,
        is_likely_first: bool = False,
        rate_limiter: type[RateLimiter] = RateLimiter,
    ) -> None:
        self._scheduler = scheduler
        self._limit = limit
        self._is_likely_first = is_likely_first
        self._dynamodb = DynamoDb()
        self._dynamodb.tables[TABLE] = {}
        client: Any = FakeClient("dynamodb", self._dynamodb, self._around)
        self._rate_limiter = rate_limiter(client, TABLE)
        self.answers: dict[str, bool] = {}
        self.programs: Mapping[str, Program] = {
            name: self._program(name) for name in [f"{number:032x}" for number in range(keys)]
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
        """Nothing is known of it but what the rate_limiter says."""

    def check(self) -> None:
        keys = self._keys()
        assert len(keys) == len(set(keys)), "a key counts twice"
        assert len(keys) <= self._limit, "more were allowed than the limit"
        allowed = {key_hash(name) for name, is_allowed in self.answers.items() if is_allowed}
        assert allowed <= set(keys), "an decision was lost"
        assert not self.answers or len(keys) == self._limit or len(allowed) == len(self.answers), (
            "a key was refused although there was room"
        )

    def check_end(self) -> None:
        assert len(self.answers) < len(self.programs) or len(self._keys()) == self._limit

    def _program(self, name: str) -> Program:
        def ask() -> bool:
            try:
                decision = self._rate_limiter.allow(
                    "to",
                    name,
                    [Quota(self._limit, 3600)],
                    NOW_S,
                    is_likely_first=self._is_likely_first,
                )
            except ReadTimeoutError:
                return False
            is_allowed = decision.allowed
            self._scheduler.request("tell", lambda: self.answers.update({name: is_allowed}))
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

    def _keys(self) -> list[str]:
        return [
            who
            for item in self._dynamodb.scan(TableName=TABLE)["Items"]
            for _, who in json.loads(item["entries"]["S"])
        ]
