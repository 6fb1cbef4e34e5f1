"""The claim, and the rate_limiter, in every interleaving of their workers (docs/faults.md)."""

import uuid
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.aws.claims import Claim, Claims, Done
from chalicelib.aws.rate_limiter import Decision, RateLimiter
from tests.model.cases import AHEAD, BEHIND, GATE, Case, claims, rate_limiter
from tests.model.claim_notes import LEASE_S, MARGIN_S, TIMEOUT_S
from tests.model.explorer import Bounds, Violation


@pytest.mark.slow
@pytest.mark.parametrize("case", GATE, ids=lambda case: case.name)
def test_in_every_interleaving_the_rules_hold(case: Case) -> None:
    assert case.explore().interleavings() > 1


def test_a_lease_is_longer_than_a_handlers_time_out() -> None:
    assert MARGIN_S == LEASE_S - TIMEOUT_S > 0


@pytest.mark.parametrize("skews", [(AHEAD[0], AHEAD[1] - 1), (BEHIND[0] - 1, BEHIND[1])])
def test_clocks_further_apart_than_the_margin_do_break_the_rules(skews: tuple[int, int]) -> None:
    with pytest.raises(Violation, match="two workers at once"):
        claims("clocks too far apart", Bounds(), skews=skews).explore()


# Claims that are broken on purpose: the explorer must find out each of them.


class TakesWhatRuns(Claims):
    """Every lease is over to it."""

    def take(self, pk: str, now_s: float) -> Claim | Done:
        ahead_s = 10 * self.lease_s
        return taken_with(self, self.lease_s - ahead_s, pk, now_s + ahead_s)


class RunsWhatIsDone(Claims):
    """It sees no difference between a finished step and its own."""

    def take(self, pk: str, now_s: float) -> Claim | Done:
        taken = super().take(pk, now_s)
        return Claim(pk, "nobody", 2, "token") if isinstance(taken, Done) else taken


class FinishesAnybodys(Claims):
    """It does not ask whose claim it finishes."""

    def finish(self, claim: Claim, changes: dict[str, Any], now_s: float) -> None:
        super().finish(replace(claim, holder=holder_of(self, claim)), changes, now_s)


class ReleasesAnybodys(Claims):
    """It does not ask whose claim it releases."""

    def release(self, claim: Claim) -> None:
        super().release(replace(claim, holder=holder_of(self, claim)))


class ForgetsWhatIsDone(Claims):
    """It clears the table once a step is finished."""

    def finish(self, claim: Claim, changes: dict[str, Any], now_s: float) -> None:
        super().release(claim)


class ForgetsTheToken(Claims):
    """It makes a token of its own for each attempt."""

    def take(self, pk: str, now_s: float) -> Claim | Done:
        taken = super().take(pk, now_s)
        return taken if isinstance(taken, Done) else replace(taken, token=uuid.uuid4().hex)


class ReleasesEveryAttemptWhole(Claims):
    """As it was before this model: with the item of a later attempt its token was gone."""

    def release(self, claim: Claim) -> None:
        super().release(replace(claim, attempt=1))


class NeverEnds(Claims):
    """Its leases outlast what a message is waited for."""

    def take(self, pk: str, now_s: float) -> Claim | Done:
        return taken_with(self, 1000 * self.lease_s, pk, now_s)


class HasShortLeases(Claims):
    """Its leases are over when a handler may still be at work."""

    def take(self, pk: str, now_s: float) -> Claim | Done:
        return taken_with(self, TIMEOUT_S - 1, pk, now_s)


def taken_with(claims: Claims, lease_s: int, pk: str, now_s: float) -> Claim | Done:
    return Claims(claims.client, claims.table_name, lease_s).take(pk, now_s)


def holder_of(claims: Claims, claim: Claim) -> str:
    item = claims.client.get_item(TableName=claims.table_name, Key={"pk": {"S": claim.pk}})
    return item.get("Item", {}).get("holder", {"S": ""})["S"]


CRASH = Bounds(crashes=1)
CRASH_AND_FAULT = Bounds(crashes=1, faults=1)


@pytest.mark.parametrize(
    ("broken", "bounds", "rule"),
    [
        (TakesWhatRuns, Bounds(), "two workers at once"),
        (HasShortLeases, Bounds(), "two workers at once"),
        (NeverEnds, CRASH, "stuck"),
        (RunsWhatIsDone, Bounds(), "a finished step is run again"),
        (ForgetsWhatIsDone, Bounds(), "a mail too many"),
        (FinishesAnybodys, Bounds(), "another's claim was finished or released"),
        (ReleasesAnybodys, Bounds(faults=1), "another's claim was finished or released"),
        (ForgetsTheToken, CRASH, "another token"),
        (ReleasesEveryAttemptWhole, CRASH_AND_FAULT, "another token"),
    ],
)
def test_claims_that_are_broken_are_found_out(
    broken: type[Claims], bounds: Bounds, rule: str
) -> None:
    # Nothing but a worker that stalled meets another's claim.
    may_stall = broken in (FinishesAnybodys, ReleasesAnybodys)
    with pytest.raises(Violation, match=rule):
        claims("broken", bounds, claims=broken, may_stall=may_stall).explore()


class AllowsAnyway(RateLimiter):
    """It writes over whatever others wrote meanwhile."""

    def _write(self, pk: str, entries: Any, version: int, quotas: Any) -> None:
        while super()._write(pk, entries, version, quotas) is not None:
            version += 1


class AllowsAll(RateLimiter):
    """It says yes whatever it wrote."""

    def allow(self, *args: Any, **options: Any) -> Decision:
        return replace(super().allow(*args, **options), retry_at_s=None)


@pytest.mark.parametrize("broken", [AllowsAnyway, AllowsAll])
def test_rate_limiters_that_are_broken_are_found_out(broken: type[RateLimiter]) -> None:
    with pytest.raises(Violation, match="lost"):
        rate_limiter("broken", Bounds(), keys=2, rate_limiter=broken).explore()
