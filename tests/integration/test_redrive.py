"""`make redrive`: dead letters are looked at, and brought back; none is lost on the way."""

import contextlib
import json
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from chalicelib.couch import Database
from chalicelib.domain.documents import JsonDict
from local.aws import LocalAws
from ops import redrive
from ops.stage import OpsError
from tests.kit.ops.operator import Operator


@pytest.fixture
def operator(aws: LocalAws, tmp_path: Path, couch_url: str, control: Database) -> Operator:
    operator = Operator.make(aws, tmp_path, control.name)
    operator.put_right_secret(couch_url)
    operator.make_queues()
    return operator


def message(doc_type: str, state: str, number: int = 1, db: str = "control") -> JsonDict:
    doc_id = f"{doc_type}-{number}"
    about = {"db": db, "id": doc_id, "rev": "1-a", "type": doc_type, "state": state}
    return {**about, "doc": {"_id": doc_id, "owner": "ada@example.com"}}


def run(operator: Operator, *arguments: str) -> int:
    return redrive.main([operator.name, *arguments], operator.tools, wait_s=0)


def test_each_comes_back_to_the_queue_of_its_own_type_and_state(operator: Operator) -> None:
    device, channel = message("device", "new"), message("channel", "ready")
    operator.dead_letters.send(device)
    operator.dead_letters.send(channel)
    assert run(operator) == 0
    assert operator.queue("device", "new").visible() == [json.dumps(device)]
    assert operator.queue("channel", "ready").visible() == [json.dumps(channel)]
    assert operator.dead_letters.count() == 0
    assert (
        operator.said[-1]
        == "2 dead letters: 2 sent back to their queues, 0 remain in the dead-letter queue"
    )


def test_a_dead_letter_comes_back_in_its_group_for_the_queue_to_be_fair(
    operator: Operator,
) -> None:
    grouped, older = message("device", "new", 1), message("device", "new", 2)
    operator.dead_letters.send(grouped, group="ada")
    operator.dead_letters.send(older)
    run(operator)
    assert operator.queue("device", "new").groups() == {
        json.dumps(grouped): "ada",
        json.dumps(older): None,
    }


def test_more_than_a_page_of_them_all_come_back(operator: Operator) -> None:
    for number in range(23):
        operator.dead_letters.send(message("device", "new", number))
    run(operator)
    assert operator.queue("device", "new").count() == 23
    assert operator.dead_letters.count() == 0


def test_a_dry_run_says_what_there_is_and_changes_nothing(operator: Operator) -> None:
    sent = [message("device", "new", number) for number in range(12)]
    for body in sent:
        operator.dead_letters.send(body)
    operator.dead_letters.send("not ours")
    assert run(operator, "--dry-run") == 0
    assert operator.dead_letters.visible() == sorted([*map(json.dumps, sent), "not ours"])
    assert operator.queue("device", "new").count() == 0
    assert len([line for line in operator.said if "received once" in line]) == 13
    assert operator.said[-1] == "13 dead letters; 12 of them would be sent back"


def test_it_says_what_how_often_how_old_and_what_became_of_the_document(
    operator: Operator, control: Database
) -> None:
    error = {"reason": "token_used: ada@example.com has it", "at": "2026-11-23T06:00:00Z"}
    control.put({"_id": "device-1", "type": "device", "state": "error", "error": error})
    operator.dead_letters.send(message("device", "new", 1, control.name))
    operator.dead_letters.send(message("device", "new", 2, control.name))
    run(operator, "--dry-run")
    first, second = sorted(operator.said[:2])
    assert re.fullmatch(
        rf"device/new device-1 in {control.name}: received once, \d seconds? old; "
        r"now device/error \(token_used: …@… has it\)",
        first,
    )
    assert second.endswith("; its document no longer exists")


