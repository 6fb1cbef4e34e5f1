"""The claim, state by state."""

import threading
from dataclasses import replace
from typing import Any, cast

import pytest

from chalicelib.aws.claims import (
    CLAIM_TTL_S,
    MAX_KEY_BYTES,
    Claim,
    Claims,
    Done,
    Overtaken,
    RunningElsewhere,
    claim_key,
)

NOW_S = 1_800_000_000.0
LEASE_S = 90
AFTER_LEASE_S = NOW_S + LEASE_S + 0.001
PK = claim_key("control", "device-1", "new", "0")


def take(claims: Claims, now_s: float = NOW_S, pk: str = PK) -> Claim:
    taken = claims.take(pk, now_s)
    assert isinstance(taken, Claim)
    return taken


def item_of(claims: Claims, pk: str = PK) -> dict[str, Any] | None:
    answer = claims.client.get_item(TableName=claims.table_name, Key={"pk": {"S": pk}})
    return answer.get("Item")


def test_a_free_step_is_taken_in_its_first_attempt(claims: Claims) -> None:
    claim = take(claims)
    assert (claim.pk, claim.attempt) == (PK, 1)
    assert len(claim.token) == 32


def test_a_second_worker_is_refused_and_told_when_the_lease_ends(claims: Claims) -> None:
    take(claims)
    with pytest.raises(RunningElsewhere, match=PK) as refused:
        claims.take(PK, NOW_S + 30)
    assert refused.value.retry_after_s == LEASE_S - 30 + 1


def test_one_who_is_refused_and_not_told_why_comes_back_in_a_second(claims: Claims) -> None:
    take(claims)

    class Terse:
        """A DynamoDB that does not show the item that was in the way."""

        exceptions = claims.client.exceptions

        def update_item(self, **request: Any) -> Any:
            del request["ReturnValuesOnConditionCheckFailure"]
            return claims.client.update_item(**request)

    with pytest.raises(RunningElsewhere) as refused:
        replace(claims, client=cast(Any, Terse())).take(PK, NOW_S)
    assert refused.value.retry_after_s == 1


def test_the_lease_holds_to_its_last_millisecond(claims: Claims) -> None:
    take(claims)
    with pytest.raises(RunningElsewhere):
        claims.take(PK, NOW_S + LEASE_S)


def test_after_the_lease_another_worker_takes_over_with_the_same_token(claims: Claims) -> None:
    first = take(claims)
    second = take(claims, AFTER_LEASE_S)
    assert (second.attempt, second.token) == (2, first.token)
    assert second.holder != first.holder


def test_the_second_attempt_has_a_lease_of_its_own(claims: Claims) -> None:
    take(claims)
    take(claims, AFTER_LEASE_S)
    with pytest.raises(RunningElsewhere):
        claims.take(PK, AFTER_LEASE_S + LEASE_S - 1)


def test_a_finished_step_gives_its_changes_to_whoever_comes_later(claims: Claims) -> None:
    changes = {"state": "confirming", "nested": {"numbers": [1, 2.5, None]}, "text": "ü"}
    claims.finish(take(claims), changes, NOW_S)
    assert claims.take(PK, NOW_S + 1) == Done(changes)


def test_a_finished_step_stays_finished_after_its_lease(claims: Claims) -> None:
    claims.finish(take(claims), {"state": "confirming"}, NOW_S)
    assert claims.take(PK, NOW_S + 100 * LEASE_S) == Done({"state": "confirming"})


def test_a_worker_whose_lease_ran_out_and_was_overtaken_cannot_finish(claims: Claims) -> None:
    first = take(claims)
    second = take(claims, AFTER_LEASE_S)
    with pytest.raises(Overtaken):
        claims.finish(first, {"state": "wrong"}, AFTER_LEASE_S)
    claims.finish(second, {"state": "right"}, AFTER_LEASE_S)
    assert claims.take(PK, AFTER_LEASE_S) == Done({"state": "right"})


def test_a_worker_that_was_overtaken_cannot_finish_after_the_other_did(claims: Claims) -> None:
    first = take(claims)
    claims.finish(take(claims, AFTER_LEASE_S), {"state": "right"}, AFTER_LEASE_S)
    with pytest.raises(Overtaken):
        claims.finish(first, {"state": "wrong"}, AFTER_LEASE_S)
    assert claims.take(PK, AFTER_LEASE_S) == Done({"state": "right"})


def test_a_worker_that_was_overtaken_cannot_release_the_others_claim(claims: Claims) -> None:
    first = take(claims)
    second = take(claims, AFTER_LEASE_S)
    claims.release(first)
    claims.finish(second, {"state": "right"}, AFTER_LEASE_S)


