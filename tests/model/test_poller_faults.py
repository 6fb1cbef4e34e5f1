"""The poller in every interleaving: each document is delivered (docs/faults.md)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.kit.fakes.couch_http import Answer, Asked
from tests.model.cases import ONE, POLLERS, Case, poller
from tests.model.explorer import Bounds, Violation
from tests.model.poller_requests import Requests


@pytest.mark.slow
@pytest.mark.parametrize("case", POLLERS, ids=lambda case: case.name)
def test_in_every_interleaving_each_document_is_delivered(case: Case) -> None:
    assert case.explore().interleavings() > 1


# Pollers that are deceived about what they did, as one with a defect would be: each must be found
# out, or the rules see nothing.


class BelievesSqs(Requests):
    """Takes all that it sent for accepted."""

    def send(self, call: Any) -> Any:
        sent = [{"Id": entry["Id"]} for entry in call.keywords["Entries"]]
        return {**super().send(call), "Successful": sent, "Failed": []}


class SkipsAChange(Requests):
    """Goes on behind a change that it has not seen."""

    def to_couchdb(self, request: str, asked: Asked, answer: Callable[[Asked], Answer]) -> Answer:
        read = super().to_couchdb(request, asked, answer)
        if "_changes" not in request:
            return read
        return replace(read, body={**read.body, "results": read.body["results"][1:]})


class ForgetsItsSeqs(Requests):
    """Saves no seq of a feed."""

    def to_dynamodb(self, request: str, call: Any) -> Any:
        return {} if request == "dynamodb.PutItem" else super().to_dynamodb(request, call)


class KeepsItsLease(Requests):
    """Takes its lease for ever, and does not give it back."""

    def to_dynamodb(self, request: str, call: Any) -> Any:
        values = call.keywords.get("ExpressionAttributeValues", {})
        if ":until_ms" in values:
            values[":until_ms"] = {"N": str(10**15)}
        return super().to_dynamodb(request, call)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (BelievesSqs, "seq passed"),
        (SkipsAChange, "never delivered"),
        (ForgetsItsSeqs, "messages twice|sends all again"),
        (KeepsItsLease, "held for ever"),
    ],
)
def test_pollers_that_are_broken_are_found_out(broken: type[Requests], rule: str) -> None:
    with pytest.raises(Violation, match=rule):
        poller("broken", Bounds(faults=1), **ONE, requests=broken).explore()