def test_the_command_that_shows_why_is_told_once_for_each_function(operator: Operator) -> None:
    for number in (1, 2):
        operator.dead_letters.send({**message("device", "new"), "id": f"device-{number}"})
    operator.dead_letters.send({**message("channel", "ready"), "id": "a'; rm -rf ~; '"})
    operator.dead_letters.send("not ours")
    run(operator, "--dry-run")
    group = f"/aws/lambda/syncpoint-{operator.name}"
    command = "to find the reason: `aws logs filter-log-events --log-group-name"
    assert operator.said[-3:-1] == [
        f"{command} {group}-channel_ready --filter-pattern '\"DOCUMENT ID\"'`",
        f"{command} {group}-device_new --filter-pattern '\"device-1\"'`",
    ]


def test_neither_addresses_nor_secrets_nor_control_characters_are_printed(
    operator: Operator, couch_url: str
) -> None:
    body = message("channel", "new", 1, "control-ada@example.com")
    operator.dead_letters.send({**body, "id": "\x1b[2Jbob@example.org"})
    operator.dead_letters.send('{"password": "hunter2", "to": "eve@example.net"}')
    run(operator)
    text = "\n".join(operator.said)
    password = couch_url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    for hidden in ("@example", "hunter2", "\x1b", password):
        assert hidden not in text
    assert operator.said[0].startswith("channel/new …@… in …@…: received once")


@pytest.mark.parametrize(
    "foreign",
    ["no JSON", "[]", '{"db": "control"}', json.dumps(message("device", "dancing"))],
)
def test_a_message_that_is_none_of_the_pollers_stays_with_a_warning(
    operator: Operator, foreign: str
) -> None:
    operator.dead_letters.send(foreign)
    operator.dead_letters.send(message("device", "new"))
    assert run(operator) == 0
    assert operator.dead_letters.visible() == [foreign]
    [told] = [line for line in operator.said if line.startswith("warning: ")]
    assert "not a message of the poller; received once" in told
    assert (
        operator.said[-1]
        == "2 dead letters: 1 sent back to their queues, 1 remain in the dead-letter queue"
    )


class FailingSqs:
    """SQS, where one request is not answered."""

    def __init__(self, client: Any, name: str, exc: BaseException) -> None:
        self._client, self._name, self._exc = client, name, exc

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._name else getattr(self._client, name)

    def _fail(self, **arguments: object) -> None:
        raise self._exc


