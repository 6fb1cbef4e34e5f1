"""What this project relies on in DynamoDB: one suite for moto and for FakeAws."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from chalicelib.domain.documents import JsonDict
from poller.checkpoint import MAX_DATABASES
from tests.kit.basics import create_table
from tests.kit.cloud.account import Account, Table, a_name, code_of


@pytest.fixture
def table(account: Account) -> Iterator[Table]:
    table = Table(account.client("dynamodb"), a_name())
    if account.fake:
        account.fake.create_table(table.name)
        yield table
        return
    create_table(table.client, table.name)
    yield table
    table.client.delete_table(TableName=table.name)


ONE: JsonDict = {"N": "1"}
TWO: JsonDict = {"N": "2"}
TEXT: JsonDict = {"S": "text"}


def test_an_item_is_read_as_it_was_put(table: Table) -> None:
    table.put(text={"S": "ü 😀"}, number={"N": "-12"}, yes={"BOOL": True}, no={"BOOL": False})
    assert table.get() == {
        "pk": {"S": "a"},
        "text": {"S": "ü 😀"},
        "number": {"N": "-12"},
        "yes": {"BOOL": True},
        "no": {"BOOL": False},
    }


def test_putting_an_item_leaves_nothing_of_the_one_before(table: Table) -> None:
    table.put(old=ONE)
    table.put(new=TWO)
    assert table.get() == {"pk": {"S": "a"}, "new": TWO}


def test_of_an_item_that_is_missing_the_answer_says_nothing(table: Table) -> None:
    table.put("b")
    assert table.get("a") is None


def test_what_was_written_and_what_was_read_are_copies(table: Table) -> None:
    value = {"N": "1"}
    table.put(n=value)
    table.update("SET m = :m", values={":m": value})
    value["N"] = "2"
    read = table.get() or {}
    read["n"]["N"] = "3"
    assert table.get() == {"pk": {"S": "a"}, "n": ONE, "m": ONE}


NEW_OR_SAME = "attribute_not_exists(pk) OR version = :version"


def test_a_condition_on_the_version_lets_the_first_and_the_next_writer_through(
    table: Table,
) -> None:
    table.put(condition=NEW_OR_SAME, version=ONE, values={":version": {"N": "0"}})
    table.put(condition=NEW_OR_SAME, version=TWO, values={":version": ONE})
    table.refuses(lambda: table.put(condition=NEW_OR_SAME, version=TWO, values={":version": ONE}))
    assert table.get() == {"pk": {"S": "a"}, "version": TWO}


TAKE = "SET n = :n, #token = if_not_exists(#token, :token) ADD attempt :one"


def take(table: Table, token: str, number: str = "1", **more: Any) -> JsonDict:
    values = {":n": {"N": number}, ":token": {"S": token}, ":one": ONE, **more.pop("values", {})}
    return table.update(
        TAKE, names={"#token": "token"}, values=values, ReturnValues="ALL_NEW", **more
    )


def test_an_update_makes_the_item_that_is_missing_and_shows_it_whole(table: Table) -> None:
    expected = {"pk": {"S": "a"}, "n": ONE, "token": {"S": "first"}, "attempt": ONE}
    assert take(table, "first")["Attributes"] == expected
    assert table.get() == expected


def test_an_update_keeps_what_exists_adds_to_a_number_and_leaves_the_rest(table: Table) -> None:
    table.put(other=TEXT)
    take(table, "first")
    shown = take(table, "second", "9")["Attributes"]
    assert shown == {
        "pk": {"S": "a"},
        "n": {"N": "9"},
        "token": {"S": "first"},
        "attempt": TWO,
        "other": TEXT,
    }


def test_an_update_shows_nothing_unless_it_is_asked_to(table: Table) -> None:
    assert "Attributes" not in table.update("SET n = :n", values={":n": ONE})


def test_an_update_removes_attributes_that_are_there_and_that_are_not(table: Table) -> None:
    table.put(n=ONE, m=ONE)
    table.update("SET n = :n REMOVE m, absent", values={":n": TWO})
    assert table.get() == {"pk": {"S": "a"}, "n": TWO}


FREE = "attribute_not_exists(pk) OR (#status = :running AND lease < :now)"


@pytest.mark.parametrize(
    ("status", "until", "is_free"),
    [
        ("running", "9", True),
        ("running", "10", False),
        ("running", "11", False),
        ("done", "9", False),
        ("running", "100", False),
    ],
)
def test_a_condition_of_several_parts_compares_numbers_as_numbers(
    table: Table, status: str, until: str, is_free: bool
) -> None:
    table.put(status={"S": status}, lease={"N": until})
    more: JsonDict = {
        "names": {"#status": "status"},
        "values": {":running": {"S": "running"}, ":now": {"N": "10"}, ":n": ONE},
    }
    if is_free:
        table.update("SET n = :n", FREE, **more)
    else:
        table.refuses(lambda: table.update("SET n = :n", FREE, **more))
    assert ("n" in (table.get() or {})) is is_free


def test_a_refused_update_shows_the_item_as_it_stands_and_changes_nothing(table: Table) -> None:
    table.put(n=ONE, text=TEXT)
    answer = table.refuses(
        lambda: table.update(
            "SET n = :two",
            "n = :two",
            values={":two": TWO},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    )
    assert answer["Item"] == table.get() == {"pk": {"S": "a"}, "n": ONE, "text": TEXT}


def test_a_refused_put_shows_the_item_as_it_stands_and_changes_nothing(table: Table) -> None:
    table.put(n=ONE, text=TEXT)
    answer = table.refuses(
        lambda: table.put(
            condition="attribute_not_exists(pk) OR n = :two",
            n=TWO,
            values={":two": TWO},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    )
    assert answer["Item"] == table.get() == {"pk": {"S": "a"}, "n": ONE, "text": TEXT}


def test_a_refused_update_shows_no_item_where_there_is_none_and_makes_none(table: Table) -> None:
    answer = table.refuses(
        lambda: table.update(
            "SET n = :n",
            "n = :n",
            values={":n": ONE},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    )
    assert not answer.get("Item")
    assert table.get() is None


NOT_OVERTAKEN = "attribute_not_exists(pk) OR lease <> :lease OR fence <= :fence"


@pytest.mark.parametrize(
    ("stored", "is_ours"),
    [
        ({}, True),
        ({"fence": {"N": "9"}}, True),
        ({"lease": {"S": "other"}, "fence": {"N": "9"}}, True),
        ({"lease": {"S": "ours"}, "fence": {"N": "2"}}, True),
        ({"lease": {"S": "ours"}, "fence": {"N": "1"}}, True),
        ({"lease": {"S": "ours"}, "fence": {"N": "3"}}, False),
        ({"lease": {"S": "ours"}}, False),
    ],
)
def test_what_is_missing_differs_from_anything_and_is_not_less(
    table: Table, stored: JsonDict, is_ours: bool
) -> None:
    table.put(**stored)
    values = {":lease": {"S": "ours"}, ":fence": TWO}
    if is_ours:
        table.put(condition=NOT_OVERTAKEN, new=ONE, values=values)
    else:
        table.refuses(lambda: table.put(condition=NOT_OVERTAKEN, new=ONE, values=values))
    assert ("new" in (table.get() or {})) is is_ours


def test_what_is_missing_is_equal_to_nothing(table: Table) -> None:
    table.refuses(lambda: table.delete("n = :n", values={":n": ONE}))


def test_a_number_is_not_equal_to_a_text(table: Table) -> None:
    table.put(n=ONE)
    table.refuses(lambda: table.delete("n = :text", values={":text": {"S": "1"}}))
    table.delete("n <> :text", values={":text": {"S": "1"}})


def test_a_word_of_dynamodbs_own_is_no_name(table: Table) -> None:
    in_update = partial(table.update, "SET token = :n", values={":n": ONE})
    in_condition = partial(table.delete, "owner = :n", values={":n": ONE})
    assert code_of(in_update) == code_of(in_condition) == "ValidationException"


def test_an_item_is_deleted_only_while_the_condition_holds(table: Table) -> None:
    table.put(owner=TEXT)
    ours = "#owner = :owner"
    more: JsonDict = {"names": {"#owner": "owner"}}
    table.refuses(lambda: table.delete(ours, values={":owner": {"S": "other"}}, **more.copy()))
    assert table.get() is not None
    table.delete(ours, values={":owner": TEXT}, **more.copy())
    assert table.get() is None
    table.refuses(lambda: table.delete(ours, values={":owner": TEXT}, **more.copy()))


def test_an_item_that_is_missing_may_be_deleted(table: Table) -> None:
    table.delete()
    table.delete(NOT_OVERTAKEN, values={":lease": TEXT, ":fence": ONE})
    assert table.get() is None


def batch_get(table: Table, *pks: str) -> list[JsonDict]:
    answer = table.client.batch_get_item(
        RequestItems={
            table.name: {"Keys": [{"pk": {"S": pk}} for pk in pks], "ConsistentRead": True}
        }
    )
    assert answer["UnprocessedKeys"] == {}
    found: list[JsonDict] = answer["Responses"].get(table.name, [])
    return sorted(found, key=lambda item: str(item["pk"]["S"]))


def test_of_many_keys_those_that_exist_are_answered(table: Table) -> None:
    table.put("a", n=ONE)
    table.put("b", n=TWO)
    many = [f"missing-{number}" for number in range(MAX_DATABASES - 2)]
    assert batch_get(table, "b", *many, "a") == [
        {"pk": {"S": "a"}, "n": ONE},
        {"pk": {"S": "b"}, "n": TWO},
    ]
    assert batch_get(table, "missing") == []


def test_too_many_keys_and_the_same_key_twice_are_refused(table: Table) -> None:
    many = [f"{number}" for number in range(MAX_DATABASES + 1)]
    assert code_of(lambda: batch_get(table, *many)) == "ValidationException"
    assert code_of(lambda: batch_get(table, "a", "a")) == "ValidationException"


@pytest.mark.parametrize(
    "more",
    [
        {"values": {":n": ONE, ":unused": ONE}},
        {"values": {":n": ONE}, "names": {"#unused": "unused"}},
        {"values": {":other": ONE}},
    ],
)
def test_a_placeholder_without_a_use_or_without_a_value_is_refused(
    table: Table, more: JsonDict
) -> None:
    assert code_of(lambda: table.update("SET n = :n", **more)) == "ValidationException"
    assert table.get() is None


def test_an_item_too_large_is_refused(table: Table) -> None:
    table.put(text={"S": "x" * 400_000})
    assert code_of(lambda: table.put(text={"S": "x" * 410_000})) == "ValidationException"


def test_a_number_is_a_number_and_a_key_is_a_text(table: Table) -> None:
    assert code_of(lambda: table.put(n={"N": "one"})) == "ValidationException"
    assert code_of(lambda: table.put("")) == "ValidationException"


def test_a_key_cannot_be_changed(table: Table) -> None:
    table.put()
    wrong = partial(table.update, "SET pk = :b", values={":b": {"S": "b"}})
    assert code_of(wrong) == "ValidationException"


def test_a_table_that_does_not_exist_is_said_to(table: Table) -> None:
    other = Table(table.client, a_name())
    for ask in (other.get, other.put, other.delete, lambda: take(other, "t")):
        with pytest.raises(table.client.exceptions.ResourceNotFoundException):
            ask()


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Python goes from thread to thread so often that two meet in whatever takes a microsecond."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_of_racing_writers_one_wins_and_every_addition_counts(
    account: Account, table: Table
) -> None:
    writers = 3000 if account.fake else 24  # what is so much faster needs more tries to go wrong

    def race(number: int) -> bool:
        table.update("ADD n :one", pk="sum", values={":one": ONE})
        try:
            table.put(condition="attribute_not_exists(pk)", n={"N": str(number)})
        except table.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(writers)))
    assert sum(won) == 1
    assert table.get() == {"pk": {"S": "a"}, "n": {"N": str(won.index(True))}}
    assert table.get("sum") == {"pk": {"S": "sum"}, "n": {"N": str(writers)}}
