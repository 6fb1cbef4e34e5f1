# ruff: noqa: F401, F403 - pytest finds the tests here under their own names
"""The tests of claims and quotas again, over the fake DynamoDB: it serves them like moto."""

from tests.unit.test_claims import *
from tests.unit.test_hour_counters import *
from tests.unit.test_rate_limiter import (
    rate_limiter,
    test_a_bucket_has_room_again_when_it_said_so,
    test_a_bucket_may_be_forgotten_when_its_longest_window_has_passed,
    test_a_bucket_remembers_which_keys_it_allowed,
    test_a_bucket_that_others_write_each_time_gives_up_without_counting,
    test_a_decision_counts_the_keys_that_are_others,
    test_a_key_is_not_moved_to_where_others_have_taken_its_place,
    test_a_key_that_is_moved_counts_at_its_latest_request,
    test_a_refusal_and_a_repetition_write_nothing,
    test_asking_for_room_says_what_would_be_decided_and_counts_nothing,
    test_buckets_know_nothing_of_each_other,
    test_one_who_races_against_itself_counts_once,
    test_racing_strangers_are_never_allowed_beyond_the_limit,
    test_what_the_table_has_not_forgotten_yet_does_not_count,
)