class SeenAgain:
    """SQS, where the first page becomes visible again before the others were looked at."""

    def __init__(self, client: Any, times: int = 1, empty: int = 0) -> None:
        self._client, self._times, self._empty = client, times, empty
        self._first: Any = None

    def receive_message(self, **arguments: Any) -> Any:
        if self._first is None:
            self._first = self._client.receive_message(**arguments)
            return self._first
        if self._times:
            self._times -= 1
            return self._first
        if self._empty:
            self._empty -= 1
            return {}
        return self._client.receive_message(**arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.mark.parametrize("slow", [{"times": 2}, {"times": 0, "empty": 1}])
def test_letters_that_are_seen_again_or_an_empty_answer_do_not_hide_the_others(
    operator: Operator, slow: dict[str, int]
) -> None:
    for number in range(23):
        operator.dead_letters.send(message("device", "new", number))
    sqs = operator.client("sqs")
    operator.clients["sqs"] = SeenAgain(sqs, **slow)
    assert run(operator, "--dry-run") == 0
    assert operator.said[-1] == "23 dead letters; 23 of them would be sent back"
    assert len({line for line in operator.said if line.startswith("device/new")}) == 23


def test_dead_letters_that_stay_do_not_block_others(
    operator: Operator,
) -> None:
    for number in range(10):
        operator.dead_letters.send(f"not ours {number}")
    for number in range(12):
        operator.dead_letters.send(message("device", "new", number))
    operator.clients["sqs"] = SeenAgain(operator.client("sqs"))
    run(operator)
    assert operator.queue("device", "new").count() == 12
    assert (
        operator.said[-1]
        == "22 dead letters: 12 sent back to their queues, 10 remain in the dead-letter queue"
    )


def test_nothing_but_letters_that_were_seen_ends_it(operator: Operator) -> None:
    operator.dead_letters.send("not ours")
    operator.clients["sqs"] = SeenAgain(operator.client("sqs"), times=1000)
    run(operator)
    assert (
        operator.said[-1]
        == "1 dead letters: 0 sent back to their queues, 1 remain in the dead-letter queue"
    )


def test_a_couchdb_that_gives_no_answer_is_asked_of_one_document_only(operator: Operator) -> None:
    asked: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        operator.put_another_secret(f"http://a:b@127.0.0.1:{server.getsockname()[1]}")
        thread = threading.Thread(target=hang_up_on_all, args=(server, asked), daemon=True)
        thread.start()
        for number in range(3):
            operator.dead_letters.send(message("device", "new", number))
        run(operator, "--dry-run")
    assert len(asked) == 2  # a GET whose connection fails is sent once more
    told = [line for line in operator.said if line.startswith("device/new")]
    assert len(told) == 3
    assert all(line.endswith("; the state of its document is not known") for line in told)
    assert operator.said[0] == "warning: CouchDB does not answer, so no more states are shown"


def hang_up_on_all(server: socket.socket, asked: list[object]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, address = server.accept()
            asked.append(address)
            connection.close()


def test_killed_between_sending_and_deleting_it_has_lost_nothing(operator: Operator) -> None:
    sent = sorted(json.dumps(message("device", "new", number)) for number in (1, 2, 3))
    for body in sent:
        operator.dead_letters.send(body)
    sqs = operator.client("sqs")
    operator.clients["sqs"] = FailingSqs(sqs, "delete_message", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(operator)
    operator.clients["sqs"] = sqs
    assert operator.dead_letters.visible() == sent
    assert operator.queue("device", "new").count() == 1
    run(operator)
    assert operator.dead_letters.count() == 0
    twice = operator.queue("device", "new").visible()
    assert (len(twice), sorted(set(twice))) == (4, sent)


def test_what_sqs_does_not_accept_stays(operator: Operator) -> None:
    from botocore.exceptions import EndpointConnectionError

    operator.dead_letters.send(message("device", "new"))
    refusal = EndpointConnectionError(endpoint_url="https://sqs")
    sqs = operator.client("sqs")
    operator.clients["sqs"] = FailingSqs(sqs, "send_message", refusal)
    assert run(operator) == 1
    assert operator.dead_letters.visible() == [json.dumps(message("device", "new"))]
    assert operator.said[0].startswith("wrong: device/new device-1 in control: ")
    assert "it could not be sent back: AWS cannot be reached: Could not connect" in operator.said[0]


def test_a_route_without_a_queue_keeps_its_letters_and_no_others(operator: Operator) -> None:
    operator.client("sqs").delete_queue(QueueUrl=operator.queue("channel", "new").url)
    operator.dead_letters.send(message("channel", "new"))
    operator.dead_letters.send(message("device", "new"))
    assert run(operator) == 1
    assert operator.dead_letters.visible() == [json.dumps(message("channel", "new"))]
    assert operator.queue("device", "new").count() == 1


def test_without_a_secret_it_works_and_says_what_it_does_not_know(operator: Operator) -> None:
    operator.client("secretsmanager").delete_secret(
        SecretId=operator.stage.secret_id, ForceDeleteWithoutRecovery=True
    )
    operator.dead_letters.send(message("device", "new"))
    assert run(operator) == 0
    assert operator.said[0].startswith("warning: the states of documents are not shown: ")
    assert "the state of its document is not known" in operator.said[1]


def test_without_credentials_that_is_said_and_nothing_else(operator: Operator) -> None:
    from botocore.exceptions import NoCredentialsError

    class Stranger:
        def get_caller_identity(self) -> None:
            raise NoCredentialsError

        def get_secret_value(self, **_: object) -> None:
            raise NoCredentialsError

    operator.clients |= {"sts": Stranger(), "secretsmanager": Stranger()}
    with pytest.raises(NoCredentialsError):
        run(operator)
    assert operator.said == []


def test_no_dead_letters_are_told_as_such(operator: Operator) -> None:
    assert run(operator) == 0
    assert operator.said == ["there are no dead letters"]


def test_a_stage_that_is_not_deployed(operator: Operator) -> None:
    operator.client("sqs").delete_queue(QueueUrl=operator.dead_letters.url)
    with pytest.raises(OpsError, match=r"there is no queue syncpoint-.*-dead-letters"):
        run(operator)