def test_a_worker_whose_lease_ran_out_may_finish_if_nobody_took_over(claims: Claims) -> None:
    # Its effect has happened: refusing to write that down would only make it happen again.
    claims.finish(take(claims), {"state": "confirming"}, AFTER_LEASE_S)
    assert claims.take(PK, AFTER_LEASE_S) == Done({"state": "confirming"})


def test_a_released_step_is_free_at_once(claims: Claims) -> None:
    claims.release(take(claims))
    assert item_of(claims) is None
    assert take(claims).attempt == 1


def test_a_later_attempt_that_is_released_keeps_the_token(claims: Claims) -> None:
    # The first attempt's mail may be out: another one must say that it is the same.
    first = take(claims)
    claims.release(take(claims, AFTER_LEASE_S))
    third = take(claims, AFTER_LEASE_S)
    assert (third.token, third.attempt) == (first.token, 3)


def test_a_later_attempt_that_is_released_can_neither_finish_nor_release_again(
    claims: Claims,
) -> None:
    take(claims)
    second = take(claims, AFTER_LEASE_S)
    claims.release(second)
    with pytest.raises(Overtaken):
        claims.finish(second, {"state": "confirming"}, AFTER_LEASE_S)
    third = take(claims, AFTER_LEASE_S)
    claims.release(second)
    claims.finish(third, {"state": "confirming"}, AFTER_LEASE_S)


def test_a_finished_step_cannot_be_released(claims: Claims) -> None:
    claim = take(claims)
    claims.finish(claim, {"state": "confirming"}, NOW_S)
    claims.release(claim)
    assert claims.take(PK, NOW_S) == Done({"state": "confirming"})


def test_a_step_cannot_be_finished_twice(claims: Claims) -> None:
    claim = take(claims)
    claims.finish(claim, {"state": "confirming"}, NOW_S)
    with pytest.raises(Overtaken):
        claims.finish(claim, {"state": "again"}, NOW_S)


def test_a_released_step_cannot_be_finished(claims: Claims) -> None:
    claim = take(claims)
    claims.release(claim)
    with pytest.raises(Overtaken):
        claims.finish(claim, {"state": "confirming"}, NOW_S)


@pytest.mark.parametrize(
    "other",
    [
        claim_key("control", "device-1", "new", "1"),
        claim_key("control", "device-2", "new", "0"),
        claim_key("control", "device-1", "confirmed", "0"),
        claim_key("control-2", "device-1", "new", "0"),
    ],
)
def test_another_step_has_a_claim_of_its_own(claims: Claims, other: str) -> None:
    take(claims)
    assert take(claims, pk=other).attempt == 1


def test_an_id_of_any_length_makes_a_key_that_dynamodb_takes() -> None:
    ids = ["i" * 3000, "i" * 3001, "\u00fc" * 1500, "\ud800" * 1000]
    keys = {claim_key("control", doc_id, "new", "0") for doc_id in ids}
    assert len(keys) == len(ids)
    for key in keys:
        assert key.startswith("claim#")
        assert len(key.encode()) <= MAX_KEY_BYTES
    plain = claim_key("control", "i" * 128, "new", "0")
    assert plain == f"claim#control#{'i' * 128}#new#0"


def test_a_step_of_a_document_with_a_long_id_is_taken_and_finished(claims: Claims) -> None:
    pk = claim_key("control", "i" * 3000, "new", "0")
    claims.finish(take(claims, pk=pk), {"state": "sent"}, NOW_S)
    assert claims.take(pk, NOW_S) == Done({"state": "sent"})


def test_claims_expire_after_sqs_has_dropped_the_message(
    claims: Claims,
) -> None:
    sqs_retention_s = 14 * 24 * 3600
    claim = take(claims)
    running = item_of(claims)
    claims.finish(claim, {"state": "confirming"}, NOW_S + 10)
    finished = item_of(claims)
    assert running is not None
    assert finished is not None
    assert int(running["expires_at"]["N"]) == NOW_S + CLAIM_TTL_S
    assert int(finished["expires_at"]["N"]) == NOW_S + 10 + CLAIM_TTL_S
    assert sqs_retention_s < CLAIM_TTL_S


def test_of_eight_workers_at_once_one_takes_the_step(claims: Claims) -> None:
    for round_number in range(20):
        pk = claim_key("control", f"device-{round_number}", "new", "0")
        won: list[Claim | Done] = []
        start = threading.Barrier(8)

        def race(pk: str = pk, won: list[Claim | Done] = won, start: Any = start) -> None:
            start.wait()
            try:
                won.append(claims.take(pk, NOW_S))
            except RunningElsewhere:
                return

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
